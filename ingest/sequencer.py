"""The sequencer: excludes who is late, closes the open epoch and cuts the next one (steps 3 and 9).

A pure state machine. Any number may run: the first valid record wins, and the others adopt it.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from schemas import topics
from schemas.chain import Tip
from schemas.hashing import digest
from schemas.records import (
    Attempt,
    Exclusion,
    Input,
    Join,
    Lane,
    LaneOutcome,
    Manifest,
    Offer,
    Outcome,
    ShardDigest,
    Slice,
    Vote,
)
from schemas.topics import Topic
from streams.events import END, Append, Command, Event, Record, Tick

log = logging.getLogger(__name__)

MEASURED_EPOCHS: Final = 200
"""The time-out follows so many recent epochs."""
TIMEOUT_FACTOR: Final = 8
"""Times the 99th percentile of recent epochs."""
TIMEOUT_MS_MAX: Final = 120_000
SHARD_PATIENCE: Final = 8
"""While a shard's vote is missing that others have given, lanes have so many times as long."""
STRIKES_MAX: Final = 16
"""A time-out is doubled so many times at most."""
WRITTEN_MS_MAX: Final = 10_000
"""A record of its own that isn't valid after so long is written anew."""
DIGEST_WAIT_MS: Final = 100
"""So long the last epoch's digests are collected before a manifest names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How epochs are cut. None of it decides a result."""

    interval_ms: float = 10
    """Least time between two cuts under load."""
    lane_transactions_max: int = 256
    """Offsets that a lane is cut per epoch; larger epochs conflict more."""
    lane_carries_max: int = 256
    """Carries that a lane is cut per epoch; the rest stays pending."""
    timeout_ms_min: float = 5_000
    """A lane is given at least so long. It doubles with each exclusion in a row."""
    patience_ms: float = 0
    """A standby waits for so long before it does what the active one should have done."""


