"""When the sequencer closes, cuts and excludes, and what it cuts."""

from dataclasses import replace
from typing import Any

import pytest

from ingest.sequencer import DIGEST_WAIT_MS, TIMEOUT_FACTOR, WRITTEN_MS_MAX, Pace, Sequencer
from schemas import topics
from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.hashing import digest
from schemas.records import (
    Accepted,
    Attempt,
    Exclusion,
    Join,
    LaneOutcome,
    Manifest,
    Offer,
    Outcome,
    ShardDigest,
    Vote,
)
from streams.events import Append, Record, Tick
from tests.chains import RULES, A, B, accepted, came_to, genesis

C = Attempt(b"c" * 16)


class Bench:
    """One sequencer whose records land at once, if nothing else is said."""

    def __init__(self, *, partitions: int = 2, tip: Tip | None = None, **pace: Any) -> None:
        self.sequencer = Sequencer(tip or genesis(partitions), 2, Pace(**({"interval_ms": 0} | pace)))
        self.offsets: dict[topics.Topic, int] = {}
        self.now_ms = 10_000.0

    def record(self, topic: topics.Topic, value: Any, *, offset: int | None = None) -> None:
        """A record arrives."""
        at = self.offsets.get(topic, 0) if offset is None else offset
        self.offsets[topic] = at + 1
        self.sequencer.step(Record(topic, at, value, CODEC.encode(value)))

    def joins(self, attempt: Attempt, *partitions: int, offset: int | None = None) -> None:
        """An executor joins."""
        self.record(topics.MEMBERS, Join(attempt=attempt, partitions=partitions), offset=offset)

    def offers(self, partition: int, offset: int, attempt: Attempt = A) -> None:
        """An executor offers."""
        self.record(topics.OUTCOMES, Offer(attempt=attempt, partition=partition, offset=offset))

    def comes_to(self, outcome: LaneOutcome, epoch: int | None = None, offers: tuple[Offer, ...] = ()) -> None:
        """A lane is done."""
        of = self.sequencer.tip.epoch if epoch is None else epoch
        self.record(topics.OUTCOMES, Outcome(epoch=of, lane=outcome, offers=offers))

    def ticks(self, later_ms: float = 0, *, land: bool = True) -> Manifest | Exclusion | None:
        """Time passes; what is written, which lands."""
        self.now_ms += later_ms
        commands = self.sequencer.step(Tick(int(self.now_ms), self.now_ms, b"r" * 32))
        if not commands:
            return None
        (command,) = commands
        assert isinstance(command, Append)
        record: Manifest | Exclusion = command.record
        if land:
            self.lands(record)
        return record

    def lands(self, record: Manifest | Exclusion) -> None:
        """A record of the chain arrives."""
        self.record(topics.EPOCHS, record, offset=self.sequencer.tip.offset + 1)

    def cuts(self, later_ms: float = 0) -> Manifest:
        """A manifest is due."""
        record = self.ticks(later_ms)
        assert isinstance(record, Manifest)
        return record


def ranges(manifest: Manifest) -> dict[int, tuple[int, int, tuple[int, ...]]]:
    """What is cut, by partition."""
    return {part.partition: (part.low, part.high, part.carries) for lane in manifest.cut for part in lane.slices}


def opened(**pace: Any) -> Bench:
    """An open epoch with one lane, A on partition 0."""
    bench = Bench(**pace)
    bench.joins(A, 0)
    bench.offers(0, 3)
    assert ranges(bench.cuts()) == {0: (0, 3, ())}
    return bench


def waiting(partition: int, position: int, offset: int, parked_ms: int | None = None) -> Accepted:
    """A carry of the first epoch."""
    return accepted(partition, position, (1, 0, offset), parked_ms)


