"""Schedules written by hand, each the shortest that fails without one rule of the protocol."""

from collections.abc import Callable
from typing import Final

from ingest.sequencer import Pace, Sequencer
from schemas import topics
from schemas.chain import Tip
from schemas.records import Attempt, Exclusion, Lane, LaneOutcome, Manifest, Slice
from stateshards.voting import Shard
from streams.events import Assigned

from .oracle import check
from .stage import Stage
from .violation import Violation
from .workload import RULES, toy


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise Violation("drill", what)


def merged_version() -> None:
    """One lane writes an account, another one adds to it; the first must not trust what it wrote."""
    stage = Stage([(0,), (1,)])
    for round_ in range(2):
        first, second = stage.ranked()
        stage.together(
            (first, (toy("move", 0, 0, 5, unique=round_),)), (second, (toy("pay", 1, 0, 5, unique=10 + round_),)))
        stage.settle()
        stage.send_to(first, toy("move", 5, 0, 6, unique=20 + round_))
        stage.settle()
    stage.finish()
    check(stage)


def one_chain() -> None:
    """A manifest that was written before an exclusion, and lands after it, must not commit the excluded lane."""
    tip = Tip.genesis(bytes(32), 1, 1, RULES, 0)
    lane = Lane(
        attempt=Attempt(b"a" * 16), joined=0, partitions=(0,), slices=(Slice(partition=0, low=0, high=1),))

    def manifest(of: Tip, close: tuple[LaneOutcome | None, ...], cut: tuple[Lane, ...]) -> Manifest:
        return Manifest(
            epoch=of.epoch + 1, block=of.block_after(close), previous=of.hash, timestamp_ms=0, randomness=bytes(32),
            rules=RULES.hash(), close=close, cut=cut, digests=(), outcomes_read=0, offers=(1,))

    opened = tip.after(manifest(tip, (), (lane,)), b"1" * 32, 0)
    _expect(opened is not None, "a cut is valid")
    excluded = opened.after(Exclusion(epoch=1, previous=opened.hash, lanes=(0,)), b"2" * 32, 1) if opened else None
    _expect(excluded is not None, "an exclusion is valid")
    outcome = LaneOutcome(
        attempt=lane.attempt, revised=(), carried=(), accepted=(), included=1, rejected=0, gas=1, logs=0,
        list_digest=bytes(32))
    if opened is not None and excluded is not None:
        late = manifest(opened, (outcome,), ())
        _expect(excluded.after(late, b"3" * 32, 2) is None, "an excluded lane commits")


def offers_in_manifest() -> None:
    """The only sequencer dies while an executor has nothing new to offer; its successor starts from a shard's tip."""
    stage = Stage([(0,)], pace=Pace(interval_ms=0, timeout_ms_min=100_000, lane_transactions_max=1))
    stage.together((0, tuple(toy("set", 0, 1, unique=i) for i in range(4))))
    stage.settle(until=lambda: stage.machines()[0].store.durable.tip.epoch >= 2)
    tip = stage.machines()[0].store.durable.tip
    stage.sequencers = [stage.started(Sequencer(tip, stage.shard_count, stage.faults.pace))]
    stage.finish()
    check(stage)


def fenced_join() -> None:
    """A member that was replaced joins late, then ends: its successor's join has to stay the newest."""
    stage = Stage([(0,), (1,)])
    stage.settle()
    old = stage.owner(0)
    stage.hold(old, topics.MEMBERS)
    stage.step(old, Assigned(Attempt(b"z" * 16), (0,)))
    successor = stage.executor()
    stage.group[successor], stage.group[old] = (0,), ()
    stage.assign(successor, (0,))
    stage.settle()
    stage.release(old)
    stage.settle()
    old.dead = True
    stage.together((0, (toy("set", 0, 1),)))
    stage.settle()
    stage.time_out()
    stage.finish()
    check(stage)


def exact_carried_reads() -> None:
    """A carried transaction is led to a pointer that its new lane has cached, and that a third lane has changed."""
    stage = Stage([(0,), (1,), (2,)])
    stage.together(*((p, (toy("peek", p, 4, unique=p),)) for p in range(3)))
    stage.settle()
    first, second, third = stage.ranked()
    stage.together(
        (first, (toy("set", 0, 8, number=9, unique=10),)),
        (second, (toy("set", 1, 0, number=4, unique=11), toy("set", 1, 4, number=5, unique=12))),
        (third, (toy("hop", 2, 0, 8, unique=13),)))
    stage.settle()
    stage.finish()
    _expect(check(stage)["carried"] == 1, "it is carried once")


