"""Contracts of another machine against a world that is as plain as can be: dictionaries, copied before each call.

It knows no gas, no journal, no credits and no deltas, so that programs which look at gas or use it up are left out.
"""

import copy
import random

import pytest
from eth_abi.abi import encode

from executors.evm import PyEvm
from executors.machine import Block, LimitExceeded, Message, Result, Reverted, Status
from executors.machines import contained
from ingest.rlp import Item, read_list, write, write_list
from schemas.keys import balance_key, entry_key, integer, minimal
from tests.conformance.random_contracts import (
    ETHER,
    NOBODY,
    WALLETS,
    Holding,
    Step,
    World,
    address_of,
    block_of,
    play,
    rules_of,
    state_of,
)
from tests.conformance.toy_machine import KIND, NAME, Toy, draw_program

SEEDS = range(80)
TOYS = tuple(bytes((0xD0 + index,)) * 20 for index in range(4))
SELECTOR = bytes.fromhex("08c379a0")
"""Of ``Error(string)``."""
LEFT_OUT = {b"gas", b"burn", b"halt", b"digest", b"verify"}
"""Requests that tell gas, or end with all of it taken."""


class Plain:
    """Balances, entries and events, without anything clever."""

    def __init__(self, world: World) -> None:
        self.block = block_of(world)
        self.balances = {address: held.balance for address, held in world.accounts.items()}
        self.entries = {address: dict(held.entries) for address, held in world.accounts.items()}
        self.codes = {address: held.code[8:] for address, held in world.accounts.items() if held.code}
        self.logs: list[tuple[bytes, tuple[bytes, ...], bytes]] = []

    def call(self, message: Message) -> bytes:
        """Move the wei and run the code; nothing stays of a call that reverts."""
        if self.balances.get(message.caller, 0) < message.value:
            raise Reverted(reason="call: too deep, or not enough funds")
        before = copy.deepcopy((self.balances, self.entries, self.logs))
        self.balances[message.caller] = self.balances.get(message.caller, 0) - message.value
        self.balances[message.contract] = self.balances.get(message.contract, 0) + message.value
        try:
            code = self.codes.get(message.contract)
            return b"" if code is None else Toy().run(code, PlainHost(self, message))
        except Reverted as reverted:
            self.balances, self.entries, self.logs = before
            # Words become data as soon as they leave a contract.
            words = SELECTOR + encode(["string"], [reverted.reason]) if reverted.reason else b""
            raise Reverted(reverted.output or words) from reverted


class PlainHost:
    """The host of one message."""

    gas = 0

    def __init__(self, world: Plain, message: Message) -> None:
        self.world = world
        self.message = message
        self.block: Block = world.block

    def charge(self, gas: int) -> None:
        raise LimitExceeded(f"{gas} gas: there is none here")

    def read(self, key: bytes) -> bytes:
        return self.world.entries[self.message.contract].get(key, b"")

    def write(self, key: bytes, value: bytes) -> None:
        self.world.entries[self.message.contract][key] = value

    def add(self, key: bytes, amount: int) -> None:
        if amount:
            self.write(key, minimal(integer(self.read(key)) + amount))

    def log(self, topics: tuple[bytes, ...], data: bytes) -> None:
        self.world.logs.append((self.message.contract, topics, data))

    def balance(self, address: bytes) -> int:
        return self.world.balances.get(address, 0)

    def call(
        self, address: bytes, data: bytes, *, value: int = 0, gas: int | None = None, static: bool = False
    ) -> bytes:
        return self.world.call(Message(
            contract=address, caller=self.message.contract, origin=self.message.origin, value=value, data=data))

    def digest(self, algorithm: str, data: bytes) -> bytes:
        raise LimitExceeded(algorithm)

    def verify(self, scheme: str, message_hash: bytes, signature: bytes, key: bytes) -> bool:
        raise LimitExceeded(scheme)


def kept(code: bytes) -> bytes:
    """A program without the requests that this world can't answer; calls get all the gas there is."""
    requests: list[bytes] = []
    for item in read_list(code):
        assert isinstance(item, list)
        strings = [_string(part) for part in item]
        if strings[0] not in LEFT_OUT:
            if strings[0] in (b"call", b"try"):
                strings[4] = b""
            requests.append(write_list(map(write, strings)))
    return write_list(requests)


def _string(item: Item) -> bytes:
    assert isinstance(item, bytes)
    return item


def draw(seed: int) -> World:
    """Contracts that call only those after them, so that there is always gas, and calls to them."""
    rng = random.Random(seed)
    wallets = [address_of(wallet) for wallet in range(WALLETS)]
    accounts = {wallet: Holding(balance=ETHER) for wallet in wallets}
    for index, toy in enumerate(TOYS):
        # No precompiled contracts: those take all gas when they fail.
        named = [*TOYS[index + 1:], *TOYS[index + 1:], *wallets, NOBODY]
        code = draw_program(rng, named, rng.randrange(4, 16), precompiled=False)
        accounts[toy] = Holding(
            nonce=1, balance=rng.choice((0, 5, 10**6)), code=contained(NAME, kept(code)),
            entries={b"k%d" % rng.randrange(4): rng.choice((b"\1", b"\0\5", rng.randbytes(33))) for _ in range(3)})
    steps = tuple(
        Step(
            wallet=rng.randrange(WALLETS), kind=KIND, machine=NAME, to=rng.choice(TOYS), price=0, tip=0,
            data=rng.randbytes(rng.randrange(5)), gas=30_000_000, value=rng.choice((0, 0, 7)))
        for _ in range(6))
    return World(seed=seed, accounts=accounts, steps=steps, coinbase=b"\xfe" * 20, base_fee=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plain_world_agrees(seed: int) -> None:
    """Status, output, events, balances and entries."""
    world = draw(seed)
    rules = rules_of(world, machines=("toy/1",))
    plain = Plain(world)
    state = state_of(world.accounts)
    for played in play(world, PyEvm(rules, {NAME: Toy()}), rules):
        assert played.run is not None
        assert isinstance(played.run.answer, Result)
        step, answer, state = played.step, played.run.answer, played.after
        sender = address_of(step.wallet)
        assert step.to is not None
        plain.logs = []
        message = Message(contract=step.to, caller=sender, origin=sender, value=step.value, data=step.data)
        try:
            output, status = plain.call(message), Status.SUCCESS
        except Reverted as reverted:
            output, status = reverted.output, Status.FAILED
        assert (answer.status, answer.reason[:18]) == (status, "execution reverted" if status is Status.FAILED else "")
        assert answer.output == output
        assert [(log.address, log.topics, log.data) for log in answer.logs] == plain.logs
    expected = {balance_key(address): minimal(balance) for address, balance in plain.balances.items()}
    expected |= {
        entry_key(address, key): value for address, entries in plain.entries.items() for key, value in entries.items()}
    found = {key: value for key, value in state.items() if key[:1] in b"bm"}
    assert found == {key: value for key, value in expected.items() if value}


def test_the_worlds_hold_what_they_are_for() -> None:
    """Calls that fail and calls that don't, events, and additions that stay additions."""
    statuses, additions, logs = set(), 0, 0
    for seed in SEEDS:
        world = draw(seed)
        rules = rules_of(world, machines=("toy/1",))
        for played in play(world, PyEvm(rules, {NAME: Toy()}), rules):
            assert played.run is not None
            assert isinstance(played.run.answer, Result)
            statuses.add(played.run.answer.status)
            additions += sum(key[:1] == b"m" for key in played.run.deltas)
            logs += len(played.run.answer.logs)
    assert statuses == set(Status)
    assert additions > 50
    assert logs > 50
