"""An executor's part in an epoch, step by step, with toy transactions."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from executors import effects
from executors.engine import Executor
from executors.walk import Item, Refused
from schemas import topics
from schemas.hashing import keccak
from schemas.keys import balance_key, code_key, home, minimal
from schemas.records import (
    NEVER,
    UNVERSIONED,
    Attempt,
    Carry,
    DeadLetter,
    Entry,
    Join,
    Judgement,
    Lane,
    LaneOutcome,
    Offer,
    Outcome,
    Prepare,
    Revision,
    ShardDigest,
    Slice,
    Vote,
    version,
)
from streams.events import END, Acknowledged, Answer, Append, Assigned, Command, Read, Record, Rejoin
from tests.chains import RULES, A, B, Chain, accepted, came_to, genesis, lane
from tests.simulation.workload import COINBASE, ToyMachine, account, decode_toy, slot, toy

R = TypeVar("R")
ZERO = Entry(b"", version(0, merged=False))


class Bench:
    """One executor of attempt A. Appends are acknowledged and reads answered only where a test says so."""

    def __init__(self, *, partitions: tuple[int, ...] = (0,), count: int = 2, shards: int = 1,
                 state: dict[bytes, bytes] | None = None) -> None:
        self.chain = Chain(genesis(count))
        self.executor = Executor(self.chain.tip, shards, ToyMachine(), lambda item: ())
        self.state = {balance_key(account(number)): minimal(500) for number in range(8)} | (state or {})
        self.commands: list[Command] = []
        self.offset = 0
        self.does(self.executor.step(Assigned(A, partitions)))

    def does(self, commands: Iterable[Command]) -> None:
        """Note what the executor wants."""
        self.commands += commands

    def holds(self, partition: int, *items: Item | bytes, start: int = 0) -> None:
        """Items of `transactions` arrive."""
        for offset, each in enumerate(items, start):
            value = decode_toy(each) if isinstance(each, bytes) else each
            if value is not None:
                self.does(self.executor.step(Record(topics.transactions(partition), offset, value, b"")))

    def opens(self, *lanes: Lane, close: tuple[LaneOutcome | None, ...] = (), **more: Any) -> None:
        """A manifest arrives."""
        self.does(self.executor.step(self.chain.manifest(close, lanes, **more)))

    def answers(self) -> list[Read]:
        """Answer all reads from the state, again and again; the reads."""
        asked: list[Read] = []
        while reads := self.take(Read):
            for read in reads:
                asked.append(read)
                entries = {key: Entry(self.state.get(key, b""), ZERO.version) for key in read.keys}
                self.does(self.executor.step(Answer(read, entries)))
        return asked

    def take(self, kind: type[R]) -> list[R]:
        """Commands of a kind, or the records of such appends; they are forgotten."""
        found: list[R] = []
        kept: list[Command] = []
        for command in self.commands:
            if isinstance(command, kind):
                found.append(command)
            elif isinstance(command, Append) and isinstance(command.record, kind):
                found.append(command.record)
            else:
                kept.append(command)
        self.commands = kept
        return found

    def acknowledges(self, *kinds: type) -> list[Append]:
        """The broker stores all appends, or those of these kinds."""
        stored = [
            command for command in self.commands
            if isinstance(command, Append) and (not kinds or isinstance(command.record, kinds))]
        self.commands = [command for command in self.commands if command not in stored]
        for append in stored:
            self.offset += 1
            self.does(self.executor.step(Acknowledged(append, self.offset)))
        return stored

    def votes(self, *, stale: dict[bytes, Entry] | None = None, lost: dict[bytes, int] | None = None,
              refresh: dict[bytes, Entry] | None = None, prepare: Prepare, attempt: Attempt = A) -> None:
        """A shard votes on the only lane."""
        stale, lost, refresh = stale or {}, lost or {}, refresh or {}
        keys = (*prepare.read_keys, *prepare.write_keys)
        losing = [(index, lost[key]) for index, key in enumerate(keys) if key in lost]
        judged = Judgement(
            rank=0, attempt=attempt, stale_indexes=tuple(keys.index(key) for key in stale),
            stale_versions=tuple(entry.version for entry in stale.values()),
            stale_values=tuple(entry.value for entry in stale.values()),
            lost_indexes=tuple(index for index, _ in losing), lost_ranks=tuple(rank for _, rank in losing),
            refresh_keys=tuple(refresh), refresh_versions=tuple(entry.version for entry in refresh.values()),
            refresh_values=tuple(entry.value for entry in refresh.values()))
        vote = Vote(
            epoch=prepare.epoch, shard=prepare.shard, address="", lanes=(judged,),
            digest=ShardDigest(shard=0, epoch=0, digest=bytes(32)))
        self.does(self.executor.step(Record(topics.VOTES, 0, vote, b"")))

    def prepared(self) -> Prepare:
        """The only prepare, acknowledged."""
        self.answers()
        (append,) = self.acknowledges(Prepare)
        record: Prepare = append.record
        return record

    def outcome(self) -> LaneOutcome:
        """The only outcome."""
        (outcome,) = self.take(Outcome)
        return outcome.lane


def cut(low: int, high: int, *carries: int, attempt: Attempt = A, skip: bool = False) -> Lane:
    """A lane on partition 0."""
    return lane(attempt, Slice(partition=0, low=low, high=high, carries=carries, skip=skip))


def with_other(low: int, high: int, *carries: int) -> tuple[Lane, Lane]:
    """B of rank 0 on partition 1, then A on partition 0."""
    return lane(B, Slice(partition=1, low=0, high=0)), cut(low, high, *carries)


def test_it_joins_with_what_it_is_given() -> None:
    """After it has positioned itself at the end of the votes."""
    bench = Bench(partitions=(1, 0))
    assert bench.take(Join) == [Join(attempt=A, partitions=(0, 1))]
    positions = bench.executor.positions()
    assert positions[topics.VOTES] == END
    assert positions[topics.transactions(1)] == positions[topics.carries(0)] == positions[topics.EPOCHS] == 0
    bench.does(bench.executor.step(Assigned(B, ())))
    assert bench.take(Join) == []


def test_it_offers_what_it_holds_once() -> None:
    """Holes before a record are part of the range."""
    bench = Bench()
    bench.holds(0, None, None, toy("set", 0, 1))
    assert bench.take(Offer) == [Offer(attempt=A, partition=0, offset=3)]
    bench.holds(1, toy("set", 0, 1))
    assert bench.take(Offer) == []


def test_records_on_the_wrong_topic_are_no_transactions() -> None:
    """Whatever lies on `epochs`, `votes` or `carries`."""
    bench = Bench()
    stray = Join(attempt=B, partitions=(0,))
    for topic in (topics.EPOCHS, topics.VOTES, topics.carries(0)):
        bench.does(bench.executor.step(Record(topic, 0, stray, b"")))
    assert bench.take(Offer) == []
    assert bench.executor.items == {}


def test_an_epoch_without_trouble() -> None:
    """Cut, prepare, vote, outcome; each waits for the one before it."""
    bench = Bench()
    bench.opens(cut(0, 1))
    assert bench.take(Prepare) == []
    bench.holds(0, toy("branch", 0, 2, 3, 4))
    prepare = bench.prepared()
    assert set(prepare.read_keys) == {balance_key(account(0)), slot(2)}
    assert set(prepare.write_keys) == {balance_key(account(0)), slot(4)}
    assert dict(zip(prepare.delta_keys, prepare.delta_amounts, strict=True)) == {balance_key(COINBASE): b"\5"}
    assert [receipt.transaction_index for receipt in prepare.receipts] == [0]
    assert bench.take(Outcome) == []
    bench.votes(prepare=prepare)
    outcome = bench.outcome()
    assert (outcome.included, outcome.gas, outcome.revised, outcome.carried) == (1, 5, (), ())


def test_the_outcome_waits_for_all_acknowledgements() -> None:
    """Else a close could name what the broker never stored."""
    bench = Bench()
    bench.holds(0, toy("set", 0, 1))
    bench.opens(cut(0, 1))
    bench.answers()
    (append,) = [c for c in bench.commands if isinstance(c, Append) and isinstance(c.record, Prepare)]
    bench.votes(prepare=append.record)
    assert bench.take(Outcome) == []
    bench.acknowledges(Prepare)
    assert bench.outcome().included == 1


def test_every_shard_gets_a_prepare_and_only_those_with_something_are_waited_for() -> None:
    """A shard with nothing gets an empty one."""
    bench = Bench(shards=8)
    bench.holds(0, Refused("wrong", b"x", keccak(b"x"), dead=False))
    bench.opens(cut(0, 1))
    prepares = [append.record for append in bench.acknowledges(Prepare)]
    assert sorted(prepare.shard for prepare in prepares) == list(range(8))
    assert sum(len(prepare.receipts) for prepare in prepares) == 1
    assert bench.outcome().rejected == 1
    touching = Bench(shards=8)
    touching.holds(0, toy("set", 0, 1))
    touching.opens(cut(0, 1))
    touching.answers()
    needed = {home(key, 8) for key in (slot(1), balance_key(account(0)), balance_key(COINBASE))}
    for append in touching.acknowledges(Prepare):
        if append.record.shard in needed:
            assert touching.take(Outcome) == []
            touching.votes(prepare=append.record)
    assert touching.outcome().included == 1


def test_a_vote_without_its_attempt_is_waited_over() -> None:
    """The exclusion will be read, too; then it joins anew."""
    bench = Bench()
    bench.holds(0, toy("set", 0, 1))
    bench.opens(cut(0, 1))
    prepare = bench.prepared()
    bench.votes(prepare=prepare, attempt=B)
    assert bench.take(Outcome) == []
    bench.does(bench.executor.step(bench.chain.excluding(0)))
    assert bench.take(Rejoin) == [Rejoin()]
    assert bench.executor.work is None


def test_a_stale_value_is_repaired_within_the_epoch() -> None:
    """A revision replaces the prepare, and nothing is carried."""
    bench = Bench()
    bench.holds(0, toy("branch", 0, 2, 3, 4))
    bench.opens(cut(0, 1))
    prepare = bench.prepared()
    fresh = Entry(b"\2", version(0, merged=True))
    bench.votes(prepare=prepare, stale={slot(2): fresh})
    (append,) = bench.acknowledges(Revision)
    written = dict(zip(append.record.write_keys, append.record.write_values, strict=True))
    assert written[slot(4)] == b"\5"
    outcome = bench.outcome()
    assert (outcome.revised, outcome.carried, outcome.included) == ((0,), (), 1)


def test_a_stale_version_with_the_same_value_changes_nothing() -> None:
    """No revision is sent."""
    bench = Bench()
    bench.holds(0, toy("branch", 0, 2, 3, 4))
    bench.opens(cut(0, 1))
    bench.votes(prepare=bench.prepared(), stale={slot(2): Entry(b"", version(0, merged=True))})
    assert bench.take(Revision) == []
    assert bench.outcome().revised == ()


def test_a_re_run_that_leaves_what_was_reserved_is_carried() -> None:
    """It writes a key that no vote has judged."""
    bench = Bench()
    bench.holds(0, toy("branch", 0, 2, 3, 4))
    bench.opens(cut(0, 1))
    bench.votes(prepare=bench.prepared(), stale={slot(2): Entry(b"\1", version(0, merged=True))})
    bench.answers()  # the key that it reads now
    bench.acknowledges(Revision, Carry)
    outcome = bench.outcome()
    assert (outcome.carried, outcome.included) == ((0,), 0)
    assert outcome.accepted[0].parked_ms is None


def test_a_re_run_that_writes_what_was_not_reserved_as_written_is_carried() -> None:
    """Although it reads nothing new."""
    bench = Bench(state={slot(2): b"\1"})
    bench.holds(0, toy("branch", 0, 2, 3, 4))
    bench.opens(cut(0, 1))
    bench.votes(prepare=bench.prepared(), stale={slot(2): Entry(b"\2", version(0, merged=True))})
    assert bench.answers() == []
    bench.acknowledges(Revision, Carry)
    assert bench.outcome().carried == (0,)


def test_what_lost_is_carried_to_the_lane_that_won() -> None:
    """With its origin, its bytes and what it touched."""
    bench = Bench()
    bench.holds(0, toy("set", 0, 1), toy("set", 1, 2))
    bench.opens(*with_other(0, 2))
    bench.votes(prepare=bench.prepared(), lost={slot(1): 0})
    carries = [c for c in bench.commands if isinstance(c, Append) and isinstance(c.record, Carry)]
    (append,) = carries
    assert append.topic == topics.carries(1)
    carry = append.record
    assert (carry.origin_epoch, carry.origin_partition, carry.origin_offset) == (1, 0, 0)
    assert carry.raw == toy("set", 0, 1)
    assert set(carry.touched) == {slot(1), balance_key(account(0))}
    bench.acknowledges(Revision, Carry)
    outcome = bench.outcome()
    assert (outcome.carried, outcome.included) == ((0,), 1)
    assert outcome.accepted[0].partition == 1


def test_what_lost_to_an_excluded_lane_stays_at_home() -> None:
    """That lane will not commit, and its partitions wait for a new join."""
    bench = Bench()
    bench.holds(0, toy("set", 0, 1))
    bench.opens(*with_other(0, 1))
    prepare = bench.prepared()
    bench.does(bench.executor.step(bench.chain.excluding(0)))
    bench.votes(prepare=prepare, lost={slot(1): 0})
    (append,) = [c for c in bench.commands if isinstance(c, Append) and isinstance(c.record, Carry)]
    assert append.topic == topics.carries(0)


def test_an_addition_to_a_lost_key_is_no_reason() -> None:
    """All pay fees; only the reader of the fees is carried."""
    bench = Bench(state={slot(1): b"\1"})
    bench.holds(0, toy("peek", 0, 1), toy("set", 1, 2))
    bench.opens(*with_other(0, 2))
    bench.votes(prepare=bench.prepared(), lost={balance_key(COINBASE): 0})
    bench.acknowledges(Revision, Carry)
    assert bench.outcome().carried == (0,)


def test_carried_transactions_read_the_snapshot_and_nothing_cached() -> None:
    """Also what they were not expected to touch."""
    bench = Bench()
    bench.executor.cache[slot(1)] = Entry(b"\7", version(0, merged=False))
    pending = accepted(0, 3, (1, 0, 0))
    bench.opens(cut(0, 0))
    bench.acknowledges()
    bench.opens(close=(came_to(A, accepted=(pending,)),))
    item = decode_toy(toy("branch", 0, 1, 2, 3))
    carry = Carry(
        epoch=1, attempt=A, origin_epoch=1, origin_partition=0, origin_offset=0, hash=bytes(32), sender=bytes(20),
        raw=b"", touched=(balance_key(account(0)),))
    bench.does(bench.executor.step(Record(topics.carries(0), 3, (carry, item), b"")))
    bench.opens(cut(0, 0, 3))
    asked = bench.answers()
    assert asked == [Read(frozenset({balance_key(account(0))}), 2), Read(frozenset({slot(1)}), 2)]
    (prepare,) = [append.record for append in bench.acknowledges(Prepare)]
    assert dict(zip(prepare.write_keys, prepare.write_values, strict=True))[slot(3)] == b"\1"


def test_an_own_value_is_cached_only_after_the_close() -> None:
    """And with the version of a lane alone."""
    bench = Bench()
    bench.holds(0, toy("set", 0, 1, number=6))
    bench.opens(cut(0, 1))
    bench.votes(prepare=bench.prepared())
    outcome = bench.outcome()
    assert slot(1) not in bench.executor.cache
    bench.opens(close=(outcome,))
    assert bench.executor.cache[slot(1)] == Entry(b"\6", version(1, merged=False))


def test_an_older_answer_does_not_replace_a_newer_one() -> None:
    """Two replicas may answer in any order."""
    bench = Bench()
    read = Read(frozenset({slot(1)}), None)
    bench.does(bench.executor.step(Answer(read, {slot(1): Entry(b"\2", version(4, merged=True))})))
    bench.does(bench.executor.step(Answer(read, {slot(1): Entry(b"\1", version(4, merged=False))})))
    assert bench.executor.cache[slot(1)].value == b"\2"


def test_keys_read_only_from_the_overlay_are_reserved_without_a_version() -> None:
    """Nobody has validated a value for them."""
    bench = Bench()
    bench.holds(0, toy("set", 0, 1), toy("branch", 0, 1, 2, 3))
    bench.opens(cut(0, 2))
    prepare = bench.prepared()
    versions = dict(zip(prepare.read_keys, prepare.read_versions, strict=True))
    assert versions[slot(1)] == UNVERSIONED
    assert versions[balance_key(account(0))] == 0


def test_a_transaction_that_waits_is_parked_since_its_first_epoch() -> None:
    """The second time it stays where it is, and isn't written again."""
    bench = Bench()
    bench.holds(0, toy("nonce", 0, 0, 1, nonce=2))
    bench.opens(cut(0, 1), timestamp_ms=5_000)
    bench.votes(prepare=bench.prepared())
    (append,) = bench.acknowledges(Carry)
    outcome = bench.outcome()
    (parked,) = outcome.accepted
    assert (parked.parked_ms, outcome.included, outcome.rejected) == (5_000, 0, 0)
    carry, item = append.record, decode_toy(append.record.raw)
    bench.does(bench.executor.step(Record(topics.carries(0), parked.position, (carry, item), b"")))
    bench.opens(cut(1, 1, parked.position), close=(outcome,), timestamp_ms=5_500)
    bench.votes(prepare=bench.prepared())
    assert bench.take(Carry) == []
    assert bench.outcome().accepted == (parked,)


