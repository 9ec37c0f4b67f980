"""Random worlds: accounts with random code, and transactions of all types on them, each from a seed.

A `World` is a description without signatures. `play` signs its transactions one after the other, with nonces as the
engine left them, and runs each by the view that the pipeline uses; it gives the raw transactions for another engine.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from coincurve import PrivateKey

from executors.evm import PyEvm
from executors.evm.calls import contract_address
from executors.machine import Block, Rejected
from executors.view import Overlay, Run, View
from ingest.admission import intrinsic_gas
from ingest.rlp import write, write_list
from ingest.signatures import CURVE_ORDER
from ingest.transactions import Transaction, decode
from schemas.errors import InvalidTransaction
from schemas.hashing import keccak
from schemas.keys import entry_key, integer, minimal, nonce_key
from schemas.rules import Rules
from tests.conformance.random_code import Grammar, push, returning
from tests.views import account

CHAIN_ID: Final = 52188
GAS_MAX: Final = 30_000_000
WALLETS: Final = 4
ETHER: Final = 10**18
NOBODY: Final = bytes.fromhex("0e" * 20)
"""An address where there is nothing."""

State = dict[bytes, bytes]

_BN_FIELD: Final = 21888242871839275222246405745257275088696311157297823662689037894645226208583


def _points(*coordinates: str, width: int) -> bytes:
    return b"".join(int(coordinate, 16).to_bytes(width, "big") for coordinate in coordinates)


_BN_G2: Final = _points(
    "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2",
    "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed",
    "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b",
    "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa", width=32)
_BLS_G1: Final = _points(
    "17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb",
    "08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1", width=64)
_BLS_G2: Final = _points(
    "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8",
    "13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e",
    "0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801",
    "0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be", width=64)
"""Generators of the curves' groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """An account at the start."""

    balance: int = 0
    nonce: int = 0
    code: bytes = b""
    storage: Mapping[int, int] = field(default_factory=dict)
    entries: Mapping[bytes, bytes] = field(default_factory=dict)
    """What a contract of another machine keeps, by its own keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An authorization before it is signed."""

    wallet: int
    target: bytes
    chain_id: int = CHAIN_ID
    ahead: int = 0
    """What is added to the right nonce."""
    spoiled: str = ""
    """``s``: the high one of the two; ``parity``: neither 0 nor 1; ``r``: of no point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A transaction before it is signed."""

    wallet: int
    kind: int
    """The type; -1 for a legacy one without a chain id."""
    to: bytes | None
    gas: int
    value: int = 0
    data: bytes = b""
    price: int = 10
    """Wei per gas, the most of types 2 and 4."""
    tip: int = 10
    access: tuple[tuple[bytes, tuple[int, ...]], ...] = ()
    grants: tuple[Grant, ...] = ()
    ahead: int = 0
    """What is added to the right nonce."""
    chain_id: int = CHAIN_ID
    machine: str = ""
    """Of a transaction of type 0x50."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Accounts, a block and transactions."""

    seed: int
    accounts: Mapping[bytes, Holding]
    steps: tuple[Step, ...]
    coinbase: bytes
    base_fee: int
    fork: str = "prague"
    number: int = 1_000
    timestamp: int = 1_700_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A transaction that ran, between two states."""

    step: Step
    raw: bytes
    transaction: Transaction | None
    """None if it is wrong whatever the state is."""
    before: State
    run: Run | None
    reason: str
    """Why it was rejected."""
    after: State


# ---- keys ---------------------------------------------------------------------------------------------------------


@cache
def secret(wallet: int) -> PrivateKey:
    """The key of a wallet; known to everybody."""
    return PrivateKey((wallet + 1).to_bytes(32, "big"))


@cache
def address_of(wallet: int) -> bytes:
    """Its address, 20 bytes."""
    return keccak(secret(wallet).public_key.format(compressed=False)[1:])[12:]


def signature(wallet: int, message_hash: bytes) -> tuple[int, int, int]:
    """Parity, r and s."""
    made = secret(wallet).sign_recoverable(message_hash, hasher=None)
    return made[64], int.from_bytes(made[:32], "big"), int.from_bytes(made[32:64], "big")


def granted(grant: Grant, nonce: int) -> bytes:
    """A signed authorization."""
    fields = (write(grant.chain_id), write(grant.target), write(max(nonce + grant.ahead, 0)))
    parity, r, s = signature(grant.wallet, keccak(b"\x05" + write_list(fields)))
    if grant.spoiled == "s":
        parity, s = 1 - parity, CURVE_ORDER - s
    elif grant.spoiled == "parity":
        parity += 2
    elif grant.spoiled == "r":
        r = CURVE_ORDER - 1
    return write_list((*fields, write(parity), write(r), write(s)))


def signed(step: Step, nonces: Mapping[int, int]) -> bytes:
    """A step as it goes over the wire.

    Parameters
    ----------
    nonces
        The right one of each wallet.
    """
    nonce = max(nonces[step.wallet] + step.ahead, 0)
    call = (write(step.gas), write(step.to or b""), write(step.value), write(step.data))
    if step.kind <= 0:
        fields: tuple[bytes, ...] = (write(nonce), write(step.price), *call)
        bound = (write(step.chain_id), write(b""), write(b"")) if step.kind == 0 else ()
        parity, r, s = signature(step.wallet, keccak(write_list((*fields, *bound))))
        v = parity + (35 + 2 * step.chain_id if step.kind == 0 else 27)
        return write_list((*fields, write(v), write(r), write(s)))
    fees = (write(step.price),) if step.kind == 1 else (write(step.tip), write(step.price))
    kind = bytes((step.kind,))
    if step.machine:
        gas, *rest = call
        fields = (write(step.chain_id), write(nonce), *fees, gas, write(step.machine.encode()), *rest)
        parity, r, s = signature(step.wallet, keccak(kind + write_list(fields)))
        return kind + write_list((*fields, write(parity), write(r), write(s)))
    access = write_list(
        write_list((write(address), write_list(write(slot.to_bytes(32, "big")) for slot in slots)))
        for address, slots in step.access)
    fields = (write(step.chain_id), write(nonce), *fees, *call, access)
    if step.kind == 4:
        # The sender's own nonce is raised before its authorizations are looked at.
        fields = (*fields, write_list(
            granted(grant, nonces[grant.wallet] + (grant.wallet == step.wallet)) for grant in step.grants))
    parity, r, s = signature(step.wallet, keccak(kind + write_list(fields)))
    return kind + write_list((*fields, write(parity), write(r), write(s)))


# ---- drawing ------------------------------------------------------------------------------------------------------


@cache
def precompiled_inputs() -> tuple[tuple[int, bytes], ...]:
    """Precompiled contracts by number, with inputs that they accept; pairings of points that aren't zero are slow."""
    message = keccak(b"something that was signed")
    parity, r, s = signature(0, message)
    words = b"".join(number.to_bytes(32, "big") for number in (27 + parity, r, s))
    one, two = (1).to_bytes(32, "big"), (2).to_bytes(32, "big")
    lengths = b"".join(number.to_bytes(32, "big") for number in (3, 2, 5))
    blake = (3).to_bytes(4, "big") + bytes(range(208)) + b"\x01"
    seven, large = (7).to_bytes(32, "big"), (2**255 + 12_345).to_bytes(32, "big")
    minus = (_BN_FIELD - 2).to_bytes(32, "big")
    return (
        (6, one + two + one + minus), (7, one + two + large), (8, one + two + _BN_G2 + one + minus + _BN_G2),
        (11, _BLS_G1 + _BLS_G1), (11, _BLS_G1 + bytes(128)), (12, _BLS_G1 + seven), (12, (_BLS_G1 + large) * 2),
        (13, _BLS_G2 + _BLS_G2), (14, _BLS_G2 + seven), (14, _BLS_G2 + one + _BLS_G2 + two),
        (16, one.rjust(64, b"\0")), (17, (one + two).rjust(128, b"\0")),
        (1, message + words), (2, b"some bytes"), (3, b"some bytes"), (4, b"some bytes that come back"),
        (5, lengths + b"\x03\x01\x04" + b"\xff\xfd" + b"\xff\xff\xff\xff\x01"),
        (6, (one + two) * 2), (6, bytes(128)), (7, one + two + (7).to_bytes(32, "big")), (8, b""), (8, bytes(192)),
        (9, blake), (9, blake[:-1] + b"\x02"), (10, bytes(192)), (11, bytes(256)), (12, bytes(160)), (13, bytes(512)),
        (14, bytes(288)), (15, bytes(384)), (16, bytes(64)), (17, bytes(128)))