def test_nothing_is_cut_without_a_join_or_without_work() -> None:
    """An idle pipeline writes nothing."""
    bench = Bench()
    assert bench.ticks() is None
    bench.offers(0, 3)
    assert bench.ticks() is None
    bench.joins(A, 0)
    manifest = bench.cuts()
    assert manifest.cut[0].attempt == A
    assert manifest.outcomes_read == 1
    idle = Bench()
    idle.joins(A, 0, 1)
    assert idle.ticks(50_000) is None


def test_a_manifest_closes_with_the_outcomes_and_opens_empty_where_nothing_is_left() -> None:
    """The next one closes the empty cut only when there is work."""
    bench = opened()
    assert bench.ticks(10) is None
    bench.comes_to(came_to(A, included=3))
    manifest = bench.cuts()
    assert (manifest.close, manifest.cut) == ((came_to(A, included=3),), ())
    assert (manifest.epoch, manifest.block, manifest.offers, manifest.outcomes_read) == (2, 2, (3, 0), 2)
    assert bench.ticks(1_000) is None


def test_an_outcome_of_another_attempt_or_epoch_is_not_waited_for() -> None:
    """Zombies are ignored."""
    bench = opened()
    bench.comes_to(came_to(B))
    bench.comes_to(came_to(A), epoch=0)
    bench.comes_to(came_to(A), epoch=2)
    assert bench.ticks() is None


def test_offers_within_outcomes_count() -> None:
    """They save a record."""
    bench = opened()
    bench.comes_to(came_to(A, included=3), offers=(Offer(attempt=A, partition=0, offset=5),))
    assert ranges(bench.cuts()) == {0: (3, 5, ())}


def test_budgets_are_shared_by_the_partitions_of_a_lane() -> None:
    """Offsets and carries each have one."""
    bench = Bench(partitions=3, lane_transactions_max=6, lane_carries_max=2)
    bench.joins(A, 0, 1)
    bench.joins(B, 2)
    for partition in range(3):
        bench.offers(partition, 10)
    assert ranges(bench.cuts()) == {0: (0, 3, ()), 1: (0, 3, ()), 2: (0, 6, ())}
    for lane in bench.sequencer.tip.cut:
        accepting = tuple(waiting(2, position, position) for position in range(4)) if lane.attempt == A else ()
        bench.comes_to(came_to(lane.attempt, accepted=accepting))
    assert ranges(bench.cuts())[2] == (6, 10, (0, 1))


def test_carries_that_can_run_come_before_expired_ones_and_those_before_other_parked_ones() -> None:
    """An expired one is a reason for an epoch, so that it has to be in it."""
    bench = opened(lane_carries_max=3)
    bench.comes_to(came_to(A, accepted=(
        waiting(0, 0, 0, 10_000), waiting(0, 1, 1, 10_100), waiting(0, 2, 2, 9_000), waiting(0, 3, 3), waiting(0, 4, 4))))
    assert ranges(bench.cuts()) == {0: (3, 3, (3, 4, 2))}


def test_a_parked_transaction_is_no_reason_before_progress_or_its_time() -> None:
    """Else the pipeline would spin."""
    bench = opened()
    bench.comes_to(came_to(A, accepted=(waiting(0, 0, 0, 10_000),)))
    assert bench.cuts().cut == ()
    assert bench.ticks(900) is None
    assert ranges(bench.cuts(RULES.parked_ms_max - 900)) == {0: (3, 3, (0,))}
    bench = opened()
    bench.comes_to(came_to(A, included=1, accepted=(waiting(0, 0, 0, 10_000),)))
    assert ranges(bench.cuts()) == {0: (3, 3, (0,))}