def test_what_follows_a_carried_transaction_of_its_sender_goes_with_it() -> None:
    """It would only wait there for the sake of the other."""
    bench = Bench()
    bench.holds(0, toy("nonce", 0, 0, 1, nonce=0, unique=1), toy("nonce", 0, 0, 2, nonce=1, unique=2))
    bench.opens(*with_other(0, 2))
    bench.votes(prepare=bench.prepared(), lost={slot(1): 0})
    carries = [c for c in bench.acknowledges(Revision, Carry) if isinstance(c.record, Carry)]
    assert [append.topic for append in carries] == [topics.carries(1)] * 2
    assert [entry.parked_ms for entry in bench.outcome().accepted] == [None, None]


def test_dead_letters_tell_what_cannot_be_decoded_or_is_skipped() -> None:
    """Each becomes a rejected receipt as well."""
    bench = Bench()
    bench.holds(0, Refused("no record", b"abc", keccak(b"abc"), dead=True), Refused("sig", b"d", keccak(b"d"), dead=False))
    bench.opens(cut(0, 2))
    assert bench.take(DeadLetter) == [DeadLetter(partition=0, offset=0, reason="no record", record=b"abc")]
    bench = Bench()
    bench.holds(0, toy("poison", 0))
    tip = bench.chain.tip
    bench.chain.tip = replace(tip, inputs=(replace(tip.inputs[0], strikes=RULES.strikes_skip), *tip.inputs[1:]))
    bench.executor.tip = bench.chain.tip
    bench.opens(cut(0, 1, skip=True))
    assert [letter.reason for letter in bench.take(DeadLetter)] == ["skipped"]
    (prepare,) = [append.record for append in bench.acknowledges(Prepare)]
    assert prepare.receipts[0].reason.startswith("skipped")


