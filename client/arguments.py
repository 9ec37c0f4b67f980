"""Arguments and results of functions between Python's values and calldata. The adapter of eth_abi.

============================  ===========================================  =====================
type                          what may be given                            what comes out
============================  ===========================================  =====================
``uint8`` … ``int256``        int                                          int
``bool``                      bool                                         bool
``address``                   20 bytes, text, or what has an `address`     text with a checksum
``bytes``, ``bytes1`` …       bytes, or text of ``0x`` and digits          bytes
``string``                    str                                          str
``T[]``, ``T[3]``             list or tuple                                list
``(T,U)``                     list or tuple                                tuple
============================  ===========================================  =====================

References
----------
Solidity documentation, contract ABI specification.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from schemas.errors import RejectedInput

from .addresses import InvalidAddress, address_of, checksummed
from .functions import Function

_ARRAY: Final = re.compile(r"(.+)\[(\d*)\]")
_INTEGER: Final = re.compile(r"(u?)int(\d+)")
_BYTES: Final = re.compile(r"bytes(\d*)|function")
_SHOWN: Final = 60


class InvalidArgument(RejectedInput):
    """An argument that doesn't fit; the message names it."""


class Undecodable(RejectedInput):
    """What a contract returned isn't what its signature says."""


def calldata(function: Function, arguments: Sequence[Any]) -> bytes:
    """Selector and arguments of a call, or the arguments of a constructor.

    Raises
    ------
    InvalidArgument
        There are too few or too many, or one doesn't fit its type.
    """
    values = [
        fitted(kind, value, where)
        for kind, value, where in zip(function.inputs, arguments, places(function, len(arguments)), strict=True)]
    return function.selector + encode(function.inputs, values)


def places(function: Function, given: int) -> list[str]:
    """What messages call the arguments of a function.

    Parameters
    ----------
    given
        How many there are.

    Raises
    ------
    InvalidArgument
        The function takes more or fewer.
    """
    if given != len(function.inputs):
        raise InvalidArgument(f"{function.signature} takes {_count(len(function.inputs))}, given are {given}")
    return [
        f"argument {number}{f' ({name})' if name else ''} of {function.signature}"
        for number, name in enumerate(function.names, 1)]


def result(function: Function, output: bytes) -> Any:
    """What a function returned: nothing, a value, or a tuple of several; the bytes if its outputs aren't known.

    Raises
    ------
    Undecodable
        It isn't what the signature says.
    """
    if function.outputs is None:
        return output
    try:
        values = decode(function.outputs, output)
    except (DecodingError, ValueError, OverflowError) as exc:
        raise Undecodable(
            f"{function.signature} returned {len(output)} bytes that aren't ({','.join(function.outputs)}): {exc}"
        ) from exc
    found = tuple(_received(kind, value) for kind, value in zip(function.outputs, values, strict=True))
    return None if not found else found[0] if len(found) == 1 else found


def fitted(kind: str, value: Any, where: str) -> Any:
    """A value as the encoder takes it.

    Parameters
    ----------
    kind
        Its type, as in `Function.inputs`.
    where
        What a message calls it.

    Raises
    ------
    InvalidArgument
        It doesn't fit.
    """
    if match := _ARRAY.fullmatch(kind):
        inner, size = match[1], match[2]
        values = _items(kind, value, where, int(size) if size else None)
        return [fitted(inner, each, f"{where}, item {number}") for number, each in enumerate(values)]
    if kind.startswith("("):
        inner_kinds = parts(kind)
        values = _items(kind, value, where, len(inner_kinds))
        return tuple(
            fitted(inner, each, f"{where}, item {number}")
            for number, (inner, each) in enumerate(zip(inner_kinds, values, strict=True)))
    if match := _INTEGER.fullmatch(kind):
        return _integer(kind, value, where, signed=not match[1], bits=int(match[2]))
    if kind == "address":
        try:
            return address_of(value)
        except InvalidAddress as exc:
            raise InvalidArgument(f"{where}: {exc}") from exc
    if match := _BYTES.fullmatch(kind):
        return _bytes(kind, value, where, 24 if kind == "function" else int(match[1] or 0))
    if not isinstance(value, {"bool": bool, "string": str}.get(kind, object)):
        raise InvalidArgument(f"{where}: {_shown(value)} is no {kind}")
    return value


def parts(kind: str) -> list[str]:
    """The types in a tuple, ``(uint8,(bool,string)[])``."""
    found, depth, word = [], 0, ""
    for letter in kind[1:-1]:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            found.append(word)
            word = ""
        else:
            word += letter
    return [*found, word] if word else found


def _received(kind: str, value: Any) -> Any:
    """A decoded value as users get it."""
    if match := _ARRAY.fullmatch(kind):
        return [_received(match[1], each) for each in value]
    if kind.startswith("("):
        return tuple(_received(inner, each) for inner, each in zip(parts(kind), value, strict=True))
    return checksummed(bytes.fromhex(value[2:])) if kind == "address" else value


def _items(kind: str, value: Any, where: str, size: int | None) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidArgument(f"{where}: {_shown(value)} is no list for {kind}")
    if size is not None and len(value) != size:
        raise InvalidArgument(f"{where}: {len(value)} items, {kind} has {size}")
    return value


def _integer(kind: str, value: Any, where: str, *, signed: bool, bits: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgument(f"{where}: {_shown(value)} is no integer")
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if not low <= value <= high:
        raise InvalidArgument(f"{where}: {_shown(value)} doesn't fit {kind}, which goes from {low} to {high}")
    return value


def _bytes(kind: str, value: Any, where: str, size: int) -> bytes:
    data = value
    if isinstance(value, str):
        try:
            data = bytes.fromhex(value[2:]) if value.startswith("0x") else None
        except ValueError:
            data = None
    if not isinstance(data, bytes | bytearray):
        raise InvalidArgument(f"{where}: {_shown(value)} is no {kind}: bytes, or 0x and hexadecimal digits")
    if size and len(data) != size:
        raise InvalidArgument(f"{where}: {len(data)} bytes, {kind} has {size}")
    return bytes(data)


def _count(number: int) -> str:
    return "no arguments" if not number else "1 argument" if number == 1 else f"{number} arguments"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
