"""Contracts of machines beside the EVM: what their host does and costs, and how their messages end.

The machine here runs functions of this file, so that a test says what a contract asks for.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode

from executors import gas
from executors.evm import Call, PyEvm
from executors.evm.calls import contract_address
from executors.machine import (
    Block,
    Halt,
    Host,
    InvalidCode,
    LimitExceeded,
    Message,
    Missing,
    OutOfGas,
    Result,
    Reverted,
    Status,
)
from executors.machines import contained
from ingest.rlp import write, write_list
from ingest.transactions import Transaction
from schemas.errors import InvariantViolation
from schemas.hashing import digest, keccak
from schemas.keys import StateKey, balance_key, blob_key, code_key, entry_key, minimal, nonce_key
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


# ---- the price of each request --------------------------------------------------------------------------------------

HASH = b"\7" * 32
LONG = bytes(65)
FOUND: dict[str, bytes] = {"old": b"\1", "long": LONG, "max": bytes(gas.VALUE_BYTES_MAX)}
PRICES: dict[str, tuple[list[Callable[[Host], object]], list[int]]] = {
    "reads": ([lambda h: h.read(b"old"), lambda h: h.read(b"old"), lambda h: h.read(K)], [2_100, 100, 2_100]),
    "long reads": ([lambda h: h.read(b"long"), lambda h: h.read(b"long")], [2_100 + 2 * 20, 100 + 2 * 20]),
    "the longest": ([lambda h: h.read(b"max")], [2_100 + 2_047 * 20]),
    "a new value": ([lambda h: h.write(K, b"v"), lambda h: h.write(K, b"w"), lambda h: h.read(K)], [22_100, 100, 100]),
    "a value in the place of one": ([lambda h: h.write(b"old", b"v"), lambda h: h.write(b"old", b"")], [7_100, 100]),
    "a removal": ([lambda h: h.write(b"old", b""), lambda h: h.write(b"old", b"v")], [7_100, 100]),
    "a removal of nothing": ([lambda h: h.write(K, b"")], [22_100]),
    "after a read": ([lambda h: h.read(b"old"), lambda h: h.write(b"old", b"v")], [2_100, 5_100]),
    "the same value": ([lambda h: h.write(b"old", b"\1"), lambda h: h.write(b"old", b"\1")], [7_100, 100]),
    "long values": (
        [lambda h: h.write(K, LONG), lambda h: h.write(K, bytes(32)), lambda h: h.write(K, bytes(33))],
        [22_100 + 2 * 2_000, 100, 100 + 2_000]),
    "additions": (
        [lambda h: h.add(K, 1), lambda h: h.add(K, 1), lambda h: h.add(b"old", 0), lambda h: h.read(K)],
        [5_000, 5_000, 5_000, 2_100]),
    "a write after an addition": ([lambda h: h.add(b"old", 1), lambda h: h.write(b"old", b"v")], [5_000, 7_100]),
    "events": (
        [lambda h: h.log((), b""), lambda h: h.log((HASH,) * 4, b"12345"), lambda h: h.log((HASH,), b"")],
        [375, 375 * 5 + 8 * 5, 750]),
    "balances": (
        [lambda h: h.balance(PAYEE), lambda h: h.balance(PAYEE), lambda h: h.balance(HERE), lambda h: h.balance(SENDER),
         lambda h: h.balance(COINBASE), lambda h: h.balance(bytes(19) + b"\1")],
        [2_600, 100, 100, 100, 100, 100]),
    "calls": (
        [lambda h: h.call(PAYEE, b"data"), lambda h: h.call(PAYEE, b""), lambda h: h.call(THERE, b""),
         lambda h: h.call(THERE, b""), lambda h: h.call(bytes(19) + b"\4", bytes(64))],
        [2_600, 100, 2_600 + 10_000, 100 + 10_000, 100 + 15 + 2 * 3]),
    "payments": (
        [lambda h: h.call(PAYEE, b"", value=1), lambda h: h.call(PAYEE, b"", value=1),
         lambda h: h.call(THERE, b"", value=1, gas=10_000)],
        [2_600 + 9_000 + 25_000 - 2_300, 100 + 9_000 - 2_300, 2_600 + 9_000 + 10_000 - 2_300]),
    "hashes": (
        [lambda h: h.digest("keccak256", b""), lambda h: h.digest("sha256", bytes(32)),
         lambda h: h.digest("blake2b256", bytes(33))],
        [30, 36, 42]),
    "signatures": (
        [lambda h: h.verify("secp256k1", HASH, bytes(64), bytes(33)), lambda h: h.verify("bip340", HASH, bytes(64), HASH),
         lambda h: h.verify("ed25519", bytes(65), bytes(64), bytes(32))],
        [3_000, 3_000, 3_000 + 2 * 12]),
    "what costs nothing": (
        [lambda h: h.gas, lambda h: h.message, lambda h: h.block, lambda h: h.charge(0), lambda h: h.charge(123)],
        [0, 0, 0, 0, 123]),
}


@pytest.mark.parametrize("name", PRICES)
def test_prices(name: str) -> None:
    """Each request one after the other, from entering the contract to the gas of the receipt."""
    requests, expected = PRICES[name]
    found: list[int] = []

    def script(host: Host) -> None:
        assert host.gas == GAS - INTRINSIC - 10_000
        for request in requests:
            before = host.gas
            request(host)
            found.append(before - host.gas)

    result, _ = here(script, holding(**FOUND))
    assert found == expected
    assert result.status is Status.SUCCESS
    assert result.gas_used == INTRINSIC + 10_000 + sum(expected)


def test_prices_after_a_revert() -> None:
    """What was warm and written in the call that was taken back is so no more."""
    def there(host: Host) -> None:
        host.balance(PAYEE)
        host.write(K, b"v")
        raise Reverted(b"no")

    found: list[int] = []

    def script(host: Host) -> None:
        for _ in range(2):
            before = host.gas
            with pytest.raises(Reverted):
                host.call(THERE, b"")
            found.append(before - host.gas)

    result, view = here(script, there=there)
    # The account itself stays warm: its caller has paid for it.
    assert found == [2_600 + 10_000 + 2_600 + 22_100, 100 + 10_000 + 2_600 + 22_100]
    assert result.status is Status.SUCCESS
    assert written(view, THERE) == {}


def test_every_number_of_the_schedule_is_in_use() -> None:
    """The prices above are written out; this says that they are the schedule's."""
    assert (gas.READ_COLD, gas.READ_WARM, gas.READ_WORD) == (2_100, 100, 20)
    assert (gas.WRITE_NEW, gas.WRITE, gas.WRITE_WORD, gas.ADD) == (20_000, 5_000, 2_000, 5_000)
    assert (gas.LOG, gas.LOG_TOPIC, gas.LOG_BYTE) == (375, 375, 8)
    assert (gas.ACCOUNT_COLD, gas.ACCOUNT_WARM, gas.CALL_VALUE, gas.NEW_ACCOUNT) == (2_600, 100, 9_000, 25_000)
    assert (gas.HASH, gas.HASH_WORD, gas.VERIFY_WORD, set(gas.VERIFY.values())) == (30, 6, 12, {3_000})
    assert (gas.MESSAGE, gas.CODE_BYTE, gas.COMPILE_BYTE) == (10_000, 200, 20)
    assert [gas.words(size) for size in (0, 1, 32, 33)] == [0, 1, 1, 2]
    assert [gas.further_words(size) for size in (0, 1, 32, 33, 65)] == [0, 0, 0, 1, 2]


