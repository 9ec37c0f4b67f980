"""The Python engine: what it reads, writes and adds, to the key, and how executions end."""

import json
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from executors.evm import Call, PyEvm
from executors.evm.calls import contract_address
from executors.evm.code import Code, CodeCache
from executors.evm.forks import PRAGUE
from executors.evm.history import HISTORY_ADDRESS
from executors.machine import Answer, Block, Missing, Rejected, Result, Status, Waits
from ingest.hints import mapping_slot
from ingest.transactions import decode
from schemas.errors import InvariantViolation
from schemas.genesis import Genesis, default_genesis
from schemas.hashing import keccak
from schemas.keys import StateKey, balance_key, blob_key, code_key, integer, minimal, nonce_key, slot_key, storage_key
from schemas.rules import Rules
from tests.views import DictView, account

COINBASE = b"\xcc" * 20
RULES = Rules(coinbase=COINBASE, nonce_ahead_max=10)
KEY = Account.from_key(b"\x01" * 32)
SENDER = bytes.fromhex(KEY.address[2:])
OTHER = Account.from_key(b"\x02" * 32)
AUTHORITY = bytes.fromhex(OTHER.address[2:])
PAYEE = b"\x99" * 20
CONTRACT = b"\xaa" * 20
FRIEND = b"\xbb" * 20
ETHER = 10**18
BLOCK = Block(number=1000, timestamp_s=1_700_000_000, prevrandao=b"\x05" * 32, ancestor=lambda n: n.to_bytes(32, "big"))
TOKEN = json.loads((Path(__file__).parents[2] / "examples/contracts/artifacts/Token.json").read_text())

FUNDED = account(SENDER, balance=ETHER)
ADMISSION = {nonce_key(SENDER), code_key(SENDER), balance_key(SENDER)}


def execute(
    view: DictView, *, to: bytes | None = CONTRACT, rules: Rules = RULES, key: Any = KEY, kind: int = 2, **fields: Any,
) -> Answer:
    """Sign and execute a transaction with a tip of 1 wei per gas."""
    defaults: dict[str, Any] = {
        "type": kind, "chainId": rules.chain_id, "nonce": 0, "to": to or b"", "value": 0, "gas": 100_000,
        "maxFeePerGas": 10, "maxPriorityFeePerGas": 1, "data": b"", "accessList": []}
    return PyEvm(rules).execute(decode(bytes(key.sign_transaction(defaults | fields).raw_transaction), rules), BLOCK, view)


def included(answer: Answer) -> Result:
    """The result of a transaction that ran."""
    assert isinstance(answer, Result), answer
    return answer


def run_code(code: bytes, *, view: DictView | None = None, **fields: Any) -> tuple[Result, DictView]:
    """Run a transaction on a contract with some code."""
    view = view or DictView(FUNDED | account(CONTRACT, code=code, nonce=1))
    return included(execute(view, **fields)), view


def push(value: bytes | int) -> bytes:
    """PUSH20 or PUSH32."""
    return b"\x73" + value if isinstance(value, bytes) else b"\x7f" + value.to_bytes(32, "big")


def call_code(to: bytes, value: int, opcode: int = 0xF1) -> bytes:
    """A call without data that takes all gas, with its result left on the stack."""
    values = push(value) if opcode in (0xF1, 0xF2) else b""
    return b"\x5f\x5f\x5f\x5f" + values + push(to) + b"\x5a" + bytes((opcode,))


# What a transaction reads and writes.


def test_native_transfer() -> None:
    view = DictView(FUNDED | account(PAYEE, balance=7))
    result = included(execute(view, to=PAYEE, value=5, gas=21_000))
    assert (result.status, result.gas_used, result.output, result.contract) == (Status.SUCCESS, 21_000, b"", None)
    assert view.reads == ADMISSION | {code_key(PAYEE)}
    assert view.writes == {nonce_key(SENDER): b"\x01", balance_key(SENDER): minimal(ETHER - 5 - 21_000)}
    assert view.deltas == {balance_key(PAYEE): 5, balance_key(COINBASE): 21_000}


def test_base_fee_is_burned() -> None:
    view = DictView(FUNDED)
    included(execute(view, to=PAYEE, gas=21_000, rules=Rules(coinbase=COINBASE, base_fee=4)))
    assert view.writes[balance_key(SENDER)] == minimal(ETHER - 21_000 * 5)
    assert view.deltas == {balance_key(COINBASE): 21_000}


