"""What a run is recorded to have read is all that it depended on, and nothing more; and it writes only what changes.

The conflict rules rest on it: a read that isn't recorded would be a lost update, and one too many a needless repair.
Random worlds are played; each transaction that ran is run again on other states.
"""

import random
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from executors.evm import PyEvm
from executors.machine import Answer, Block, Result, StateView, Status
from executors.machines import contained
from executors.view import Overlay, Run, View
from ingest.transactions import Transaction
from schemas.errors import ParsecError
from schemas.hashing import keccak
from schemas.keys import (
    StateKey,
    balance_key,
    blob_key,
    code_key,
    entry_key,
    integer,
    is_blob,
    is_entry,
    minimal,
    nonce_key,
    slot_key,
    storage_key,
)
from schemas.rules import Rules
from tests.conformance import toy_machine
from tests.conformance.random_code import push
from tests.conformance.random_contracts import (
    ETHER,
    NOBODY,
    Holding,
    Played,
    State,
    Step,
    World,
    address_of,
    applied,
    block_of,
    draw_world,
    play,
    rules_of,
    state_of,
)
from tests.conformance.toy_machine import TOYS, Toy, draw_mixed_world, program

WORLDS = 40
"""Of each of the three kinds."""
MACHINES = ("toy/1",)


class OutsideOfReads(ParsecError):
    """A run read a key that isn't in the set that it may read."""


def again(engine: PyEvm, played: Played, world: World, base: Callable[[bytes], bytes], overlay: Overlay | None = None) -> Run:
    """Run a transaction of a played world on another state."""
    transaction = played.transaction
    assert transaction is not None
    view = View(overlay or Overlay(), base)
    return view.finish(engine.execute(transaction, block_of(world), view))


def only(state: State, allowed: frozenset[bytes]) -> Callable[[bytes], bytes]:
    """A state of which some keys only may be read."""
    def base(key: bytes) -> bytes:
        if key not in allowed:
            raise OutsideOfReads(key.hex())
        return state.get(key, b"")
    return base


def rules_for(world: World) -> Rules:
    """Rules with the toy machine."""
    return rules_of(world, machines=MACHINES)


def worlds() -> Iterator[pytest.param]:  # type: ignore[valid-type]  # it has no public name
    """Random worlds without and with contracts of another machine, and of a fork that deletes contracts for good."""
    for seed in range(WORLDS):
        yield pytest.param(draw_world, seed, id=f"evm-{seed}")
        yield pytest.param(draw_mixed_world, seed, id=f"mixed-{seed}")
        yield pytest.param(partial(draw_world, fork="shanghai"), seed, id=f"shanghai-{seed}")


@pytest.mark.parametrize(("draw", "seed"), list(worlds()))
def test_random_world(draw: Callable[[int], World], seed: int) -> None:
    """Every transaction that ran, whatever its end."""
    world = draw(seed)
    rules = rules_for(world)
    # One engine for all: what it keeps from run to run must not take the place of reads.
    engine = PyEvm(rules, {"toy": Toy()})
    rng = random.Random(seed)
    overlay = Overlay()
    start = end = state_of(world.accounts)
    for played in play(world, engine, rules):
        if played.run is None:
            continue
        end = played.after
        check_writes(played)
        for _ in range(2):
            changed = with_other_values(rng, played.before, played.run.reads, world)
            assert again(engine, played, world, lambda key: changed.get(key, b"")) == played.run  # noqa: B023
        check_necessary(engine, played, world)
        check_split(rng, engine, played, world)
        in_list = again(engine, played, world, lambda key: start.get(key, b""), overlay)
        assert in_list == played.run
        overlay.absorb(in_list)
    # All of them in one list give the same state as one after the other.
    listed = Run(Result(status=Status.SUCCESS, gas_used=0), frozenset(), overlay.values, overlay.deltas)
    assert applied(start, listed) == end


def check_writes(played: Played) -> None:
    """What is written was read, isn't added to, and changes; code is written with its hash, whether it is there or not."""
    run = played.run
    assert run is not None
    for key, value in run.writes.items():
        assert is_blob(key) or played.before.get(key, b"") != value, key.hex()
        assert not is_blob(key) or keccak(value) == key[1:]
        # A contract that is being made has no slots: what is read in their place is that nothing is at its address.
        made = key[:1] == b"s" and storage_key(key[1:21]) in run.reads
        assert is_blob(key) or key in run.reads or made, key.hex()
    for key, amount in run.deltas.items():
        assert amount > 0
        assert key[:1] == b"b" or is_entry(key)
        assert key not in run.reads, key.hex()
        assert key not in run.writes, key.hex()


