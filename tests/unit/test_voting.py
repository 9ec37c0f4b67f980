"""What a shard says of a lane, what it applies, and where it goes on after a crash."""

from dataclasses import replace
from typing import Any

import pytest

from schemas import topics
from schemas.digests import START, chained
from schemas.errors import InvariantViolation
from schemas.keys import minimal
from schemas.records import (
    NEVER,
    UNVERSIONED,
    Attempt,
    Entry,
    Lane,
    LaneOutcome,
    Prepare,
    Receipt,
    Revision,
    ShardDigest,
    Slice,
    Vote,
    version,
)
from schemas.topics import Topic
from stateshards.store import Durable, MemoryStore
from stateshards.voting import Shard
from streams.events import Acknowledged, Append, Command, Publish, Record
from tests.chains import A, B, Chain, came_to, genesis, lane

K, L, BLOB = b"bk", b"bl", b"h" + bytes(32)
PREPARES = topics.prepares(0)


def prepare(attempt: Attempt, epoch: int = 1, *, reads: dict[bytes, int] | None = None,
            writes: dict[bytes, bytes] | None = None, deltas: dict[bytes, int] | None = None, **more: Any) -> Prepare:
    """A prepare of one part."""
    reads, writes, deltas = reads or {}, writes or {}, deltas or {}
    fields: dict[str, Any] = {"part": 0, "parts": 1, "receipts": (), "shard": 0} | more
    return Prepare(
        epoch=epoch, attempt=attempt, read_keys=tuple(reads), read_versions=tuple(reads.values()),
        write_keys=tuple(writes), write_values=tuple(writes.values()), delta_keys=tuple(deltas),
        delta_amounts=tuple(map(minimal, deltas.values())), **fields)


def revision(attempt: Attempt, epoch: int = 1, *, writes: dict[bytes, bytes] | None = None, **more: Any) -> Revision:
    """A revision of one part."""
    writes = writes or {}
    fields: dict[str, Any] = {"part": 0, "parts": 1, "receipts": (), "shard": 0} | more
    return Revision(
        epoch=epoch, attempt=attempt, write_keys=tuple(writes), write_values=tuple(writes.values()), delta_keys=(),
        delta_amounts=(), **fields)


class Bench:
    """One shard, and the chain that it follows."""

    def __init__(self, entries: dict[bytes, bytes] | None = None, *, partitions: int = 2) -> None:
        self.chain = Chain(genesis(partitions))
        entries = entries or {}
        start = ShardDigest(shard=0, epoch=0, digest=chained(START, 0, entries))
        self.store = MemoryStore(
            Durable(tip=self.chain.tip, published=self.chain.tip, prepares_from=0, digest=start), entries.items())
        self.shard = Shard(0, self.store, "here:1")
        self.records: list[Record] = []
        self.offset = 0

    def opens(self, *lanes: Lane, close: tuple[LaneOutcome | None, ...] = (), **more: Any) -> list[Command]:
        """A manifest arrives."""
        return self.takes(self.chain.manifest(close, lanes, **more))

    def takes(self, event: Record) -> list[Command]:
        """A record arrives."""
        self.records.append(event)
        return self.shard.step(event)

    def gets(self, record: Prepare | Revision) -> list[Command]:
        """A record of `prepares` arrives."""
        self.offset += 1
        return self.takes(Record(PREPARES, self.offset - 1, record, b""))

    def restarted(self) -> list[Command]:
        """The shard ends, and reads on where its store says."""
        self.shard = Shard(0, self.store, "here:1")
        positions = self.shard.positions()
        return [
            command for event in self.records if event.offset >= positions[event.topic]
            for command in self.shard.step(event)]


def both(joined: int = 0) -> tuple[Lane, Lane]:
    """Two lanes: A of rank 0, B of rank 1."""
    return (
        lane(A, Slice(partition=0, low=0, high=0), joined=joined),
        lane(B, Slice(partition=1, low=0, high=0), joined=joined))


