"""What a virtual machine is to the rest: two functions and a narrow view of the state.

The transaction processor knows nothing else of a machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ingest.transactions import Transaction
from schemas.keys import StateKey


class StateView(Protocol):
    """The only way of a transaction to state. Whatever it reads is recorded, and stays recorded if the call reverts.

    `read` may raise `Missing`; a machine lets it pass and keeps nothing of the unfinished run.
    """

    def read(self, key: StateKey) -> bytes:
        """The value now, with what this transaction and earlier ones of its list changed; empty if there is none."""

    def write(self, key: StateKey, value: bytes) -> None:
        """Set a value."""

    def add(self, key: StateKey, amount: int) -> None:
        """Add an amount >= 0 to an integer without reading it."""


class Missing(Exception):
    """Values that have to be fetched from a shard before the transaction can run."""

    def __init__(self, keys: frozenset[StateKey]) -> None:
        super().__init__(f"{len(keys)} keys")
        self.keys = keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What a transaction sees of the epoch that it runs in."""

    number: int
    timestamp_s: int
    prevrandao: bytes
    """32 bytes, from the manifest."""
    ancestor: Callable[[int], bytes]
    """Hash of one of the last 256 blocks by number; 32 zero bytes for any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """An event that a contract emitted."""

    address: bytes
    topics: tuple[bytes, ...]
    """Up to four of 32 bytes."""
    data: bytes


class Status(Enum):
    """How an included transaction ended."""

    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """An included transaction."""

    status: Status
    gas_used: int
    """After refunds."""
    output: bytes = b""
    """What the call returned, or the data of its revert."""
    logs: tuple[Log, ...] = ()
    contract: bytes | None = None
    """Address of the contract that a creating transaction made."""
    reason: str = ""
    """Why it failed, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A transaction that the state makes invalid. Whatever it wrote is dropped; what it read is validated as ever."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """A transaction whose nonce is ahead of its account's."""

    nonce: int
    """The account's."""


Answer = Result | Rejected | Waits


class VirtualMachine(Protocol):
    """A virtual machine of this node."""

    def execute(self, transaction: Transaction, block: Block, view: StateView) -> Answer:
        """Run one transaction to its end; deterministic in its arguments and the rules."""
