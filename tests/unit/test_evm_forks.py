"""What forks are to running code: instructions, precompiled contracts, SELFDESTRUCT, delegations, blobs."""

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from eth_account import Account

from executors.evm import Call, PyEvm
from executors.evm.calls import contract_address
from executors.evm.history import HISTORY_ADDRESS
from executors.machine import Answer, Block, Rejected, Result, Status
from ingest.blobs import GAS_PER_BLOB
from ingest.transactions import decode
from schemas.errors import ConfigurationError
from schemas.genesis import Genesis, default_genesis
from schemas.hashing import keccak
from schemas.keys import balance_key, code_key, integer, nonce_key, slot_key, storage_key
from schemas.rules import Rules
from tests.views import DictView, account

KEY = Account.from_key(b"\x01" * 32)
SENDER = bytes.fromhex(KEY.address[2:])
PAYEE, CONTRACT, FRIEND = b"\x99" * 20, b"\xaa" * 20, b"\xbb" * 20
ETHER = 10**18
BLOCK = Block(number=1000, timestamp_s=1_700_000_000, prevrandao=bytes(32), ancestor=lambda n: n.to_bytes(32, "big"))
FUNDED = account(SENDER, balance=ETHER)


def rules_of(fork: str) -> Rules:
    """Rules of a chain with a fork."""
    return Rules(fork=fork, blobs=fork != "shanghai", coinbase=b"\xcc" * 20)


def execute(
    fork: str, view: DictView, *, to: bytes | None = CONTRACT, block: Block = BLOCK, **fields: Any,
) -> Answer:
    """Sign and execute a transaction with a tip of 1 wei per gas."""
    rules = rules_of(fork)
    defaults: dict[str, Any] = {
        "type": 2, "chainId": rules.chain_id, "nonce": 0, "to": to or b"", "value": 0, "gas": 300_000,
        "maxFeePerGas": 10, "maxPriorityFeePerGas": 1, "data": b"", "accessList": []}
    raw = bytes(KEY.sign_transaction(defaults | fields).raw_transaction)
    return PyEvm(rules).execute(decode(raw, rules), block, view)


def run_code(fork: str, code: bytes, **fields: Any) -> tuple[Result, DictView]:
    """Run a transaction on a contract with some code."""
    view = DictView(FUNDED | account(CONTRACT, code=code, nonce=1))
    result = execute(fork, view, **fields)
    assert isinstance(result, Result), result
    return result, view


def test_no_such_fork() -> None:
    with pytest.raises(ConfigurationError, match="no fork 'london'"):
        PyEvm(Rules(fork="london"))


@pytest.mark.parametrize("code", ["5f49", "4a", "5f5c", "5f5f5d", "5f5f5f5e"])
def test_instructions_of_cancun(code: str) -> None:
    opcode = code[-2:]
    assert run_code("shanghai", bytes.fromhex(code))[0].reason == f"invalid opcode: 0x{opcode}"
    # Nor do they count for the stack or the gas of what stands before them.
    assert run_code("shanghai", bytes.fromhex("6001600055") + bytes.fromhex(code))[0].status is Status.FAILED
    for fork in ("cancun", "prague"):
        assert run_code(fork, bytes.fromhex(code))[0].status is Status.SUCCESS


@pytest.mark.parametrize(("fork", "last"), [("shanghai", 9), ("cancun", 10), ("prague", 17)])
def test_precompiled_contracts(fork: str, last: int) -> None:
    for number in range(9, 19):
        # Call it without data and with 0x1000 gas, and store what comes back plus one.
        code = b"\x5f\x5f\x5f\x5f\x5f\x60" + bytes([number]) + b"\x61\x10\x00\xf1\x60\x01\x01\x5f\x55"
        result, view = run_code(fork, code)
        # All of these refuse it, and take the gas. An account without code takes none, but is cold.
        there = number <= last
        assert integer(view.state[slot_key(CONTRACT, 0)]) == (1 if there else 2), number
        called = 100 + 4_096 if there else 2_600
        assert result.gas_used == 21_000 + 5 * 2 + 2 * 3 + called + 2 * 3 + 2 + 22_100, number


# SELFDESTRUCT.

DESTROYING = b"\x73" + PAYEE + b"\xff"


def test_contract_that_destroys_itself() -> None:
    code = b"\x60\x01\x5f\x55" + DESTROYING
    for fork in ("shanghai", "cancun", "prague"):
        view = DictView(FUNDED | account(CONTRACT, code=code, balance=4, nonce=1, storage={0: 7, 5: 8}))
        result = execute(fork, view)
        assert isinstance(result, Result)
        assert result.status is Status.SUCCESS
        assert integer(view.state[balance_key(PAYEE)]) == 4
        assert not view.state[balance_key(CONTRACT)]
        gone = fork == "shanghai"
        assert (view.state[code_key(CONTRACT)], view.state[nonce_key(CONTRACT)]) == (
            (b"", b"") if gone else (keccak(code), b"\x01"))
        assert (storage_key(CONTRACT) in view.writes) is gone


