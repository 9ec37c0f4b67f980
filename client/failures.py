"""What can come of a message or transaction besides success.

::

    RejectedInput
    └── ExecutionFailed       a call or an estimate that doesn't succeed; nothing was sent
        └── TransactionFailed     a transaction that failed or was rejected; it carries the receipt
"""

from typing import Final

from schemas.errors import RejectedInput
from schemas.records import Receipt


class ExecutionFailed(RejectedInput):
    """A message that doesn't succeed."""

    def __init__(self, reason: str, output: bytes = b"") -> None:
        super().__init__(reason)
        self.reason: Final = reason
        """In words: what a contract said when it reverted, or the limit that was reached."""
        self.output: Final = output
        """The data of a revert, by convention encoded as Solidity's errors are."""


class TransactionFailed(ExecutionFailed):
    """A transaction that is in a block without success, or was rejected."""

    def __init__(self, receipt: Receipt) -> None:
        super().__init__(receipt.reason, receipt.output)
        self.receipt: Final = receipt
        """`status` is ``failed`` (in a block, its gas is paid) or ``rejected`` (nothing was changed)."""

    def __str__(self) -> str:
        return f"transaction 0x{self.receipt.hash.hex()} {self.receipt.status}: {self.reason}"