def draw_world(
    seed: int, *, steps: int = 10, fork: str = "prague", extra: Mapping[bytes, Holding] | None = None,
) -> World:
    """A world from its seed.

    Parameters
    ----------
    fork
        Its rules; before Prague most transactions that would be of type 4 are of type 2.
    extra
        More accounts, such as contracts of another machine; the drawn code names them, too.
    """
    rng = random.Random(seed)
    wallets = [address_of(wallet) for wallet in range(WALLETS)]
    contracts = [bytes((0xC0 + index,)) * 20 for index in range(rng.randrange(2, 6))]
    coinbase = rng.choice((b"\xfe" * 20, b"\xfe" * 20, b"\xfe" * 20, wallets[1], contracts[0], NOBODY))
    # Where contracts and wallets create: there may be something already.
    reserved = [contract_address(creator, nonce) for creator in (*contracts, wallets[0]) for nonce in (0, 1)]
    named = [*contracts, *contracts, *wallets, NOBODY, coinbase, *reserved[:3], *(extra or {}), *(extra or {})]
    grammar = Grammar(rng, named, precompiled_inputs())
    accounts: dict[bytes, Holding] = {}
    for wallet in wallets:
        accounts[wallet] = Holding(
            balance=rng.choice((ETHER, ETHER, ETHER, 10**7)), nonce=rng.choice((0, 0, 1, 200)),
            code=b"\xef\x01\x00" + rng.choice((*contracts, *wallets, NOBODY, bytes(19) + b"\x04"))
            if rng.random() < 0.15 else b"",
            storage={1: 5} if rng.random() < 0.1 else {})
    for contract in contracts:
        accounts[contract] = Holding(
            balance=rng.choice((0, 0, 8, 10**6)), nonce=rng.choice((1, 1, 1, 0, 2**64 - 1)),
            code=grammar.program(rng.randrange(2, 14)) if rng.random() < 0.95 else rng.randbytes(rng.randrange(1, 60)),
            storage={rng.randrange(4): rng.choice((1, 2, 2**255)) for _ in range(rng.randrange(4))})
    if rng.random() < 0.25:
        named += [contracts[-1]] * 20
        accounts[contracts[-1]] = Holding(nonce=1, balance=2_000, code=grammar.phoenix())
    for address in reserved:
        # Storage comes with wei: an account that has nothing else counts as empty, and goes when it is touched.
        if rng.random() < 0.06:
            accounts[address] = rng.choice((
                Holding(balance=3), Holding(nonce=1), Holding(balance=1, storage={0: 9}), Holding(balance=2, storage={1: 1}),
                Holding(code=b"\x5f\x5f\xfd", nonce=1)))
    if rng.random() < 0.1:
        accounts[coinbase] = replace(accounts.get(coinbase, Holding()), balance=5)
    accounts |= extra or {}
    drawn = tuple(draw_step(rng, grammar, wallets, named) for _ in range(steps))
    if fork != "prague":
        drawn = tuple(replace(step, kind=2, grants=()) if step.kind == 4 and step.gas % 16 else step for step in drawn)
    return World(
        seed=seed, accounts=accounts, steps=drawn, fork=fork, coinbase=coinbase, base_fee=rng.choice((0, 0, 7)),
        number=rng.choice((1, 255, 256, 257, 1_000)))