def test_without_tip_the_fee_recipient_is_not_touched() -> None:
    view = DictView(FUNDED)
    included(execute(view, to=PAYEE, gas=21_000, maxPriorityFeePerGas=0))
    assert view.deltas == {}
    assert balance_key(SENDER) not in view.writes


def test_payment_to_oneself_and_to_the_fee_recipient() -> None:
    view = DictView(FUNDED)
    included(execute(view, to=SENDER, value=5, gas=21_000))
    assert view.writes[balance_key(SENDER)] == minimal(ETHER - 21_000)
    view = DictView(FUNDED)
    included(execute(view, to=COINBASE, value=5, gas=21_000))
    assert view.deltas == {balance_key(COINBASE): 21_005}


def test_fee_recipient_as_sender() -> None:
    view = DictView(FUNDED)
    included(execute(view, to=PAYEE, value=5, gas=21_000, rules=Rules(coinbase=SENDER)))
    assert integer(view.state[balance_key(SENDER)]) == ETHER - 5
    assert view.deltas == {balance_key(PAYEE): 5}


def token_state(**balances: int) -> tuple[dict[StateKey, bytes], dict[str, StateKey]]:
    """A state with the example token, and the state keys of the balances in it."""
    position = next(int(each["slot"]) for each in TOKEN["storageLayout"] if "balance" in each["label"].lower())
    slots = {name: mapping_slot({"sender": SENDER, "payee": PAYEE}[name], position) for name in ("sender", "payee")}
    code = bytes.fromhex(TOKEN["deployedBytecode"].removeprefix("0x"))
    state = FUNDED | account(CONTRACT, nonce=1, code=code, storage={slots[name]: value for name, value in balances.items()})
    return state, {name: slot_key(CONTRACT, slot) for name, slot in slots.items()}


def test_token_transfer() -> None:
    state, slots = token_state(sender=100)
    view = DictView(state)
    data = keccak(b"transfer(address,uint256)")[:4] + encode(["address", "uint256"], [PAYEE, 30])
    result = included(execute(view, data=data))
    assert result.status is Status.SUCCESS
    assert integer(result.output) == 1
    code_hash = state[code_key(CONTRACT)]
    assert view.reads == ADMISSION | {code_key(CONTRACT), blob_key(code_hash), slots["sender"], slots["payee"]}
    assert view.writes == {
        nonce_key(SENDER): b"\x01", balance_key(SENDER): minimal(ETHER - result.gas_used), slots["sender"]: bytes((70,)),
        slots["payee"]: bytes((30,))}
    assert view.deltas == {balance_key(COINBASE): result.gas_used}
    log, = result.logs
    assert (log.address, log.topics[0]) == (CONTRACT, keccak(b"Transfer(address,address,uint256)"))
    assert [topic[12:] for topic in log.topics[1:]] == [SENDER, PAYEE]
    assert integer(log.data) == 30


def test_failed_token_transfer_keeps_its_reads_and_pays() -> None:
    state, slots = token_state(sender=10)
    view = DictView(state)
    data = keccak(b"transfer(address,uint256)")[:4] + encode(["address", "uint256"], [PAYEE, 30])
    result = included(execute(view, data=data))
    assert result.status is Status.FAILED
    assert result.reason.startswith("execution reverted")
    assert result.logs == ()
    assert slots["sender"] in view.reads
    assert set(view.writes) == {nonce_key(SENDER), balance_key(SENDER)}
    assert view.deltas == {balance_key(COINBASE): result.gas_used}


def test_value_for_code_is_a_delta() -> None:
    _, view = run_code(call_code(FRIEND, 1), value=3, view=DictView(
        FUNDED | account(CONTRACT, code=call_code(FRIEND, 1), nonce=1) | account(FRIEND, nonce=1, code=b"\x00")))
    assert balance_key(FRIEND) not in view.reads
    assert view.deltas[balance_key(FRIEND)] == 1
    assert nonce_key(FRIEND) not in view.reads
    # The contract spent of its own balance, which had to be known for that.
    assert integer(view.state[balance_key(CONTRACT)]) == 2