def refresh() -> None:
    """What another lane changed comes with the next vote, so that the read after it isn't stale."""
    stage = Stage([(0,), (1,)])
    stage.send_to(0, toy("peek", 0, 0, unique=1))
    stage.settle()
    stage.send_to(1, toy("set", 1, 0, number=4, unique=2))
    stage.settle()
    # Any transaction of the lane brings a vote of each shard that it touches; these touch them all.
    stage.together((0, tuple(toy("peek", 0, slot, unique=10 + slot) for slot in (2, 4, 6, 8))))
    stage.settle()
    before = check(stage)["stale lanes"]
    stage.send_to(0, toy("peek", 0, 0, unique=4))
    stage.finish()
    _expect(check(stage)["stale lanes"] == before, "the value was known")


def delta_no_reason() -> None:
    """One reader of the fees in a lane is carried; the others of the lane, which only pay fees, are not."""
    stage = Stage([(0,), (1,)])
    stage.settle()
    first, second = stage.ranked()
    others = tuple(toy("set", 3 + i, 5 + i, unique=i) for i in range(4))
    stage.together((first, (toy("set", 0, 4, unique=10),)), (second, (toy("peek", 1, 1, unique=11), *others)))
    stage.finish()
    _expect(check(stage)["carried"] == 1, "only the reader is carried")


def reads_reserved() -> None:
    """A re-run takes another branch and reads the fees, which its lane had only added to."""
    stage = Stage([(0,), (1,), (2,)])
    stage.together(*((p, (toy("peek", p, 0, unique=p),)) for p in range(3)))
    stage.settle()
    stage.send_to(2, toy("set", 5, 0, number=3, unique=10))
    stage.settle()
    first, second = (partition for partition in stage.ranked() if partition != 2)
    stage.together((first, (toy("set", 6, 4, unique=11),)), (second, (toy("peek", 7, 0, unique=12),)))
    stage.finish()
    check(stage)


def safe_offset() -> None:
    """A replica that is behind applies an epoch when it already holds prepares of the next one, then it dies."""
    stage = Stage([(0,)])
    stage.settle()
    behind = stage.shards[0]
    stage.hold(behind, topics.EPOCHS)
    for number in range(3):
        stage.send_to(0, *(toy("set", 0, slot, unique=10 * number + slot) for slot in range(8)))
        stage.settle()
    machine = behind.role
    if not isinstance(machine, Shard):
        raise TypeError(machine)
    applied = machine.store.durable.applied
    while machine.store.durable.applied == applied:
        at = behind.positions[topics.EPOCHS]
        stored = stage.broker.topics[topics.EPOCHS][at]
        behind.positions[topics.EPOCHS] = at + 1
        if stored is not None:
            stage.step(behind, *stage.events(topics.EPOCHS, [(at, stored)]))
    stage.crash(behind)
    stage.finish()
    check(stage)


def cache_after_close() -> None:
    """A lane that had its outcome ready is excluded; what it wrote has the version of what another lane added."""
    stage = Stage([(0,), (1,)])
    stage.settle()
    first, second = stage.ranked()
    process = stage.owner(first)
    stage.together(
        (first, (toy("move", 0, 0, 5, number=3, unique=1),)), (second, (toy("pay", 1, 0, 5, unique=2),)))
    stage.settle(until=lambda: bool(stage.tip.cut))
    stage.hold(process, topics.OUTCOMES)
    stage.settle()
    process.outgoing[topics.OUTCOMES].clear()
    stage.release(process)
    stage.time_out()
    stage.finish()
    check(stage)


def snapshot_reads() -> None:
    """An old snapshot stays what it was."""
    stage = Stage([(0,)])
    for number in range(3):
        stage.send_to(0, toy("set", 0, 1, number=number + 5, unique=number))
        stage.settle()
    stage.finish()
    check(stage)


DRILLS: Final[dict[str, Callable[[], None]]] = {
    drill.__name__: drill
    for drill in (
        merged_version, one_chain, offers_in_manifest, fenced_join, exact_carried_reads, refresh, delta_no_reason,
        reads_reserved, safe_offset, cache_after_close, snapshot_reads)
}
"""By the rule that each needs."""
