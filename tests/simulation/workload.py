"""Toy transactions on a toy machine: hot keys, branches, pointer chasing, nonces, deltas, fees and readers of fees.

They are as small as can be, so that thousands of worlds can be run; their effects depend on everything that they read.
"""

import struct
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final, Protocol

from executors.machine import Answer, Block, Log, Rejected, Result, StateView, Status, VirtualMachine, Waits
from executors.walk import Item, Refused
from ingest.transactions import Transaction
from schemas.errors import InvalidTransaction, InvariantViolation
from schemas.hashing import keccak
from schemas.keys import StateKey, balance_key, blob_key, code_key, integer, minimal, nonce_key, slot_key
from schemas.rules import Rules

SLOTS: Final = 14
HOT: Final = 3
"""The first slots and accounts are touched most."""
ACCOUNTS: Final = 16
NONCE_SENDERS: Final = 2
"""Accounts whose transactions carry nonces."""
FUNDS: Final = 900
"""Of each account at the start, so that some run out of it."""
CONTRACT: Final = b"\xcc" * 20
COINBASE: Final = b"\xfe" * 20
GAS_MAX: Final = 40

RULES: Final = Rules(coinbase=COINBASE, parked_ms_max=2_000, nonce_ahead_max=5)

KINDS: Final = (
    "nonce", "move", "branch", "sum", "set", "pay", "chase", "peek", "deploy", "run", "block", "fail", "poison",
    "hop")
USUAL: Final = (
    "move", "branch", "sum", "set", "pay", "pay", "chase", "peek", "deploy", "run", "block", "fail", "hop")
PACKING: Final = struct.Struct(">BIBBQBBBB")
MARK: Final = 0x7F


class Poison(BaseException):
    """A transaction has ended the process that ran it."""


class Workload(Protocol):
    """What the world needs of a kind of transactions."""

    rules: Rules
    transactions: int
    """How many are sent, about."""
    poisons_sent: set[bytes]
    """Hashes of transactions that end every process that runs them."""

    def genesis(self) -> dict[bytes, bytes]:
        """The state at the start."""

    def machine(self) -> VirtualMachine:
        """A new machine for one process."""

    def raw(self) -> bytes:
        """The next signed transaction of some client."""

    def resent(self, raw: bytes) -> bool:
        """Whether a client may send these bytes on a second partition, too."""

    def decode(self, raws: Sequence[bytes], rules: Rules) -> list[Transaction | InvalidTransaction]:
        """Transactions from bytes."""

    def hints(self, item: Item) -> Iterable[bytes]:
        """Keys that a transaction is expected to touch."""

    def worth(self, state: dict[bytes, bytes]) -> int:
        """What no transaction changes in sum."""


def account(number: int) -> bytes:
    """The address of an account."""
    return bytes([number + 1]) * 20


def slot(number: int) -> StateKey:
    """A slot of the one contract."""
    return slot_key(CONTRACT, number)


