"""The adapter of wasmtime: all that is used of it is in here, and its errors are translated here.

Modules are compiled for Pulley, the interpreter of wasmtime, and not for the processor. Its code, the fuel that it
takes and the depth at which its stack is full are the same on every processor; no machine code is made at run time.

The bindings keep an exception of an imported function in a place that all threads share, so calls go to the C interface
here, with a place for each instance.

References
----------
https://docs.wasmtime.dev/c-api/
"""

import ctypes
import threading
import weakref
from collections.abc import Callable, Iterable
from ctypes import byref, c_size_t, c_ubyte, c_uint64, c_void_p
from dataclasses import dataclass
from importlib.metadata import version
from struct import Struct
from typing import Any, Final

import wasmtime
from wasmtime import Config, Engine, FuncType, InstancePre, Linker, Store, TrapCode, ValType, WasmtimeError
from wasmtime import Module as _Compiled
from wasmtime import _ffi as ffi

from executors.machine import Halt, InvalidCode, OutOfGas
from schemas.errors import ConfigurationError, InvariantViolation

from . import limits
from .binary import FunctionType
from .deployment import MEMORY, MODULE

MAJOR: Final = 50
"""Of wasmtime. Fuel and stack depth may differ in another one: it needs another version of the machine."""
_PAGE_BYTES: Final = 65_536
_TRAPS: Final = {
    TrapCode.STACK_OVERFLOW: f"stack overflow, limit {limits.STACK_BYTES_MAX:,} bytes",
    TrapCode.MEMORY_OUT_OF_BOUNDS: "memory access out of bounds",
    TrapCode.TABLE_OUT_OF_BOUNDS: "table access out of bounds",
    TrapCode.INDIRECT_CALL_TO_NULL: "indirect call of an empty table element",
    TrapCode.BAD_SIGNATURE: "indirect call of a function of another type",
    TrapCode.INTEGER_OVERFLOW: "integer overflow",
    TrapCode.INTEGER_DIVISION_BY_ZERO: "integer division by zero",
    TrapCode.BAD_CONVERSION_TO_INTEGER: "conversion of a float that isn't in the range of the integer",
    TrapCode.UNREACHABLE: "unreachable",
}
_VALUES: Final[dict[str, Callable[[], ValType]]] = {"i32": ValType.i32, "i64": ValType.i64}
_CALLBACK: Final = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p, c_size_t)
_NO_FINALIZER: Final = ctypes.cast(0, ctypes.CFUNCTYPE(None, c_void_p))
_STOPPED: Final = TrapCode.UNREACHABLE.value
"""The trap that carries an exception out; any will do."""
_RAW: Final = {"i32": "I12x", "i64": "Q8x"}
"""A parameter among 16 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A function that modules can import."""

    name: str
    type: FunctionType
    """Of ``i32`` and ``i64``, with at most one result."""
    run: Callable[..., int | None]
    """Gets the owner of the instance, and the arguments as unsigned integers."""


class _Nesting(threading.local):
    """The instances that run in this thread, the innermost last."""

    def __init__(self) -> None:
        self.instances: list[Instance] = []


_nesting: Final = _Nesting()