def votes(commands: list[Command]) -> list[Vote]:
    """The votes among commands."""
    return [c.record for c in commands if isinstance(c, Append) and isinstance(c.record, Vote)]


def published(commands: list[Command]) -> list[Publish]:
    """What is to be published."""
    return [command for command in commands if isinstance(command, Publish)]


def test_it_votes_once_all_lanes_have_prepared() -> None:
    """And only once."""
    bench = Bench()
    bench.opens(*both())
    assert votes(bench.gets(prepare(B))) == []
    (vote,) = votes(bench.gets(prepare(A)))
    assert [(judged.rank, judged.attempt) for judged in vote.lanes] == [(0, A), (1, B)]
    assert (vote.epoch, vote.shard, vote.address) == (1, 0, "here:1")
    assert votes(bench.gets(prepare(A))) == []


def test_an_excluded_lane_is_not_waited_for() -> None:
    """Its prepare counts as empty, if it came at all."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A, writes={K: b"\1"}))
    bench.gets(prepare(Attempt(b"z" * 16)))
    (vote,) = votes(bench.takes(bench.chain.excluding(1)))
    assert [judged.rank for judged in vote.lanes] == [0]
    other = Bench()
    other.opens(*both())
    other.gets(prepare(A, writes={K: b"\1"}))
    other.takes(other.chain.excluding(0))
    (vote,) = votes(other.gets(prepare(B, reads={K: 0})))
    assert vote.lanes[0].lost_indexes == ()


def test_a_read_of_another_version_is_stale() -> None:
    """Older or newer: it differs."""
    bench = Bench({K: b"\7"})
    bench.opens(*both())
    bench.gets(prepare(A, reads={L: UNVERSIONED, K: version(3, merged=False), b"bm": 0}))
    (vote,) = votes(bench.gets(prepare(B, reads={K: 0})))
    judged = vote.lanes[0]
    assert (judged.stale_indexes, judged.stale_versions, judged.stale_values) == ((1,), (0,), (b"\7",))
    assert vote.lanes[1].stale_indexes == ()


def test_indexes_count_reads_then_writes_over_all_parts() -> None:
    """A prepare in parts is judged as one."""
    bench = Bench({K: b"\1"})
    bench.opens(*both())
    bench.gets(prepare(A, deltas={L: 1}))
    parts = [
        prepare(B, reads={b"bx": 0, K: 4}), prepare(B, reads={L: 0}), prepare(B, writes={b"by": b"", L: b"\2"}),
    ]
    commands = [bench.gets(replace(part, part=number, parts=3)) for number, part in reversed(list(enumerate(parts)))]
    assert votes(commands[0] + commands[1]) == []
    (vote,) = votes(commands[2])
    assert vote.lanes[1].stale_indexes == (1,)
    assert (vote.lanes[1].lost_indexes, vote.lanes[1].lost_ranks) == ((2, 4), (0, 0))


def test_code_is_never_lost() -> None:
    """Two lanes that deploy the same code don't conflict."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A, writes={BLOB: b"code"}))
    (vote,) = votes(bench.gets(prepare(B, writes={BLOB: b"code"})))
    assert vote.lanes[1].lost_indexes == ()


def closed(bench: Bench, first: LaneOutcome | None, second: LaneOutcome | None, *cut: Lane) -> list[Command]:
    """The open epoch closes."""
    return bench.opens(*cut, close=(first, second))


def test_values_then_additions_in_rank_order() -> None:
    """An addition of a lower rank is overwritten, one of a higher rank is added."""
    bench = Bench({K: b"\5", L: b"\5"})
    bench.opens(*both())
    bench.gets(prepare(A, writes={K: b"\x0a"}, deltas={L: 1}))
    bench.gets(prepare(B, deltas={K: 3, L: 1}))
    closed(bench, came_to(A), came_to(B))
    merged = version(1, merged=True)
    assert bench.store.entries([K, L]) == [Entry(b"\x0d", merged), Entry(b"\7", merged)]
    assert bench.store.durable.digest == ShardDigest(
        shard=0, epoch=1, digest=chained(chained(START, 0, {K: b"\5", L: b"\5"}), 1, {K: b"\x0d", L: b"\7"}))