@pytest.mark.parametrize(("friend", "read"), [
    ({"nonce": 1}, {code_key(FRIEND), nonce_key(FRIEND)}),
    ({"balance": 1}, {code_key(FRIEND), nonce_key(FRIEND), balance_key(FRIEND)}),
    ({}, {code_key(FRIEND), nonce_key(FRIEND), balance_key(FRIEND)}),
])
def test_emptiness_is_read_lazily(friend: dict[str, Any], read: set[StateKey]) -> None:
    code = call_code(FRIEND, 1)
    result, view = run_code(code, value=3, view=DictView(
        FUNDED | account(CONTRACT, code=code, nonce=1) | account(FRIEND, **friend)))
    assert {key for key in view.reads if key[1:] == FRIEND} == read
    assert integer(view.state[balance_key(FRIEND)]) == 1 + friend.get("balance", 0)
    new_account = 0 if friend else 25_000
    assert result.gas_used == 21_000 + 4 * 2 + 3 * 2 + 2 + 2_600 + 9_000 - 2_300 + new_account


@pytest.mark.parametrize(("code", "read"), [
    (push(FRIEND) + b"\x3b", {code_key(FRIEND)}),  # EXTCODESIZE
    (push(FRIEND) + b"\x31", {balance_key(FRIEND)}),  # BALANCE
    (push(FRIEND) + b"\x3f", {code_key(FRIEND), nonce_key(FRIEND), balance_key(FRIEND)}),  # EXTCODEHASH
    (call_code(FRIEND, 0), {code_key(FRIEND)}),
    (call_code(FRIEND, 0, 0xF4), {code_key(FRIEND)}),
    (call_code(FRIEND, 0, 0xFA), {code_key(FRIEND)}),
    (push(FRIEND) + b"\xff", set()),  # SELFDESTRUCT of an account that has nothing to give
    (push(b"\0" * 19 + b"\x02") + b"\x3b", set()),
])
def test_reads_of_an_account(code: bytes, read: set[StateKey]) -> None:
    _, view = run_code(code)
    assert {key for key in view.reads if key[1:] == FRIEND} == read
    assert balance_key(CONTRACT) not in view.reads or code[-1] == 0xFF


def test_reading_the_fee_recipient_turns_the_fee_into_a_write() -> None:
    result, view = run_code(push(COINBASE) + b"\x31\x5f\x55")
    assert integer(view.state[balance_key(COINBASE)]) == result.gas_used
    assert balance_key(COINBASE) in view.writes
    assert view.deltas == {}


def test_a_credit_that_is_read_later_is_in_what_is_read() -> None:
    # Send 1 to an account with code, then store its balance.
    code = call_code(FRIEND, 1) + push(FRIEND) + b"\x31\x5f\x55"
    _, view = run_code(code, value=1, view=DictView(
        FUNDED | account(CONTRACT, code=code, nonce=1) | account(FRIEND, balance=41, code=b"\x00")))
    assert view.state[slot_key(CONTRACT, 0)] == b"\x2a"
    assert view.writes[balance_key(FRIEND)] == b"\x2a"
    assert balance_key(FRIEND) not in view.deltas


def test_a_reverted_credit_is_no_delta() -> None:
    code = call_code(FRIEND, 1) + b"\x5f\x5f\xfd"
    result, view = run_code(code, value=1, view=DictView(
        FUNDED | account(CONTRACT, code=code, nonce=1) | account(FRIEND, code=b"\x00")))
    assert result.status is Status.FAILED
    assert set(view.deltas) == {balance_key(COINBASE)}
    assert code_key(FRIEND) in view.reads


def test_what_is_written_back_unchanged_is_no_write() -> None:
    code = b"\x60\x05\x5f\x55" + b"\x60\x07\x5f\x55"  # slot 0: 7 → 5 → 7
    _, view = run_code(code, view=DictView(FUNDED | account(CONTRACT, code=code, storage={0: 7})))
    assert slot_key(CONTRACT, 0) in view.reads
    assert slot_key(CONTRACT, 0) not in view.writes


# Creations, delegations, history.


def test_creation_reads_no_slot_of_the_new_contract() -> None:
    # Store 1 in slot 0, read slot 1, return one byte of code: STOP.
    init_code = b"\x60\x01\x5f\x55\x60\x01\x54\x50\x60\x01\x5f\xf3"
    view = DictView(FUNDED)
    result = included(execute(view, to=None, data=init_code, value=4))
    address = contract_address(SENDER, 0)
    assert (result.contract, result.output) == (address, b"")
    assert view.reads == ADMISSION | {code_key(address), nonce_key(address), storage_key(address)}
    assert view.writes == {
        nonce_key(SENDER): b"\x01", balance_key(SENDER): minimal(ETHER - 4 - result.gas_used), nonce_key(address): b"\x01",
        slot_key(address, 0): b"\x01", code_key(address): keccak(b"\x00"), blob_key(keccak(b"\x00")): b"\x00"}
    assert view.deltas == {balance_key(address): 4, balance_key(COINBASE): result.gas_used}


