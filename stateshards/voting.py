"""The voting machine of a shard: judges lanes, applies epochs, hands out receipts (steps 6, 10 and 11).

A pure state machine over a synchronous store. Replicas see the same records and need not know of each other.
"""

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from schemas import topics
from schemas.chain import Tip
from schemas.digests import chained
from schemas.errors import InvariantViolation
from schemas.hashing import digest
from schemas.keys import integer, is_blob, minimal
from schemas.placing import placed
from schemas.records import (
    UNVERSIONED,
    Attempt,
    Entry,
    Exclusion,
    Judgement,
    LaneOutcome,
    Manifest,
    Prepare,
    Receipt,
    Revision,
    ShardDigest,
    Version,
    Vote,
    version,
)
from schemas.topics import Topic
from streams.events import Acknowledged, Append, Command, Event, Publish, Record

from .store import Durable, Store

log = logging.getLogger(__name__)

LATELY_EPOCHS = 512
"""For so many epochs a lane is told of changes to a key that it has read."""
LATELY_KEYS_MAX = 200_000
"""Of one attempt; the longest unread go first."""


T = TypeVar("T", Prepare, Revision)


@dataclass(slots=True)
class Parts(Generic[T]):
    """A prepare or revision as its parts arrive; the first of each number counts."""

    parts: dict[int, T] = field(default_factory=dict)

    def add(self, part: T) -> None:
        """Take a part."""
        self.parts.setdefault(part.part, part)

    def whole(self) -> list[T] | None:
        """All parts in order, or None while some are missing."""
        some = next(iter(self.parts.values()), None)
        if some is None or len(self.parts) < some.parts:
            return None
        return [self.parts[number] for number in sorted(self.parts)]


Named = Sequence[Prepare] | Sequence[Revision]
"""The effects of a lane: all parts of its prepare, or of the revision that replaces it."""