def with_other_values(rng: random.Random, state: State, reads: frozenset[bytes], world: World) -> State:
    """The state with other values under keys that aren't read; absent ones appear, and others go."""
    changed = dict(state)
    codes = sorted(key[1:] for key in state if is_blob(key))
    addresses = {key[1:21] for key in state if not is_blob(key)} | {
        NOBODY, world.coinbase, *(number.to_bytes(20, "big") for number in range(0x13)),
        *(step.to for step in world.steps if step.to)}
    keys = {*state}
    for address in addresses:
        keys |= {balance_key(address), nonce_key(address), code_key(address), storage_key(address)}
        keys |= {slot_key(address, slot) for slot in range(5)} | {entry_key(address, b"k%d" % slot) for slot in range(4)}
    for key in sorted(keys - reads):
        if is_blob(key) or rng.random() < 0.3:
            continue
        if key in changed and rng.random() < 0.5:
            del changed[key]
        elif key[:1] == b"c":
            changed[key] = rng.choice(codes)
        else:
            changed[key] = rng.choice((b"\1", b"\x07\xff", minimal(rng.getrandbits(64)), minimal(10**18)))
    return changed


def check_necessary(engine: PyEvm, played: Played, world: World) -> None:
    """The read set is enough, and without any one key of it the run doesn't get through."""
    run = played.run
    assert run is not None
    assert again(engine, played, world, only(played.before, run.reads)) == run
    for key in run.reads:
        if not is_blob(key):
            with pytest.raises(OutsideOfReads, match=key.hex()):
                again(engine, played, world, only(played.before, run.reads - {key}))


def check_split(rng: random.Random, engine: PyEvm, played: Played, world: World) -> None:
    """It makes no difference which values come from the list's own changes, as values or as what was added."""
    overlay, committed = Overlay(), dict(played.before)
    for key, value in played.before.items():
        roll = rng.random()
        if roll < 0.4:
            overlay.values[key] = value
            committed[key] = b"\x01"
        elif roll < 0.7 and key[:1] == b"b" and integer(value) > 1:
            overlay.deltas[key] = integer(value) - 1
            committed[key] = b"\x01"
    assert again(engine, played, world, lambda key: committed.get(key, b""), overlay) == played.run


# ---- one key after the other, by hand -------------------------------------------------------------------------------

SENDER = address_of(0)
CONTRACT = b"\xc0" * 20
OTHER = b"\xc1" * 20
COINBASE = b"\xfe" * 20
ADMISSION = {nonce_key(SENDER), code_key(SENDER), balance_key(SENDER)}


def run_alone(*, to: bytes | None = CONTRACT, accounts: dict[bytes, Holding] | None = None, **fields: object) -> Run:
    """Run a transaction of a rich sender that pays fees; whatever it reads beside of admission is of interest."""
    step = Step(**{"wallet": 0, "kind": 2, "to": to, "gas": 500_000, "price": 10, **fields})  # type: ignore[arg-type]
    world = World(
        seed=0, accounts={SENDER: Holding(balance=ETHER), **(accounts or {})}, steps=(step,), coinbase=COINBASE, base_fee=3)
    rules = rules_for(world)
    played = next(play(world, PyEvm(rules, {"toy": Toy()}), rules))
    assert played.run is not None, played.reason
    return played.run


def succeeded(answer: Answer) -> bool:
    """Whether a transaction ended without failing."""
    return isinstance(answer, Result) and answer.status is Status.SUCCESS


def called(to: bytes, value: int = 0, kind: int = 0xF1) -> bytes:
    """Code that calls without data, and drops whether it succeeded."""
    values = push(value) if kind in (0xF1, 0xF2) else b""
    return b"\x5f\x5f\x5f\x5f" + values + push(int.from_bytes(to, "big"), 20) + b"\x5a" + bytes((kind,)) + b"\x50"


def about(opcode: int, address: bytes) -> bytes:
    """Code that asks for something about an account."""
    return push(int.from_bytes(address, "big"), 20) + bytes((opcode,)) + b"\x50"