class ToyMachine:
    """Executes toy transactions; a pure function of what it reads."""

    def execute(self, transaction: Transaction, block: Block, view: StateView) -> Answer:
        """Run one transaction."""
        _, _, kind_index, _, _, a, b, c, number = PACKING.unpack(transaction.raw)
        kind = KINDS[kind_index]
        sender = transaction.sender
        if kind == "nonce":
            nonce = integer(view.read(nonce_key(sender)))
            if transaction.nonce < nonce:
                return Rejected(reason=f"nonce too low: {transaction.nonce}, account is at {nonce}")
            if transaction.nonce > nonce + RULES.nonce_ahead_max:
                return Rejected(reason=f"nonce too high: {transaction.nonce}, account is at {nonce}")
            if transaction.nonce > nonce:
                return Waits(nonce=nonce)
        if kind == "poison":
            raise Poison(transaction.hash.hex())
        funds = integer(view.read(balance_key(sender)))
        if funds < GAS_MAX + number:
            return Rejected(reason=f"insufficient funds: {funds}")
        if kind == "nonce":
            view.write(nonce_key(sender), minimal(transaction.nonce + 1))
        result: Result = getattr(self, f"_{kind}")(sender, a, b, c, number, block, view)
        # Reading it again here finds what a payment to oneself has left.
        view.write(balance_key(sender), minimal(integer(view.read(balance_key(sender))) - result.gas_used))
        view.add(balance_key(COINBASE), result.gas_used)
        return result

    def _nonce(self, _s: bytes, a: int, b: int, _c: int, _n: int, _block: Block, view: StateView) -> Result:
        value = integer(view.read(slot(b)))
        view.write(slot(b), minimal(value + 3))
        return _done(5 + a % 3, value)

    def _move(self, sender: bytes, a: int, b: int, _c: int, number: int, _block: Block, view: StateView) -> Result:
        source, target = balance_key(sender), balance_key(account(b % ACCOUNTS))
        view.write(source, minimal(integer(view.read(source)) - number))
        view.write(target, minimal(integer(view.read(target)) + number))
        return _done(6, a)

    def _pay(self, sender: bytes, _a: int, b: int, _c: int, number: int, _block: Block, view: StateView) -> Result:
        source = balance_key(sender)
        view.write(source, minimal(integer(view.read(source)) - number))
        view.add(balance_key(account(b % ACCOUNTS)), number)
        return _done(4, number)

    def _branch(self, _s: bytes, a: int, b: int, c: int, _n: int, _block: Block, view: StateView) -> Result:
        value = integer(view.read(slot(a)))
        if value % 2:
            view.write(slot(b), minimal((integer(view.read(slot(b))) + value) % 1000))
            return _done(7, value, logs=2)
        view.write(slot(c), minimal((value * 2 + 1) % 1000))
        return _done(5, value)

    def _sum(self, _s: bytes, a: int, b: int, c: int, _n: int, _block: Block, view: StateView) -> Result:
        total = sum(integer(view.read(slot(number))) for number in (a, b, c))
        view.write(slot(a), minimal(total % 97))
        return _done(9, total, logs=total % 3)

    def _set(self, _s: bytes, a: int, _b: int, _c: int, number: int, _block: Block, view: StateView) -> Result:
        view.write(slot(a), minimal(number))
        return _done(3, 0)

    def _chase(self, _s: bytes, a: int, b: int, _c: int, _n: int, _block: Block, view: StateView) -> Result:
        target = slot((b + integer(view.read(slot(a)))) % SLOTS)
        value = integer(view.read(target))
        view.write(target, minimal(value + 1))
        return _done(8, value, logs=1)

    def _hop(self, _s: bytes, a: int, b: int, _c: int, _n: int, _block: Block, view: StateView) -> Result:
        second = integer(view.read(slot(integer(view.read(slot(a))) % SLOTS)))
        target = slot((b + second) % SLOTS)
        value = integer(view.read(target))
        view.write(target, minimal(value + 1))
        return _done(11, value, logs=1)

    def _peek(self, _s: bytes, a: int, _b: int, _c: int, _n: int, _block: Block, view: StateView) -> Result:
        value = integer(view.read(slot(a)))
        seen = integer(view.read(balance_key(COINBASE))) if value % 2 else 0
        return _done(4, seen, logs=1)

    def _deploy(self, _s: bytes, _a: int, b: int, _c: int, number: int, _block: Block, view: StateView) -> Result:
        code = b"code" + bytes([number])
        view.write(blob_key(keccak(code)), code)
        view.write(code_key(account(b % ACCOUNTS)), keccak(code))
        return Result(status=Status.SUCCESS, gas_used=12, contract=account(b % ACCOUNTS))

    def _run(self, _s: bytes, a: int, b: int, _c: int, _n: int, _block: Block, view: StateView) -> Result:
        code_hash = view.read(code_key(account(b % ACCOUNTS)))
        if not code_hash:
            return _done(2, 0)
        code = view.read(blob_key(code_hash))
        if not code:
            raise InvariantViolation("a code hash without its code")
        view.write(slot(a), minimal(code[-1]))
        return _done(6, code[-1], logs=1)

    def _block(self, _s: bytes, a: int, _b: int, _c: int, _n: int, block: Block, view: StateView) -> Result:
        view.write(slot(a), minimal((block.prevrandao[0] + block.timestamp_s + block.number) % 1000))
        log = Log(address=CONTRACT, topics=(block.prevrandao,), data=block.ancestor(block.number - 1))
        return Result(status=Status.SUCCESS, gas_used=5, logs=(log,))

    def _fail(self, _s: bytes, a: int, _b: int, _c: int, number: int, _block: Block, view: StateView) -> Result:
        value = integer(view.read(slot(a)))
        output = bytes([number]) * (1_000 + value % 100)
        return Result(status=Status.FAILED, gas_used=GAS_MAX - 1, output=output, reason=f"failed at {value}")


