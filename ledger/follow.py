"""Keeps the index up to date: reads the topics, and stores what is whole."""

import logging
from collections.abc import Callable, Sequence
from threading import Event

from schemas.codec import CODEC
from schemas.errors import Transient, UndecodableRecord
from schemas.records import Envelope, Offset, Partition, Source
from schemas.topics import EPOCHS, Topic, transactions
from streams.log import Fetched, Log

from .assembly import Assembler, CompleteEpoch
from .index import BlockIndex, Positions

log = logging.getLogger(__name__)

POLL_S = 0.1
RETRY_S = 0.5
TRANSACTIONS_STORED_MAX = 2_000
"""Transactions that are read before they are stored, where no epoch is complete earlier."""

Listener = Callable[[Sequence[CompleteEpoch]], None]
"""Gets epochs that have just become complete, on the thread that follows. It is to return soon."""


class IndexFollower:
    """Reads `epochs`, `receipts` and `transactions` into an index; used by one thread.

    Parameters
    ----------
    index
        What it keeps up to date.
    committed
        A log that leaves out records of open and aborted Kafka transactions.
    uncommitted
        A log that doesn't: transactions of aborted client transactions are executed like any other.
    """

    def __init__(self, index: BlockIndex, committed: Log, uncommitted: Log) -> None:
        self._index = index
        self._committed = committed
        self._uncommitted = uncommitted
        self._assembler = Assembler(index.tip, index.positions.receipts)
        self._transactions_read = dict(index.positions.transactions)
        self._unstored: list[tuple[Source, bytes]] = []
        self._following: set[Topic] = set()
        self._listeners: list[Listener] = []
        self._target = 0
        self.started = False
        """Whether all topics are followed."""

    def listen(self, listener: Listener) -> None:
        """Tell a listener about all epochs from now on. Not to be called once the follower runs."""
        self._listeners.append(listener)

    @property
    def caught_up(self) -> bool:
        """Whether all is indexed that was on `epochs` when the follower started, and nothing much waits."""
        return self.started and self._assembler.epochs_read >= self._target and self._assembler.closed_waiting < 100

    @property
    def known_block(self) -> int:
        """Number of the newest block that the manifests read so far tell of."""
        return self._assembler.tip.block - 1

    @property
    def epochs_waiting(self) -> int:
        """Closed epochs that aren't indexed yet."""
        return self._assembler.closed_waiting

    def start(self) -> None:
        """Follow the topics from where the index ends."""
        self._target = self._committed.ends([EPOCHS])[EPOCHS]
        self._uncommitted.follow({transactions(p): offset for p, offset in self._transactions_read.items()})
        self._adjust()
        self.started = True

    def step(self, timeout_s: float) -> list[CompleteEpoch]:
        """Read what is there, waiting for it up to `timeout_s`; the epochs that became complete."""
        waits_for_transactions = self._assembler.needs_transactions
        for record in self._committed.poll(0 if waits_for_transactions else timeout_s):
            self._assembler.take(record)
        for record in self._uncommitted.poll(timeout_s if waits_for_transactions else 0):
            self._take_transaction(record)
        done = self._assembler.complete(self._transactions_read)
        if done or len(self._unstored) >= TRANSACTIONS_STORED_MAX:
            self._store(done)
        self._adjust()
        return done

    def run(self, stopping: Event) -> None:
        """Follow until `stopping` is set.

        Raises
        ------
        InvariantViolation
            The topics contradict each other.
        """
        while not stopping.is_set():
            try:
                if not self.started:
                    self.start()
                self.step(POLL_S)
            except Transient as exc:
                log.warning("following the topics: %s", exc)
                stopping.wait(RETRY_S)

    def _take_transaction(self, record: Fetched) -> None:
        partition = record.topic.partition
        if record.offset < self._transactions_read[partition]:
            return
        self._transactions_read[partition] = record.offset + 1
        try:
            raw = CODEC.decode_as(Envelope, record.value).raw
        except UndecodableRecord:
            return  # it becomes a rejected receipt, and a dead letter
        self._unstored.append((Source(Partition(partition), Offset(record.offset)), raw))

    def _store(self, done: list[CompleteEpoch]) -> None:
        positions = Positions(self._assembler.receipts_from, dict(self._transactions_read))
        self._index.store(done, self._unstored, self._assembler.stored, positions)
        self._unstored = []
        if done:
            for listener in self._listeners:
                listener(done)

    def _adjust(self) -> None:
        """Stop reading topics that run too far ahead of the epoch that is waited for, and read them again later."""
        wanted = self._assembler.wanted()
        gone = self._following - wanted.keys()
        if gone:
            self._committed.leave(gone)
        new = {topic: offset for topic, offset in wanted.items() if topic not in self._following}
        if new:
            self._committed.follow(new)
        self._following = set(wanted)
