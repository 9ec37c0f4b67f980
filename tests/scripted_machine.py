"""A machine that runs functions of a test, so that a test says what a contract asks for; and transactions to it."""

from collections.abc import Callable
from typing import Any

from eth_abi.abi import encode

from executors import gas
from executors.evm import PyEvm
from executors.machine import Block, Host, InvalidCode, Result
from executors.machines import contained
from ingest.transactions import Transaction
from schemas.keys import StateKey, entry_key
from schemas.rules import Rules
from tests.views import DictView, account

SENDER, HERE, THERE, EVM, PAYEE, COINBASE = (bytes([number]) * 20 for number in (1, 2, 3, 4, 5, 0xCC))
NAME = "script"
RULES = Rules(coinbase=COINBASE, machines=(f"{NAME}/1",))
BLOCK = Block(number=9, timestamp_s=1, prevrandao=bytes(32), ancestor=lambda _: bytes(32))
GAS = 1_000_000
INTRINSIC = 21_000
K = b"k"

Script = Callable[[Host], bytes | None]


class Scripts:
    """A machine whose code is the name of a function."""

    name = NAME
    version = 1

    def __init__(self, **functions: Script) -> None:
        self.functions = functions

    def compile(self, code: bytes) -> bytes:
        if code.startswith(b"bad"):
            raise InvalidCode("line 1: it is bad")
        return bytes(gas.CODE_BYTES_MAX + 1) if code.startswith(b"large") else code + b"!"

    def run(self, code: bytes, host: Host) -> bytes:
        return self.functions[code.decode().rstrip("!")](host) or b""


def state() -> dict[StateKey, bytes]:
    """A rich sender, and contracts ``here`` and ``there``."""
    return account(SENDER, balance=10**18) | {
        key: value for address, name in ((HERE, b"here"), (THERE, b"there"))
        for key, value in account(address, nonce=1, balance=1_000, code=contained(NAME, name)).items()}


def transaction(**fields: Any) -> Transaction:
    """A transaction of type 0x50 to ``here``."""
    known: dict[str, Any] = {
        "raw": b"", "hash": b"", "type": 0x50, "chain_id": RULES.chain_id, "nonce": 0, "sender": SENDER, "to": HERE,
        "value": 0, "data": b"", "gas_limit": GAS, "gas_price": None, "max_fee": 0, "max_priority_fee": 0,
        "access_list": (), "authorizations": (), "v": 0, "r": 0, "s": 0, "intrinsic_gas": INTRINSIC, "floor_gas": INTRINSIC,
        "machine": NAME}
    return Transaction(**{**known, **fields})


def run(view: DictView | None = None, *, functions: dict[str, Script], **fields: Any) -> tuple[Result, DictView]:
    """Run a transaction."""
    view = view or DictView(state())
    answer = PyEvm(RULES, {NAME: Scripts(**functions)}).execute(transaction(**fields), BLOCK, view)
    assert isinstance(answer, Result), answer
    return answer, view


def here(script: Script, view: DictView | None = None, *, there: Script | None = None, **fields: Any) -> tuple[Result, DictView]:
    """Run a transaction that calls a contract."""
    return run(view, functions={"here": script, "there": there or (lambda _: b"")}, **fields)


def holding(**entries: bytes) -> DictView:
    """A state in which ``here`` has entries."""
    return DictView(state() | {entry_key(HERE, key.encode()): value for key, value in entries.items()})


def error(words: str) -> bytes:
    """``Error(string)``."""
    return bytes.fromhex("08c379a0") + encode(["string"], [words])


def written(view: DictView, address: bytes) -> dict[bytes, bytes]:
    """Entries of a contract that were written."""
    return {key[21:]: value for key, value in view.writes.items() if key[:21] == b"m" + address}