def draw_step(rng: random.Random, grammar: Grammar, wallets: Sequence[bytes], named: Sequence[bytes]) -> Step:
    """One transaction; a few of them are invalid."""
    kind = rng.choice((-1, 0, 0, 1, 2, 2, 2, 4, 4))
    to: bytes | None = rng.choice(named)
    if rng.random() < 0.05:
        to = rng.randrange(0x13).to_bytes(20, "big")
    data = b""
    if rng.random() < 0.2 and kind != 4:
        to, data = None, draw_creation(rng, grammar)
    elif rng.random() < 0.6:
        data = b"".join(rng.choice((
            rng.choice(named).rjust(32, b"\0"), rng.randrange(4).to_bytes(32, "big"), rng.randbytes(32), rng.randbytes(3)))
            for _ in range(rng.randrange(4)))
    access: tuple[tuple[bytes, tuple[int, ...]], ...] = ()
    if kind > 0 and rng.random() < 0.5:
        access = tuple(
            (rng.choice(named), tuple(rng.randrange(4) for _ in range(rng.randrange(4)))) for _ in range(rng.randrange(4)))
    grants = tuple(draw_grant(rng, wallets, named) for _ in range(rng.randrange(1, 4))) if kind == 4 else ()
    gas, floor = intrinsic_gas(data, creates=to is None, access_list=access, authorizations=len(grants))
    more = rng.choice((0, 3_000, 30_000, 120_000, 250_000, 250_000, 400_000, 400_000, 700_000, rng.randrange(200_000)))
    if rng.random() < 0.01:
        more = 8_000_000
    price = rng.choice((7, 7, 10, 10, 10, 10, 100, 100, 100, 0))
    if to is None and rng.random() < 0.03:  # code of the largest size, and of one byte more
        data, more = push(rng.choice((24_576, 24_577))) + b"\x5f\xf3", 6_000_000
    step = Step(
        wallet=rng.randrange(WALLETS), kind=kind, to=to, data=data, access=access, grants=grants,
        gas=max(gas, floor) + more, value=rng.choice((0, 0, 0, 0, 1, 5, 10**6)), price=price,
        tip=rng.choice((0, 1, price, price)) if price else 0)
    if rng.random() < 0.06:
        step = replace(step, **rng.choice((
            {"ahead": 1}, {"ahead": -1}, {"chain_id": 1}, {"gas": step.gas - more - 1}, {"value": 2 * ETHER}, {"gas": 2**40},
            {"tip": step.price + 1})))  # type: ignore[arg-type]  # each is right for its field
    return step


