"""What the 256-bit numbers of Lua contracts leave to Python."""

import re
from typing import Final

_LIMIT: Final = 2**256
_DECIMAL: Final = re.compile(rb"[0-9]{1,78}")
_HEXADECIMAL: Final = re.compile(rb"0[xX][0-9a-fA-F]{1,64}")


class BadNumber(ValueError):
    """No such number of 256 bits."""


def computed(what: bytes, a: bytes, b: bytes, c: bytes) -> bytes:
    """A product, quotient, remainder or power, exactly.

    Parameters
    ----------
    what
        ``*``, ``//``, ``%``, ``pow`` or ``muldiv`` (``a * b // c`` with no limit on the product).
    a, b, c
        Numbers of 32 bytes; only ``muldiv`` has a third one.

    Raises
    ------
    BadNumber
        If the result has more than 256 bits, or for a division by zero.
    """
    x, y = int.from_bytes(a, "big"), int.from_bytes(b, "big")
    if what == b"*":
        result = x * y
    elif what == b"pow":
        result = _power(x, y)
    else:
        divisor = int.from_bytes(c, "big") if what == b"muldiv" else y
        if not divisor:
            raise BadNumber("division by zero")
        result = x % divisor if what == b"%" else (x * y if what == b"muldiv" else x) // divisor
    if result >= _LIMIT:
        raise BadNumber("arithmetic overflow: a result above 2**256 - 1")
    return result.to_bytes(32, "big")


def _power(base: int, exponent: int) -> int:
    if base > 1 and exponent > 255:
        return _LIMIT
    return base if base < 2 and exponent else base**exponent


def parsed(text: bytes) -> bytes:
    """The 32 bytes of a number in decimal digits, or in hexadecimal ones after 0x.

    Raises
    ------
    BadNumber
        If the text isn't a number of 256 bits.
    """
    if _DECIMAL.fullmatch(text):
        number = int(text)
    elif _HEXADECIMAL.fullmatch(text):
        number = int(text, 16)
    else:
        raise BadNumber(f"{text.decode(errors='replace')!r} is no number")
    if number >= _LIMIT:
        raise BadNumber(f"{text.decode()} is above 2**256 - 1")
    return number.to_bytes(32, "big")