def test_lanes_rotate_and_the_oldest_that_can_run_goes_first() -> None:
    """By the lowest (partition + epoch) mod N; a parked one is not the oldest."""
    bench = Bench(partitions=3)
    for partition, attempt in enumerate((A, B, C)):
        bench.joins(attempt, partition)
        bench.offers(partition, 9)
    bench.sequencer.pace = replace(bench.sequencer.pace, lane_transactions_max=1)
    assert [lane.attempt for lane in bench.cuts().cut] == [A, B, C]
    for attempt in (A, B, C):
        bench.comes_to(came_to(attempt, included=1))
    assert [lane.attempt for lane in bench.cuts().cut] == [C, A, B]
    carries = (waiting(0, 0, 1), waiting(1, 0, 0, 10_000))
    for attempt in (A, B, C):
        bench.comes_to(came_to(attempt, included=1, accepted=carries if attempt == A else ()))
    # By rotation alone it would be B, C, A.
    assert [lane.attempt for lane in bench.cuts().cut] == [A, B, C]


def test_epochs_under_load_keep_their_distance() -> None:
    """A fixed cost is shared by more transactions; the last one closes at once."""
    bench = Bench(interval_ms=50)
    bench.joins(A, 0)
    bench.offers(0, 3)
    bench.cuts()
    bench.comes_to(came_to(A, included=3))
    bench.offers(0, 6)
    assert bench.ticks(49) is None
    assert ranges(bench.cuts(1)) == {0: (3, 6, ())}
    bench.comes_to(came_to(A, included=3))
    assert bench.cuts(1).cut == ()


def test_a_late_lane_is_excluded_and_its_partition_waits_for_a_new_join() -> None:
    """The close says *aborted*."""
    bench = opened(timeout_ms_min=500)
    assert bench.ticks() is None
    assert bench.ticks(500) is None
    before = bench.sequencer.tip.hash
    assert bench.ticks(1) == Exclusion(epoch=1, previous=before, lanes=(0,))
    assert bench.sequencer.tip.excluded == {0}
    manifest = bench.cuts()
    assert (manifest.close, manifest.cut) == ((None,), ())
    assert bench.ticks(60_000) is None
    bench.joins(B, 0)
    assert ranges(bench.cuts()) == {0: (0, 3, ())}


def test_a_lane_whose_partition_has_a_newer_join_is_excluded_at_once() -> None:
    """A newer join of a partition that it does not run in this epoch is no reason."""
    bench = Bench(partitions=3)
    bench.joins(A, 0, 1)
    bench.offers(0, 3)
    bench.cuts()
    bench.joins(B, 1)
    assert bench.ticks() is None
    bench.joins(C, 0)
    record = bench.ticks()
    assert isinstance(record, Exclusion)
    assert record.lanes == (0,)


def test_a_join_that_the_log_holds_twice_counts_once() -> None:
    """Its second copy must not make a dead attempt the owner again."""
    bench = Bench()
    bench.joins(A, 0)
    bench.joins(B, 0)
    bench.offers(0, 1)
    assert bench.cuts().cut[0].attempt == B
    bench.comes_to(came_to(B, included=1))
    bench.cuts()
    bench.joins(A, 0)
    bench.offers(0, 2)
    assert bench.cuts().cut[0].attempt == B


def excluded_after(bench: Bench) -> float:
    """How long the open epoch takes until its lane is excluded, ms."""
    bench.ticks()
    for waited in range(0, 400_000, 100):
        record = bench.ticks(100)
        if record is not None:
            assert isinstance(record, Exclusion)
            return waited
    pytest.fail("no exclusion")


def test_time_outs_double_with_strikes() -> None:
    """So that a slow machine never turns a valid transaction into a rejected one."""
    bench = opened(timeout_ms_min=500)
    waits = []
    for attempt in (A, B, C):
        waits.append(excluded_after(bench))
        bench.joins(Attempt(attempt[:15] + b"!"), 0)
        bench.cuts()
    assert waits == [500, 1_000, 2_000]


