"""Who is excluded and what is cut when it gets tight: a shard that is away, and more carried than fits."""

from dataclasses import replace

from ingest.sequencer import Pace, Sequencer
from schemas import topics
from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.records import Accepted, Attempt, Exclusion, Input, Join, Manifest, Offer
from schemas.rules import Rules
from streams.events import Append, Record, Tick

ATTEMPT = Attempt(b"a" * 16)


def sequencer(waiting: Input, pace: Pace) -> Sequencer:
    """One partition, one shard, an executor that has joined and offers 1,000 offsets."""
    tip = replace(Tip.genesis(b"g" * 32, 1, 1, Rules(), 0), inputs=(waiting,))
    machine = Sequencer(tip, 1, pace)
    machine.step(Record(topics.MEMBERS, 0, Join(attempt=ATTEMPT, partitions=(0,)), b""))
    machine.step(Record(topics.OUTCOMES, 0, Offer(attempt=ATTEMPT, partition=0, offset=1_000), b""))
    return machine


def written(machine: Sequencer, elapsed_ms: float, *, shards_up: bool = True) -> Manifest | Exclusion | None:
    """What it appends at a time, which then is on the log."""
    commands = machine.step(Tick(int(elapsed_ms), elapsed_ms, bytes(32), shards_up))
    if not commands:
        return None
    (command,) = commands
    assert isinstance(command, Append)
    record = command.record
    machine.step(Record(topics.EPOCHS, machine.tip.offset + 1, record, CODEC.encode(record)))
    return record


def test_no_lane_is_timed_out_while_a_shard_is_away() -> None:
    machine = sequencer(Input(), Pace(timeout_ms_min=100))
    assert isinstance(written(machine, 1), Manifest)
    assert written(machine, 2) is None
    assert written(machine, 10_000, shards_up=False) is None
    assert isinstance(written(machine, 10_001), Exclusion)


def test_a_replaced_lane_is_excluded_though_a_shard_is_away() -> None:
    machine = sequencer(Input(), Pace(timeout_ms_min=100))
    assert isinstance(written(machine, 1), Manifest)
    machine.step(Record(topics.MEMBERS, 1, Join(attempt=Attempt(b"b" * 16), partitions=(0,)), b""))
    assert isinstance(written(machine, 2, shards_up=False), Exclusion)


def carried(count: int, parked_ms: int | None = None) -> tuple[Accepted, ...]:
    return tuple(
        Accepted(partition=0, position=n, origin_epoch=1, origin_partition=0, origin_offset=n, parked_ms=parked_ms)
        for n in range(count))


def cut(waiting: Input) -> tuple[int, int]:
    """How many carried and how many new transactions a lane of at most 10 gets."""
    record = written(sequencer(waiting, Pace(lane_transactions_max=10, lane_carries_max=10)), 1)
    assert isinstance(record, Manifest)
    ((part,),) = (lane.slices for lane in record.cut)
    return len(part.carries), part.high - part.low


def test_carried_transactions_take_the_room_of_new_ones() -> None:
    assert cut(Input()) == (0, 10)
    assert cut(Input(pending=carried(4))) == (4, 6)
    assert cut(Input(pending=carried(40))) == (10, 0)


def test_those_that_wait_for_a_nonce_take_no_room() -> None:
    assert cut(Input(pending=carried(4, parked_ms=0))) == (4, 10)
