"""Which logs somebody asks for, and the keys under which blocks with such logs are found.

Each key ends with a block number (8 bytes) and its value lists the indexes in the block of the transactions that have
such a log (4 bytes each):

===========================  ====================================================
key                          blocks with
===========================  ====================================================
``w``                        any log
``a`` + address (20)         a log of the contract
``l`` + topic (32) + address a log of the contract with this first topic
===========================  ====================================================

All other conditions are checked on the receipts found that way.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from schemas.errors import RejectedInput
from schemas.records import Event, Receipt

from .database import Database

_NUMBER = Struct(">Q")
_INDEX = Struct(">I")

CANDIDATES_MAX = 100_000
"""Transactions that one query looks at."""


class LimitExceeded(RejectedInput):
    """A query that finds or looks at more than it may; the message names the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Conditions on a log; all have to hold."""

    addresses: frozenset[bytes] = frozenset()
    """One of these contracts; empty for any."""
    topics: tuple[frozenset[bytes], ...] = ()
    """By position one of these topics; an empty set for any, but the log has to have that many topics."""

    def matches(self, event: Event) -> bool:
        """Whether a log is asked for."""
        if self.addresses and event.address not in self.addresses:
            return False
        if len(event.topics) < len(self.topics):
            return False
        return all(not asked or topic in asked for asked, topic in zip(self.topics, event.topics, strict=False))


class LoggedEvent(NamedTuple):
    """A log with the receipt that it stands in."""

    receipt: Receipt
    log_index: int
    """Within the block."""
    event: Event


def matching(receipt: Receipt, asked: LogFilter) -> Iterator[LoggedEvent]:
    """The logs of a receipt that a filter asks for."""
    for position, event in enumerate(receipt.logs):
        if asked.matches(event):
            yield LoggedEvent(receipt, receipt.log_index + position, event)


def entries(block: int, receipts: Iterable[Receipt]) -> Iterator[tuple[bytes, bytes]]:
    """The index entries of a block."""
    found: dict[bytes, list[int]] = {}
    for receipt in receipts:
        if not receipt.logs:
            continue
        keys = {b"w"}
        for event in receipt.logs:
            keys.add(b"a" + event.address)
            if event.topics:
                keys.add(b"l" + event.topics[0] + event.address)
        for key in keys:
            found.setdefault(key, []).append(receipt.transaction_index or 0)
    number = _NUMBER.pack(block)
    for key, indexes in found.items():
        yield key + number, b"".join(map(_INDEX.pack, indexes))


def candidates(database: Database, asked: LogFilter, first: int, last: int) -> dict[int, set[int]]:
    """By block the transactions that may have such logs, for the blocks `first` to `last`.

    Raises
    ------
    LimitExceeded
        If they are more than `CANDIDATES_MAX`.
    """
    found: dict[int, set[int]] = {}
    count = 0
    for prefix in _prefixes(database, asked):
        for key, value in database.scan(prefix + _NUMBER.pack(first), prefix + _NUMBER.pack(last + 1)):
            (number,) = _NUMBER.unpack(key[-8:])
            count += len(value) // 4
            if count > CANDIDATES_MAX:
                raise LimitExceeded(
                    f"the query looks at more than {CANDIDATES_MAX} transactions; narrow its block range"
                )
            found.setdefault(number, set()).update(index for (index,) in _INDEX.iter_unpack(value))
    return found


def _prefixes(database: Database, asked: LogFilter) -> Iterator[bytes]:
    """The keys, without block number, under which such logs are found."""
    first_topics = asked.topics[0] if asked.topics else frozenset()
    if first_topics:
        for topic in sorted(first_topics):
            addresses = sorted(asked.addresses) if asked.addresses else _emitters(database, topic)
            for address in addresses:
                yield b"l" + topic + address
    elif asked.addresses:
        for address in sorted(asked.addresses):
            yield b"a" + address
    else:
        yield b"w"


def _emitters(database: Database, topic: bytes) -> Iterator[bytes]:
    """All contracts that emitted a log with this first topic, found by leaping from one to the next."""
    low, high = b"l" + topic, b"l" + topic + b"\xff" * 29
    while True:
        entry = next(database.scan(low, high), None)
        if entry is None:
            return
        address = entry[0][33:53]
        yield address
        low = b"l" + topic + address + b"\xff" * 9
