"""Calls and estimates through JSON-RPC, on the compiled example contracts."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode, encode

from gateway.settings import GatewaySettings
from schemas.hashing import keccak
from schemas.keys import minimal, slot_key
from tests.rpc_node import RpcNode
from tests.written_chain import TO, account, signed

ARTIFACTS = Path(__file__).resolve().parents[2] / "examples" / "contracts" / "artifacts"
ALICE = account(1)
SENDER = ALICE.address
STORE = b"\x51" * 20


def calldata(signature: str, *values: Any) -> str:
    """Data of a call."""
    kinds = [kind for kind in signature[signature.index("(") + 1 : -1].split(",") if kind]
    return f"0x{(keccak(signature.encode())[:4] + encode(kinds, values)).hex()}"


def bytecode(name: str, kind: str = "deployedBytecode") -> bytes:
    """Code of an example contract."""
    return bytes.fromhex(json.loads((ARTIFACTS / f"{name}.json").read_text())[kind][2:])


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RpcNode]:
    found = RpcNode(tmp_path / "index", GatewaySettings(call_gas_max=20_000_000))
    found.state.deploy(STORE, bytecode("Store"))
    found.state.fund(bytes.fromhex(SENDER[2:]))
    yield found
    found.close()


def to_store(signature: str, *values: Any, **more: Any) -> dict[str, Any]:
    """A message to the store."""
    return {"from": SENDER, "to": f"0x{STORE.hex()}", "data": calldata(signature, *values)} | more


def uint(node: RpcNode, *params: Any) -> int:
    """The number that a call returns."""
    (number,) = decode(["uint256"], bytes.fromhex(node.result("eth_call", *params)[2:]))
    return int(number)


def test_a_call_returns_what_the_contract_returns(node: RpcNode) -> None:
    node.state.set(slot_key(STORE, 0), minimal(41))
    assert uint(node, to_store("counter()"), "latest") == 41
    assert uint(node, to_store("increment()")) == 42
    assert uint(node, to_store("counter()")) == 41, "a call changes nothing"
    assert uint(node, {"to": f"0x{STORE.hex()}", "input": calldata("counter()")}) == 41
    assert node.result("eth_call", {"to": f"0x{TO.hex()}", "data": "0x1234"}) == "0x"


def test_a_call_on_an_old_block_reads_its_state(node: RpcNode) -> None:
    for nonce in (0, 1):
        node.chain.send(signed(ALICE, nonce))
        node.chain.cut()
        node.chain.close()
    node.read()
    for number, value in ((0, 5), (1, 6), (2, 7)):
        block = node.index.block(number)
        assert block is not None
        node.state.set(slot_key(STORE, 0), minimal(value), block.epoch)
    assert [uint(node, to_store("counter()"), hex(number)) for number in (0, 1, 2)] == [5, 6, 7]
    assert uint(node, to_store("counter()")) == 7


@pytest.mark.parametrize(
    ("message", "text", "data"),
    [
        (to_store("fail(string)", "no way"), "execution reverted: no way", calldata("Error(string)", "no way")),
        (
            to_store("failCustom(uint256)", 7),
            f"execution reverted: custom error {calldata('Failure(address,uint256)', SENDER, 7)[:10]}",
            calldata("Failure(address,uint256)", SENDER, 7),
        ),
        (to_store("failBare()"), "execution reverted", "0x"),
        (to_store("divide(uint256,uint256)", 1, 0), "execution reverted: panic 0x12 (division or modulo by zero)",
         calldata("Panic(uint256)", 0x12)),
    ],
)
@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
def test_reverts_have_code_3_with_reason_and_data(
    node: RpcNode, method: str, message: dict[str, Any], text: str, data: str
) -> None:
    assert node.ask(method, message)["error"] == {"code": 3, "message": text, "data": data}


def test_other_failures_have_another_code(node: RpcNode) -> None:
    assert node.error("eth_call", to_store("halt()"))[0] == -32000
    assert node.error("eth_call", to_store("increment()", gas="0x7000")) == (-32000, "out of gas")
    assert node.error("eth_estimateGas", to_store("increment()", gas="0x7000")) == (
        -32000, "gas required exceeds allowance (28672)")
    code, message = node.error("eth_call", to_store("increment()", gas="0x1"))
    assert code == -32000
    assert message.startswith("intrinsic gas too low")


def test_value_needs_funds_and_gas_only_with_a_price(node: RpcNode) -> None:
    poor = {"from": f"0x{TO.hex()}", "to": f"0x{STORE.hex()}"}
    assert node.result("eth_call", poor) == "0x"
    for more in ({"value": "0x1"}, {"gasPrice": "0x1"}, {"maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x1"}):
        code, message = node.error("eth_call", poor | more)
        assert code == -32000
        assert message.startswith("insufficient funds for gas * price + value")
    assert node.error("eth_estimateGas", poor | {"gasPrice": "0x1", "value": "0x1"})[1].startswith("insufficient funds")
    rich = {poor["from"]: {"balance": hex(10**20)}}
    assert node.result("eth_call", poor | {"value": "0x1"}, "latest", rich) == "0x"


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"gasPrice": "0x1", "maxFeePerGas": "0x1"}, "both gasPrice and"),
        ({"input": "0x12", "data": "0x13"}, "input and data differ"),
        ({"to": "0x12"}, "to: an address of 1 bytes"),
        ({"gas": "0x012"}, "gas: '0x012' is no quantity"),
        ({"value": "7"}, "value: '7' is no quantity"),
        ({"value": "0x" + "f" * 65}, "value: a quantity of 65 hex digits"),
        ({"gas": "0x1" + "0" * 16}, "gas: '0x10000000000000000' is above 64 bits"),
        ({"blobVersionedHashes": ["0x01"]}, "blobVersionedHashes is not supported"),
        ({"chainId": "0x1"}, "chainId 1, this chain has 52188"),
        ({"accessList": [{"address": "0x1"}]}, "accessList: "),
    ],
)
def test_messages_that_are_wrong(node: RpcNode, more: dict[str, Any], part: str) -> None:
    code, message = node.error("eth_call", {"to": f"0x{TO.hex()}"} | more)
    assert code == -32602
    assert message.startswith("invalid parameter 0, transaction: ")
    assert part in message


def test_overrides(node: RpcNode) -> None:
    store = f"0x{STORE.hex()}"
    node.state.set(slot_key(STORE, 0), minimal(5))
    values = keccak(encode(["uint256", "uint256"], [3, 2]))
    node.state.set(slot_key(STORE, int.from_bytes(values, "big")), minimal(8))
    third = to_store("values(uint256)", 3)
    assert uint(node, third) == 8
    one = f"0x{1:064x}"
    zero = f"0x{0:064x}"
    assert uint(node, to_store("counter()"), "latest", {store: {"stateDiff": {zero: one}}}) == 1
    assert uint(node, third, "latest", {store: {"stateDiff": {zero: one}}}) == 8
    assert uint(node, to_store("counter()"), "latest", {store: {"state": {zero: one}}}) == 1
    assert uint(node, third, "latest", {store: {"state": {}}}) == 0
    answer = "0x602a60005260206000f3"
    assert uint(node, {"to": f"0x{TO.hex()}"}, "latest", {f"0x{TO.hex()}": {"code": answer}}) == 42
    wrongs: tuple[dict[str, Any], ...] = ({store: {"state": {}, "stateDiff": {}}}, {store: {"movePrecompileToAddress": store}}, {"0x1": {}})
    for wrong in wrongs:
        assert node.error("eth_call", third, "latest", wrong)[0] == -32602


def test_the_block_that_a_call_sees(node: RpcNode) -> None:
    for nonce in (0, 1):
        node.chain.send(signed(ALICE, nonce))
        node.chain.cut()
        node.chain.close()
    node.read()
    # Returns NUMBER, TIMESTAMP, PREVRANDAO and BLOCKHASH(1), 32 bytes each.
    code = "436000524260205244604052600140606052608060" + "00f3"
    view = {f"0x{TO.hex()}": {"code": f"0x{code}"}}

    def seen(tag: str) -> list[bytes]:
        found = bytes.fromhex(node.result("eth_call", {"to": f"0x{TO.hex()}"}, tag, view)[2:])
        return [found[at : at + 32] for at in range(0, 128, 32)]

    first, second = node.index.block(1), node.index.block(2)
    assert first is not None
    assert second is not None
    number, timestamp, randomness, ancestor = seen("latest")
    assert int.from_bytes(number, "big") == 2
    assert int.from_bytes(timestamp, "big") == second.timestamp_s
    assert randomness == second.randomness
    assert ancestor == first.hash
    number, timestamp, _, ancestor = seen("0x1")
    assert int.from_bytes(number, "big") == 1
    assert ancestor == bytes(32), "no block knows its own hash"
    number, timestamp, _, ancestor = seen("pending")
    assert int.from_bytes(number, "big") == 3
    assert abs(int.from_bytes(timestamp, "big") - time.time()) < 10
    assert ancestor == first.hash


def succeeds(node: RpcNode, message: dict[str, Any], gas: int) -> bool:
    """Whether a message succeeds with a gas limit."""
    return "result" in node.ask("eth_call", message | {"gas": hex(gas)}, "pending")


@pytest.mark.parametrize(
    "message",
    [
        to_store("increment()"),
        to_store("set(uint256,uint256)", 1, 2),
        to_store("setMany(uint256,uint256,uint256)", 1, 20, 5),
        to_store("create(uint256)", 7),
        to_store("callSelf(bytes)", bytes.fromhex(calldata("increment()")[2:])),
        {"from": SENDER, "data": f"0x{bytecode('Store', 'bytecode').hex()}"},
        {"from": SENDER, "to": f"0x{TO.hex()}", "value": "0x1", "data": "0x" + "ff" * 1_000},
    ],
)
def test_an_estimate_suffices_and_is_close(node: RpcNode, message: dict[str, Any]) -> None:
    gas = int(node.result("eth_estimateGas", message), 16)
    assert succeeds(node, message, gas)
    assert not succeeds(node, message, int(gas * 0.98))


def test_a_payment_costs_what_it_must(node: RpcNode) -> None:
    payment = {"from": SENDER, "to": f"0x{TO.hex()}", "value": "0x1"}
    assert node.result("eth_estimateGas", payment) == hex(21_000)
    assert int(node.result("eth_estimateGas", payment | {"to": f"0x{STORE.hex()}"}), 16) > 21_000
    short = {SENDER: {"balance": hex(30_000 * 10**9)}}
    assert node.result("eth_estimateGas", payment | {"gasPrice": hex(10**9)}, "latest", short) == hex(21_000)
    code, message = node.error("eth_estimateGas", to_store("increment()", gasPrice=hex(10**9)), "latest", short)
    assert (code, message) == (-32000, "gas required exceeds allowance (30000)")


def test_keys_of_the_last_call_are_asked_for_in_one_request(node: RpcNode) -> None:
    message = to_store("increment()")
    node.result("eth_call", message)
    cold = len(node.state.reads)
    node.result("eth_call", message)
    assert len(node.state.reads) == cold, "the snapshot has everything"
    node.chain.cut()
    node.chain.cut()
    node.read()
    node.result("eth_call", message)
    assert len(node.state.reads) == cold + 1 < 2 * cold
