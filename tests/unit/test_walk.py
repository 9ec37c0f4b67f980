"""Walks over a list: what is run, what is run again, and that a repair equals a full second pass."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.machine import Block, Missing, Rejected, Result
from executors.view import Run
from executors.walk import SKIPPED, Item, Refused, Repair, Walk
from schemas.chain import Listed
from schemas.errors import InvalidTransaction
from schemas.keys import balance_key, minimal, nonce_key
from schemas.records import Offset, Origin, Partition
from tests.simulation.workload import ACCOUNTS, KINDS, SLOTS, ToyMachine, account, decode_toy, slot, toy

BLOCK = Block(number=1, timestamp_s=5, prevrandao=bytes(32), ancestor=lambda number: bytes(32))
HARMLESS = [kind for kind in KINDS if kind not in ("poison", "run", "deploy")]
State = dict[bytes, bytes]


def at(position: int, *, expired: bool = False, skip: bool = False) -> Listed:
    """A position of a list."""
    return Listed(Partition(0), Origin(1, 0, Offset(position)), None, None, expired, skip)  # type: ignore[arg-type]  # plain numbers


def item(raw: bytes) -> Item:
    """A toy."""
    made = decode_toy(raw)
    if isinstance(made, InvalidTransaction):
        raise made
    return made


def base(state: State) -> Callable[[int, bytes], bytes]:
    """Committed state for a walk."""
    return lambda position, key: state.get(key, b"")


def funded(**more: bytes) -> State:
    """Enough money for all."""
    return {balance_key(account(number)): minimal(500) for number in range(ACCOUNTS)}


def walked(items: list[Item], state: State) -> Walk:
    """A finished first pass."""
    walk = Walk(ToyMachine(), BLOCK)
    walk.first([at(position) for position in range(len(items))], items, base(state))
    return walk


raws = st.builds(
    toy, st.sampled_from(HARMLESS), st.integers(0, 3), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4),
    nonce=st.integers(0, 2), number=st.integers(1, 4), unique=st.integers(0, 2**31))
states = st.dictionaries(
    st.one_of(
        st.integers(0, SLOTS - 1).map(slot), st.integers(0, 3).map(lambda n: nonce_key(account(n))),
        st.integers(0, 3).map(lambda n: balance_key(account(n)))),
    st.integers(0, 60).map(minimal), max_size=6)


@given(st.lists(raws, max_size=10), states, states, st.sets(st.integers(0, 9)))
@settings(max_examples=200, deadline=None)
def test_a_repair_equals_a_full_second_pass(
    sent: list[bytes], first_state: State, changes: State, dropped: set[int]
) -> None:
    """Whatever changed underneath and whatever does not commit, reused results are those of running all again."""
    items = [item(raw) for raw in sent]
    listed = [at(position) for position in range(len(items))]
    before = funded() | first_state
    now = before | changes
    first = walked(items, before)
    repair = Repair(ToyMachine(), BLOCK, first, {key for key in now if now[key] != before.get(key, b"")})
    repair.again(listed, items, base(now), lambda position, run, again: position not in dropped and not run.waits)
    full = Walk(ToyMachine(), BLOCK)
    for position, each in enumerate(items):
        run = full.run_one(each, listed[position], lambda key: now.get(key, b""))
        kept = run if run is not None and position not in dropped and not run.waits else None
        if kept is not None:
            full.overlay.absorb(kept)
        full.runs.append(kept)
    assert repair.runs == full.runs
    assert (repair.overlay.values, repair.overlay.deltas) == (full.overlay.values, full.overlay.deltas)


def test_only_what_depended_on_a_change_runs_again() -> None:
    """The rest keeps its result."""
    items = [item(toy("set", 0, 1, unique=1)), item(toy("branch", 1, 2, 3, 4, unique=2)), item(toy("set", 2, 5, unique=3))]
    first = walked(items, funded())
    repair = Repair(ToyMachine(), BLOCK, first, {slot(2)})
    repair.again([at(p) for p in range(3)], items, base(funded() | {slot(2): b"\1"}), lambda *_: True)
    assert repair.runs_again == 1
    assert repair.runs[0] is first.runs[0]
    assert repair.runs[2] is first.runs[2]
    assert repair.runs[1] != first.runs[1]


def test_a_change_passes_on_through_the_list() -> None:
    """What read the result of a transaction that does not commit runs again, too."""
    items = [item(toy("set", 0, 1, number=7, unique=1)), item(toy("branch", 1, 1, 3, 4, unique=2))]
    first = walked(items, funded())
    repair = Repair(ToyMachine(), BLOCK, first, set())
    repair.again([at(p) for p in range(2)], items, base(funded()), lambda position, run, again: position != 0)
    assert repair.runs[0] is None
    assert repair.runs_again == 1
    assert repair.runs[1] == walked(items[1:], funded()).runs[0]


def test_a_walk_goes_on_where_a_value_was_missing() -> None:
    """Nothing of the unfinished run is kept, and nothing before it runs twice."""
    items = [item(toy("set", 0, 1, unique=1)), item(toy("branch", 1, 2, 3, 4, unique=2))]
    state: State = funded()
    known = {balance_key(account(0))}
    asked: list[bytes] = []

    def lookup(position: int, key: bytes) -> bytes:
        if key not in known:
            asked.append(key)
            raise Missing(frozenset({key}))  # type: ignore[arg-type]  # any bytes are a key here
        return state.get(key, b"")

    walk, listed = Walk(ToyMachine(), BLOCK), [at(0), at(1)]
    while len(walk.runs) < 2:
        try:
            walk.first(listed, items, lookup)
        except Missing as missing:
            known |= missing.keys
    assert asked == [balance_key(account(1)), slot(2), slot(4)][:len(asked)]
    assert walk.runs == walked(items, state).runs


@pytest.mark.parametrize(("entry", "each", "reason"), [
    (at(0), Refused("wrong signature", b"x", bytes(32), dead=False), "wrong signature"),
    (at(0, skip=True), item(toy("poison", 0)), SKIPPED),
    (at(0, expired=True), item(toy("nonce", 0, nonce=2)), "nonce 2 is ahead"),
    (at(0, expired=True), item(toy("nonce", 0, nonce=90)), "nonce too high"),
], ids=["refused", "skipped", "expired", "too far ahead"])
def test_what_is_rejected_without_running(entry: Listed, each: Item, reason: str) -> None:
    """Each with its reason, and without a change."""
    run = Walk(ToyMachine(), BLOCK).run_one(each, entry, lambda key: b"")
    assert run is not None
    assert isinstance(run.answer, Rejected)
    assert run.answer.reason.startswith(reason)
    assert (run.writes, run.deltas) == ({}, {})


def test_a_hole_is_nothing() -> None:
    """A control record has no result in either pass."""
    walk = walked([None, item(toy("set", 0, 1))], funded())
    assert walk.runs[0] is None
    assert isinstance(walk.runs[1], Run)
    assert isinstance(walk.runs[1].answer, Result)
    repair = Repair(ToyMachine(), BLOCK, walk, {slot(1), balance_key(account(0))})
    repair.again([at(0), at(1)], [None, item(toy("set", 0, 1))], base(funded()), lambda *_: True)
    assert repair.runs[0] is None


def test_a_transaction_in_time_waits() -> None:
    """Until it expires."""
    run = Walk(ToyMachine(), BLOCK).run_one(item(toy("nonce", 0, nonce=2)), at(0), lambda key: b"")
    assert run is not None
    assert run.waits
    assert run.reads == {nonce_key(account(0))}
