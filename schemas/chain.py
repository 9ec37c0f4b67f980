"""The chain of manifests: what a record on `epochs` means, as a pure function of the valid records before it.

Every reader, whatever its role, holds a `Tip` and calls `Tip.after` with one record after the other. Nothing else
decides validity, so that all readers decide alike. A reader that starts in the middle takes the tip of a shard.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from .hashing import digest
from .records import (
    Accepted,
    Epoch,
    Exclusion,
    FirstCut,
    Input,
    Lane,
    LaneOutcome,
    Manifest,
    Offset,
    Origin,
    Partition,
    ShardDigest,
    Slice,
    StoredTip,
)
from .rules import Rules

ANCESTORS = 256
"""So many block hashes can be asked for."""


class Listed(NamedTuple):
    """One transaction of a list: where to find it, and whether it may still wait for a nonce."""

    partition: Partition  # whose input it is
    origin: Origin
    carry: int | None  # position in `carries`; None if it comes from the range of offsets
    parked_ms: int | None
    expired: bool
    skip: bool


def anchor(genesis_hash: bytes, partitions: int, shards: int, rules: Rules) -> bytes:
    """What the first record names as the previous one: BLAKE2b-256 of genesis hash, N, M (4 bytes each), rules hash."""
    return digest(genesis_hash + partitions.to_bytes(4, "big") + shards.to_bytes(4, "big") + rules.hash())


def carries_from(waiting: Input) -> int:
    """Where a new executor starts to read `carries`."""
    return min((carry.position for carry in waiting.pending), default=waiting.carries_end)


def without(waiting: Input, cut: Slice) -> tuple[Accepted, ...]:
    """The carries that `cut` did not take."""
    taken = frozenset(cut.carries)
    return tuple(carry for carry in waiting.pending if carry.position not in taken)


def committed(waiting: Input, cut: Slice, single: int) -> Input:
    """The input after a lane that held `cut` of it committed."""
    left = tuple(entry for entry in waiting.first_cuts if entry.end > cut.high)
    # A partition that is cut one by one stays so until all is passed that was cut when its executors died.
    strikes = min(waiting.strikes, single) if left and waiting.strikes >= single else 0
    return replace(waiting, consumed=cut.high, first_cuts=left, pending=without(waiting, cut), strikes=strikes)


def accepting(waiting: Input, carries: Sequence[Accepted]) -> Input:
    """The input with carries that a close accepted, oldest origin first."""
    if not carries:
        return waiting
    end = max([waiting.carries_end, *(carry.position + 1 for carry in carries)])
    pending = sorted((*waiting.pending, *carries), key=lambda carry: (carry.origin, carry.position))
    return replace(waiting, pending=tuple(pending), carries_end=end)


def cutting(waiting: Input, cut: Slice, epoch: int, joined: int) -> Input:
    """The input once a manifest has cut it. Offsets that were cut before keep the origin of that time."""
    known = waiting.first_cuts[-1].end if waiting.first_cuts else waiting.consumed
    new = (FirstCut(end=cut.high, epoch=epoch),) if cut.high > known else ()
    return replace(waiting, first_cuts=waiting.first_cuts + new, joins_from=joined)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """All that follows from the valid records so far."""

    hash: bytes
    """Of the last valid record: BLAKE2b-256 of its bytes on the topic."""
    rules: Rules
    offset: int = -1
    """Of the last valid record on `epochs`."""
    epoch: int = 0
    """The open one."""
    block: int = 0
    """Number that the open epoch has if it becomes a block."""
    timestamp_ms: int = 0
    randomness: bytes = bytes(32)
    cut: tuple[Lane, ...] = ()
    """In rank order."""
    excluded: frozenset[int] = frozenset()
    inputs: tuple[Input, ...] = ()
    outcomes_read: int = 0
    digests: tuple[ShardDigest, ...] = ()
    """Newest known of each shard."""
    ancestors: tuple[bytes, ...] = ()
    """Hashes of the newest blocks, oldest first; the last one is of block `block - 1`."""

    @classmethod
    def genesis(cls, genesis_hash: bytes, partitions: int, shards: int, rules: Rules, timestamp_ms: int) -> "Tip":
        """The tip before the first record. Block 0 is the genesis; its hash is the anchor."""
        start = anchor(genesis_hash, partitions, shards, rules)
        return cls(
            hash=start,
            rules=rules,
            timestamp_ms=timestamp_ms,
            inputs=(Input(),) * partitions,
            block=1,
            ancestors=(start,),
        )

    def after(self, record: Manifest | Exclusion, record_hash: bytes, offset: int) -> "Tip | None":
        """The tip after `record`, or None where it isn't valid and has to be skipped."""
        if not self.extended_by(record):
            return None
        if isinstance(record, Exclusion):
            return self._excluding(record, record_hash, offset)
        if not self._continues(record):
            return None
        closed = self.inputs_after(record.close)
        inputs = [replace(waiting, offered=offer) for waiting, offer in zip(closed, record.offers, strict=True)]
        taken: set[int] = set()
        for lane in record.cut:
            for part in lane.slices:
                if part.partition in taken or not self._cuttable(inputs, lane, part):
                    return None
                taken.add(part.partition)
                inputs[part.partition] = cutting(inputs[part.partition], part, record.epoch, lane.joined)
        known = {entry.shard: entry for entry in self.digests} | {entry.shard: entry for entry in record.digests}
        is_block = self.includes(record.close)
        return Tip(
            hash=record_hash,
            rules=self.rules,
            offset=offset,
            epoch=record.epoch,
            block=record.block,
            timestamp_ms=record.timestamp_ms,
            randomness=record.randomness,
            cut=record.cut,
            inputs=tuple(inputs),
            outcomes_read=record.outcomes_read,
            digests=tuple(known[shard] for shard in sorted(known)),
            ancestors=(*self.ancestors, record_hash)[-ANCESTORS:] if is_block else self.ancestors,
        )

    def extended_by(self, record: Manifest | Exclusion) -> bool:
        """Whether a record names the last valid one and commits no lane that is excluded."""
        if record.previous != self.hash:
            return False
        return isinstance(record, Exclusion) or not any(
            record.close[rank] for rank in self.excluded if rank < len(record.close)
        )

    def _continues(self, record: Manifest) -> bool:
        """Whether a manifest closes exactly the open cut and is one epoch further."""
        return (
            record.epoch == self.epoch + 1
            and len(record.close) == len(self.cut)
            and len(record.offers) == len(self.inputs)
            and len({lane.attempt for lane in record.cut}) == len(record.cut)
            and record.timestamp_ms >= self.timestamp_ms
            and record.rules == self.rules.hash()
            and record.block == self.block_after(record.close)
            and all(o is None or o.attempt == lane.attempt for o, lane in zip(record.close, self.cut, strict=True))
            and all(
                0 <= carry.partition < len(self.inputs) for o in record.close if o is not None for carry in o.accepted
            )
        )

    def _cuttable(self, inputs: list[Input], lane: Lane, part: Slice) -> bool:
        """Whether a slice takes what its partition has next."""
        if not 0 <= part.partition < len(inputs):
            return False
        waiting = inputs[part.partition]
        return (
            part.low == waiting.consumed
            and part.high >= part.low
            and self.joined_anew(lane.joined, waiting)
            and part.partition in lane.partitions
            and frozenset(part.carries) <= {carry.position for carry in waiting.pending}
            and (not part.skip or waiting.strikes >= self.rules.strikes_skip)
        )

    def joined_anew(self, joined: int, waiting: Input) -> bool:
        """Whether a join may be named: none older than the last one, nor one that an exclusion has ended."""
        return joined >= waiting.joins_from

    def _excluding(self, record: Exclusion, record_hash: bytes, offset: int) -> "Tip | None":
        running = frozenset(range(len(self.cut))) - self.excluded
        lanes = frozenset(record.lanes)
        if record.epoch != self.epoch or not lanes or not lanes <= running:
            return None
        inputs = list(self.inputs)
        for lane in (self.cut[rank] for rank in lanes):
            for partition in self.barred(lane):
                waiting = inputs[partition]
                inputs[partition] = replace(waiting, joins_from=max(waiting.joins_from, lane.joined + 1))
            for part in lane.slices:
                waiting = inputs[part.partition]
                inputs[part.partition] = replace(waiting, strikes=waiting.strikes + 1)
        return replace(self, hash=record_hash, offset=offset, excluded=self.excluded | lanes, inputs=tuple(inputs))

    def barred(self, lane: Lane) -> tuple[int, ...]:
        """The partitions for which an exclusion ends the join: all that it names, also those without work."""
        return lane.partitions

    @staticmethod
    def includes(close: Sequence[LaneOutcome | None]) -> bool:
        """Whether an epoch that closes so is a block."""
        return any(outcome is not None and outcome.included for outcome in close)

    def block_after(self, close: Sequence[LaneOutcome | None]) -> int:
        """Number of the block that the next epoch opens."""
        return self.block + self.includes(close)

    def inputs_after(self, close: Sequence[LaneOutcome | None]) -> tuple[Input, ...]:
        """The input of each partition after the open epoch is closed (step 9)."""
        inputs = list(self.inputs)
        for lane, outcome in zip(self.cut, close, strict=True):
            for part in lane.slices:
                before, single = inputs[part.partition], self.rules.strikes_single
                inputs[part.partition] = committed(before, part, single) if outcome else self.aborted(before, part)
        accepted: dict[int, list[Accepted]] = {}
        for outcome in close:
            if outcome is not None:
                for carry in outcome.accepted:
                    accepted.setdefault(carry.partition, []).append(carry)
        return tuple(accepting(waiting, accepted.get(p, ())) for p, waiting in enumerate(inputs))

    def aborted(self, waiting: Input, _part: Slice) -> Input:
        """The input after a lane that did not commit: its range and the carries cut into it are input again."""
        return waiting

    def listed(self, rank: int) -> list[Listed]:
        """The list of a lane in the open cut: carries of all its partitions by origin, then each one's range."""
        slices = sorted(self.cut[rank].slices, key=lambda part: part.partition)
        limit = self.timestamp_ms - self.rules.parked_ms_max
        carried = []
        for part in slices:
            taken = frozenset(part.carries)
            carried += [
                Listed(
                    Partition(part.partition),
                    carry.origin,
                    carry.position,
                    carry.parked_ms,
                    carry.parked_ms is not None and carry.parked_ms <= limit,
                    part.skip,
                )
                for carry in self.inputs[part.partition].pending
                if carry.position in taken
            ]
        carried.sort(key=lambda item: (item.origin, item.carry, item.partition))
        fresh = [
            Listed(Partition(part.partition), origin, None, None, False, part.skip)
            for part in slices
            for origin in self._origins(part)
        ]
        return carried + fresh

    def _origins(self, part: Slice) -> list[Origin]:
        """The origins of a range that is cut; each offset keeps the epoch in which it was cut first."""
        origins, low = [], part.low
        for first in self.inputs[part.partition].first_cuts:
            high = min(first.end, part.high)
            origins += [
                Origin(Epoch(first.epoch), Partition(part.partition), Offset(offset)) for offset in range(low, high)
            ]
            low = max(low, high)
        return origins

    def ancestor(self, number: int) -> bytes:
        """Hash of a block that is among the last 256 before the open one; 32 zero bytes for any other."""
        back = self.block - number
        return self.ancestors[-back] if 0 < back <= len(self.ancestors) else bytes(32)

    def stored(self) -> StoredTip:
        """The tip as a record."""
        return StoredTip(
            hash=self.hash,
            offset=self.offset,
            epoch=self.epoch,
            block=self.block,
            timestamp_ms=self.timestamp_ms,
            randomness=self.randomness,
            cut=self.cut,
            excluded=tuple(sorted(self.excluded)),
            inputs=self.inputs,
            outcomes_read=self.outcomes_read,
            digests=self.digests,
            ancestors=self.ancestors,
        )

    @classmethod
    def restored(cls, stored: StoredTip, rules: Rules) -> "Tip":
        """A tip that was stored."""
        return cls(
            hash=stored.hash,
            rules=rules,
            offset=stored.offset,
            epoch=stored.epoch,
            block=stored.block,
            timestamp_ms=stored.timestamp_ms,
            randomness=stored.randomness,
            cut=stored.cut,
            excluded=frozenset(stored.excluded),
            inputs=stored.inputs,
            outcomes_read=stored.outcomes_read,
            digests=stored.digests,
            ancestors=stored.ancestors,
        )
