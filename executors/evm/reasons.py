"""Why an execution failed, in words."""

from typing import Final

from .library import (
    ContractCreationCollision,
    FullStack,
    InsufficientStack,
    InvalidJumpDestination,
    OutOfBoundsRead,
    OutOfGas,
    ReservedBytesInCode,
    Revert,
    VMError,
    WriteProtection,
)

_WORDS: Final[dict[type[VMError], str]] = {
    OutOfGas: "out of gas",
    InsufficientStack: "stack underflow",
    FullStack: "stack limit reached 1024",
    InvalidJumpDestination: "invalid jump destination",
    WriteProtection: "write protection",
    OutOfBoundsRead: "return data out of bounds",
    ContractCreationCollision: "contract address collision",
    ReservedBytesInCode: "invalid code: must not begin with 0xef",
}

_ERROR: Final = bytes.fromhex("08c379a0")
"""Selector of ``Error(string)``."""
_PANIC: Final = bytes.fromhex("4e487b71")
"""Selector of ``Panic(uint256)``."""
_PANICS: Final = {
    0x01: "assert(false)",
    0x11: "arithmetic underflow or overflow",
    0x12: "division or modulo by zero",
    0x21: "enum overflow",
    0x22: "invalid encoded storage byte array accessed",
    0x31: "out-of-bounds array access; popping on an empty array",
    0x32: "out-of-bounds access of an array or bytesN",
    0x41: "out of memory",
    0x51: "uninitialized function",
}


def reason(error: VMError, output: bytes) -> str:
    """Words for an error of the outermost frame and the data that came with it."""
    if isinstance(error, Revert):
        return revert_reason(output)
    words = _WORDS.get(type(error))
    if words is None:
        return str(error)
    text = str(error)
    # A limit of sizes counts as out of gas and says itself what it is.
    return text if isinstance(error, OutOfGas) and text.startswith("max ") else words


def revert_reason(output: bytes) -> str:
    """Words for the data of a REVERT: the message or panic of a compiled contract, or the selector of its own error."""
    selector, arguments = output[:4], output[4:]
    if selector == _ERROR:
        message = _string(arguments)
        if message is not None:
            return f"execution reverted: {message}"
    if selector == _PANIC and len(arguments) == 32:
        code = int.from_bytes(arguments, "big")
        return f"execution reverted: panic {code:#04x} ({_PANICS.get(code, 'unknown')})"
    if len(selector) == 4:
        return f"execution reverted: custom error 0x{selector.hex()}"
    return "execution reverted"


def _string(arguments: bytes) -> str | None:
    """The string that is the only argument, or None if it isn't encoded so."""
    if len(arguments) < 64 or int.from_bytes(arguments[:32], "big") != 32:
        return None
    length = int.from_bytes(arguments[32:64], "big")
    text = arguments[64:64 + length]
    return text.decode(errors="replace") if len(text) == length else None