def test_receipts_count_from_the_start_of_the_lane() -> None:
    """Only what is included has a place; a rejected transaction in between has none."""
    bench = Bench()
    bench.holds(0, toy("set", 0, 1), Refused("sig", b"d", keccak(b"d"), dead=False), toy("sum", 1, 1, 2, 3))
    bench.opens(cut(0, 3))
    places = [(r.status, r.transaction_index, r.gas_used, r.cumulative_gas) for r in bench.prepared().receipts]
    assert places == [("success", 0, 3, 3), ("rejected", None, 0, 0), ("success", 1, 9, 12)]


def test_holes_count_for_nothing() -> None:
    """Neither receipts nor carries, but their place in the digest of the list."""
    bench = Bench()
    bench.holds(0, None, toy("set", 0, 1), None, toy("set", 1, 2))
    bench.opens(cut(0, 4))
    bench.votes(prepare=bench.prepared())
    outcome = bench.outcome()
    assert (outcome.included, outcome.rejected, outcome.carried) == (2, 0, ())


def test_code_that_is_not_there_yet_is_read_at_exactly_the_last_epoch() -> None:
    """Its absence in an older snapshot proves nothing, and nobody validates it."""
    code = b"code\x01"
    bench = Bench(state={code_key(account(1)): keccak(code), b"h" + keccak(code): code})
    bench.holds(0, toy("run", 0, 2, 1))
    bench.opens(cut(0, 1))
    asked = bench.answers()
    assert Read(frozenset({b"h" + keccak(code)}), 0) in asked
    (append,) = bench.acknowledges(Prepare)
    assert b"h" + keccak(code) not in append.record.read_keys