def test_what_a_destroyed_contract_has_is_burned() -> None:
    # It destroys itself in favour of itself; and is paid after it destroyed itself.
    for code in (b"\x30\xff", DESTROYING):
        view = DictView(FUNDED | account(CONTRACT, code=code, balance=4, nonce=1) | account(
            FRIEND, nonce=1, code=call(CONTRACT, 0) + call(CONTRACT, 3)))
        result = execute("shanghai", view, to=FRIEND, value=3)
        assert isinstance(result, Result)
        assert result.status is Status.SUCCESS
        assert not view.state.get(balance_key(CONTRACT))
    view = DictView(FUNDED | account(CONTRACT, code=b"\x30\xff", balance=4, nonce=1))
    execute("prague", view)
    assert integer(view.state[balance_key(CONTRACT)]) == 4


def call(to: bytes, value: int) -> bytes:
    """A call without data that takes all gas."""
    return b"\x5f\x5f\x5f\x5f\x60" + bytes([value]) + b"\x73" + to + b"\x5a\xf1\x50"


def test_reverted_destruction_is_none() -> None:
    view = DictView(
        FUNDED | account(CONTRACT, code=DESTROYING, nonce=1) | account(
            FRIEND, nonce=1, code=call(CONTRACT, 0) + b"\x5f\x5f\xfd"))
    execute("shanghai", view, to=FRIEND)
    assert view.state[code_key(CONTRACT)] == keccak(DESTROYING)
    assert storage_key(CONTRACT) not in view.writes


def test_contract_that_comes_back_has_new_storage() -> None:
    # With calldata it destroys itself, otherwise it adds one to slot 0.
    code = b"\x36\x15\x60" + bytes([5 + len(DESTROYING)]) + b"\x57" + DESTROYING + b"\x5b\x5f\x54\x60\x01\x01\x5f\x55"
    init_code = b"\x60" + bytes([len(code)]) + b"\x80\x60\x0a\x5f\x39\x5f\xf3" + b"\x00" + code
    # Copies its calldata and creates with it, with salt 0.
    factory = b"\x36\x5f\x5f\x37\x5f\x36\x5f\x5f\xf5"
    child = keccak(b"\xff" + FRIEND + bytes(32) + keccak(init_code))[12:]
    view = DictView(FUNDED | account(FRIEND, code=factory, nonce=1))
    nonces = count()

    def send(to: bytes, data: bytes) -> Result:
        result = execute("shanghai", view, to=to, data=data, nonce=next(nonces))
        assert isinstance(result, Result)
        assert result.status is Status.SUCCESS, result.reason
        return result

    for generation in range(3):
        send(FRIEND, init_code)
        assert view.state[code_key(child)] == keccak(code)
        first, second = send(child, b""), send(child, b"")
        # The first one sets a slot that was empty, the second one changes it.
        assert first.gas_used - second.gas_used == 20_000 - 2_900
        suffix = bytes([generation]) if generation else b""
        assert view.state[slot_key(child, 0) + suffix] == b"\x02"
        send(child, b"x")
        assert view.state[code_key(child)] == b""
        assert view.state[storage_key(child)] == b"\x02" + bytes([generation + 1])


def test_storage_given_by_the_genesis_still_collides() -> None:
    there = contract_address(SENDER, 0)
    for mark, status in ((b"\x01", Status.FAILED), (b"\x02\x01", Status.SUCCESS)):
        result = execute("shanghai", DictView(FUNDED | {storage_key(there): mark}), to=None, data=b"\x00")
        assert isinstance(result, Result)
        assert result.status is status


def test_only_shanghai_reads_how_often_contracts_were_deleted() -> None:
    for fork in ("shanghai", "cancun", "prague"):
        _, view = run_code(fork, b"\x60\x01\x5f\x55\x5f\x54")
        assert (storage_key(CONTRACT) in view.reads) is (fork == "shanghai")


# Delegations, history, floor.

DELEGATION = b"\xef\x01\x00" + FRIEND


@pytest.mark.parametrize("fork", ["shanghai", "cancun"])
def test_forks_without_delegations(fork: str) -> None:
    view = DictView(FUNDED | account(CONTRACT, code=DELEGATION) | account(FRIEND, code=b"\x60\x01\x5f\x55"))
    result = execute(fork, view)
    assert isinstance(result, Result)
    assert result.reason == "invalid opcode: 0xef"
    answer = execute(fork, DictView(account(SENDER, balance=ETHER, code=DELEGATION)))
    assert isinstance(answer, Rejected)
    assert answer.reason.startswith("sender not an eoa")
    assert isinstance(execute("prague", DictView(account(SENDER, balance=ETHER, code=DELEGATION))), Result)