class Shard:
    """One replica of a shard.

    Parameters
    ----------
    shard
        Its number.
    store
        Its state; what `store.durable` says is where it goes on.
    address
        ``host:port`` of its read service.
    """

    def __init__(self, shard: int, store: Store, address: str) -> None:
        durable = store.durable
        self.shard = shard
        self.store = store
        self.address = address
        self.tip = durable.published
        """Runs ahead of the applied one; after a restart it has to catch up first."""
        self.published = durable.published
        self.voted = 0
        self.prepares: dict[tuple[int, Attempt], Parts[Prepare]] = {}
        self.revisions: dict[tuple[int, Attempt], Parts[Revision]] = {}
        self._closing: deque[tuple[Manifest, bytes, Tip, Tip]] = deque()
        self._publishing: deque[Tip] = deque()
        self._arrived: list[tuple[int, int]] = []
        """Offsets in `prepares`, with their epochs, of what isn't published yet."""
        self._prepares_read = durable.prepares_from
        self._lately: dict[Attempt, dict[bytes, int]] = {}
        self._changed: dict[bytes, tuple[Entry, Attempt | None]] = {}
        """What the newest applied epoch with lanes changed, and the attempt that did it alone."""
        self._digests = {durable.digest.epoch: durable.digest}
        self._recorded: dict[int, bytes] = {}
        """Digests that manifests name of epochs that aren't applied here yet."""

    def positions(self) -> dict[Topic, int]:
        """Where it starts to read, as it stored with the last applied epoch."""
        return {
            topics.EPOCHS: self.tip.offset + 1,
            topics.prepares(self.shard): self.store.durable.prepares_from}

    def announcement(self) -> Append:
        """The vote without lanes that tells address and digest."""
        newest = self.store.durable
        return Append(topics.VOTES, Vote(
            epoch=newest.applied, shard=self.shard, address=self.address, lanes=(), digest=newest.digest))

    def step(self, event: Event) -> list[Command]:
        """Take note of the event; apply and publish what is complete, then vote if that is possible now."""
        match event:
            case Acknowledged(Publish(), _):
                self.published = self._publishing.popleft()
                self._arrived = [pair for pair in self._arrived if pair[1] >= self.published.epoch]
            case Record(_, offset, Prepare() | Revision() as record, _):
                self._keep(record, offset)
            case Record(_, offset, Manifest() | Exclusion() as record, data):
                self._follow(record, data, offset)
            case _:
                pass
        commands: list[Command] = []
        while self._closing:
            manifest, closing_hash, before, after = self._closing[0]
            effects = self.named(manifest, before)
            if effects is None:
                break
            self._closing.popleft()
            if before.epoch > self.store.durable.applied:
                self._apply(effects, before, after)
                if before.cut and not after.cut:
                    commands.append(self.announcement())
            commands.append(self._publish(manifest, closing_hash, effects, before, after))
        return commands + self._vote()

    # ---- taking note --------------------------------------------------------------------------------------------

    def _follow(self, record: Manifest | Exclusion, data: bytes, offset: int) -> None:
        before = self.tip
        closing_hash = digest(data)
        after = before.after(record, closing_hash, offset)
        if after is None:
            return
        self.tip = after
        if isinstance(record, Manifest):
            self._closing.append((record, closing_hash, before, after))
            self._check_digests(record)

    def _check_digests(self, manifest: Manifest) -> None:
        """A replica whose digest differs from the one that was recorded stops."""
        for named in manifest.digests:
            if named.shard != self.shard:
                continue
            if named.epoch > self.store.durable.applied:
                self._recorded[named.epoch] = named.digest
            elif (mine := self._digests.get(named.epoch)) is not None:
                self._compare(mine, named.digest)

    def _compare(self, mine: ShardDigest, recorded: bytes) -> None:
        if mine.digest != recorded:
            raise InvariantViolation(
                f"shard {self.shard} has digest {mine.digest.hex()} after epoch {mine.epoch}; "
                f"a manifest says {recorded.hex()}")

    def _keep(self, record: Prepare | Revision, offset: int) -> None:
        """Keep a prepare or revision until its epoch is done with; the first of its kind counts."""
        self._prepares_read = offset + 1
        open_from = self._closing[0][2].epoch if self._closing else self.tip.epoch
        if record.epoch < open_from or record.shard != self.shard:
            return
        self._arrived.append((offset, record.epoch))
        of = (record.epoch, record.attempt)
        if isinstance(record, Prepare):
            self.prepares.setdefault(of, Parts()).add(record)
        else:
            self.revisions.setdefault(of, Parts()).add(record)

    # ---- 6 Vote -------------------------------------------------------------------------------------------------

    def _vote(self) -> list[Command]:
        """One vote on the open epoch, once the prepares of all attempts that may commit are here (step 6)."""
        tip, epoch = self.tip, self.tip.epoch
        if not tip.cut or epoch <= self.voted or self.store.durable.applied != epoch - 1:
            return []
        prepares: dict[int, list[Prepare]] = {}
        for rank, lane in enumerate(tip.cut):
            if rank not in tip.excluded:
                kept = self.prepares.get((epoch, lane.attempt))
                whole = kept.whole() if kept is not None else None
                if whole is None:
                    return []
                prepares[rank] = whole
        judged = []
        changed: dict[bytes, int] = {}  # with the lowest rank that reserved a change
        for rank, parts in prepares.items():
            attempt = tip.cut[rank].attempt
            judged.append(self._judge(rank, attempt, parts, changed))
            for part in parts:
                for key in self.changing(part):
                    if not is_blob(key):
                        changed.setdefault(key, rank)
        self.voted = epoch
        return [Append(topics.VOTES, Vote(
            epoch=epoch, shard=self.shard, address=self.address, lanes=tuple(judged),
            digest=self.store.durable.digest))]

    def changing(self, part: Prepare) -> tuple[bytes, ...]:
        """The keys that a lane may change: those of higher ranks lose them that read or write them."""
        return *part.write_keys, *part.delta_keys

    def losing(self, read: Sequence[bytes], written: Sequence[bytes]) -> tuple[bytes, ...]:
        """The keys that a lane loses to a lower rank that may change them; adding to a key isn't among the reasons."""
        return *read, *written

    def _judge(self, rank: int, attempt: Attempt, parts: Sequence[Prepare], changed: Mapping[bytes, int]) -> Judgement:
        """What is stale and what is lost of one lane, and what it should know."""
        read = [key for part in parts for key in part.read_keys]
        versions = [at for part in parts for at in part.read_versions]
        written = [key for part in parts for key in part.write_keys]
        entries = self.store.entries(read)
        stale = [
            (index, entry)
            for index, (at, entry) in enumerate(zip(versions, entries, strict=True))
            if at not in (entry.version, UNVERSIONED)]
        losing = self.losing(read, written) if changed else ()
        lost = [(index, changed[key]) for index, key in enumerate(losing) if key in changed]
        refresh = self._refresh(attempt, read)
        return Judgement(
            rank=rank,
            attempt=attempt,
            stale_indexes=tuple([index for index, _ in stale]),
            stale_versions=tuple([entry.version for _, entry in stale]),
            stale_values=tuple([entry.value for _, entry in stale]),
            lost_indexes=tuple([index for index, _ in lost]),
            lost_ranks=tuple([winner for _, winner in lost]),
            refresh_keys=tuple([key for key, _ in refresh]),
            refresh_versions=tuple([entry.version for _, entry in refresh]),
            refresh_values=tuple([entry.value for _, entry in refresh]),
        )

    def _refresh(self, attempt: Attempt, read: Iterable[bytes]) -> list[tuple[bytes, Entry]]:
        """Values of e-1 of keys that the lane read lately. It is a help: replicas need not agree on it."""
        epoch = self.tip.epoch
        lately = self._lately.setdefault(attempt, {})
        news = [
            (key, entry)
            for key, (entry, writer) in self._changed.items()
            if writer != attempt and lately.get(key, -LATELY_EPOCHS) > epoch - LATELY_EPOCHS]
        for key in read:
            lately.pop(key, None)  # so that the order is that of the last reads
            lately[key] = epoch
        for key in list(lately)[: max(0, len(lately) - LATELY_KEYS_MAX)]:
            del lately[key]
        return news

    # ---- 10 Apply -----------------------------------------------------------------------------------------------

    def named(self, manifest: Manifest, before: Tip) -> list[tuple[int, Attempt, Named]] | None:
        """The effects that a close names, in rank order, or None where some are still to come."""
        effects: list[tuple[int, Attempt, Named]] = []
        for rank, outcome in enumerate(manifest.close):
            if outcome is not None:
                whole = self._effects(before.epoch, outcome)
                if whole is None:
                    return None
                effects.append((rank, outcome.attempt, whole))
        return effects

    def _effects(self, epoch: int, outcome: LaneOutcome) -> Named | None:
        """The prepare of a lane, or the revision if the outcome says that there is one; the prepare has to be here."""
        prepare = self.prepares.get((epoch, outcome.attempt))
        whole: Named | None = prepare.whole() if prepare is not None else None
        if whole is None or self.shard not in outcome.revised:
            return whole
        revision = self.revisions.get((epoch, outcome.attempt))
        return revision.whole() if revision is not None else None

    def _apply(self, effects: list[tuple[int, Attempt, Named]], before: Tip, after: Tip) -> None:
        """Writes then deltas in rank order, in one batch with all that a restart needs (step 10)."""
        epoch = before.epoch
        values: dict[bytes, bytes] = {}
        writers: dict[bytes, set[Attempt]] = {}
        added = {key for _, _, parts in effects for part in parts for key in part.delta_keys}
        committed = dict(zip(added, self.store.entries(list(added)), strict=True)) if added else {}
        for _, attempt, parts in effects:
            for part in parts:
                for key, value in zip(part.write_keys, part.write_values, strict=True):
                    values[key] = value
                    writers.setdefault(key, set()).add(attempt)
            for part in parts:
                for key, amount in zip(part.delta_keys, part.delta_amounts, strict=True):
                    known = values.get(key)
                    start = committed[key].value if known is None else known
                    values[key] = minimal(integer(start) + integer(amount))
                    writers.setdefault(key, set()).add(attempt)
        entries = {key: Entry(value, self.version(epoch, len(writers[key]))) for key, value in values.items()}
        newest = self.store.durable.digest
        if before.cut:
            newest = ShardDigest(shard=self.shard, epoch=epoch, digest=chained(newest.digest, epoch, values))
            self._compare(newest, self._recorded.pop(epoch, newest.digest))
            self._digests[epoch] = newest
            self._digests.pop(next(iter(self._digests)), None) if len(self._digests) > LATELY_EPOCHS else None
            # An epoch without lanes comes between any two where little is to do, and nobody votes on it.
            self._changed = {
                key: (entry, next(iter(writers[key])) if len(writers[key]) == 1 else None)
                for key, entry in entries.items()}
        if epoch % LATELY_EPOCHS == 0:
            alive = {lane.attempt for lane in (*before.cut, *after.cut)}
            self._lately = {attempt: keys for attempt, keys in self._lately.items() if attempt in alive}
        self.store.apply(entries, Durable(
            tip=after, published=self.published, prepares_from=self.prepares_from(epoch), digest=newest))

    def version(self, epoch: int, contributors: int) -> Version:
        """The version of a key that so many lanes changed in an epoch."""
        return version(epoch, merged=contributors > 1)

    def prepares_from(self, epoch: int) -> int:
        """Where a restart has to read on: at the first prepare of a later epoch, or of one not published yet."""
        needed = [offset for offset, of in self._arrived if of > epoch or of >= self.published.epoch]
        return min(needed, default=self._prepares_read)

    # ---- 11 Publish ---------------------------------------------------------------------------------------------

    def _publish(
        self, manifest: Manifest, closing_hash: bytes, effects: Sequence[tuple[int, Attempt, Named]],
        before: Tip, after: Tip,
    ) -> Publish:
        """The receipts of an epoch in the order of the block; after a restart those of epochs applied before, too."""
        for kept in (self.prepares, self.revisions):
            for of in [of for of in kept if of[0] <= before.epoch]:
                del kept[of]
        self._publishing.append(after)
        receipts: list[Receipt] = []
        for rank, _, parts in effects:
            place = placed(before, manifest.close, rank, closing_hash)
            for part in parts:
                for receipt in part.receipts:
                    receipts.append(replace(place(receipt), shard=self.shard, index=len(receipts)))
        return Publish(before.epoch, tuple(receipts))
