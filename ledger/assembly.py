"""Whole epochs out of two topics that come in any order against each other.

An epoch is complete when a valid manifest has closed it and all receipts are there that the close promises. Complete
epochs leave in order. What waits is bounded by its reader: `wanted` tells which topics can help the epoch that is
waited for.
"""

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.errors import InvariantViolation, UndecodableRecord
from schemas.hashing import digest
from schemas.records import Exclusion, Manifest, Receipt, Source
from schemas.topics import EPOCHS, Topic, receipts
from streams.log import Fetched

from .blocks import IndexedBlock, state_commitment

log = logging.getLogger(__name__)

RECEIPTS_WAITING_MAX = 20_000
"""Receipts of later epochs that wait; above that only shards are read that the next epoch needs."""
EPOCHS_WAITING_MAX = 4_096
"""Closed epochs that wait for receipts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """An epoch that a valid manifest has closed."""

    epoch: int
    number: int
    hash: bytes
    """Of the manifest that closes it."""
    parent_hash: bytes
    timestamp_ms: int
    randomness: bytes
    state_root: bytes
    expected: int
    """Receipts, those of rejected transactions included."""
    included: int
    tip: Tip
    """After the closing manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteEpoch:
    """An epoch with all its receipts."""

    closed: Closed
    block: IndexedBlock | None
    """None if nothing was included."""
    included: tuple[tuple[Receipt, bytes], ...]
    """By index in the block, each with its bytes on the topic."""
    rejected: tuple[tuple[Receipt, bytes], ...]


def closed_by(tip: Tip, after: Tip, manifest: Manifest) -> Closed:
    """The open epoch of `tip`, which `manifest` closes; `after` is the tip after it."""
    outcomes = [outcome for outcome in manifest.close if outcome is not None]
    return Closed(
        epoch=tip.epoch,
        number=tip.block,
        hash=after.hash,
        parent_hash=tip.ancestors[-1],
        timestamp_ms=tip.timestamp_ms,
        randomness=tip.randomness,
        state_root=state_commitment(after.digests),
        expected=sum(outcome.included + outcome.rejected for outcome in outcomes),
        included=sum(outcome.included for outcome in outcomes),
        tip=after,
    )


