"""The client for receipts: from anywhere in the topic, filtered, or waiting for one of them.

A receipt is a record on the topic `receipts`; the partition is the shard that publishes it. Its key is the hash of the
transaction, and the headers `status`, `from` and `to` let a reader pass over it without decoding it.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from schemas.codec import CODEC
from schemas.errors import Unavailable
from schemas.records import Receipt, Source
from schemas.topics import Topic, receipts
from streams.kafka import KafkaLog, KafkaSettings
from streams.log import Fetched, Log

REMEMBERED_MAX = 50_000
"""Receipts that `ReceiptSubscriber.wait` keeps for later calls."""
_POLL_S: Final = 0.1
_PROBE_S: Final = 2.0
"""How long a step of the search for an epoch waits for a record."""
_SCAN_RECORDS: Final = 500
"""The search ends where so few are left; they are read through."""


class Live:
    """Start at the end: only receipts that are published from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FromEpoch:
    """Start with the receipts of an epoch."""

    epoch: int


Start = Live | FromEpoch | Mapping[int, int]
"""Where to begin; a mapping names for each shard the next offset, as `ReceiptSubscriber.positions` gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptFilter:
    """Which receipts a subscriber gets. Each condition that isn't empty has to hold."""

    hashes: frozenset[bytes] = frozenset()
    """Transaction hashes."""
    sources: frozenset[Source] = frozenset()
    """Positions in `transactions`."""
    addresses: frozenset[bytes] = frozenset()
    """One of these is the sender, the recipient, the created contract, or the emitter of a log."""

    def may_match(self, record: Fetched) -> bool:
        """Whether a record is worth decoding."""
        return not self.hashes or record.key in self.hashes

    def matches(self, receipt: Receipt) -> bool:
        """Whether a receipt is asked for."""
        if self.hashes and receipt.hash not in self.hashes:
            return False
        if self.sources and receipt.source not in self.sources:
            return False
        if not self.addresses:
            return True
        involved = {receipt.sender, receipt.recipient, receipt.contract, *(event.address for event in receipt.logs)}
        return not self.addresses.isdisjoint(involved)


