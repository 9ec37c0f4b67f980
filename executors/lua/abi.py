"""The ABI of Solidity for Lua's values.

Values pass between Lua and Python as a flat list with one tag each, so that nothing but numbers, strings and booleans
ever crosses: ``s`` string, ``i`` integer, ``u`` number of 256 bits as 32 bytes, ``b`` boolean, ``n`` nil (no value in
the list), and ``[`` ... ``]`` around the items of an array.

Decoding is as strict as Solidity's: padding has to be zero, numbers in their range. Parts that overlap, with which a
short input could become a huge value, are refused.

References
----------
Solidity, "Contract ABI specification".
"""

from collections.abc import Sequence
from typing import Any, Final

from .limits import VALUES_MAX
from .signature import Type

Flat = tuple[str, list[Any]]
"""Tags and values."""
_LUA_BITS: Final = 64
_SMALL_BITS: Final = 56
"""Unsigned numbers up to here are integers of Lua, wider ones numbers of 256 bits, whatever their value."""


class BadValue(ValueError):
    """A value that isn't of its type, or data that aren't an encoding of the types."""


# ---- what Lua has -----------------------------------------------------------------------------------------------


def nested(tags: str, values: Sequence[Any]) -> list[Any]:
    """Values of Lua as Python has them: bytes, int, bool, None and lists."""
    stack: list[list[Any]] = [[]]
    at = 0
    for tag in tags:
        if tag == "[":
            stack.append([])
        elif tag == "]":
            done = stack.pop()
            stack[-1].append(done)
        elif tag == "n":
            stack[-1].append(None)
        else:
            value = values[at]
            at += 1
            stack[-1].append(int.from_bytes(value, "big") if tag == "u" else value)
    return stack[0]


# ---- encoding ---------------------------------------------------------------------------------------------------


def encode(types: Sequence[Type], values: Sequence[Any]) -> bytes:
    """Encode values as the arguments of a function.

    Raises
    ------
    BadValue
        If their number or one of them doesn't fit.
    """
    if len(types) != len(values):
        raise BadValue(f"{len(values)} values where {len(types)} are declared")
    heads: list[bytes] = []
    tails: list[bytes] = []
    offset = sum(item.head for item in types)
    for item, value in zip(types, values, strict=True):
        encoded = encode_one(item, value)
        if item.dynamic:
            heads.append(offset.to_bytes(32, "big"))
            tails.append(encoded)
            offset += len(encoded)
        else:
            heads.append(encoded)
    return b"".join(heads + tails)


def encode_one(item: Type, value: Any) -> bytes:
    """A single value in its place; what is dynamic without its offset."""
    kind = item.kind
    if kind in ("uint", "int"):
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadValue(f"{_shown(value)} where {item.name} is declared")
        least, most = (0, 2**item.size) if kind == "uint" else (-2 ** (item.size - 1), 2 ** (item.size - 1))
        if not least <= value < most:
            raise BadValue(f"{value} is out of the range of {item.name}")
        return (value % 2**256).to_bytes(32, "big")
    if kind == "bool":
        if not isinstance(value, bool):
            raise BadValue(f"{_shown(value)} where bool is declared")
        return value.to_bytes(32, "big")
    if kind == "array":
        return _encode_array(item, value)
    if not isinstance(value, bytes):
        raise BadValue(f"{_shown(value)} where {item.name} is declared")
    if kind == "bytes":
        return len(value).to_bytes(32, "big") + value + bytes(-len(value) % 32)
    if len(value) != item.size:
        raise BadValue(f"{len(value)} bytes where {item.name} is declared")
    return value.rjust(32, b"\0") if kind == "address" else value.ljust(32, b"\0")