@pytest.mark.parametrize("there", [{"nonce": 1}, {"code": b"\x00"}, {"storage": {1: 1}}])
def test_creation_collides(there: dict[str, Any]) -> None:
    view = DictView(FUNDED | account(contract_address(SENDER, 0), **there))
    result = included(execute(view, to=None, data=b"\x00"))
    assert (result.status, result.reason) == (Status.FAILED, "contract address collision")
    assert (result.gas_used, result.contract) == (100_000, None)


def test_contract_that_destroys_itself_at_once_leaves_nothing() -> None:
    view = DictView(FUNDED)
    result = included(execute(view, to=None, data=b"\x60\x01\x5f\x55" + push(PAYEE) + b"\xff", value=4, gas=200_000))
    address = contract_address(SENDER, 0)
    assert result.status is Status.SUCCESS
    assert not {key for key in view.writes if key[1:21] == address}
    assert integer(view.state[balance_key(PAYEE)]) == 4


def test_contract_that_destroys_itself_later_stays() -> None:
    code = push(PAYEE) + b"\xff"
    _, view = run_code(code, view=DictView(FUNDED | account(CONTRACT, code=code, balance=4, nonce=1)))
    assert view.state[code_key(CONTRACT)] == keccak(code)
    assert (integer(view.state[balance_key(CONTRACT)]), integer(view.state[balance_key(PAYEE)])) == (0, 4)


def test_delegation() -> None:
    code = b"\x30\x5f\x55"  # store the address of the running account
    authorization = OTHER.sign_authorization({"chainId": RULES.chain_id, "address": CONTRACT, "nonce": 0})
    view = DictView(FUNDED | account(CONTRACT, code=code))
    result = included(execute(view, to=AUTHORITY, kind=4, authorizationList=[authorization]))
    designator = b"\xef\x01\x00" + CONTRACT
    assert result.status is Status.SUCCESS
    assert view.writes[code_key(AUTHORITY)] == keccak(designator)
    assert view.writes[blob_key(keccak(designator))] == designator
    assert view.writes[nonce_key(AUTHORITY)] == b"\x01"
    assert integer(view.writes[slot_key(AUTHORITY, 0)]) == int.from_bytes(AUTHORITY, "big")
    # The account can still send, and clear it again.
    view.state |= account(AUTHORITY, balance=ETHER, nonce=1)
    clearing = OTHER.sign_authorization({"chainId": RULES.chain_id, "address": bytes(20), "nonce": 2})
    cleared = included(execute(view, to=PAYEE, key=OTHER, nonce=1, kind=4, authorizationList=[clearing]))
    assert cleared.status is Status.SUCCESS
    assert view.state[code_key(AUTHORITY)] == b""
    assert view.state[nonce_key(AUTHORITY)] == b"\x03"


def test_history_contract_answers_from_the_chain() -> None:
    view = DictView(FUNDED | dict(Genesis.parse(default_genesis()).entries()))

    def ask(number: int) -> bytes:
        answer = PyEvm(RULES).call(
            Call(sender=SENDER, to=HISTORY_ADDRESS, data=number.to_bytes(32, "big"), gas_limit=100_000), BLOCK, view)
        assert isinstance(answer, Result)
        return answer.output

    assert integer(ask(999)) == 999
    assert integer(ask(744)) == 744
    assert integer(ask(743)) == 0
    assert ask(1000) == b""
    assert not {key for key in view.reads if key[:1] == b"s"}


def test_block_hash_and_environment() -> None:
    for opcode, expected in (
            (b"\x61\x03\xe7\x40", 999), (b"\x61\x02\xe7\x40", 0), (b"\x61\x03\xe8\x40", 0), (b"\x42", BLOCK.timestamp_s),
            (b"\x43", 1000), (b"\x44", integer(BLOCK.prevrandao)), (b"\x45", RULES.block_gas_limit), (b"\x46", 52188),
            (b"\x48", 0), (b"\x4a", 1), (b"\x41", integer(COINBASE)), (b"\x3a", 1), (b"\x32", integer(SENDER))):
        _, view = run_code(opcode + b"\x5f\x55")
        assert integer(view.state.get(slot_key(CONTRACT, 0), b"")) == expected, opcode.hex()