class ReceiptSubscriber:
    """Reads receipts, only those of committed Kafka transactions. For use by one thread.

    While brokers are away it waits for them; nothing is lost or repeated. Iterate over it (it never ends), take what
    is there with `poll`, or `wait` for one receipt.

    Parameters
    ----------
    settings
        The cluster.
    shards
        M, the number of partitions of `receipts`.
    start
        `Live`, `FromEpoch`, or the next offset of each shard (0 where it isn't named).
    only
        What to get; everything by default.
    log
        What to read from; a connection of its own by default.

    Raises
    ------
    Unavailable
        The brokers don't tell the positions.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        shards: int,
        *,
        start: Start | None = None,
        only: ReceiptFilter | None = None,
        log: Log | None = None,
    ) -> None:
        self._log: Log = KafkaLog(settings) if log is None else log
        self._only = only or ReceiptFilter()
        self._from_epoch = start.epoch if isinstance(start, FromEpoch) else 0
        self._fetched: deque[Fetched] = deque()
        self._by_source: OrderedDict[Source, Receipt] = OrderedDict()
        self._by_hash: dict[bytes, Receipt] = {}
        topics = [receipts(shard) for shard in range(shards)]
        ends = self._log.ends(topics)
        if isinstance(start, FromEpoch):
            self.positions = {
                topic.partition: self._first_of_epoch(topic, start.epoch, ends[topic]) for topic in topics
            }
        elif isinstance(start, Mapping):
            self.positions = {topic.partition: start.get(topic.partition, 0) for topic in topics}
        else:
            self.positions = {topic.partition: ends[topic] for topic in topics}
        """For each shard the offset to read on from; what lies before has been returned or passed over."""
        self._log.follow({topic: self.positions[topic.partition] for topic in topics})

    # ---- reading ------------------------------------------------------------------------------------------------

    def poll(self, timeout_s: float) -> list[Receipt]:
        """The next receipts that pass the filter; empty if there are none within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            if not self._fetched:
                self._fetched += self._log.poll(max(0.0, min(_POLL_S, left)))
            found = list(iter(self._next, None))
            if found or left <= 0:
                return found

    def __iter__(self) -> Iterator[Receipt]:
        """Receipts as they come. Those of one shard are in the order of their epochs."""
        while True:
            receipt = self._next()
            if receipt is None:
                self._fetched += self._log.poll(_POLL_S)
            else:
                yield receipt

    def wait(self, what: Source | bytes, timeout_s: float) -> Receipt:
        """Wait for the receipt of a source or of a transaction hash.

        Receipts that come meanwhile are remembered for later calls (the newest 50,000), but not iterated. A hash may
        have several receipts if the transaction was sent more than once; an inclusion is preferred among those seen so
        far. A source is exact.

        Raises
        ------
        Unavailable
            It doesn't come in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            known = self._by_source.get(what) if isinstance(what, Source) else self._by_hash.get(what)
            if known is not None:
                return known
            left = deadline - time.monotonic()
            found = self.poll(max(0.0, left))
            for receipt in found:
                self._remember(receipt)
            if not found and left <= 0:
                name = f"source {tuple(what)}" if isinstance(what, Source) else f"transaction 0x{what.hex()}"
                raise Unavailable(f"no receipt of {name} within {timeout_s:g} s")

    def close(self) -> None:
        """Disconnect."""
        self._log.close()

    def __enter__(self) -> Self:
        """The subscriber; it is closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self) -> Receipt | None:
        """The next receipt of those that are fetched and pass the filter; only now they count as returned."""
        while self._fetched:
            record = self._fetched.popleft()
            shard = record.topic.partition
            if record.offset < self.positions[shard]:
                continue
            self.positions[shard] = record.offset + 1
            if not self._only.may_match(record):
                continue
            receipt = CODEC.decode_as(Receipt, record.value)
            if receipt.epoch >= self._from_epoch and self._only.matches(receipt):
                return receipt
        return None

    def _remember(self, receipt: Receipt) -> None:
        self._by_source[receipt.source] = receipt
        known = self._by_hash.get(receipt.hash)
        if known is None or receipt.included or not known.included:
            self._by_hash[receipt.hash] = receipt
        while len(self._by_source) > REMEMBERED_MAX:
            _, oldest = self._by_source.popitem(last=False)
            if self._by_hash.get(oldest.hash) is oldest:
                del self._by_hash[oldest.hash]

    # ---- seeking ------------------------------------------------------------------------------------------------

    def _first_of_epoch(self, topic: Topic, epoch: int, end: int) -> int:
        """An offset before which no receipt of `epoch` lies, by halving: epochs rise within a partition.

        Where a probe finds no record in time the search goes on below it. That can only make it begin too early, and
        what is earlier is passed over.
        """
        low, high = 0, end
        while high - low > _SCAN_RECORDS:
            middle = (low + high) // 2
            found = self._probe(topic, middle)
            if found is None or found[1] >= epoch:
                high = middle
            else:
                low = max(found[0] + 1, middle + 1)
        return low

    def _probe(self, topic: Topic, offset: int) -> tuple[int, int] | None:
        """Offset and epoch of the first receipt at or after an offset; None if none comes in time."""
        self._log.follow({topic: offset})
        deadline = time.monotonic() + _PROBE_S
        try:
            while time.monotonic() < deadline:
                for record in self._log.poll(_POLL_S):
                    if record.topic == topic and record.offset >= offset:
                        return record.offset, CODEC.decode_as(Receipt, record.value).epoch
        finally:
            self._log.leave([topic])
        return None


__all__ = ["FromEpoch", "Live", "ReceiptFilter", "ReceiptSubscriber", "Start"]