class Sequencer:
    """Writes `epochs`.

    Parameters
    ----------
    tip
        Where it starts to follow the chain.
    shards
        Number of shards, M.
    pace
        How it cuts.
    """

    def __init__(self, tip: Tip, shards: int, pace: Pace) -> None:
        self.tip = tip
        self.pace = pace
        self.outcomes_read = tip.outcomes_read
        self.offers = self.known_offers(tip)
        self._shards = shards
        self._joins: dict[Attempt, tuple[int, Join]] = {}
        self._joined: set[Attempt] = set()
        """All attempts that ever joined: a join that the log holds twice counts once."""
        self._owners: dict[int, Attempt] = {}
        self._outcomes: dict[tuple[int, Attempt], LaneOutcome] = {}
        self._digests: dict[int, ShardDigest] = {}
        self._voted: dict[int, int] = {}
        """Newest epoch that each shard has voted on."""
        self._written_on: bytes | None = None
        """The tip that it has tried to extend."""
        self._written_ms = 0.0
        self._opened_ms: float | None = None
        self._cut_ms: float = float("-inf")
        self.pacing = False
        """Whether only the least time between two cuts holds the next one back."""
        self._due_ms: float | None = None
        self._epochs: deque[tuple[float, int]] = deque(maxlen=MEASURED_EPOCHS)
        """Durations with the number of transactions listed."""
        self._suspects: dict[int, tuple[Slice, int]] = {}
        """By partition, the single transaction that was under way when its executor ended, and how often in a row."""

    def known_offers(self, tip: Tip) -> list[int]:
        """The highest offers that the manifests tell, so that those of idle executors aren't missed."""
        return [waiting.offered for waiting in tip.inputs]

    def positions(self) -> dict[Topic, int]:
        """Where it starts to read."""
        return {
            topics.EPOCHS: self.tip.offset + 1,
            topics.MEMBERS: 0,
            topics.OUTCOMES: self.outcomes_read,
            topics.VOTES: END,
        }

    def step(self, event: Event) -> list[Command]:
        """Take note of records; act when time passes."""
        match event:
            case Record(_, offset, Join() as join):
                if join.attempt not in self._joined:
                    self._joined.add(join.attempt)
                    self._joins[join.attempt] = (offset, join)
                    self._owners.update(dict.fromkeys(join.partitions, join.attempt))
            case Record(_, offset, Offer() as offer):
                self._offered(offer)
                self.outcomes_read = offset + 1
            case Record(_, offset, Outcome() as outcome):
                if outcome.epoch >= self.tip.epoch:
                    self._outcomes.setdefault((outcome.epoch, outcome.lane.attempt), outcome.lane)
                for offer in outcome.offers:
                    self._offered(offer)
                self.outcomes_read = offset + 1
            case Record(_, _, Vote(digest=known) as vote):
                if vote.lanes:
                    self._voted[vote.shard] = max(vote.epoch, self._voted.get(vote.shard, 0))
                newest = self._digests.get(known.shard)
                if newest is None or newest.epoch < known.epoch:
                    self._digests[known.shard] = known
            case Record(_, offset, Manifest() | Exclusion() as record, data):
                self._follow(record, data, offset)
            case Tick() if self._written_on != self.tip.hash or self._ignored(event):
                return self._extend(event)
            case _:
                pass
        return []

    def _ignored(self, tick: Tick) -> bool:
        """Whether what it wrote did not come back as valid for so long that it has to write again."""
        return tick.elapsed_ms - self._written_ms > WRITTEN_MS_MAX

    def _offered(self, offer: Offer) -> None:
        if 0 <= offer.partition < len(self.offers):
            self.offers[offer.partition] = max(self.offers[offer.partition], offer.offset)

    def _follow(self, record: Manifest | Exclusion, data: bytes, offset: int) -> None:
        after = self.tip.after(record, digest(data), offset)
        if after is None:
            return
        if isinstance(record, Manifest):
            self._outcomes = {of: lane for of, lane in self._outcomes.items() if of[0] >= after.epoch}
            self.offers = [max(mine, known) for mine, known in zip(self.offers, self.known_offers(after), strict=True)]
            self._opened_ms = None
            self._joins = {
                attempt: join for attempt, join in self._joins.items()
                if attempt in self._owners.values() or any(lane.attempt == attempt for lane in after.cut)}
        else:
            self._suspect(record)
        self.tip = after
        self._due_ms = None

    def _suspect(self, exclusion: Exclusion) -> None:
        """Note which single transactions were under way when their executors ended or timed out."""
        for part in (replace(part, skip=False) for rank in exclusion.lanes for part in self.tip.cut[rank].slices):
            if self.tip.inputs[part.partition].strikes >= self.tip.rules.strikes_single:
                suspect, times = self._suspects.get(part.partition, (part, 0))
                self._suspects[part.partition] = part, times + 1 if suspect == part else 1

    # ---- acting -------------------------------------------------------------------------------------------------

    def _extend(self, tick: Tick) -> list[Command]:
        """Write the record that the open epoch needs next, if it is time for one."""
        tip, elapsed = self.tip, tick.elapsed_ms
        if self._opened_ms is None:
            self._opened_ms = elapsed
        # 9. Close it with the outcomes of the named attempts. Who is late or has been replaced is excluded.
        close = tuple(
            None if rank in tip.excluded else self._outcomes.get((tip.epoch, lane.attempt))
            for rank, lane in enumerate(tip.cut))
        missing = [rank for rank, outcome in enumerate(close) if outcome is None and rank not in tip.excluded]
        record = self._exclusion(missing, tick) if missing else self._manifest(tick, close)
        if record is None or not self._patient(elapsed):
            return []
        self._written_on, self._written_ms = tip.hash, elapsed
        if isinstance(record, Manifest):
            if tip.cut and not tip.excluded:  # one time-out must not stretch the next ones
                self._epochs.append((elapsed - self._opened_ms, self._size(tip)))
            if record.cut:
                self._cut_ms = elapsed
        return [Append(topics.EPOCHS, record)]

    def _patient(self, elapsed_ms: float) -> bool:
        """Whether the active sequencer has had its time to act."""
        if self._due_ms is None:
            self._due_ms = elapsed_ms
        return elapsed_ms - self._due_ms >= self.pace.patience_ms

    def _exclusion(self, missing: Sequence[int], tick: Tick) -> Exclusion | None:
        """Exclude lanes that time out or whose partitions have a newer join.

        While a shard doesn't answer nothing can commit and nobody else is to blame: then only a newer join counts.
        """
        tip, elapsed_ms = self.tip, tick.elapsed_ms
        waited = elapsed_ms - (elapsed_ms if self._opened_ms is None else self._opened_ms)
        patience = SHARD_PATIENCE if self._waits_for_a_shard() else 1
        late = [
            rank for rank in missing
            if self._replaced(tip.cut[rank])
            or (tick.shards_up and waited > self.pace.timeout_ms_min
                and waited > patience * self._timeout_ms(tip.cut[rank]))]
        if not late:
            return None
        log.warning("lanes %s of epoch %d are excluded after %.0f ms", late, tip.epoch, waited)
        return Exclusion(epoch=tip.epoch, previous=tip.hash, lanes=tuple(late))

    def _waits_for_a_shard(self) -> bool:
        """Whether some shards have voted on the open epoch and others haven't: no lane is to blame for those."""
        voted = sum(epoch >= self.tip.epoch for epoch in self._voted.values())
        return 0 < voted < self._shards

    def _timeout_ms(self, lane: Lane) -> float:
        """How long a lane may take: it follows measured times, scaled by the work, and doubles with each strike."""
        measured = sorted(duration / max(1, size) for duration, size in self._epochs)
        fixed = sorted(duration for duration, _ in self._epochs)
        expected = 0.0
        if measured:
            high = int(len(measured) * 0.99)
            expected = TIMEOUT_FACTOR * max(fixed[high], measured[len(measured) // 2] * self._size(self.tip))
        strikes = max((self.tip.inputs[part.partition].strikes for part in lane.slices), default=0)
        return float(min(TIMEOUT_MS_MAX, max(self.pace.timeout_ms_min, expected) * 2.0 ** min(strikes, STRIKES_MAX)))

    @staticmethod
    def _size(tip: Tip) -> int:
        """Transactions in the cut."""
        return sum(part.high - part.low + len(part.carries) for lane in tip.cut for part in lane.slices)

    def _replaced(self, lane: Lane) -> bool:
        """Whether a newer join names one of the partitions that the lane runs."""
        owners = [self._owners.get(part.partition) for part in lane.slices]
        return any(owner is not None and self._joins[owner][0] > lane.joined for owner in owners)

    def _manifest(self, tick: Tick, close: tuple[LaneOutcome | None, ...]) -> Manifest | None:
        """Close the open epoch and cut the next one. Without work it opens empty."""
        # 3. Cut what is there; a reason for an epoch is input that can run, or a close for the open one.
        tip = self.tip
        now_ms = max(tick.now_ms, tip.timestamp_ms)
        inputs = tip.inputs_after(close)
        progress = any(outcome is not None and outcome.included + outcome.rejected for outcome in close)

        def due(part: Slice) -> bool:
            return self._due(part, inputs[part.partition], now_ms, progress)

        cut = self._cut(inputs, now_ms, due)
        if not any(due(part) for lane in cut for part in lane.slices):
            cut = ()
        self.pacing = bool(cut and tip.cut and tick.elapsed_ms - self._cut_ms < self.pace.interval_ms)
        if self.pacing:
            return None
        digests = self._new_digests()
        if not cut and not tip.cut and not self._digests_complete(digests, tick.elapsed_ms):
            return None
        return Manifest(
            epoch=tip.epoch + 1,
            block=tip.block_after(close),
            previous=tip.hash,
            timestamp_ms=now_ms,
            randomness=tick.randomness,
            rules=tip.rules.hash(),
            close=close,
            cut=cut,
            digests=digests,
            outcomes_read=self.outcomes_read,
            offers=tuple(self.offers),
        )

    def _new_digests(self) -> tuple[ShardDigest, ...]:
        """What the chain does not name yet."""
        named = {entry.shard: entry.epoch for entry in self.tip.digests}
        return tuple(
            entry for shard, entry in sorted(self._digests.items()) if entry.epoch > named.get(shard, -1))

    def _digests_complete(self, digests: tuple[ShardDigest, ...], elapsed_ms: float) -> bool:
        """Whether, with nothing else to do, it is time for a manifest that only names digests."""
        if not digests:
            return False
        waited = elapsed_ms - (self._opened_ms if self._opened_ms is not None else elapsed_ms)
        newest = {entry.epoch for entry in self._digests.values()}
        return (len(self._digests) == self._shards and len(newest) == 1) or waited >= DIGEST_WAIT_MS

    def _cut(self, inputs: tuple[Input, ...], now_ms: int, due: Callable[[Slice], bool]) -> tuple[Lane, ...]:
        """The lanes of the next epoch: each partition with a live join and any input, in its owner's (step 3).

        `due` tells whether a slice is a reason for an epoch.
        """
        slices: dict[Attempt, list[Slice]] = {}
        for partition in sorted(self._owners):
            owner = self._owners[partition]
            if partition >= len(inputs) or not self.joined_anew(owner, inputs[partition]):
                continue
            part = self._slice(partition, inputs[partition], owner, now_ms)
            if part.high > part.low or part.carries:
                slices.setdefault(owner, []).append(part)
        for owner, parts in slices.items():
            slices[owner] = self._alone(parts, inputs, due)
        pending = {(p, carry.position): carry for p, waiting in enumerate(inputs) for carry in waiting.pending}
        runnable = [
            (pending[part.partition, position].origin, owner)
            for owner, parts in slices.items() for part in parts for position in part.carries
            if pending[part.partition, position].parked_ms is None]
        first = min(runnable)[1] if runnable else None
        number = len(inputs)

        def rank(owner: Attempt) -> tuple[bool, int]:
            return owner != first, min((part.partition + self.tip.epoch) % number for part in slices[owner])

        return tuple(
            Lane(
                attempt=owner,
                joined=self._joins[owner][0],
                partitions=self._joins[owner][1].partitions,
                slices=tuple(slices[owner]))
            for owner in sorted(slices, key=rank))

    def joined_anew(self, owner: Attempt, waiting: Input) -> bool:
        """Whether the owner has joined since a lane with the partition was excluded."""
        return self.tip.joined_anew(self._joins[owner][0], waiting)

    def _alone(self, parts: list[Slice], inputs: tuple[Input, ...], due: Callable[[Slice], bool]) -> list[Slice]:
        """The slices of a lane, or only that of its most suspect partition: what shares its lane shares its fate."""
        single, number = self.tip.rules.strikes_single, len(inputs)
        struck = [part for part in parts if inputs[part.partition].strikes >= single]
        if not struck:
            return parts
        # One that only waits for a nonce is no reason to hold back the others: they may hold that nonce.
        suspects = [part for part in struck if due(part)]
        if not suspects:
            return [part for part in parts if part not in struck] or struck[:1]
        return [min(suspects, key=lambda part: (
            -inputs[part.partition].strikes, (part.partition + self.tip.epoch) % number))]

    def _slice(self, partition: int, waiting: Input, owner: Attempt, now_ms: int) -> Slice:
        """What is cut of a partition, within the budget of its lane."""
        shared = max(1, sum(other == owner for other in self._owners.values()))
        low = waiting.consumed
        offered = max(low, self.offers[partition])
        limit = now_ms - self.tip.rules.parked_ms_max
        runnable = [carry.position for carry in waiting.pending if carry.parked_ms is None]
        expired = [c.position for c in waiting.pending if c.parked_ms is not None and c.parked_ms <= limit]
        parked = [c.position for c in waiting.pending if c.parked_ms is not None and c.parked_ms > limit]
        if waiting.strikes >= self.tip.rules.strikes_single:
            idle = expired or (parked if offered == low else [])
            return self._single(partition, waiting, offered, runnable[:1], idle)
        budget = max(1, self.pace.lane_transactions_max // shared)
        # What has expired is a reason for an epoch, so it has to be in it. What was carried comes before what is new:
        # under contention a partition takes no more than it can also commit.
        carries = (runnable + expired + parked)[: max(1, self.pace.lane_carries_max // shared)]
        room = max(0, budget - min(len(runnable), len(carries)))
        return Slice(partition=partition, low=low, high=min(offered, low + room), carries=tuple(carries))

    def _single(
        self, partition: int, waiting: Input, offered: int, runnable: list[int], parked: list[int]
    ) -> Slice:
        """One transaction of a partition whose executors died again and again; in the end that one is skipped."""
        rules, low = self.tip.rules, waiting.consumed
        choice = [Slice(partition=partition, low=low, high=low, carries=(position,)) for position in runnable]
        if not choice:
            choice = [Slice(partition=partition, low=low, high=low + 1)] * (offered > low)
            choice += [Slice(partition=partition, low=low, high=low, carries=(position,)) for position in parked]
        if not choice:
            return Slice(partition=partition, low=low, high=low)
        suspect, times = self._suspects.get(partition, (None, 0))
        if suspect not in choice:
            return choice[self.tip.epoch % len(choice)]
        # Strikes may be those of another transaction that came before: skipped is only who was alone each time.
        enough = times >= rules.strikes_skip - rules.strikes_single and waiting.strikes >= rules.strikes_skip
        return replace(suspect, skip=True) if enough else suspect

    def _due(self, part: Slice, waiting: Input, now_ms: int, progress: bool) -> bool:
        """Whether a slice is a reason for an epoch; a parked transaction is one after progress or when it expires."""
        if part.high > part.low:
            return True
        taken = frozenset(part.carries)
        expired_ms = now_ms - self.tip.rules.parked_ms_max
        return any(
            carry.parked_ms is None or progress or carry.parked_ms <= expired_ms
            for carry in waiting.pending if carry.position in taken)