# Admission.


def test_waiting_reads_the_nonce_only() -> None:
    view = DictView(account(SENDER, nonce=3))
    assert execute(view, nonce=5) == Waits(nonce=3)
    assert view.reads == {nonce_key(SENDER)}
    assert isinstance(execute(view, nonce=13), Waits)


@pytest.mark.parametrize(("sender", "fields", "reason"), [
    ({"nonce": 3}, {"nonce": 2}, "nonce too low: 2, account"),
    ({"nonce": 3}, {"nonce": 14}, "nonce too high: 14, account"),
    ({"balance": ETHER, "code": b"\x00"}, {}, "sender not an eoa"),
    ({"balance": 1_000_004}, {"value": 5}, "needs 1000005"),
])
def test_rejections(sender: dict[str, Any], fields: dict[str, Any], reason: str) -> None:
    view = DictView(account(SENDER, **sender))
    answer = execute(view, **fields)
    assert isinstance(answer, Rejected)
    assert reason in answer.reason
    assert not view.writes
    assert not view.deltas


def test_exact_funds_suffice() -> None:
    assert isinstance(execute(DictView(account(SENDER, balance=1_000_005)), value=5), Result)


# How executions end.


def revert_with(data: bytes) -> bytes:
    """Code that reverts with data of up to a few words."""
    words = [data[start:start + 32].ljust(32, b"\0") for start in range(0, len(data), 32)]
    stores = b"".join(push(integer(word)) + push(32 * index) + b"\x52" for index, word in enumerate(words))
    return stores + push(len(data)) + b"\x5f\xfd"


@pytest.mark.parametrize(("code", "reason"), [
    (b"\x60\x00\x56", "invalid jump destination"),
    (b"\x60\x01\x60\x5b\x57", "invalid jump destination"),
    (b"\x60\x03\x56\x60\x5b", "invalid jump destination"),  # 0x5b as data of a push
    (b"\x01", "stack underflow"),
    (b"\x5b\x5f\x80\x60\x00\x56", "stack limit reached 1024"),
    (b"\xfe", "invalid opcode: 0xfe"),
    (b"\x0c", "invalid opcode: 0x0c"),
    (b"\x5b\x60\x00\x56", "out of gas"),
    (b"\x60\x01\x7f" + b"\xff" * 32 + b"\x52", "out of gas"),
    (b"\x60\x01\x5f\x5f\x3e", "return data out of bounds"),
    (b"\x5f\x5f\xfd", "execution reverted"),
    (revert_with(keccak(b"Error(string)")[:4] + encode(["string"], ["no way"])), "execution reverted: no way"),
    (revert_with(keccak(b"Panic(uint256)")[:4] + encode(["uint256"], [0x11])),
     "execution reverted: panic 0x11 (arithmetic underflow or overflow)"),
    (revert_with(b"\x12\x34\x56\x78"), "execution reverted: custom error 0x12345678"),
    (revert_with(keccak(b"Error(string)")[:4] + b"\xff" * 64), "execution reverted: custom error 0x08c379a0"),
])
def test_failures(code: bytes, reason: str) -> None:
    result, view = run_code(code)
    assert (result.status, result.reason) == (Status.FAILED, reason)
    assert (result.gas_used == 100_000) != reason.startswith("execution reverted")
    assert set(view.writes) == {nonce_key(SENDER), balance_key(SENDER)}


def test_init_code_and_code_sizes() -> None:
    result = included(execute(DictView(FUNDED), to=None, data=b"\x61\x60\x01\x5f\xf3", gas=10**7))
    assert result.reason == "max code size exceeded: 24577 bytes, limit 24576"
    result = included(execute(DictView(FUNDED), to=None, data=b"\x60\xef\x5f\x53\x60\x01\x5f\xf3"))
    assert result.reason == "invalid code: must not begin with 0xef"


def test_output_is_the_data_of_the_revert() -> None:
    result, _ = run_code(revert_with(b"\x12\x34\x56\x78"))
    assert result.output == b"\x12\x34\x56\x78"


def test_stack_holds_exactly_1024() -> None:
    assert run_code(b"\x5f" * 1024 + b"\x00")[0].status is Status.SUCCESS
    assert run_code(b"\x5f" * 1025 + b"\x00")[0].reason == "stack limit reached 1024"