def draw_creation(rng: random.Random, grammar: Grammar) -> bytes:
    """Init code of a creating transaction."""
    roll = rng.random()
    if roll < 0.5:
        return grammar.init_code()
    if roll < 0.9:
        return returning(grammar.program(rng.randrange(1, 4)), before=grammar.program(rng.randrange(4), ends=False))
    return rng.randbytes(rng.randrange(60))


def draw_grant(rng: random.Random, wallets: Sequence[bytes], named: Sequence[bytes]) -> Grant:
    """One authorization; a third of them is invalid."""
    grant = Grant(
        wallet=rng.randrange(WALLETS + 1),
        target=rng.choice((*named, *wallets, bytes(20), bytes(20), bytes(19) + b"\x02")), chain_id=rng.choice((CHAIN_ID, 0)))
    if rng.random() < 0.33:
        grant = replace(grant, **rng.choice((
            {"chain_id": 1}, {"ahead": 1}, {"ahead": -1}, {"ahead": 2**63}, {"spoiled": "s"}, {"spoiled": "parity"},
            {"spoiled": "r"})))
    return grant


# ---- running ------------------------------------------------------------------------------------------------------


def rules_of(world: World, **changes: Any) -> Rules:
    """Rules under which a world runs."""
    return replace(
        Rules(
            fork=world.fork, chain_id=CHAIN_ID, coinbase=world.coinbase, base_fee=world.base_fee, block_gas_limit=GAS_MAX,
            transaction_gas_max=GAS_MAX),
        **changes)


def block_hash(number: int) -> bytes:
    """The hash of an earlier block, made from its number."""
    return keccak(b"block %d" % number)


def prevrandao_of(world: World) -> bytes:
    """The randomness of the block, 32 bytes."""
    return keccak(b"randomness of %d" % world.seed)


def block_of(world: World) -> Block:
    """What transactions see of the block."""
    return Block(number=world.number, timestamp_s=world.timestamp, prevrandao=prevrandao_of(world), ancestor=block_hash)


def state_of(accounts: Mapping[bytes, Holding]) -> State:
    """State keys and values of accounts."""
    state: State = {}
    for address, held in accounts.items():
        entries = account(address, balance=held.balance, nonce=held.nonce, code=held.code, storage=held.storage)
        entries |= {entry_key(address, key): value for key, value in held.entries.items()}
        state.update(entries.items())
    return state


def applied(state: State, run: Run) -> State:
    """A state with the changes of a run."""
    after = dict(state)
    for key, value in run.writes.items():
        after[key] = value
    for key, amount in run.deltas.items():
        after[key] = minimal(integer(after.get(key, b"")) + amount)
    return {key: value for key, value in after.items() if value}


def play(world: World, engine: PyEvm, rules: Rules) -> Iterator[Played]:
    """Sign and run the transactions of a world, each on the state that the ones before left."""
    state, block = state_of(world.accounts), block_of(world)
    for step in world.steps:
        nonces = {
            wallet: integer(state.get(nonce_key(address_of(wallet)), b"")) for wallet in range(WALLETS + 1)}
        raw = signed(step, nonces)
        try:
            transaction = decode(raw, rules)
        except InvalidTransaction as error:
            yield Played(step=step, raw=raw, transaction=None, before=state, run=None, reason=error.reason, after=state)
            continue
        before = state
        view = View(Overlay(), lambda key: before.get(key, b""))  # noqa: B023 -- it is used in this turn only
        run = view.finish(engine.execute(transaction, block, view))
        state = applied(before, run)
        reason = run.answer.reason if isinstance(run.answer, Rejected) else ""
        yield Played(
            step=step, raw=raw, transaction=transaction, before=before, run=run, reason=reason, after=state)