def _encode_array(item: Type, value: Any) -> bytes:
    if not isinstance(value, list):
        raise BadValue(f"{_shown(value)} where {item.name} is declared")
    if item.length is not None and len(value) != item.length:
        raise BadValue(f"an array of {len(value)} where {item.name} is declared")
    body = encode([item.item] * len(value), value)  # type: ignore[list-item]  # arrays have an item
    return body if item.length is not None else len(value).to_bytes(32, "big") + body


def _shown(value: Any) -> str:
    if value is None:
        return "nil"
    words = {bool: "a boolean", int: "a number", bytes: "a string", list: "an array"}
    return words[type(value)]


# ---- decoding ---------------------------------------------------------------------------------------------------


def decode(types: Sequence[Type], data: bytes) -> Flat:
    """Decode the arguments, or the results, of a function.

    Raises
    ------
    BadValue
        If the data aren't an encoding of these types.
    """
    decoder = _Decoder(data)
    decoder.sequence(types, 0)
    return "".join(decoder.tags), decoder.values


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = len(data)
        """So much may dynamic values still take together."""
        self.tags: list[str] = []
        self.values: list[Any] = []

    def _word(self, at: int) -> bytes:
        word = self._data[at:at + 32]
        if len(word) != 32:
            raise BadValue(f"{len(self._data)} bytes are too short")
        return word

    def _size(self, at: int) -> int:
        size = int.from_bytes(self._word(at), "big")
        if size > len(self._data):
            raise BadValue(f"an offset or a length of {size} in {len(self._data)} bytes")
        return size

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise BadValue("parts that overlap, or are too short")

    def _put(self, tag: str, value: Any) -> None:
        if len(self.values) >= VALUES_MAX:
            raise BadValue(f"more than {VALUES_MAX} values")
        self.tags.append(tag)
        self.values.append(value)

    def sequence(self, types: Sequence[Type], start: int) -> None:
        """Values that stand after one another; offsets count from the start."""
        at = start
        for item in types:
            self._one(item, start + self._size(at) if item.dynamic else at)
            at += item.head

    def _one(self, item: Type, at: int) -> None:
        kind = item.kind
        if kind == "array":
            self._array(item, at)
        elif kind == "bytes":
            size = self._size(at)
            self._take(32 + size + -size % 32)
            if at + 32 + size > len(self._data):
                raise BadValue(f"{len(self._data)} bytes are too short")
            self._put("s", self._data[at + 32:at + 32 + size])
        elif kind == "address":
            word = self._word(at)
            if any(word[:12]):
                raise BadValue("an address of more than 20 bytes")
            self._put("s", word[12:])
        elif kind == "fixed":
            word = self._word(at)
            if any(word[item.size:]):
                raise BadValue(f"{item.name} of more than {item.size} bytes")
            self._put("s", word[:item.size])
        else:
            self._number(item, self._word(at))

    def _number(self, item: Type, word: bytes) -> None:
        if item.kind == "uint" and item.size > _SMALL_BITS:
            if any(word[:32 - item.size // 8]):
                raise BadValue(f"a number out of the range of {item.name}")
            self._put("u", word)
            return
        value = int.from_bytes(word, "big", signed=item.kind == "int")
        if item.kind == "bool":
            if value > 1:
                raise BadValue(f"{value} is no bool")
            self._put("b", value == 1)
            return
        bits = min(item.size, _LUA_BITS) - (item.kind == "int")
        least = -2**bits if item.kind == "int" else 0
        if not least <= value < 2**bits:
            raise BadValue(f"{value} is out of the range of {item.name}, or of 64 bits")
        self._put("i", value)

    def _array(self, item: Type, at: int) -> None:
        inner = item.item
        if inner is None:
            raise BadValue(f"{item.name} has no items")
        length = item.length
        if length is None:
            length = self._size(at)
            at += 32
            self._take(32)
        if length > VALUES_MAX:
            raise BadValue(f"an array of {length}, limit {VALUES_MAX}")
        if item.dynamic:
            self._take(length * inner.head)
        self.tags.append("[")
        self.sequence([inner] * length, at)
        self.tags.append("]")