def test_time_outs_follow_what_was_measured_and_not_what_timed_out() -> None:
    """Eight times the slowest of late; a stall does not stretch the next time-out."""
    bench = opened(timeout_ms_min=500)
    bench.ticks()
    bench.now_ms += 200
    bench.comes_to(came_to(A, included=3))
    bench.cuts()
    bench.offers(0, 6)
    bench.cuts()
    assert excluded_after(bench) == TIMEOUT_FACTOR * 200
    bench.cuts()
    bench.joins(B, 0)
    bench.cuts()
    assert excluded_after(bench) == 2 * TIMEOUT_FACTOR * 200


def test_a_clock_that_starts_at_zero_times_out_as_well() -> None:
    """Nothing is special about zero."""
    bench = Bench(timeout_ms_min=500)
    bench.now_ms = 0.0
    bench.joins(A, 0)
    bench.offers(0, 1)
    bench.cuts()
    assert excluded_after(bench) == 500


def test_a_standby_waits_before_it_acts() -> None:
    """And begins anew when the active one has acted."""
    bench = Bench(patience_ms=100)
    bench.joins(A, 0)
    bench.offers(0, 1)
    assert bench.ticks() is None
    assert bench.ticks(99) is None
    assert bench.cuts(1).cut
    bench.comes_to(came_to(A, included=1))
    assert bench.ticks(99) is None
    assert bench.cuts(100).close


def test_it_writes_once_on_a_tip_and_again_only_after_long() -> None:
    """What it wrote may be on its way, or lost."""
    bench = Bench()
    bench.joins(A, 0)
    bench.offers(0, 1)
    first = bench.ticks(land=False)
    assert first is not None
    assert bench.ticks(1, land=False) is None
    assert bench.ticks(WRITTEN_MS_MAX, land=False) is not None
    bench.lands(first)
    assert bench.sequencer.tip.epoch == 1


def test_the_record_of_another_one_is_adopted() -> None:
    """With its offers; what comes later on the same tip is skipped."""
    bench, other = Bench(), Bench()
    for each in (bench, other):
        each.joins(A, 0)
    other.offers(0, 7)
    theirs = other.ticks(land=False)
    assert theirs is not None
    bench.lands(theirs)
    assert bench.sequencer.offers == [7, 0]
    tip = bench.sequencer.tip
    bench.record(topics.EPOCHS, replace(theirs, randomness=bytes(32)))  # type: ignore[arg-type]  # a manifest
    assert bench.sequencer.tip == tip


def test_a_new_sequencer_knows_the_offers_of_the_chain() -> None:
    """Those of idle executors aren't written again."""
    bench = Bench(lane_transactions_max=2)
    bench.joins(A, 0)
    bench.offers(0, 5)
    bench.cuts()
    bench.comes_to(came_to(A, included=2))
    bench.cuts()
    new = Bench(tip=bench.sequencer.tip)
    assert new.sequencer.positions()[topics.OUTCOMES] == 2
    assert new.sequencer.positions()[topics.EPOCHS] == bench.sequencer.tip.offset + 1
    new.joins(A, 0)
    new.comes_to(came_to(A, included=2))
    assert ranges(new.cuts()) == {0: (4, 5, ())}


def told(bench: Bench, shard: int, epoch: int) -> ShardDigest:
    """A shard tells its digest."""
    known = ShardDigest(shard=shard, epoch=epoch, digest=digest(bytes([shard, epoch])))
    bench.record(topics.VOTES, Vote(epoch=epoch, shard=shard, address="", lanes=(), digest=known))
    return known


def test_the_last_digests_get_a_manifest_of_their_own_exactly_once() -> None:
    """When all shards have told the same epoch."""
    bench = Bench()
    first = told(bench, 0, 0)
    assert bench.ticks() is None
    second = told(bench, 1, 0)
    assert bench.cuts().digests == (first, second)
    assert bench.ticks(1_000) is None
    told(bench, 0, 0)
    assert bench.ticks(1_000) is None


def test_a_shard_that_stays_silent_does_not_hold_back_the_others_digests() -> None:
    """For longer than a moment."""
    bench = Bench()
    known = told(bench, 0, 0)
    assert bench.ticks() is None
    assert bench.ticks(DIGEST_WAIT_MS - 1) is None
    assert bench.cuts(1).digests == (known,)