class Sandbox:
    """An engine, and the functions that its modules can import; one serves a process.

    Raises
    ------
    ConfigurationError
        Another wasmtime is installed.
    """

    def __init__(self, imported: Iterable[Imported]) -> None:
        installed = version("wasmtime")
        if installed.split(".")[0] != str(MAJOR):
            raise ConfigurationError(f"the machine wasm needs wasmtime {MAJOR}; installed is {installed}")
        self._engine = Engine(_config())
        self._linker = Linker(self._engine)
        weakref.finalize(self, _close, self._linker, self._engine)
        self._callbacks = [self._define(each) for each in imported]  # they are called as long as the linker is there

    def _define(self, imported: Imported) -> Any:
        parameters, results = imported.type.parameters, imported.type.results
        unpack = Struct("<" + "".join(_RAW[name] for name in parameters)).unpack
        size = 16 * len(parameters)
        run = imported.run

        def enter(_data: int, _caller: int, values: int, _count: int) -> int:
            instance = _nesting.instances[-1]
            try:
                result = run(instance.owner, *unpack(ctypes.string_at(values, size)))
                if result is not None:
                    c_uint64.from_address(values).value = result
            except BaseException as exc:  # whatever it is comes out of `Instance.call`
                instance.stopped = exc
                return ctypes.cast(ffi.wasmtime_trap_new_code(_STOPPED), c_void_p).value or 0
            return 0

        callback = _CALLBACK(enter)
        of_function = FuncType([_VALUES[name]() for name in parameters], [_VALUES[name]() for name in results])
        module, name = MODULE.encode(), imported.name.encode()
        error = ffi.wasmtime_linker_define_func_unchecked(
            self._linker.ptr(), ctypes.create_string_buffer(module), len(module), ctypes.create_string_buffer(name),
            len(name), of_function.ptr(), ctypes.cast(callback, ffi.wasmtime_func_unchecked_callback_t), None,
            _NO_FINALIZER)
        _raise(error)
        return callback

    def validate(self, code: bytes) -> None:
        """Check a binary module against the parts of WebAssembly that are on.

        Raises
        ------
        InvalidCode
            With the offset.
        """
        try:
            _Compiled.validate(self._engine, code)
        except WasmtimeError as exc:
            raise InvalidCode(str(exc).splitlines()[0]) from exc

    def compile(self, code: bytes) -> "Module":
        """Compile a module that has been checked.

        Raises
        ------
        InvalidCode
            The compiler gives up on it.
        """
        try:
            return Module(self._engine, self._linker, _Compiled(self._engine, code))
        except WasmtimeError as exc:
            raise InvalidCode(" ".join(str(exc).split())) from exc


def to_binary(text: bytes) -> bytes:
    """A module in text form as a binary one.

    Raises
    ------
    InvalidCode
        With line and column.
    """
    try:
        return bytes(wasmtime.wat2wasm(text))
    except WasmtimeError as exc:
        message, *place = str(exc).splitlines()
        where = place[0].rpartition("<anon>:")[2] if place else "?"
        raise InvalidCode(f"text form, line and column {where}: {message[:200]}") from exc


def _config() -> Config:
    config = Config()
    # The same code on every processor; see above.
    config.target = "pulley64"
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True
    config.max_wasm_stack = limits.STACK_BYTES_MAX
    # A memory lies at one place, of the size that it can have at most: growing it never copies.
    config.memory_reservation = limits.MEMORY_PAGES_MAX * _PAGE_BYTES
    config.memory_reservation_for_growth = 0
    config.memory_guard_size = 0
    config.memory_may_move = False
    # Data segments are copied and paid for with fuel. An image of the memory would be as long as it is, even for two
    # bytes far from one another.
    config.memory_init_cow = False
    config.parallel_compilation = False
    config.native_unwind_info = False
    # What compilers of today give by default is on, and no more.
    config.wasm_bulk_memory = True
    config.wasm_reference_types = True
    config.shared_memory = False
    config.wasm_threads = False
    config.wasm_relaxed_simd = False
    config.wasm_simd = False
    config.wasm_multi_value = False
    config.wasm_multi_memory = False
    config.wasm_memory64 = False
    config.wasm_tail_call = False
    config.wasm_exceptions = False
    config.wasm_gc = False
    config.wasm_function_references = False
    config.gc_support = False
    config.wasm_wide_arithmetic = False
    config.wasm_custom_page_sizes = False
    config.wasm_stack_switching = False
    config.wasm_component_model = False
    return config


class Module:
    """A compiled module, ready for any number of instances."""

    __slots__ = ("__weakref__", "_linked", "engine")

    def __init__(self, engine: Engine, linker: Linker, compiled: _Compiled) -> None:
        self.engine = engine
        self._linked = linker.instantiate_pre(compiled)
        weakref.finalize(self, _close, self._linked, compiled)

    def instantiate(self, context: Any, instance: Any, trap: Any) -> Any:
        """Make an instance in a store."""
        return ffi.wasmtime_instance_pre_instantiate(self._linked.ptr(), context, instance, trap)


_EMPTY: Final = memoryview(bytearray())
_MEMORY_NAME: Final = ctypes.create_string_buffer(MEMORY.encode())