class Assembler:
    """Takes records of `epochs` and `receipts`, gives whole epochs.

    Parameters
    ----------
    tip
        After the last epoch that is stored.
    receipts_from
        For each shard where to read on in `receipts`.
    """

    def __init__(self, tip: Tip, receipts_from: Mapping[int, int]) -> None:
        self.tip = tip
        """After all manifests that were read."""
        self.stored = tip
        """After the last epoch that was given out."""
        self.epochs_read = tip.offset + 1
        """Where to read on in `epochs`."""
        self._closed: deque[Closed] = deque()
        self._held: dict[int, dict[Source, tuple[Receipt, bytes]]] = {}
        self._waiting = 0
        self._next = dict(receipts_from)
        self._unstored: dict[int, deque[tuple[int, int]]] = {shard: deque() for shard in receipts_from}
        self._newest: dict[int, int] = dict.fromkeys(receipts_from, 0)

    @property
    def next_epoch(self) -> int:
        """The epoch that is waited for."""
        return self._closed[0].epoch if self._closed else self.tip.epoch

    @property
    def closed_waiting(self) -> int:
        """Closed epochs that wait for receipts."""
        return len(self._closed)

    def take(self, record: Fetched) -> None:
        """Take a record of one of the two topics.

        Raises
        ------
        InvariantViolation
            A receipt that nobody can read, or more of them than the close promises.
        """
        if record.topic == EPOCHS:
            self._take_manifest(record)
        else:
            self._take_receipt(record)

    def _take_manifest(self, record: Fetched) -> None:
        if record.offset < self.epochs_read:
            return
        self.epochs_read = record.offset + 1
        try:
            value = CODEC.decode(record.value)
        except UndecodableRecord as exc:
            log.warning("offset %d of epochs is skipped: %s", record.offset, exc)
            return
        if not isinstance(value, Manifest | Exclusion):
            return
        before, after = self.tip, self.tip.after(value, digest(record.value), record.offset)
        if after is None:
            return
        self.tip = after
        # The first manifest closes nothing: epochs start at 1.
        if isinstance(value, Manifest) and before.epoch > 0:
            self._closed.append(closed_by(before, after, value))
        elif isinstance(value, Manifest):
            self.stored = after

    def _take_receipt(self, record: Fetched) -> None:
        shard = record.topic.partition
        if record.offset < self._next[shard]:
            return
        self._next[shard] = record.offset + 1
        try:
            receipt = CODEC.decode_as(Receipt, record.value)
        except UndecodableRecord as exc:
            raise InvariantViolation(f"receipts [{shard}] holds at {record.offset} no receipt: {exc}") from exc
        self._newest[shard] = max(self._newest[shard], receipt.epoch)
        if receipt.epoch < self.next_epoch:
            return
        held = self._held.setdefault(receipt.epoch, {})
        if receipt.source not in held:
            held[receipt.source] = receipt, record.value
            self._unstored[shard].append((receipt.epoch, record.offset))
            self._waiting += 1

    def complete(self, transactions_read: Mapping[int, int]) -> list[CompleteEpoch]:
        """The epochs that are whole now, in order. They are forgotten in here.

        Parameters
        ----------
        transactions_read
            For each partition of `transactions` up to where it has been read: an epoch waits for its transactions too.
        """
        done: list[CompleteEpoch] = []
        while self._closed:
            closed = self._closed[0]
            held = self._held.get(closed.epoch, {})
            if len(held) > closed.expected:
                raise InvariantViolation(
                    f"epoch {closed.epoch} has {len(held)} receipts, its close promises {closed.expected}"
                )
            if len(held) < closed.expected or not all(
                source.offset < transactions_read.get(source.partition, 0) for source in held
            ):
                break
            done.append(_assembled(closed, list(held.values())))
            self._closed.popleft()
            self._held.pop(closed.epoch, None)
            self._waiting -= len(held)
            self.stored = closed.tip
        if done:
            last = done[-1].closed.epoch
            for unstored in self._unstored.values():
                while unstored and unstored[0][0] <= last:
                    unstored.popleft()
        return done

    @property
    def receipts_from(self) -> dict[int, int]:
        """For each shard the first receipt that isn't in an epoch given out: where a restart reads on."""
        return {shard: unstored[0][1] if unstored else self._next[shard] for shard, unstored in self._unstored.items()}

    @property
    def needs_transactions(self) -> bool:
        """Whether the next epoch has all its receipts, and waits only for the transactions to be read."""
        return bool(self._closed) and len(self._held.get(self._closed[0].epoch, ())) == self._closed[0].expected

    def wanted(self) -> dict[Topic, int]:
        """The topics to read now, each with its position; those that run too far ahead are left out."""
        wanted = {EPOCHS: self.epochs_read} if len(self._closed) < EPOCHS_WAITING_MAX else {}
        ahead = self._waiting >= RECEIPTS_WAITING_MAX
        for shard, position in self._next.items():
            # Epochs rise within a partition: a shard that is past the next epoch has nothing more of it.
            if not ahead or self._newest[shard] <= self.next_epoch:
                wanted[receipts(shard)] = position
        return wanted


def _assembled(closed: Closed, held: list[tuple[Receipt, bytes]]) -> CompleteEpoch:
    included = sorted((entry for entry in held if entry[0].included), key=lambda entry: entry[0].transaction_index or 0)
    rejected = sorted((entry for entry in held if not entry[0].included), key=lambda entry: entry[0].source)
    if len(included) != closed.included or [receipt.transaction_index for receipt, _ in included] != list(
        range(len(included))
    ):
        raise InvariantViolation(
            f"epoch {closed.epoch} has {len(included)} receipts of included transactions with indexes that aren't "
            f"0 to {closed.included - 1}"
        )
    block = None
    if included:
        block = IndexedBlock(
            number=closed.number,
            hash=closed.hash,
            parent_hash=closed.parent_hash,
            epoch=closed.epoch,
            timestamp_ms=closed.timestamp_ms,
            randomness=closed.randomness,
            state_root=closed.state_root,
            gas_used=sum(receipt.gas_used for receipt, _ in included),
            sources=tuple(receipt.source for receipt, _ in included),
        )
    return CompleteEpoch(closed=closed, block=block, included=tuple(included), rejected=tuple(rejected))