def test_digests_ride_along_with_a_close() -> None:
    """Newest ones only."""
    bench = opened()
    told(bench, 0, 0)
    newest = told(bench, 0, 1)
    told(bench, 0, 0)
    bench.comes_to(came_to(A, included=1))
    assert bench.cuts().digests == (newest,)


def dies(bench: Bench, name: int) -> None:
    """The executor of the open epoch ends, and another one joins with the same partitions."""
    joined = bench.sequencer.tip.cut[0].partitions
    excluded_after(bench)
    bench.joins(Attempt(bytes([name]) * 16), *joined)


def test_a_deadly_transaction_is_found_and_skipped_and_no_other_one() -> None:
    """First its partition goes one by one, alone in its lane; then the one that was under way each time is skipped."""
    bench = Bench(timeout_ms_min=100, partitions=2)
    bench.joins(A, 0, 1)
    bench.offers(0, 3)
    bench.offers(1, 3)
    assert ranges(bench.cuts()) == {0: (0, 3, ()), 1: (0, 3, ())}
    for name in range(RULES.strikes_single):
        dies(bench, name)
        manifest = bench.cuts()
    # Offset 1 of partition 0 is deadly. One of the partitions goes first, alone.
    innocents = 0
    for name in range(10, 30):
        (lane,) = manifest.cut
        (part,) = lane.slices
        assert part.high - part.low == 1 or bench.sequencer.tip.inputs[part.partition].strikes == 0
        if part.skip:
            break
        if part.partition == 0 and part.low <= 1 < part.high:
            dies(bench, name)
        else:
            innocents += 1
            bench.comes_to(came_to(lane.attempt, included=part.high - part.low))
        manifest = bench.cuts()
    assert (part.partition, part.low, part.high, part.skip) == (0, 1, 2, True)
    assert innocents >= 2
    bench.comes_to(came_to(lane.attempt, rejected=1))
    manifest = bench.cuts()
    assert manifest.cut
    assert not any(part.skip for lane in manifest.cut for part in lane.slices)


def test_strikes_of_one_transaction_do_not_skip_another_one() -> None:
    """A carry with an older origin comes between; it has to be given its own chances."""
    bench = Bench(timeout_ms_min=100, partitions=2)
    bench.joins(A, 0)
    bench.joins(B, 1)
    bench.offers(0, 2)
    bench.cuts()
    for name in range(3):
        excluded_after(bench)
        bench.joins(Attempt(bytes([name]) * 16), 0)
        bench.offers(1, name + 1)
        manifest = bench.cuts()
        for lane in manifest.cut:
            if lane.attempt == B:
                # The last of these closes brings a carry to partition 0.
                arriving = (waiting(0, 0, 9),) if name == 2 else ()
                bench.comes_to(came_to(B, included=1, accepted=arriving))
    assert bench.sequencer.tip.inputs[0].strikes == 3
    excluded_after(bench)
    bench.joins(C, 0)
    manifest = bench.cuts()
    assert ranges(manifest)[0] == (0, 0, (0,))
    assert bench.sequencer.tip.inputs[0].strikes == RULES.strikes_skip
    skipped = []
    for name in range(20, 23):
        skipped.append([part.skip for lane in manifest.cut for part in lane.slices if part.partition == 0])
        excluded_after(bench)
        bench.joins(Attempt(bytes([name]) * 16), 0)
        manifest = bench.cuts()
    assert skipped == [[False], [False], [True]]


def test_where_it_starts() -> None:
    """Members from the start: the newest join of a partition may be old."""
    positions = Bench().sequencer.positions()
    assert positions == {topics.EPOCHS: 0, topics.MEMBERS: 0, topics.OUTCOMES: 0, topics.VOTES: -1}