BLOB = blob_key(keccak(b"\0"))
COINBASE_FEE: set[bytes] = {balance_key(COINBASE)}
HELD = Holding(code=b"\0", nonce=1, balance=5)
CASES: dict[str, tuple[bytes, set[bytes]]] = {
    "nothing": (b"\0", set()),
    "an event": (b"\x5f\x5f\xa0", set()),
    "a block hash": (b"\x60\x01\x43\x03\x40\x50", set()),
    "a balance": (about(0x31, OTHER), {balance_key(OTHER)}),
    "a hash of code that is there": (about(0x3F, OTHER), {code_key(OTHER)}),
    "a hash of code of nobody": (about(0x3F, NOBODY), {code_key(NOBODY), nonce_key(NOBODY), balance_key(NOBODY)}),
    "a size of code": (about(0x3B, OTHER), {code_key(OTHER), BLOB}),
    "a call": (called(OTHER), {code_key(OTHER), BLOB}),
    "a delegated call": (called(OTHER, kind=0xF4), {code_key(OTHER), BLOB}),
    "a static call": (called(OTHER, kind=0xFA), {code_key(OTHER), BLOB}),
    "a payment to a contract": (called(OTHER, 1), {code_key(OTHER), BLOB, balance_key(CONTRACT)}),
    "a payment to nobody": (
        called(NOBODY, 1), {code_key(NOBODY), nonce_key(NOBODY), balance_key(NOBODY), balance_key(CONTRACT)}),
    "a precompiled contract": (called(bytes(19) + b"\x04"), set()),
    "a load": (b"\x5f\x54\x50", {slot_key(CONTRACT, 0)}),
    "a store": (b"\x60\x07\x5f\x55", {slot_key(CONTRACT, 0)}),
    "transient storage": (b"\x60\x01\x5f\x5d\x5f\x5c\x50", set()),
    "an end without a balance": (about(0xFF, OTHER)[:-1], {balance_key(CONTRACT)}),
    "the fee recipient": (about(0x31, COINBASE), COINBASE_FEE),
}


@pytest.mark.parametrize("name", CASES)
def test_reads_by_hand(name: str) -> None:
    """What each instruction reads, beside of admission and of the contract's own code."""
    code, expected = CASES[name]
    accounts = {CONTRACT: Holding(code=code, nonce=1, balance=0 if "without" in name else 9), OTHER: HELD}
    run = run_alone(accounts=accounts)
    assert succeeded(run.answer)
    assert run.reads == ADMISSION | {code_key(CONTRACT), blob_key(keccak(code))} | expected
    # The sender pays the fee: its balance and nonce are all that is written, and the fee is an addition.
    if COINBASE_FEE <= expected:
        assert run.deltas == {}
        assert balance_key(COINBASE) in run.writes
    else:
        assert run.deltas.keys() >= {balance_key(COINBASE)}


def test_plain_ether() -> None:
    """Of the recipient only the code is looked at; its balance and the fee recipient's are added to."""
    run = run_alone(to=NOBODY, value=5)
    assert run.reads == ADMISSION | {code_key(NOBODY)}
    assert isinstance(run.answer, Result)
    # With a base fee of 3 and a tip of up to 10 the price is 10: 7 for the fee recipient.
    assert run.deltas == {balance_key(NOBODY): 5, balance_key(COINBASE): 7 * 21_000}
    assert run.writes == {nonce_key(SENDER): b"\1", balance_key(SENDER): minimal(ETHER - 5 - 10 * 21_000)}


def test_plain_ether_to_a_precompiled_contract() -> None:
    """Not even its code is looked at."""
    assert run_alone(to=bytes(19) + b"\x04", value=5).reads == ADMISSION


def test_an_access_list_reads_nothing() -> None:
    """It only changes what accesses cost."""
    run = run_alone(to=NOBODY, access=((OTHER, (1, 2)), (CONTRACT, ())), accounts={OTHER: HELD})
    assert run.reads == ADMISSION | {code_key(NOBODY)}


def test_a_new_contract_has_no_slots_to_read() -> None:
    """Only whether there is something at its address is looked at."""
    run = run_alone(to=None, data=b"\x5f\x54\x60\x07\x60\x01\x55\x5f\x5f\xf3")
    assert isinstance(run.answer, Result)
    made = run.answer.contract
    assert made is not None
    assert run.reads == ADMISSION | {code_key(made), nonce_key(made), storage_key(made)}
    assert run.writes.keys() == {nonce_key(SENDER), balance_key(SENDER), nonce_key(made), slot_key(made, 1)}


