"""What an engine made of a list of transactions, and how it is read from JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One log of a receipt."""

    address: bytes
    """20 bytes."""
    topics: tuple[bytes, ...]
    """Up to four of 32 bytes."""
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What came of one transaction."""

    hash: bytes
    """Keccak-256 of the signed transaction, 32 bytes."""
    status: int | None
    """1 or 0; None if it was rejected."""
    gas_used: int
    logs: tuple[Log, ...]
    error: str | None
    """None, or the name of the specification's exception, with its message if it has one."""
    output: bytes
    """What the outermost frame returned or reverted with."""
    created: bytes | None
    """Address of the contract that it created, 20 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account after the last block."""

    balance: int
    nonce: int
    code: bytes
    storage: Mapping[int, int]
    """Slots that aren't zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of an input document."""

    receipts: tuple[Receipt, ...]
    """One for each transaction, in order."""
    accounts: Mapping[bytes, Account]
    """By address."""


def unhex(text: str) -> bytes:
    """Bytes of 0x-prefixed hex."""
    return bytes.fromhex(text.removeprefix("0x"))


def parse(document: Mapping[str, Any]) -> Result:
    """Read the runner's output document, or the ``output`` of a case in ``gold.json``."""
    receipts = tuple(
        Receipt(
            hash=unhex(entry["hash"]),
            status=entry["status"],
            gas_used=entry["gas_used"],
            logs=tuple(
                Log(
                    address=unhex(log["address"]),
                    topics=tuple(unhex(topic) for topic in log["topics"]),
                    data=unhex(log["data"]),
                )
                for log in entry["logs"]
            ),
            error=entry["error"],
            output=unhex(entry["output"]),
            created=unhex(entry["created"]) if entry["created"] else None,
        )
        for entry in document["transactions"]
    )
    accounts = {
        unhex(address): Account(
            balance=int(account["balance"], 16),
            nonce=account["nonce"],
            code=unhex(account["code"]),
            storage={int(slot, 16): int(value, 16) for slot, value in account["storage"].items()},
        )
        for address, account in document["accounts"].items()
    }
    return Result(receipts=receipts, accounts=accounts)
