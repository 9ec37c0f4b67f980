"""Documents as other Ethereum software writes them: fields are read by name, and an error says where it is.

Numbers are JSON numbers, or strings in decimal or hexadecimal; bytes are hexadecimal.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from schemas.errors import ConfigurationError

_BIGINT: Final = "0x:bigint "
"""How older suites mark a number that exceeds its type."""


class Malformed(ConfigurationError):
    """A document that can't be read; the message names the place, what is there and what is expected."""


class Fields:
    """An object of a document.

    Parameters
    ----------
    value
        What the document has there.
    where
        The place, for messages: the file, then names joined by dots.

    Raises
    ------
    Malformed
        If it is no object. So do all methods, for what they don't find.
    """

    __slots__ = ("_table", "where")

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise Malformed(f"{where}: an object is expected, found {shown(value)}")
        self._table: Mapping[str, Any] = value
        self.where = where

    def __contains__(self, name: str) -> bool:
        """Whether a field is there and isn't null."""
        return self._table.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def at(self, name: str) -> str:
        """The place of a field."""
        return f"{self.where}.{name}"

    def any(self, name: str) -> Any:
        """A field as it is; None if it is missing."""
        return self._table.get(name)

    def table(self, name: str) -> "Fields":
        """An object."""
        return Fields(self._needed(name), self.at(name))

    def rows(self, name: str) -> list[Any]:
        """A list; empty if it is missing."""
        return rows(self._table.get(name) or [], self.at(name))

    def number(self, name: str, default: int | None = None, *, bits: int = 256) -> int:
        """An integer below ``2**bits``."""
        if name not in self and default is not None:
            return default
        return number(self._needed(name), self.at(name), bits=bits)

    def data(self, name: str, length: int | None = None, default: bytes | None = None) -> bytes:
        """Bytes, of a given length if there is one."""
        if name not in self and default is not None:
            return default
        return data(self._needed(name), self.at(name), length)

    def word(self, name: str) -> bytes:
        """A number as 32 bytes: some write hashes without their leading zeros."""
        return self.number(name).to_bytes(32, "big")

    def _needed(self, name: str) -> Any:
        if name not in self:
            raise Malformed(f"{self.at(name)}: missing")
        return self._table[name]


def number(value: object, where: str, *, bits: int = 256) -> int:
    """An integer below ``2**bits``."""
    found: object = value
    if isinstance(value, str) and "_" not in value:
        text = value.removeprefix(_BIGINT) or value
        try:
            found = 0 if text in ("0x", "") else int(text, 16 if text[:2].lower() == "0x" else 10)
        except ValueError:
            found = None
    if isinstance(found, bool) or not isinstance(found, int):
        raise Malformed(f"{where}: {shown(value)} is not an integer in decimal or hexadecimal")
    if not 0 <= found < 1 << bits:
        raise Malformed(f"{where}: {shown(value)} is not in 0 … 2**{bits} - 1")
    return found


def data(value: object, where: str, length: int | None = None) -> bytes:
    """Bytes, of a given length if there is one."""
    try:
        found = bytes.fromhex(value.removeprefix("0x"))  # type: ignore[attr-defined]  # what is no string has no such method
    except (AttributeError, ValueError):
        raise Malformed(f"{where}: {shown(value)} is not hexadecimal") from None
    if length is not None and len(found) != length:
        raise Malformed(f"{where}: {len(found)} bytes instead of {length}")
    return found


def rows(value: object, where: str) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise Malformed(f"{where}: a list is expected, found {shown(value)}")
    return value


def shown(value: object) -> str:
    """A value in a message, shortened."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def hexadecimal(value: bytes) -> str:
    """Bytes as documents have them."""
    return f"0x{value.hex()}"