@pytest.mark.parametrize("price", [1, 2_099, 100_000])
def test_gas_that_runs_out(price: int) -> None:
    """A request that is too dear takes all gas, and nothing that was done stays; exactly enough is enough."""
    def script(host: Host) -> None:
        host.add(b"other", 1)
        host.charge(host.gas - price)
        host.charge(price)
        host.charge(1)

    result, view = here(script)
    assert (result.status, result.gas_used, result.reason) == (Status.FAILED, GAS, "out of gas")
    assert not view.deltas
    assert written(view, HERE) == {}


@pytest.mark.parametrize(("spare", "status"), [(0, Status.SUCCESS), (-1, Status.FAILED)])
def test_entering_a_machine_has_to_be_paid(spare: int, status: Status) -> None:
    """Before any of its code runs."""
    result, _ = here(lambda _: b"", gas_limit=INTRINSIC + 10_000 + spare)
    assert (result.status, result.gas_used) == (status, INTRINSIC + 10_000 + spare)


# ---- what requests do -----------------------------------------------------------------------------------------------


def test_the_message() -> None:
    """Called by a transaction, and by another contract."""
    seen: list[Message] = []

    def there(host: Host) -> bytes:
        seen.append(host.message)
        return b"from there"

    def script(host: Host) -> bytes:
        seen.append(host.message)
        assert host.block is BLOCK
        return host.call(THERE, b"inner", value=3)

    result, view = here(script, there=there, value=7, data=b"outer")
    assert result.output == b"from there"
    assert seen == [
        Message(contract=HERE, caller=SENDER, origin=SENDER, value=7, data=b"outer"),
        Message(contract=THERE, caller=HERE, origin=SENDER, value=3, data=b"inner")]
    assert view.state[balance_key(HERE)] == minimal(1_000 + 7 - 3)
    assert view.state[balance_key(THERE)] == minimal(1_000 + 3)