def _done(gas: int, seen: int, *, logs: int = 0) -> Result:
    """A success that tells what was seen."""
    log = Log(address=CONTRACT, topics=(seen.to_bytes(32, "big"),), data=minimal(seen))
    return Result(status=Status.SUCCESS, gas_used=gas, output=minimal(seen), logs=(log,) * logs)


class Toys:
    """Clients of the toy machine. Some nonces come twice, some never, and all of them in any order."""

    rules = RULES
    transactions = 80

    def __init__(self, rng: Random, *, poisons: int) -> None:
        self._rng = rng
        self._sent = 0
        self._poisons = poisons
        self.poisons_sent: set[bytes] = set()
        self._nonces = [0] * NONCE_SENDERS
        self._hinting = rng.random() < 0.5

    def genesis(self) -> dict[bytes, bytes]:
        """Funds for all accounts, and pointers to begin with."""
        state: dict[bytes, bytes] = {balance_key(account(number)): minimal(FUNDS) for number in range(ACCOUNTS)}
        return state | {slot(number): minimal(number) for number in range(1, SLOTS, 2)}

    def machine(self) -> VirtualMachine:
        """The toy machine."""
        return ToyMachine()

    def raw(self) -> bytes:
        """The next transaction."""
        rng, luck = self._rng, self._rng.random()
        self._sent += 1
        if luck < 0.02:
            return b"\x00wrong" + rng.randbytes(4)
        if self._poisons and luck < 0.06:
            self._poisons -= 1
            raw = self._packed("poison", rng.randrange(ACCOUNTS), 0, 0)
            self.poisons_sent.add(keccak(raw))
            return raw
        if rng.random() < 0.22:
            return self._nonced()
        hot = rng.random() < 0.4
        keys = [rng.randrange(HOT if hot else SLOTS) for _ in range(3)]
        return self._packed(rng.choice(USUAL), rng.randrange(ACCOUNTS), 0, rng.randrange(1, 9), keys)

    def _nonced(self) -> bytes:
        rng = self._rng
        sender, luck = rng.randrange(NONCE_SENDERS), rng.random()
        if luck < 0.02:
            self._nonces[sender] += 1  # a gap for ever
        nonce = self._nonces[sender]
        if luck > 0.97:
            nonce += 50
        elif luck > 0.88:
            nonce = max(0, nonce - 2)
        else:
            self._nonces[sender] += 1
        return self._packed("nonce", sender, nonce, 0, [0, rng.randrange(SLOTS), 0])

    def _packed(self, kind: str, sender: int, nonce: int, number: int, keys: Sequence[int] = (0, 0, 0)) -> bytes:
        return PACKING.pack(MARK, self._sent, KINDS.index(kind), sender, nonce, *keys, number)

    def resent(self, raw: bytes) -> bool:
        """Only what a nonce protects."""
        return raw[0] == MARK and KINDS[raw[5]] == "nonce"

    def decode(self, raws: Sequence[bytes], rules: Rules) -> list[Transaction | InvalidTransaction]:
        """Transactions from bytes."""
        return [decode_toy(raw) for raw in raws]

    def hints(self, item: Item) -> Iterable[bytes]:
        """The sender's balance in half of the worlds; nothing in the others."""
        if not self._hinting or item is None or isinstance(item, Refused):
            return ()
        return (balance_key(item.sender),)

    def worth(self, state: dict[bytes, bytes]) -> int:
        """All money."""
        return sum(integer(value) for key, value in state.items() if key[:1] == b"b")


def toy(kind: str, sender: int, *keys: int, nonce: int = 0, number: int = 1, unique: int = 0) -> bytes:
    """A toy transaction for a schedule that is written by hand."""
    slots = [*keys, 0, 0, 0][:3]
    return PACKING.pack(MARK, unique, KINDS.index(kind), sender, nonce, *slots, number)


def decode_toy(raw: bytes) -> Transaction | InvalidTransaction:
    """What the decode step of a service makes of bytes."""
    if len(raw) != PACKING.size or raw[0] != MARK:
        return InvalidTransaction(f"no toy: {len(raw)} bytes")
    _, _, kind, sender, nonce, _, b, _, number = PACKING.unpack(raw)
    return Transaction(
        raw=raw, hash=keccak(raw), type=kind % 3, chain_id=None, nonce=nonce, sender=account(sender),
        to=account(b) if kind % 2 else None, value=number, data=b"", gas_limit=GAS_MAX, gas_price=1, max_fee=1,
        max_priority_fee=1, access_list=(), authorizations=(), v=27, r=1, s=1, intrinsic_gas=0, floor_gas=0)
