"""The host of contracts of machines beside the EVM: what its requests do and cost, and what is beyond a limit."""

from collections.abc import Callable

import pytest

from executors import gas
from executors.machine import Halt, Host, LimitExceeded, Message, OutOfGas, Result, Reverted, Status
from schemas.hashing import digest, keccak
from schemas.keys import balance_key, entry_key, minimal
from tests.scripted_machine import (
    BLOCK,
    COINBASE,
    GAS,
    HERE,
    INTRINSIC,
    PAYEE,
    SENDER,
    THERE,
    K,
    error,
    here,
    holding,
    written,
)

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