def test_refund_is_a_fifth_at_most_and_the_floor_holds() -> None:
    code = b"\x5f\x5f\x55"
    result, _ = run_code(code, view=DictView(FUNDED | account(CONTRACT, code=code, storage={0: 7})))
    gas = 21_000 + 2 + 2 + 5_000
    assert result.gas_used == gas - 4_800
    result, _ = run_code(b"\x00", data=b"\x01" * 100)
    assert result.gas_used == 21_000 + 40 * 100


# Trouble.


@pytest.mark.parametrize("key", [nonce_key(SENDER), code_key(CONTRACT), slot_key(CONTRACT, 0), balance_key(FRIEND)])
def test_missing_passes_through_and_leaves_nothing(key: StateKey) -> None:
    code = b"\x60\x01\x60\x01\x55\x5f\x54\x50" + push(FRIEND) + b"\x31"
    state = FUNDED | account(CONTRACT, code=code)
    view = DictView(state, missing=frozenset({key}))
    with pytest.raises(Missing) as caught:
        execute(view)
    assert caught.value.keys == {key}
    assert not view.writes
    assert not view.deltas
    view.missing = frozenset()
    fresh = DictView(state)
    assert execute(view) == execute(fresh)
    assert (view.writes, view.deltas) == (fresh.writes, fresh.deltas)


def test_lost_code_stops_the_process() -> None:
    with pytest.raises(InvariantViolation, match="no code under its hash"):
        execute(DictView(FUNDED | {code_key(CONTRACT): b"\x01" * 32}))


def test_an_error_of_the_engine_stops_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("executors.evm.calls.run", broken)
    with pytest.raises(InvariantViolation, match="ZeroDivisionError"):
        run_code(b"\x00")


# Calls.


def test_call_writes_nothing() -> None:
    state, _ = token_state(sender=100)
    view = DictView(state)
    data = keccak(b"transfer(address,uint256)")[:4] + encode(["address", "uint256"], [PAYEE, 30])
    answer = PyEvm(RULES).call(Call(sender=SENDER, to=CONTRACT, data=data, gas_limit=10**6), BLOCK, view)
    assert isinstance(answer, Result)
    assert integer(answer.output) == 1
    assert not view.writes
    assert not view.deltas
    executed = included(execute(view, data=data))
    assert executed.gas_used == answer.gas_used
    assert executed.logs == answer.logs


def test_call_without_funds_or_gas() -> None:
    evm = PyEvm(RULES)
    for call, reason in (
            (Call(sender=PAYEE, to=CONTRACT, value=1, gas_limit=10**6), "insufficient funds"),
            (Call(sender=PAYEE, to=CONTRACT, gas_limit=10**6, gas_price=1), "needs 1000000"),
            (Call(sender=PAYEE, to=CONTRACT, gas_limit=20_999), "intrinsic gas too low: gas limit 20999, needed 21000")):
        answer = evm.call(call, BLOCK, DictView(FUNDED))
        assert isinstance(answer, Rejected)
        assert reason in answer.reason


def test_call_that_creates_returns_address_and_code() -> None:
    answer = PyEvm(RULES).call(Call(data=b"\x60\x01\x5f\xf3", gas_limit=10**6), BLOCK, DictView({}))
    assert isinstance(answer, Result)
    assert answer.contract == contract_address(bytes(20), 0)
    assert answer.output == b"\x00"


# Code analysis.


@given(st.binary(max_size=200) | st.lists(st.sampled_from([b"\x5b", b"\x60", b"\x61", b"\x7f", b"\x00"])).map(b"".join))
def test_jump_destinations(code: bytes) -> None:
    expected, position = set(), 0
    while position < len(code):
        if code[position] == 0x5B:
            expected.add(position)
        position += 1 + max(code[position] - 0x5F, 0) * (0x60 <= code[position] <= 0x7F)
    analysed = Code(code, PRAGUE)
    assert {place for place in range(len(code) + 2) if analysed.target(place)} == expected


def test_code_cache_drops_the_least_recently_used() -> None:
    cache = CodeCache(2, PRAGUE)
    first, second = cache.find(b"1", b"\x01"), cache.find(b"2", b"\x02")
    assert cache.find(b"1", b"\x01") is first
    cache.find(b"3", b"\x03")
    assert cache.find(b"1", b"\x01") is first
    assert cache.find(b"2", b"\x02") is not second
