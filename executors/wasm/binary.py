"""The binary format, as far as a deployment has to look into it: what a module imports, exports and defines.

The reader takes modules that are valid already, so it only finds its way; what it doesn't know is refused by name.

References
----------
WebAssembly Core Specification, chapter 5.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from executors.machine import InvalidCode

MAGIC: Final = b"\0asm"
_HEADER_BYTES: Final = 8
_KINDS: Final = ("function", "table", "memory", "global", "tag")
_VALUES: Final = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x70: "funcref", 0x6F: "externref"}
_FUNCTION_TYPE: Final = 0x60
_END: Final = 0x0B

# What follows an opcode: so many integers of variable length, or one of these.
_FIXED: Final = {0x43: 4, 0x44: 8}
_TARGETS: Final = 0x0E
_TYPED_SELECT: Final = 0x1C
_PREFIX: Final = 0xFC
_INTEGERS: Final = (
    dict.fromkeys((0x00, 0x01, 0x05, _END, 0x0F, 0x1A, 0x1B, 0xD1, *range(0x45, 0xC5)), 0)
    | dict.fromkeys((0x02, 0x03, 0x04, 0x0C, 0x0D, 0x10, *range(0x20, 0x25), 0x3F, 0x40, 0x41, 0x42, 0xD0), 1)
    | dict.fromkeys((0x11, *range(0x28, 0x3F)), 2))
_PREFIXED_INTEGERS: Final = dict.fromkeys(range(8), 0) | {8: 2, 9: 1, 10: 2, 11: 1, 16: 1}
_REFUSED: Final = {
    0xD2: "ref.func", 0x25: "table.get", 0x26: "table.set", 0xFC0C: "table.init", 0xFC0D: "elem.drop",
    0xFC0E: "table.copy", 0xFC0F: "table.grow", 0xFC11: "table.fill"}
_BRANCHES: Final = frozenset({0x02, 0x03, 0x04, 0x0C, 0x0D})
_LOOP: Final = 0x03
_HEAVY: Final = frozenset({0x11, 0x40})
"""Those that compile to much code: indirect calls and growing. The prefixed ones are added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionType:
    """Types of the parameters and results of a function, by name."""

    parameters: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.parameters)}) -> ({', '.join(self.results)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """Something that a module takes from outside."""

    module: str
    name: str
    kind: str
    """``function``, ``table``, ``memory``, ``global`` or ``tag``."""
    type: FunctionType | None
    """Of a function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """The size of a function that a module defines."""

    body_bytes: int
    locals: int
    """With the parameters."""
    branches: int
    """Blocks, loops, ifs, and targets of branches."""
    loops: int
    heavy: int
    """Indirect calls, and instructions that copy, fill or grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What a module consists of."""

    types: tuple[FunctionType, ...]
    imports: tuple[Import, ...]
    exports: dict[str, tuple[str, FunctionType | None]]
    """Kind, and the type of a function, by name."""
    functions: tuple[Function, ...]
    memories: tuple[int, ...]
    """Pages at the beginning, of each."""
    tables: tuple[int, ...]
    """Elements at the beginning, of each."""
    globals: int
    data_segments: int
    element_segments: int
    has_start: bool


class _Reader:
    """A position in bytes."""

    __slots__ = ("_bytes", "at")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._bytes = data
        self.at = at

    def byte(self) -> int:
        """The next byte."""
        value = self._bytes[self.at]
        self.at += 1
        return value

    def unsigned(self) -> int:
        """An unsigned integer of variable length (LEB128)."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def skip_integer(self) -> None:
        """Pass over an integer of variable length."""
        while self.byte() >= 0x80:
            pass

    def name(self) -> str:
        """A name with its length before it."""
        size = self.unsigned()
        self.at += size
        return self._bytes[self.at - size:self.at].decode()

    def minimum(self) -> int:
        """The lower limit of a table or a memory, after both have been passed."""
        flags = self.byte()
        lower = self.unsigned()
        if flags & 1:
            self.skip_integer()
        return lower

    def value_types(self) -> tuple[str, ...]:
        """A list of types of values."""
        return tuple(_VALUES.get(self.byte(), "?") for _ in range(self.unsigned()))


def read(code: bytes) -> Structure:
    """Take a valid module apart.

    Raises
    ------
    InvalidCode
        It uses something that this machine has no use for.
    """
    sections: dict[int, _Reader] = {}
    reader = _Reader(code, _HEADER_BYTES)
    while reader.at < len(code):
        number, size = reader.byte(), reader.unsigned()
        sections[number] = _Reader(code, reader.at)
        reader.at += size
    types = _types(sections.get(1))
    imports = _imports(sections.get(2), types)
    own = [types[index] for index in _integers(sections.get(3))]
    of_functions = [each.type for each in imports if each.type is not None] + own
    return Structure(
        types=types, imports=imports, exports=_exports(sections.get(7), of_functions),
        functions=_functions(sections.get(10), own),
        memories=_minima(sections.get(5), typed=False), tables=_minima(sections.get(4), typed=True),
        globals=_count(sections.get(6)), data_segments=_count(sections.get(11)),
        element_segments=_count(sections.get(9)), has_start=8 in sections)


def _count(reader: _Reader | None) -> int:
    return reader.unsigned() if reader else 0


def _integers(reader: _Reader | None) -> list[int]:
    return [reader.unsigned() for _ in range(reader.unsigned())] if reader else []


def _types(reader: _Reader | None) -> tuple[FunctionType, ...]:
    types = []
    for _ in range(_count(reader)):
        if reader is None or reader.byte() != _FUNCTION_TYPE:
            raise InvalidCode("a type that isn't one of functions")
        types.append(FunctionType(parameters=reader.value_types(), results=reader.value_types()))
    return tuple(types)


def _imports(reader: _Reader | None, types: tuple[FunctionType, ...]) -> tuple[Import, ...]:
    imports = []
    for _ in range(_count(reader)):
        if reader is None:
            break
        module, name, kind = reader.name(), reader.name(), _KINDS[reader.byte()]
        of_function = None
        if kind == "function":
            of_function = types[reader.unsigned()]
        elif kind == "memory":
            reader.minimum()
        elif kind == "table":
            reader.byte()
            reader.minimum()
        else:
            reader.at += 2
        imports.append(Import(module=module, name=name, kind=kind, type=of_function))
    return tuple(imports)


def _exports(reader: _Reader | None, functions: list[FunctionType]) -> dict[str, tuple[str, FunctionType | None]]:
    exports: dict[str, tuple[str, FunctionType | None]] = {}
    for _ in range(_count(reader)):
        if reader is None:
            break
        name, kind, index = reader.name(), _KINDS[reader.byte()], reader.unsigned()
        exports[name] = (kind, functions[index] if kind == "function" else None)
    return exports


def _minima(reader: _Reader | None, *, typed: bool) -> tuple[int, ...]:
    minima = []
    for _ in range(_count(reader)):
        if reader is None:
            break
        if typed and reader.byte() not in _VALUES:
            raise InvalidCode("a table with initial values")
        minima.append(reader.minimum())
    return tuple(minima)


def _functions(reader: _Reader | None, types: list[FunctionType]) -> tuple[Function, ...]:
    functions: list[Function] = []
    for index in range(_count(reader)):
        if reader is None:
            break
        size = reader.unsigned()
        end = reader.at + size
        variables = len(types[index].parameters)
        for _ in range(reader.unsigned()):
            variables += reader.unsigned()
            reader.byte()
        counts = _instructions(reader, end, index)
        functions.append(Function(
            body_bytes=size, locals=variables, branches=counts["branch"], loops=counts["loop"],
            heavy=counts["heavy"]))
    return tuple(functions)


def _instructions(reader: _Reader, end: int, function: int) -> Counter[str]:
    """Count what weighs in the body of a function.

    Raises
    ------
    InvalidCode
        An instruction that reads or changes a table, or that isn't known.
    """
    counts: Counter[str] = Counter()
    while reader.at < end:
        opcode = reader.byte()
        integers = _INTEGERS.get(opcode)
        if integers is not None:
            if opcode in _BRANCHES:
                counts["branch"] += 1
                counts["loop"] += opcode == _LOOP
            elif opcode in _HEAVY:
                counts["heavy"] += 1
        elif opcode == _TARGETS:
            integers = reader.unsigned() + 1
            counts["branch"] += integers
        elif opcode == _TYPED_SELECT:
            integers = reader.unsigned()
        elif opcode in _FIXED:
            reader.at += _FIXED[opcode]
            continue
        else:
            integers = _rare(reader, opcode, function)
            counts["heavy"] += integers > 0
        for _ in range(integers):
            reader.skip_integer()
    return counts


def _rare(reader: _Reader, opcode: int, function: int) -> int:
    """Integers after one of the instructions that are seldom met."""
    number = opcode
    if opcode == _PREFIX:
        second = reader.unsigned()
        if second in _PREFIXED_INTEGERS:
            return _PREFIXED_INTEGERS[second]
        number = opcode << 8 | second
    if number in _REFUSED:
        raise InvalidCode(f"function {function} uses {_REFUSED[number]}; tables are made by element segments alone")
    raise InvalidCode(f"function {function} uses the instruction 0x{number:02x}, which this machine doesn't have")