def test_a_value_that_stays_is_not_written() -> None:
    """A slot that is set to what it is, and one that is set and set back; a balance that goes and comes back."""
    code = b"\x60\x05\x5f\x55" + b"\x60\x01\x60\x01\x55\x5f\x60\x01\x55"
    run = run_alone(accounts={CONTRACT: Holding(code=code, nonce=1, storage={0: 5})})
    assert succeeded(run.answer)
    assert {slot_key(CONTRACT, 0), slot_key(CONTRACT, 1)} <= run.reads
    assert run.writes.keys() == {nonce_key(SENDER), balance_key(SENDER)}
    run = run_alone(accounts={
        CONTRACT: Holding(code=b"\x36\x15\x60\x06\x57\x00\x5b" + called(OTHER, 4), nonce=1, balance=9),
        OTHER: Holding(code=b"\x5f\x5f\x60\x01\x5f\x60\x04" + push(int.from_bytes(CONTRACT, "big"), 20) + b"\x5a\xf1", nonce=1),
    })
    assert succeeded(run.answer)
    assert balance_key(CONTRACT) in run.reads
    assert run.writes.keys() == {nonce_key(SENDER), balance_key(SENDER)}
    assert run.deltas.keys() == COINBASE_FEE


TOY_CASES: dict[str, tuple[bytes, set[bytes], set[bytes], set[bytes]]] = {
    "nothing": (program(("message",), ("gas",)), set(), set(), set()),
    "a read": (program(("read", b"k")), {entry_key(TOYS[0], b"k")}, set(), set()),
    "a write": (program(("write", b"k", b"v")), {entry_key(TOYS[0], b"k")}, {entry_key(TOYS[0], b"k")}, set()),
    "a write of what is there": (program(("write", b"there", b"\x09")), {entry_key(TOYS[0], b"there")}, set(), set()),
    "an addition": (program(("add", b"k", 3)), set(), set(), {entry_key(TOYS[0], b"k")}),
    "an addition of nothing": (program(("add", b"k", 0)), set(), set(), set()),
    "an addition and a read": (
        program(("add", b"k", 3), ("read", b"k")), {entry_key(TOYS[0], b"k")}, {entry_key(TOYS[0], b"k")}, set()),
    "a read and an addition of nothing": (
        program(("read", b"odd"), ("add", b"odd", 0)), {entry_key(TOYS[0], b"odd")}, set(), set()),
    "a balance": (program(("balance", OTHER)), {balance_key(OTHER)}, set(), set()),
    "a call": (program(("call", OTHER, b"", 0, b"")), {code_key(OTHER), BLOB}, set(), set()),
    "a precompiled contract": (program(("call", bytes(19) + b"\2", b"", 0, b"")), set(), set(), set()),
    "a payment to a contract": (
        program(("call", OTHER, b"", 4, b"")), {code_key(OTHER), BLOB, balance_key(TOYS[0])}, {balance_key(TOYS[0])},
        {balance_key(OTHER)}),
    "a hash": (program(("digest", b"sha256"), ("verify", b"ed25519"), ("log", b"data", 2)), set(), set(), set()),
}


@pytest.mark.parametrize("name", TOY_CASES)
def test_reads_of_another_machine_by_hand(name: str) -> None:
    """What each request to the host reads, writes and adds, beside of admission, fees and the contract's own code."""
    code, reads, writes, deltas = TOY_CASES[name]
    toy, stored = TOYS[0], contained("toy", code)
    held = Holding(code=stored, nonce=1, balance=9, entries={b"there": b"\x09", b"odd": b"\0\x09"})
    run = run_alone(to=toy, kind=toy_machine.KIND, machine="toy", accounts={toy: held, OTHER: HELD})
    assert succeeded(run.answer), run.answer
    assert run.reads == ADMISSION | {code_key(toy), blob_key(keccak(stored))} | reads
    assert run.writes.keys() == {nonce_key(SENDER), balance_key(SENDER)} | writes
    assert run.deltas.keys() == COINBASE_FEE | deltas


# ---- the checks find what they are for ------------------------------------------------------------------------------


class Peeking(PyEvm):
    """An engine that looks at a key behind the view's back."""

    def __init__(self, rules: Rules, hidden: dict[StateKey, bytes]) -> None:
        super().__init__(rules, {})
        self.hidden = hidden

    def execute(self, transaction: Transaction, block: Block, view: StateView) -> Answer:
        answer = super().execute(transaction, block, view)
        for key, value in self.hidden.items():
            self.hidden[key] = view.read(key) or value
            assert isinstance(view, View)
            view.seen.pop(key)
        return answer


def test_a_read_that_is_not_recorded_is_found() -> None:
    """The checker refuses a key that the read set lacks."""
    world = draw_world(1)
    rules = rules_for(world)
    engine = PyEvm(rules, {})
    played = next(each for each in play(world, engine, rules) if each.run is not None and each.transaction is not None)
    assert played.run is not None
    peeking = Peeking(rules, {balance_key(NOBODY): b"\1"})
    with pytest.raises(OutsideOfReads, match=balance_key(NOBODY).hex()):
        again(peeking, played, world, only(played.before, played.run.reads))