class Instance:
    """A module with memory, globals and fuel of its own, for one message; a context that frees them.

    Parameters
    ----------
    owner
        What imported functions get.
    """

    __slots__ = (
        "_base", "_context", "_instance", "_left", "_memory", "_module", "_store", "memory", "owner", "stopped")

    def __init__(self, module: Module, owner: object | None) -> None:
        self._module = module
        self.owner = owner
        self.stopped: BaseException | None = None
        """What an imported function raised."""
        self._store = Store(module.engine)
        self._store.set_limits(
            memory_size=limits.MEMORY_PAGES_MAX * _PAGE_BYTES, table_elements=limits.TABLE_ELEMENTS_MAX, instances=1,
            tables=1, memories=1)
        self._context = self._store._context()
        self._left = c_uint64()
        self._instance = ffi.wasmtime_instance_t()
        self._memory: Any = None
        self._base = 0
        self.memory = _EMPTY
        """As long as at the last `measure`; it never shrinks, and never moves."""

    def __enter__(self) -> "Instance":
        _nesting.instances.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _nesting.instances.pop()
        self.memory = _EMPTY
        self._store.close()
        self.owner = None  # the owner holds the instance: without this both would wait for the garbage collector

    @property
    def fuel(self) -> int:
        """What remains."""
        _raise(ffi.wasmtime_context_get_fuel(self._context, byref(self._left)))
        return self._left.value

    @fuel.setter
    def fuel(self, fuel: int) -> None:
        _raise(ffi.wasmtime_context_set_fuel(self._context, fuel))

    def measure(self) -> int:
        """How many bytes the memory has now; `memory` is as long from here on."""
        size: int = ffi.wasmtime_memory_data_size(self._context, self._memory)
        if size != len(self.memory):
            self.memory = memoryview((c_ubyte * size).from_address(self._base)).cast("B")
        return size

    def start(self) -> None:
        """Make memory, globals and table.

        Raises
        ------
        Halt
            A segment doesn't fit.
        """
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = self._module.instantiate(self._context, byref(self._instance), byref(trap))
        self._end(error, trap)
        item = self._export(_MEMORY_NAME, len(MEMORY))
        self._memory = byref(item.of.memory)
        pointer = ffi.wasmtime_memory_data(self._context, self._memory)
        self._base = ctypes.cast(pointer, c_void_p).value or 0

    def call(self, name: str) -> bool:
        """Call an exported function without parameters; whether there is one.

        Raises
        ------
        OutOfGas
            The fuel is used up.
        Halt
            It trapped.
        BaseException
            What an imported function raised.
        """
        encoded = name.encode()
        item = self._export(ctypes.create_string_buffer(encoded), len(encoded))
        if item is None:
            return False
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_func_call_unchecked(self._context, byref(item.of.func), None, 0, byref(trap))
        self._end(error, trap)
        return True

    def _export(self, name: Any, size: int) -> Any:
        item = ffi.wasmtime_extern_t()
        found = ffi.wasmtime_instance_export_get(self._context, byref(self._instance), name, size, byref(item))
        return item if found else None

    def _end(self, error: Any, trap: Any) -> None:
        """Raise what ended a call, if it didn't return."""
        stopped, self.stopped = self.stopped, None
        if trap:
            code = ffi.wasmtime_trap_code_t()
            known = ffi.wasmtime_trap_code(trap, byref(code))
            ffi.wasm_trap_delete(trap)
            if stopped is not None:
                raise stopped
            kind = TrapCode(code.value) if known else None
            if kind is TrapCode.OUT_OF_FUEL:
                raise OutOfGas
            if kind not in _TRAPS:
                raise InvariantViolation(f"wasmtime stopped a contract with the trap {kind}")
            raise Halt(f"trap: {_TRAPS[kind]}")
        _raise(error)


def _close(*objects: _Compiled | Engine | InstancePre | Linker) -> None:
    """Free what the library holds, at the end of the process, too: later its own clean-up can't work any more."""
    for each in objects:
        each.close()


def _raise(error: Any) -> None:
    """Stop at an error of the library itself: it isn't one of the contract, and may not happen elsewhere."""
    if error:
        message = str(WasmtimeError._from_ptr(error))  # frees it, too
        raise InvariantViolation(f"wasmtime failed: {message}")