def test_a_lane_alone_leaves_a_version_that_it_knows() -> None:
    """What an executor caches of its own is right then."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A, writes={K: b"\1"}))
    bench.gets(prepare(B, writes={L: b"\2"}))
    closed(bench, came_to(A), came_to(B))
    assert bench.store.entries([K, L]) == [Entry(b"\1", version(1, merged=False)), Entry(b"\2", version(1, merged=False))]


def test_an_aborted_lane_leaves_nothing() -> None:
    """Neither values nor versions."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A, writes={K: b"\1"}))
    bench.gets(prepare(B, writes={K: b"\2", L: b"\2"}))
    bench.takes(bench.chain.excluding(1))
    closed(bench, came_to(A), None)
    assert bench.store.entries([K, L]) == [Entry(b"\1", version(1, merged=False)), NEVER]


def test_a_named_revision_replaces_the_prepare_and_is_waited_for() -> None:
    """One that the outcome doesn't name counts for nothing."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A, writes={K: b"\1", L: b"\1"}))
    bench.gets(prepare(B, writes={b"bm": b"\1"}))
    bench.gets(revision(B, writes={b"bm": b"\2"}))
    assert published(closed(bench, came_to(A, revised=(0, 1)), came_to(B, revised=(1,)))) == []
    assert bench.store.durable.applied == 0
    half = revision(A, writes={K: b"\2"}, parts=2)
    assert published(bench.gets(half)) == []
    # Epoch 0 went out as soon as epoch 1 was open; this is epoch 1.
    (publish,) = published(bench.gets(replace(half, part=1, write_keys=(), write_values=())))
    assert publish.epoch == 1
    assert [entry.value for entry in bench.store.entries([K, L, b"bm"])] == [b"\2", b"", b"\1"]


def test_the_first_of_two_prepares_counts() -> None:
    """A duplicate is ignored."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A, writes={K: b"\1"}))
    bench.gets(prepare(A, writes={K: b"\2"}))
    bench.gets(prepare(B))
    closed(bench, came_to(A), came_to(B))
    assert bench.store.entries([K])[0].value == b"\1"


def test_a_prepare_for_another_shard_is_ignored() -> None:
    """Shards may share a partition of the topic."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(B))
    assert votes(bench.gets(prepare(A, shard=1))) == []


def test_a_lane_is_told_what_others_changed_of_its_keys() -> None:
    """Not what it changed itself, nor what it never read."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A, reads={K: 0, L: 0}, writes={L: b"\3"}))
    bench.gets(prepare(B, writes={K: b"\1", b"bm": b"\2"}, reads={L: 0}))
    closed(bench, came_to(A), came_to(B), *both())
    bench.gets(prepare(A, 2))
    (vote,) = votes(bench.gets(prepare(B, 2)))
    told = [(judged.refresh_keys, judged.refresh_versions, judged.refresh_values) for judged in vote.lanes]
    assert told == [((K,), (2,), (b"\1",)), ((L,), (2,), (b"\3",))]


def test_an_idle_epoch_between_does_not_lose_the_refresh() -> None:
    """Where little is to do an epoch without lanes lies between any two."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A, reads={K: 0}))
    bench.gets(prepare(B, writes={K: b"\1"}))
    closed(bench, came_to(A), came_to(B))
    bench.opens()
    bench.opens(*both())
    bench.gets(prepare(A, 4))
    (vote,) = votes(bench.gets(prepare(B, 4)))
    assert vote.lanes[0].refresh_keys == (K,)


def test_the_last_digest_is_announced() -> None:
    """When nothing follows, the digest goes out alone."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A))
    bench.gets(prepare(B, writes={K: b"\1"}))
    (vote,) = votes(closed(bench, came_to(A), came_to(B)))
    assert (vote.lanes, vote.epoch, vote.digest) == ((), 1, bench.store.durable.digest)
    busy = Bench()
    busy.opens(*both())
    busy.gets(prepare(A))
    busy.gets(prepare(B))
    assert votes(closed(busy, came_to(A), came_to(B), *both())) == []


