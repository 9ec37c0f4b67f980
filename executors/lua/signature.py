"""Signatures of functions, events and errors as Solidity and ethers write them, and the types in them.

``transfer(address to, uint256 amount) returns (bool)`` and ``function transfer(address,uint256) returns (bool)`` are
the same. Names of parameters and data locations are read and forgotten.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from schemas.hashing import keccak

from .limits import SIGNATURE_BYTES_MAX

_TOKEN: Final = re.compile(r"\s*([A-Za-z_$][\w$]*|[0-9]+|[()\[\],])", re.ASCII)
_NUMBERED: Final = re.compile(r"(uint|int|bytes)([1-9][0-9]*)", re.ASCII)
_PREFIXES: Final = frozenset({"function", "event", "error"})
_LOCATIONS: Final = frozenset({"memory", "calldata", "payable"})
_MODIFIERS: Final = frozenset({"view", "pure", "payable", "nonpayable", "external", "public"})
_DIMENSIONS_MAX: Final = 4


class BadSignature(ValueError):
    """A signature that can't be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A type of the ABI."""

    name: str
    """Canonical: ``uint256``, ``bytes32``, ``address[]``."""
    kind: str
    """``uint``, ``int``, ``address``, ``bool``, ``fixed`` (bytes1 to bytes32), ``bytes`` (and string) or ``array``."""
    size: int = 0
    """Bits of a number, or bytes."""
    item: "Type | None" = None
    """Of an array."""
    length: int | None = None
    """Of an array that has a fixed one."""
    dynamic: bool = False
    head: int = 32
    """Bytes that it takes where it stands; what is dynamic has an offset there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A function, an event or an error."""

    name: str
    inputs: tuple[Type, ...]
    indexed: tuple[bool, ...]
    """Of an event: which of its inputs are topics."""
    outputs: tuple[Type, ...]
    view: bool
    payable: bool

    @property
    def canonical(self) -> str:
        """As it is hashed."""
        return f"{self.name}({','.join(item.name for item in self.inputs)})"

    @property
    def selector(self) -> bytes:
        """The first 4 bytes of the hash."""
        return topic_of(self.canonical)[:4]


@lru_cache(maxsize=4_096)
def topic_of(canonical: str) -> bytes:
    """Keccak-256 of a canonical signature."""
    return keccak(canonical.encode())


@lru_cache(maxsize=4_096)
def signature_of(text: str) -> Signature:
    """Read a signature.

    Raises
    ------
    BadSignature
        With what is wrong.
    """
    reader = _Reader(text)
    name = reader.name()
    if name in _PREFIXES and reader.peek() not in ("(", ""):
        name = reader.name()
    inputs, indexed = reader.parameters()
    outputs: tuple[Type, ...] = ()
    modifiers: set[str] = set()
    while reader.peek():
        word = reader.name()
        if word == "returns":
            outputs, _ = reader.parameters()
        elif word in _MODIFIERS:
            modifiers.add(word)
        else:
            raise BadSignature(f"{text!r}: {word} isn't known here")
    return Signature(
        name=name, inputs=inputs, indexed=indexed, outputs=outputs, view=bool(modifiers & {"view", "pure"}),
        payable="payable" in modifiers)


@lru_cache(maxsize=4_096)
def types_of(text: str) -> tuple[Type, ...]:
    """Read a list of types, such as ``address,uint256[]``."""
    reader = _Reader(f"({text})")
    types, _ = reader.parameters()
    if reader.peek():
        raise BadSignature(f"{text!r} is no list of types")
    return types


class _Reader:
    """The words of a signature, one after the other."""

    def __init__(self, text: str) -> None:
        if len(text) > SIGNATURE_BYTES_MAX:
            raise BadSignature(f"a signature of {len(text)} bytes, limit {SIGNATURE_BYTES_MAX}")
        self._text = text
        self._words = list(self._split())
        self._at = 0

    def _split(self) -> Iterator[str]:
        position = 0
        text = self._text.rstrip(" ")
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise BadSignature(f"{self._text!r} is no signature")
            yield match[1]
            position = match.end()

    def peek(self) -> str:
        """The next word, empty at the end."""
        return self._words[self._at] if self._at < len(self._words) else ""

    def name(self) -> str:
        """The next word, a name."""
        word = self.peek()
        if not word or not (word[0].isalpha() or word[0] in "_$"):
            raise BadSignature(f"{self._text!r}: a name is missing{f' before {word!r}' if word else ''}")
        self._at += 1
        return word

    def _expect(self, word: str) -> None:
        if self.peek() != word:
            raise BadSignature(f"{self._text!r}: {word!r} is missing")
        self._at += 1

    def parameters(self) -> tuple[tuple[Type, ...], tuple[bool, ...]]:
        """Types in parentheses, and which are marked as indexed."""
        types: list[Type] = []
        indexed: list[bool] = []
        self._expect("(")
        while self.peek() != ")":
            if types:
                self._expect(",")
            types.append(self._type())
            marked = False
            names = 0
            while self.peek() not in (",", ")"):
                word = self.name()
                marked |= word == "indexed"
                names += word != "indexed" and word not in _LOCATIONS
            if names > 1:
                raise BadSignature(f"{self._text!r}: a parameter with {names} names")
            indexed.append(marked)
        self._at += 1
        return tuple(types), tuple(indexed)

    def _type(self) -> Type:
        found = _elementary(self.name())
        if found is None:
            raise BadSignature(
                f"{self._text!r}: {self._words[self._at - 1]!r} isn't one of the types bool, address, string, bytes, "
                "bytes1 to bytes32, int8 to int256, uint8 to uint256 and arrays of them")
        dimensions = 0
        while self.peek() == "[":
            self._at += 1
            length = None
            if self.peek() != "]":
                length = int(self.peek()) if self.peek().isdigit() and len(self.peek()) <= 4 else 0
                if not length:
                    raise BadSignature(f"{self._text!r}: {self.peek()!r} is no length of an array, from 1 to 9999")
                self._at += 1
            self._expect("]")
            dimensions += 1
            if dimensions > _DIMENSIONS_MAX:
                raise BadSignature(f"{self._text!r}: an array of more than {_DIMENSIONS_MAX} dimensions")
            found = _array(found, length)
        return found


def _array(item: Type, length: int | None) -> Type:
    dynamic = length is None or item.dynamic
    return Type(
        name=f"{item.name}[{'' if length is None else length}]", kind="array", item=item, length=length,
        dynamic=dynamic, head=32 if dynamic else item.head * (length or 0))


def _elementary(name: str) -> Type | None:
    if name == "address":
        return Type(name=name, kind="address", size=20)
    if name == "bool":
        return Type(name=name, kind="bool")
    if name in ("bytes", "string"):
        return Type(name=name, kind="bytes", dynamic=True)
    match = _NUMBERED.fullmatch(f"{name}256" if name in ("uint", "int") else name)
    if match is None:
        return None
    kind, size = match[1], int(match[2])
    if kind == "bytes":
        return Type(name=match[0], kind="fixed", size=size) if size <= 32 else None
    return Type(name=match[0], kind=kind, size=size) if size <= 256 and size % 8 == 0 else None