def test_call_with_authorizations() -> None:
    authorization = KEY.sign_authorization({"chainId": 52188, "address": FRIEND, "nonce": 0})
    rules = rules_of("prague")
    raw = bytes(KEY.sign_transaction({
        "type": 4, "chainId": 52188, "nonce": 0, "to": CONTRACT, "value": 0, "gas": 100_000, "maxFeePerGas": 1,
        "maxPriorityFeePerGas": 1, "data": b"", "accessList": [], "authorizationList": [authorization]}).raw_transaction)
    call_ = Call(to=CONTRACT, gas_limit=10**5, authorizations=decode(raw, rules).authorizations)
    assert isinstance(PyEvm(rules).call(call_, BLOCK, DictView({})), Result)
    assert PyEvm(rules_of("cancun")).call(call_, BLOCK, DictView({})) == Rejected(
        reason="the fork cancun has no set code transactions")


def test_history_contract_is_one_of_prague() -> None:
    state = FUNDED | dict(Genesis.parse(default_genesis()).entries())
    for fork, expected in (("prague", 999), ("cancun", 0), ("shanghai", 0)):
        answer = PyEvm(rules_of(fork)).call(
            Call(sender=SENDER, to=HISTORY_ADDRESS, data=(999).to_bytes(32, "big"), gas_limit=100_000), BLOCK,
            DictView(state))
        assert isinstance(answer, Result)
        assert integer(answer.output) == expected


def test_floor_of_calldata() -> None:
    data = b"\x01" * 100
    assert run_code("prague", b"\x00", data=data)[0].gas_used == 21_000 + 4_000
    assert run_code("cancun", b"\x00", data=data)[0].gas_used == 21_000 + 1_600
    for fork, gas in (("prague", 25_000), ("cancun", 22_600)):
        evm = PyEvm(rules_of(fork))
        assert isinstance(evm.call(Call(to=PAYEE, data=data, gas_limit=gas), BLOCK, DictView({})), Result)
        assert isinstance(evm.call(Call(to=PAYEE, data=data, gas_limit=gas - 1), BLOCK, DictView({})), Rejected)


# Blobs.

HASHES = (b"\x01" + b"\x11" * 31, b"\x01" + b"\x22" * 31)


def send_blobs(view: DictView, *, blob_fee: int = 5, base_fee: int = 3, fork: str = "prague", **fields: Any) -> Answer:
    """Execute a transaction with two blobs."""
    return execute(
        fork, view, type=3, maxFeePerBlobGas=blob_fee, blobVersionedHashes=list(HASHES),
        block=replace(BLOCK, blob_base_fee=base_fee), **fields)


@pytest.mark.parametrize("fork", ["cancun", "prague"])
def test_blobs_are_seen_and_burned(fork: str) -> None:
    # Store the hashes of blobs 0 to 2, and the price.
    code = b"".join(b"\x60" + bytes([index]) + b"\x49\x60" + bytes([index]) + b"\x55" for index in range(3))
    code += b"\x4a\x60\x03\x55"
    view = DictView(FUNDED | account(CONTRACT, code=code, nonce=1))
    result = send_blobs(view, fork=fork, value=7)
    assert isinstance(result, Result)
    slots = [view.state.get(slot_key(CONTRACT, slot), b"") for slot in range(4)]
    assert slots == [*HASHES, b"", b"\x03"]
    assert integer(view.state[balance_key(SENDER)]) == ETHER - 7 - result.gas_used - 2 * GAS_PER_BLOB * 3
    assert integer(view.state[balance_key(b"\xcc" * 20)]) == result.gas_used


def test_blobs_of_an_execution_that_fails_are_burned() -> None:
    view = DictView(FUNDED | account(CONTRACT, code=b"\xfe", nonce=1))
    result = send_blobs(view)
    assert isinstance(result, Result)
    assert integer(view.state[balance_key(SENDER)]) == ETHER - result.gas_used - 2 * GAS_PER_BLOB * 3


def test_blobs_need_funds_and_a_fee() -> None:
    cost = 300_000 * 10 + 2 * GAS_PER_BLOB * 5 + 7
    assert isinstance(send_blobs(DictView(account(SENDER, balance=cost)), value=7), Result)
    answer = send_blobs(DictView(account(SENDER, balance=cost - 1)), value=7)
    assert isinstance(answer, Rejected)
    assert f"needs {cost}" in answer.reason
    view = DictView(FUNDED)
    assert send_blobs(view, blob_fee=2) == Rejected(
        reason="max fee per blob gas less than block blob gas fee: 2, blob base fee 3")
    assert not view.reads


def test_without_blobs() -> None:
    _, view = run_code("prague", b"\x5f\x49\x5f\x55\x4a\x60\x01\x55")
    assert slot_key(CONTRACT, 0) not in view.writes
    assert view.state[slot_key(CONTRACT, 1)] == b"\x01"