def test_committed_input_is_forgotten() -> None:
    """Memory follows what is pending."""
    bench = Bench()
    bench.holds(0, toy("set", 0, 1), toy("set", 0, 2))
    bench.opens(cut(0, 1))
    bench.votes(prepare=bench.prepared())
    bench.opens(close=(bench.outcome(),))
    assert list(bench.executor.items) == [(0, 1)]
    assert bench.executor.ahead(0) == 1
    bench.holds(0, toy("set", 0, 1))
    assert list(bench.executor.items) == [(0, 1)]


@pytest.mark.parametrize("part_bytes", [1, 150, 400])
def test_large_prepares_come_in_parts_that_are_judged_as_one(monkeypatch: pytest.MonkeyPatch, part_bytes: int) -> None:
    """Reads, writes, additions and receipts in order, and each record small."""
    whole = Bench()
    whole.holds(0, *(toy("sum", number, 1, 2, 3 + number) for number in range(5)))
    whole.opens(cut(0, 5))
    one = whole.prepared()
    monkeypatch.setattr(effects, "PART_BYTES", part_bytes)
    bench = Bench()
    bench.holds(0, *(toy("sum", number, 1, 2, 3 + number) for number in range(5)))
    bench.opens(cut(0, 5))
    bench.answers()
    parts = [append.record for append in bench.acknowledges(Prepare)]
    assert len(parts) > 1
    assert [(part.part, part.parts) for part in parts] == [(number, len(parts)) for number in range(len(parts))]
    for name in ("read_keys", "read_versions", "write_keys", "write_values", "delta_keys", "delta_amounts", "receipts"):
        assert tuple(each for part in parts for each in getattr(part, name)) == getattr(one, name)


def test_the_entry_of_nothing() -> None:
    """An absent key has version 0, so that creating it is noticed."""
    assert NEVER == ZERO