def test_another_digest_in_a_manifest_stops_the_shard() -> None:
    """It never goes on with a state that others don't have."""
    bench = Bench()
    wrong = ShardDigest(shard=0, epoch=0, digest=b"!" * 32)
    with pytest.raises(InvariantViolation, match="digest"):
        bench.opens(digests=(wrong,))
    Bench().opens(digests=(replace(wrong, shard=1),))


def test_a_digest_that_was_recorded_before_is_compared_when_the_epoch_is_applied() -> None:
    """A replica that is behind reads the manifest first."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A))
    closed(bench, came_to(A), came_to(B))
    bench.opens(digests=(ShardDigest(shard=0, epoch=1, digest=b"!" * 32),))
    with pytest.raises(InvariantViolation, match="after epoch 1"):
        bench.gets(prepare(B))


def receipt(offset: int, *, index: int | None) -> Receipt:
    """A receipt as an executor writes it."""
    return Receipt(
        partition=0, offset=offset, epoch=1, shard=0, index=0, hash=bytes(32), status="success", reason="", sender=b"",
        recipient=None, contract=None, nonce=0, kind=0, block=None, block_hash=None, timestamp_ms=0,
        transaction_index=index, gas_used=5, cumulative_gas=5 if index is not None else 0, gas_price=b"", log_index=0,
        logs=(), output=b"")


def test_receipts_get_their_places_from_the_close() -> None:
    """Behind the lanes of lower rank, those that aborted aside."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A, receipts=(receipt(0, index=0), receipt(2, index=None))))
    bench.gets(prepare(B, receipts=(receipt(4, index=1),)))
    commands = closed(bench, came_to(A, included=3, gas=20, logs=2), came_to(B, included=2, gas=10))
    (publish,) = published(commands)
    placed = [(r.offset, r.index, r.block, r.transaction_index, r.cumulative_gas, r.log_index) for r in publish.receipts]
    assert placed == [(0, 0, 1, 0, 5, 0), (2, 1, None, None, 0, 0), (4, 2, 1, 4, 25, 2)]
    assert {r.block_hash for r in publish.receipts if r.block} == {bench.chain.tip.hash}


def test_a_restart_reads_prepares_of_later_epochs_again() -> None:
    """They came before the close of the epoch that was applied."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A))
    bench.gets(prepare(A, 2, writes={K: b"\2"}))
    bench.gets(prepare(B))
    for command in published(closed(bench, came_to(A), came_to(B), *both())):
        bench.shard.step(Acknowledged(command, 0))
    bench.restarted()
    (vote,) = votes(bench.gets(prepare(B, 2)))
    assert vote.epoch == 2


def test_a_restart_publishes_again_what_was_not_acknowledged() -> None:
    """The same receipts, although the epoch is applied."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A, receipts=(receipt(0, index=0),), writes={K: b"\1"}))
    bench.gets(prepare(B))
    before = published(closed(bench, came_to(A, included=1, gas=5), came_to(B)))
    again = [command for command in published(bench.restarted()) if command.epoch == 1]
    assert [command.receipts for command in again] == [command.receipts for command in before if command.epoch == 1]
    assert bench.store.durable.applied == 1
    for _ in range(2):
        bench.shard.step(Acknowledged(Publish(0, ()), 0))
    bench.opens()
    assert bench.store.durable.published.epoch == 2


def test_where_it_starts() -> None:
    """At its store's offsets."""
    bench = Bench()
    positions: dict[Topic, int] = bench.shard.positions()
    assert positions == {topics.EPOCHS: 0, PREPARES: 0}