def test_answers() -> None:
    """Entries, balances, hashes and events."""
    def script(host: Host) -> bytes:
        assert host.read(b"old") == b"\1"
        host.write(K, b"\xff")
        host.add(K, 1)
        host.add(b"sum", 7)
        assert host.read(K) == b"\1\0"
        assert host.balance(HERE) == 1_000
        assert host.digest("blake2b256", b"x") == digest(b"x")
        assert host.digest("keccak256", b"x") == keccak(b"x")
        assert host.verify("bip340", HASH, bytes(64), HASH) is False
        host.log((HASH,), b"event")
        return b"output"

    result, view = here(script, holding(old=b"\1"))
    assert result.output == b"output"
    assert [(log.address, log.topics, log.data) for log in result.logs] == [(HERE, (HASH,), b"event")]
    assert written(view, HERE) == {K: b"\1\0"}
    assert view.deltas[entry_key(HERE, b"sum")] == 7


def test_contracts_have_entries_of_their_own() -> None:
    """The same key at two addresses."""
    def there(host: Host) -> bytes:
        assert host.read(K) == b""
        host.write(K, b"there")
        return b""

    def script(host: Host) -> bytes:
        host.write(K, b"here")
        host.call(THERE, b"")
        return host.read(K)

    result, view = here(script, there=there)
    assert result.output == b"here"
    assert (written(view, HERE), written(view, THERE)) == ({K: b"here"}, {K: b"there"})


@pytest.mark.parametrize("caught", [True, False])
def test_a_call_that_reverts(caught: bool) -> None:
    """Its entries, additions, events and payments are taken back; the caller goes on, or passes the data on."""
    def there(host: Host) -> None:
        host.write(K, b"gone")
        host.add(b"sum", 5)
        host.log((), b"gone")
        host.call(PAYEE, b"", value=2)
        raise Reverted(b"data of the revert")

    def script(host: Host) -> bytes:
        host.add(b"sum", 1)
        try:
            host.call(THERE, b"", value=9)
        except Reverted as reverted:
            if not caught:
                raise
            return reverted.output
        return b"not reached"

    result, view = here(script, there=there)
    assert result.output == b"data of the revert"
    assert result.status is (Status.SUCCESS if caught else Status.FAILED)
    assert not result.logs
    assert written(view, THERE) == {}
    assert {key: amount for key, amount in view.deltas.items() if key[:1] == b"m"} == (
        {entry_key(HERE, b"sum"): 1} if caught else {})
    assert {balance_key(HERE), balance_key(THERE), balance_key(PAYEE)}.isdisjoint(view.writes.keys() | view.deltas.keys())
    if not caught:
        assert result.gas_used < GAS // 2, "the gas that remains is the caller's"


@pytest.mark.parametrize("ending", [OutOfGas(), LimitExceeded("memory limit 1 MiB"), Halt("something else")])
def test_a_call_that_fails_takes_its_gas(ending: Halt) -> None:
    """The caller is told nothing but that it failed."""
    def there(host: Host) -> None:
        host.write(K, b"gone")
        raise ending

    left: list[int] = []

    def script(host: Host) -> bytes:
        with pytest.raises(Reverted) as reverted:
            host.call(THERE, b"", gas=100_000)
        assert reverted.value.output == b""
        left.append(host.gas)
        return b"went on"

    result, view = here(script, there=there)
    assert left == [GAS - INTRINSIC - 10_000 - 2_600 - 100_000]
    assert result.output == b"went on"
    assert written(view, THERE) == {}


@pytest.mark.parametrize(("ending", "reason"), [
    (OutOfGas(), "out of gas"), (LimitExceeded("memory limit 1 MiB"), "memory limit 1 MiB"), (Halt("words"), "words")])
def test_a_transaction_that_fails(ending: Halt, reason: str) -> None:
    """All its gas is taken, and the receipt says why."""
    def script(host: Host) -> None:
        host.log((), b"gone")
        raise ending

    result, _ = here(script)
    assert result == Result(status=Status.FAILED, gas_used=GAS, reason=reason)


