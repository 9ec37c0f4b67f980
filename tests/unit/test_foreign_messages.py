"""Messages to contracts of machines beside the EVM: from transactions and EVM code, deployments, and how they end."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from executors import gas
from executors.evm import Call, PyEvm
from executors.evm.calls import contract_address
from executors.machine import Host, Message, Missing, Result, Reverted, Status
from executors.machines import contained
from ingest.rlp import write, write_list
from schemas.errors import InvariantViolation
from schemas.hashing import keccak
from schemas.keys import balance_key, blob_key, code_key, entry_key, minimal, nonce_key
from tests.scripted_machine import (
    BLOCK,
    COINBASE,
    EVM,
    GAS,
    HERE,
    INTRINSIC,
    NAME,
    PAYEE,
    RULES,
    SENDER,
    THERE,
    K,
    Script,
    Scripts,
    error,
    here,
    state,
    transaction,
    written,
)
from tests.views import DictView, account

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


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_machine_makes_a_static_call(name: str) -> None:
    """What it calls is held to it; it may go on changing things itself."""
    def there(host: Host) -> None:
        assert host.message.static
        FORBIDDEN[name](host)

    def script(host: Host) -> bytes:
        with pytest.raises(Reverted):
            host.call(THERE, b"", static=True, gas=50_000)
        host.write(K, b"mine")
        return b"went on"

    result, view = here(script, there=there)
    assert result.output == b"went on"
    assert written(view, HERE)
    assert written(view, THERE) == {}


def test_a_static_call_pays_nobody() -> None:
    result, view = here(lambda host: host.call(PAYEE, b"", static=True, value=1))
    assert (result.status, result.reason) == (Status.FAILED, "a static call with value")
    assert balance_key(PAYEE) not in view.deltas


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
