"""Errors as clients see them: one table from exceptions to JSON-RPC codes.

::

    RejectedInput
    └── RpcError
        ├── MalformedJson
        ├── InvalidRequest
        ├── MethodNotFound
        ├── InvalidParameter      names the parameter
        ├── UnknownBlock
        ├── ExecutionReverted     carries the data of the revert
        ├── CallFailed            a call that fails otherwise, or that its sender cannot pay
        ├── TransactionRefused    a transaction that the state makes invalid, or that is known already
        └── AnswerTooLarge

References
----------
JSON-RPC 2.0, section 5.1; EIP-1474 (codes from -32000); EIP-838 and common practice for code 3 (reverts).
"""

from typing import Final

from ledger import LimitExceeded
from schemas.errors import Gone, InvalidTransaction, QueueFull, RejectedInput, Transient


class RpcError(RejectedInput):
    """Root of the errors that only this room raises."""

    data: str | None = None
    """Hex data that goes with the error."""


class MalformedJson(RpcError):
    """A body that isn't JSON, or is nested too deep."""


class InvalidRequest(RpcError):
    """JSON that isn't a request."""


class MethodNotFound(RpcError):
    """A method that isn't in the table."""


class InvalidParameter(RpcError):
    """A parameter that is missing, malformed or contradicts another one."""


class UnknownBlock(RpcError):
    """A block that doesn't exist."""


class ExecutionReverted(RpcError):
    """A call that reverted."""

    def __init__(self, reason: str, output: bytes) -> None:
        super().__init__(reason)
        self.data = f"0x{output.hex()}"


class CallFailed(RpcError):
    """A call that ended otherwise than by a revert."""


class TransactionRefused(RpcError):
    """A transaction that isn't sent on."""


class AnswerTooLarge(RpcError):
    """The answers to a batch exceed the limit."""


INTERNAL: Final = -32603

CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (MalformedJson, -32700),
    (InvalidRequest, -32600),
    (MethodNotFound, -32601),
    (InvalidParameter, -32602),
    (UnknownBlock, -32001),
    (ExecutionReverted, 3),
    (AnswerTooLarge, -32003),
    (LimitExceeded, -32005),
    (QueueFull, -32005),
    (Gone, 4444),
    (CallFailed, -32000),
    (TransactionRefused, -32000),
    (InvalidTransaction, -32000),
    (Transient, -32002),
)
"""The first class that fits gives the code. Everything else is an internal error."""


def code_of(error: Exception) -> int:
    """The JSON-RPC code of an error."""
    return next((code for kind, code in CODES if isinstance(error, kind)), INTERNAL)
