"""Real signed transactions on the real machine, with a contract whose few slots everybody wants."""

from collections.abc import Iterable, Sequence
from functools import cache
from random import Random
from typing import Any, Final

from eth_account import Account

from executors.evm import PyEvm
from executors.machine import VirtualMachine
from executors.walk import Item, Refused
from ingest.transactions import Transaction, decode_many
from schemas.errors import InvalidTransaction
from schemas.hashing import keccak
from schemas.keys import balance_key, blob_key, code_key, integer, minimal, nonce_key, slot_key
from schemas.rules import Rules

SENDERS: Final = 5
FUNDS: Final = 10**9
GAS_LIMIT: Final = 120_000
CONTRACT: Final = b"\xcc" * 20
COINBASE: Final = b"\xfe" * 20
RULES: Final = Rules(coinbase=COINBASE, parked_ms_max=2_000, nonce_ahead_max=30)

CHASE: Final = bytes.fromhex(
    "60003554"  # value = slot[first word]
    "8060203501600716"  # target = (value + second word) & 7
    "805480600052"  # found = slot[target], kept in memory
    "82016001019055"  # slot[target] = found + value + 1
    "60206000a1"  # log found, with value as topic
    "604035600051600316600314166033" "57"  # if the third word is 1 and found & 3 is 3, go to the end
    "60206000f3"  # return found
    "5b60206000fd"  # the end: revert with found
)
"""Follows a pointer in one slot to another one and raises that; may revert, depending on what it finds."""
INIT_CODE: Final = bytes.fromhex("600160005360016000f3")
"""Makes a contract of one byte."""


@cache
def signer(number: int) -> Any:
    """A key that everybody knows."""
    return Account.from_key(bytes([number + 1]) * 32)


def sender(number: int) -> bytes:
    """The address of a key."""
    return bytes.fromhex(signer(number).address[2:])


@cache
def signed(number: int, nonce: int, to: bytes, value: int, data: bytes, fee_market: bool) -> bytes:
    """The bytes of a signed transaction; made once per process."""
    fields: dict[str, Any] = {
        "nonce": nonce, "gas": GAS_LIMIT, "value": value, "data": data, "chainId": RULES.chain_id}
    if to:
        fields["to"] = to
    fees = {"maxFeePerGas": 3, "maxPriorityFeePerGas": 2, "type": 2} if fee_market else {"gasPrice": 2}
    raw: bytes = signer(number).sign_transaction(fields | fees).raw_transaction
    return bytes(raw)


class Contracts:
    """Clients that pay, call and create."""

    rules = RULES
    transactions = 30

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._nonces = [0] * SENDERS
        self.poisons_sent: set[bytes] = set()

    def genesis(self) -> dict[bytes, bytes]:
        """Funds, and the contract."""
        state: dict[bytes, bytes] = {balance_key(sender(number)): minimal(FUNDS) for number in range(SENDERS)}
        state[code_key(CONTRACT)] = keccak(CHASE)
        state[blob_key(keccak(CHASE))] = CHASE
        return state | {nonce_key(CONTRACT): b"\x01", slot_key(CONTRACT, 1): b"\x05"}

    def machine(self) -> VirtualMachine:
        """The machine in Python."""
        return PyEvm(RULES)

    def raw(self) -> bytes:
        """The next transaction."""
        rng, number = self._rng, self._rng.randrange(SENDERS)
        luck = rng.random()
        if luck < 0.03:
            return b"\x02wrong" + rng.randbytes(4)
        if luck < 0.05:
            self._nonces[number] += 1  # a gap for ever
        nonce = max(0, self._nonces[number] - 1) if luck > 0.95 else self._nonces[number]
        self._nonces[number] = max(self._nonces[number], nonce + 1)
        what, fee_market = rng.random(), rng.random() < 0.5
        if what < 0.6:
            words = (rng.randrange(3), rng.randrange(8), rng.randrange(2))
            data = b"".join(word.to_bytes(32, "big") for word in words)
            return signed(number, nonce, CONTRACT, 0, data, fee_market)
        if what < 0.9:
            to = sender(rng.randrange(SENDERS)) if rng.random() < 0.6 else COINBASE
            return signed(number, nonce, to, rng.choice((1, 7, FUNDS // 2)), b"", fee_market)
        return signed(number, nonce, b"", 0, INIT_CODE, fee_market)

    def resent(self, raw: bytes) -> bool:
        """A nonce protects all of them."""
        return True

    def decode(self, raws: Sequence[bytes], rules: Rules) -> list[Transaction | InvalidTransaction]:
        """Transactions from bytes."""
        return [decoded(raw) for raw in raws]

    def hints(self, item: Item) -> Iterable[bytes]:
        """What every transaction of a sender reads."""
        if item is None or isinstance(item, Refused):
            return ()
        return nonce_key(item.sender), balance_key(item.sender)

    def worth(self, state: dict[bytes, bytes]) -> int:
        """All wei."""
        return sum(integer(value) for key, value in state.items() if key[:1] == b"b")


@cache
def decoded(raw: bytes) -> Transaction | InvalidTransaction:
    """A transaction from bytes, its signature recovered once per process."""
    return decode_many([raw], RULES)[0]