@pytest.mark.parametrize(("ending", "output", "reason"), [
    (Reverted(), b"", "execution reverted"),
    (Reverted(b"\1\2\3\4"), b"\1\2\3\4", "execution reverted: custom error 0x01020304"),
    (Reverted(reason="not yours"), error("not yours"), "execution reverted: not yours"),
    (Reverted(b"\1\2\3\4", "not used"), b"\1\2\3\4", "execution reverted: custom error 0x01020304"),
    (Reverted(reason="long " * 20), error("long " * 20), "execution reverted: " + "long " * 20),
])  # fmt: skip
def test_a_transaction_that_reverts(ending: Reverted, output: bytes, reason: str) -> None:
    """Data go as they are; words are encoded as Solidity does."""
    def script(host: Host) -> None:
        host.charge(5)
        raise ending

    result, _ = here(script)
    assert result == Result(status=Status.FAILED, gas_used=INTRINSIC + 10_005, output=output, reason=reason)


def test_gas_of_a_call() -> None:
    """All but a 64th, or what is asked for; what remains comes back."""
    got: list[int] = []

    def there(host: Host) -> None:
        got.append(host.gas + 10_000)

    asked: list[int] = []

    def script(host: Host) -> None:
        host.balance(THERE)
        for wanted in (None, 20_000, 10**9):
            before = host.gas - 100
            host.call(THERE, b"", gas=wanted)
            asked.append(min(wanted or 10**9, before - before // 64))
            assert host.gas == before - 10_000

    result, _ = here(script, there=there)
    assert result.status is Status.SUCCESS
    assert got == asked
    assert 20_000 in got


def test_payments_that_cannot_be_made() -> None:
    """More than there is, which costs what a payment costs; nothing moves."""
    def script(host: Host) -> bytes:
        before = host.gas
        with pytest.raises(Reverted, match="not enough funds"):
            host.call(PAYEE, b"", value=1_001)
        assert before - host.gas == 2_600 + 9_000 + 25_000
        host.call(PAYEE, b"", value=1_000)
        return b"done"

    result, view = here(script)
    assert result.output == b"done"
    # Both balances were looked at: for funds, and for whether the account is empty.
    assert view.state[balance_key(PAYEE)] == minimal(1_000)
    assert view.state[balance_key(HERE)] == b""


# ---- limits ---------------------------------------------------------------------------------------------------------

BELOW = {"key": bytes(gas.KEY_BYTES_MAX), "value": bytes(gas.VALUE_BYTES_MAX)}
BEYOND: dict[str, tuple[Callable[[Host], object], str]] = {
    "an empty key": (lambda h: h.read(b""), "key of 0 bytes, it has 1 to 128"),
    "a long key": (lambda h: h.read(bytes(129)), "key of 129 bytes, it has 1 to 128"),
    "a long key to write": (lambda h: h.write(bytes(129), b""), "key of 129 bytes, it has 1 to 128"),
    "a long key to add": (lambda h: h.add(bytes(129), 1), "key of 129 bytes, it has 1 to 128"),
    "a long value": (lambda h: h.write(K, bytes(65_537)), "value of 65537 bytes, limit 65536"),
    "less than nothing": (lambda h: h.add(K, -1), "-1 is to be added; it has to be from 0 to 2**256 - 1"),
    "too much": (lambda h: h.add(K, 2**256), f"{2**256} is to be added; it has to be from 0 to 2**256 - 1"),
    "topics": (lambda h: h.log((HASH,) * 5, b""), "5 topics; there may be 4, each of 32 bytes"),
    "a short topic": (lambda h: h.log((HASH[1:],), b""), "1 topics; there may be 4, each of 32 bytes"),
    "a short address": (lambda h: h.balance(PAYEE[1:]), "address of 19 bytes instead of 20"),
    "a long address": (lambda h: h.call(PAYEE + b"\0", b""), "address of 21 bytes instead of 20"),
    "value below nothing": (
        lambda h: h.call(PAYEE, b"", value=-1), "a call with value -1 and gas None; neither may be below 0"),
    "gas below nothing": (
        lambda h: h.call(PAYEE, b"", gas=-1), "a call with value 0 and gas -1; neither may be below 0"),
    "a hash": (lambda h: h.digest("md5", b""), "no hash 'md5'; there are keccak256, sha256, blake2b256"),
    "a scheme": (
        lambda h: h.verify("rsa", HASH, b"", b""), "no signature scheme 'rsa'; there are secp256k1, ed25519, bip340"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_limits(name: str) -> None:
    """What is beyond one fails with all its gas, and a reason that names the limit."""
    request, reason = BEYOND[name]

    def script(host: Host) -> None:
        request(host)

    result, _ = here(script)
    assert result == Result(status=Status.FAILED, gas_used=GAS, reason=reason)


def test_the_largest_there_is() -> None:
    """Key, value, topics and amount at their limits."""
    def script(host: Host) -> None:
        host.write(BELOW["key"], BELOW["value"])
        host.add(K, 2**256 - 1)
        host.log((HASH,) * 4, b"")

    result, view = here(script, gas_limit=10_000_000)
    assert result.status is Status.SUCCESS
    assert written(view, HERE) == {BELOW["key"]: BELOW["value"]}
    assert view.deltas == {entry_key(HERE, K): 2**256 - 1}


@pytest.mark.parametrize(("levels", "status"), [(31, Status.SUCCESS), (32, Status.FAILED)])
def test_messages_nest_32_deep(levels: int, status: Status) -> None:
    """The transaction's own included; the one too many fails, and all that it could have used is gone."""
    deepest = 0

    def script(host: Host) -> bytes:
        nonlocal deepest
        left = host.message.data[0]
        deepest = max(deepest, levels - left + 1)
        return host.call(HERE, bytes([left - 1])) if left else b"bottom"

    result, _ = here(script, data=bytes([levels]), gas_limit=30_000_000)
    assert (result.status, deepest) == (status, 32)
    assert result.output == (b"bottom" if status is Status.SUCCESS else b"")


def test_depth_counts_what_is_nested_now() -> None:
    """Calls one after the other are no deeper than one."""
    def script(host: Host) -> bytes:
        for _ in range(40):
            host.call(THERE, b"")
        return b"done"

    result, _ = here(script, there=lambda _: b"")
    assert result.output == b"done"


# ---- between the EVM and a machine ----------------------------------------------------------------------------------


def evm_call(kind: int, to: bytes, value: int = 0) -> bytes:
    """EVM code that calls with its own calldata, and returns success and what came back."""
    values = b"\x60" + bytes([value]) if kind in (0xF1, 0xF2) else b""
    return (
        b"\x36\x5f\x5f\x37" + b"\x5f\x5f\x36\x5f" + values + b"\x73" + to + b"\x5a" + bytes([kind])
        + b"\x5f\x52\x3d\x5f\x60\x20\x3e\x3d\x60\x20\x01\x5f\xf3")


def with_evm(code: bytes) -> DictView:
    """A state that has an EVM contract, too."""
    return DictView(state() | account(EVM, nonce=1, balance=50, code=code))


def test_called_by_the_evm() -> None:
    """An ordinary transaction to an EVM contract, which calls one of a machine, which calls back."""
    def script(host: Host) -> bytes:
        assert (host.message.caller, host.message.origin, host.message.value) == (EVM, SENDER, 5)
        host.add(K, 1)
        return host.message.data + host.call(PAYEE, b"")

    result, view = here(script, with_evm(evm_call(0xF1, HERE, 5)), to=EVM, machine="", type=2, data=b"data")
    assert result.output == (1).to_bytes(32, "big") + b"data"
    assert view.deltas == {entry_key(HERE, K): 1, balance_key(HERE): 5}


def test_calling_the_evm() -> None:
    """Its output comes back; a revert of it is one here."""
    returns = bytes.fromhex("602a5f5260205ff3")
    reverts = bytes.fromhex("602a5f5260205ffd")
    invalid = b"\xfe"

    def script(host: Host) -> bytes:
        try:
            return b"returned " + host.call(EVM, b"", gas=50_000)
        except Reverted as reverted:
            return b"reverted " + reverted.output

    for code, output in (
        (returns, b"returned " + (42).to_bytes(32, "big")), (reverts, b"reverted " + (42).to_bytes(32, "big")),
        (invalid, b"reverted "),
    ):
        assert here(script, with_evm(code))[0].output == output


def test_an_ordinary_transaction_may_call_it() -> None:
    """Types 0 to 4 name no machine."""
    result, _ = here(lambda host: b"got " + host.message.data, machine="", type=2, data=b"it")
    assert result.output == b"got it"


FORBIDDEN: dict[str, Callable[[Host], object]] = {
    "write": lambda h: h.write(K, b"v"), "add": lambda h: h.add(K, 1), "log": lambda h: h.log((), b""),
    "value": lambda h: h.call(PAYEE, b"", value=1)}
ALLOWED: dict[str, Callable[[Host], object]] = {
    "read": lambda h: h.read(K), "balance": lambda h: h.balance(PAYEE), "call": lambda h: h.call(PAYEE, b"data"),
    "digest": lambda h: h.digest("sha256", b"")}


@pytest.mark.parametrize("name", FORBIDDEN | ALLOWED)
@pytest.mark.parametrize("nested", [False, True])
def test_static_calls(name: str, nested: bool) -> None:
    """Below a STATICCALL nothing changes, however deep: what tries to ends without success."""
    def act(host: Host) -> bytes:
        assert host.message.static
        (FORBIDDEN | ALLOWED)[name](host)
        return b"went on"

    def script(host: Host) -> bytes:
        assert host.message.static
        return host.call(THERE, b"") if nested else act(host)

    result, view = here(script, with_evm(evm_call(0xFA, HERE)), there=act, to=EVM, machine="", type=2)
    assert result.status is Status.SUCCESS
    assert result.output == (
        bytes(32) if name in FORBIDDEN else (1).to_bytes(32, "big") + b"went on")
    assert written(view, HERE) == written(view, THERE) == {}
    assert {key for key in view.deltas if key != balance_key(COINBASE)} == set()


def test_static_calls_pass_through_the_evm() -> None:
    """STATICCALL to a machine's contract, from there CALL to an EVM contract, from there CALL to the first again."""
    def script(host: Host) -> bytes:
        assert host.message.static
        if host.message.data:
            return host.call(EVM, b"")
        host.write(K, b"v")
        return b"wrote"

    outer = b"\6" * 20
    view = with_evm(evm_call(0xF1, HERE))
    view.state |= account(outer, code=evm_call(0xFA, HERE), nonce=1)
    result, view = here(script, view, to=outer, machine="", type=2, data=b"first")
    # The outer call succeeds and returns what the EVM contract returned: that its call failed.
    assert result.output == (1).to_bytes(32, "big") + bytes(32)
    assert written(view, HERE) == {}


@pytest.mark.parametrize("kind", [0xF2, 0xF4])
def test_code_cannot_be_borrowed(kind: int) -> None:
    """CALLCODE and DELEGATECALL run it as EVM code, which its first byte isn't; the gas is gone."""
    ran: list[bytes] = []
    result, _ = here(
        lambda host: ran.append(host.message.contract), with_evm(evm_call(kind, HERE)), to=EVM, machine="", type=2)
    assert (result.status, result.output, ran) == (Status.SUCCESS, bytes(32), [])
    assert result.gas_used > GAS - GAS // 50


@pytest.mark.parametrize("machine", ["", NAME])
def test_an_account_that_delegates_to_it_cannot_be_called(machine: str) -> None:
    """Ordinarily it fails on the first byte; with its machine named it is no such contract."""
    view = DictView(state() | account(PAYEE, nonce=1, code=b"\xef\x01\x00" + HERE))
    ran: list[bytes] = []
    result, _ = here(lambda host: ran.append(b""), view, to=PAYEE, machine=machine, type=0x50 if machine else 2)
    assert (result.status, ran) == (Status.FAILED, [])
    if machine:
        assert result.output == error(f"0x{PAYEE.hex()} is no {NAME} contract")
    else:
        assert result.reason == "invalid opcode: 0xef"
        assert result.gas_used == GAS


def test_a_machine_that_calls_an_account_that_delegates_to_one() -> None:
    """It fails there, too."""
    view = DictView(state() | account(PAYEE, nonce=1, code=b"\xef\x01\x00" + THERE))
    found: list[int] = []

    def script(host: Host) -> bytes:
        before = host.gas
        with pytest.raises(Reverted):
            host.call(PAYEE, b"", gas=1_000)
        found.append(before - host.gas)
        return b"went on"

    assert here(script, view)[0].output == b"went on"
    assert found == [2_600 + 2_600 + 1_000]


WRONG = {
    "nobody": {}, "an account": account(EVM, balance=1), "an EVM contract": account(EVM, nonce=1, code=b"\0"),
    "another machine's": account(EVM, nonce=1, code=contained("lua", b"here")),
    "a container cut off": account(EVM, nonce=1, code=contained(NAME, b"")[:-1])}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_contract_of_the_machine(name: str) -> None:
    """The transaction fails, gives its value back, and pays for no more than itself."""
    result, view = here(lambda _: b"", DictView(state() | WRONG[name]), to=EVM, value=5)
    words = f"0x{EVM.hex()} is no {NAME} contract"
    assert result == Result(
        status=Status.FAILED, gas_used=INTRINSIC, output=error(words), reason=f"execution reverted: {words}")
    assert view.writes == {nonce_key(SENDER): b"\1"}
    assert not view.deltas


def test_a_precompiled_contract_is_none_of_the_machine() -> None:
    """Nor can one be called with a machine named."""
    result, _ = here(lambda _: b"", to=bytes(19) + b"\4")
    assert result.status is Status.FAILED


def test_a_machine_that_the_chain_does_not_have() -> None:
    """Code of it fails when it is called; deploying it as a call for its result, too."""
    view = DictView(state() | account(EVM, nonce=1, code=contained("other", b"x")))
    result, _ = here(lambda _: b"", view, to=EVM, machine="", type=2)
    assert (result.status, result.gas_used) == (Status.FAILED, GAS)
    assert result.reason == f"this chain has no machine 'other'; it has {NAME}"
    answer = PyEvm(RULES, {NAME: Scripts()}).call(
        Call(sender=SENDER, data=deployment(b"x"), gas_limit=GAS, machine="other"), BLOCK, DictView(state()))
    assert isinstance(answer, Result)
    assert (answer.status, answer.reason) == (Status.FAILED, f"this chain has no machine 'other'; it has {NAME}")
    answer = PyEvm(RULES, {}).call(
        Call(sender=SENDER, data=deployment(b"x"), gas_limit=GAS, machine="other"), BLOCK, DictView(state()))
    assert isinstance(answer, Result)
    assert answer.reason == "this chain has no machine 'other'; it has none"


# ---- deployment -----------------------------------------------------------------------------------------------------

MADE = contract_address(SENDER, 0)


def deployment(code: bytes, arguments: bytes = b"") -> bytes:
    """Data of a deploying transaction."""
    return write_list((write(code), write(arguments)))


def test_deployment() -> None:
    """Address, nonce, code, value, entries and gas; the constructor is told that it is one, and returns nothing."""
    seen: list[Message] = []

    def script(host: Host) -> bytes:
        seen.append(host.message)
        host.write(b"owner", host.message.caller)
        host.log((), b"made")
        return b"isn't kept"

    result, view = here(script, to=None, data=deployment(b"here", b"arguments"), value=11)
    assert result.status is Status.SUCCESS
    assert result.contract == MADE == keccak(write_list((write(SENDER), write(0))))[12:]
    assert result.output == b""
    assert seen == [Message(contract=MADE, caller=SENDER, origin=SENDER, value=11, data=b"arguments", creates=True)]
    stored = contained(NAME, b"here!")
    assert view.writes == {
        nonce_key(SENDER): b"\1", balance_key(SENDER): minimal(10**18 - 11), nonce_key(MADE): b"\1",
        code_key(MADE): keccak(stored), blob_key(keccak(stored)): stored, entry_key(MADE, b"owner"): SENDER}
    assert view.deltas == {balance_key(MADE): 11}
    assert [log.address for log in result.logs] == [MADE]
    entry = 2_100 + 20_000
    assert result.gas_used == INTRINSIC + 4 * 20 + 5 * 200 + 10_000 + entry + 375 + 4 * 8


def test_a_deployed_contract_is_called() -> None:
    """With its entries, and no constructor any more."""
    def script(host: Host) -> bytes:
        if host.message.creates:
            host.write(K, b"from the constructor")
            # It is there already: it may call itself.
            assert host.call(MADE, b"inner") == b"from the constructor"
        return host.read(K)

    _, view = here(script, to=None, data=deployment(b"here"))
    result, _ = here(script, DictView(view.state), to=MADE, nonce=1)
    assert result.output == b"from the constructor"


def test_only_the_code_and_its_arguments_are_paid_for_once() -> None:
    """Entering, compiling and storing; with one unit of gas less there is no contract."""
    gas_needed = INTRINSIC + 4 * 20 + 5 * 200 + 10_000
    for spare, status in ((0, Status.SUCCESS), (-1, Status.FAILED)):
        result, view = here(lambda _: b"", to=None, data=deployment(b"here"), gas_limit=gas_needed + spare)
        assert (result.status, result.gas_used) == (status, gas_needed + spare)
        assert (code_key(MADE) in view.writes) is (status is Status.SUCCESS)


def reverting(host: Host) -> None:
    """A constructor that changes everything there is, and gives up."""
    host.write(K, b"gone")
    host.add(b"sum", 1)
    host.log((), b"gone")
    host.call(PAYEE, b"", value=1)
    raise Reverted(reason="not today")


def exhausting(host: Host) -> None:
    """A constructor that uses up its gas."""
    host.write(K, b"gone")
    host.charge(host.gas + 1)


NOT_MADE: dict[str, tuple[bytes, Script, bytes, str, int]] = {
    "no RLP": (
        b"\xff", lambda _: b"", error("undecodable deployment: RLP length runs past its list"),
        "execution reverted: undecodable deployment: RLP length runs past its list", 0),
    "no data": (
        b"", lambda _: b"", error("undecodable deployment: RLP list expected"),
        "execution reverted: undecodable deployment: RLP list expected", 0),
    "one string": (
        write_list((write(b"here"),)), lambda _: b"",
        error("undecodable deployment: code and arguments are expected, two byte strings"),
        "execution reverted: undecodable deployment: code and arguments are expected, two byte strings", 0),
    "a list for code": (
        write_list((write_list(()), write(b""))), lambda _: b"",
        error("undecodable deployment: code and arguments are expected, two byte strings"),
        "execution reverted: undecodable deployment: code and arguments are expected, two byte strings", 0),
    "invalid code": (
        deployment(b"bad!"), lambda _: b"", error(f"invalid {NAME} code: line 1: it is bad"),
        f"execution reverted: invalid {NAME} code: line 1: it is bad", 4 * 20),
    "too much code": (
        deployment(b"large"), lambda _: b"", b"", f"code of {gas.CODE_BYTES_MAX + 1} bytes, limit {gas.CODE_BYTES_MAX}", -1),
    "a constructor that reverts": (
        deployment(b"here"), reverting, error("not today"), "execution reverted: not today",
        4 * 20 + 5 * 200 + 10_000 + 22_100 + 5_000 + 375 + 4 * 8 + 2_600 + 9_000 + 25_000 - 2_300),
    "a constructor without gas": (deployment(b"here"), exhausting, b"", "out of gas", -1),
}


@pytest.mark.parametrize("name", NOT_MADE)
def test_deployments_that_fail(name: str) -> None:
    """Nothing stays behind but the sender's nonce; what was caused by the sender's data is a revert with words."""
    data, script, output, reason, used = NOT_MADE[name]
    result, view = here(script, to=None, data=data, value=7)
    assert result == Result(
        status=Status.FAILED, gas_used=GAS if used < 0 else INTRINSIC + used, output=output, reason=reason)
    assert view.writes == {nonce_key(SENDER): b"\1"}
    assert not view.deltas


@pytest.mark.parametrize("there", [{"nonce": 1}, {"code": b"\0"}, {"storage": {1: 1}}])
def test_an_address_that_is_taken(there: dict[str, Any]) -> None:
    """As for EVM code."""
    result, view = here(lambda _: b"", DictView(state() | account(MADE, **there)), to=None, data=deployment(b"here"))
    assert (result.status, result.gas_used, result.reason) == (Status.FAILED, GAS, "contract address collision")
    assert view.writes == {nonce_key(SENDER): b"\1"}


def test_an_address_with_wei() -> None:
    """They are the contract's."""
    result, view = here(
        lambda host: None if host.balance(MADE) == 8 else b"", DictView(state() | account(MADE, balance=3)), to=None,
        data=deployment(b"here"), value=5)
    assert result.status is Status.SUCCESS
    assert view.state[balance_key(MADE)] == b"\x08"


# ---- what passes through --------------------------------------------------------------------------------------------


def test_missing_values_pass_through() -> None:
    """From below two machines and the EVM; nothing was written."""
    view = with_evm(evm_call(0xF1, THERE))
    view.missing = frozenset({entry_key(THERE, K)})

    def script(host: Host) -> bytes:
        host.write(K, b"v")
        try:
            return host.call(EVM, b"")
        except Reverted:
            return b"caught"

    with pytest.raises(Missing) as missing:
        here(script, view, there=lambda host: host.read(K))
    assert missing.value.keys == {entry_key(THERE, K)}
    assert not view.writes


def test_a_machine_that_breaks_stops_the_process() -> None:
    """What it raises beside of what the protocol names is no transaction's doing."""
    def script(host: Host) -> bytes:
        raise ZeroDivisionError("a bug")

    with pytest.raises(InvariantViolation, match="a bug"):
        here(script)


def test_a_call_for_its_result() -> None:
    """Runs a machine as a transaction does, and writes nothing."""
    view = DictView(state())

    def script(host: Host) -> bytes:
        host.write(K, b"v")
        return host.message.data

    answer = PyEvm(RULES, {NAME: Scripts(here=script)}).call(
        Call(sender=SENDER, to=HERE, data=b"data", gas_limit=GAS, machine=NAME), BLOCK, view)
    assert isinstance(answer, Result)
    assert answer.output == b"data"
    assert not view.writes


def test_machines_are_asked_for_only_when_needed() -> None:
    """A chain without their packages runs EVM code; the first contract of one is where it stops."""
    engine = PyEvm(replace(RULES, machines=("not_installed/1",)))
    answer = engine.execute(transaction(to=PAYEE, machine="", type=2), BLOCK, DictView(state()))
    assert isinstance(answer, Result)
    with pytest.raises(Exception, match="not_installed/1"):
        engine.execute(transaction(), BLOCK, DictView(state()))
