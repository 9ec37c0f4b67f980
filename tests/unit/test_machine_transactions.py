"""Transactions of type 0x50 where they are routed, shown and put into blocks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth_abi.abi import encode
from trie.hexary import HexaryTrie

from ingest.accounts import deployment, sign_for_machine
from ingest.hints import parties, routing_keys, touched
from ingest.transactions import decode
from schemas.hashing import keccak
from schemas.keys import balance_key, code_key, nonce_key
from schemas.records import Event
from schemas.rules import Rules
from tests.rpc_node import RpcNode
from tests.written_chain import TO, Verdict, account, signed

RULES = Rules()
ALICE = account(1)
SENDER = bytes.fromhex(ALICE.address[2:])
PAYEE = b"\x77" * 20
TRANSFER = keccak(b"transfer(address,uint256)")[:4] + encode(["address", "uint256"], [PAYEE, 5])
CREATED = b"\x99" * 20


def for_machine(nonce: int = 0, to: bytes | None = TO, data: bytes = TRANSFER, **fields: Any) -> bytes:
    return sign_for_machine(
        ALICE, chain_id=RULES.chain_id, nonce=nonce, machine="lua", to=to, data=data, gas_limit=100_000,
        max_fee=2 * 10**9, max_priority_fee=10**9, **fields)


# ---- hints ------------------------------------------------------------------------------------------------------


def test_a_token_call_is_routed_as_on_any_machine() -> None:
    ordinary = decode(signed(ALICE, to=TO, data=TRANSFER, value=0), RULES)
    other = decode(for_machine(), RULES)
    assert other.type == 0x50
    assert parties(other) == parties(ordinary) == (PAYEE,)
    assert routing_keys(other) == routing_keys(ordinary) == (SENDER, TO + PAYEE)
    assert touched(other) == touched(ordinary)


def test_a_deployment_goes_by_its_sender() -> None:
    # What is deployed may begin as a token call does.
    deployed = decode(for_machine(to=None, data=TRANSFER), RULES)
    assert parties(deployed) is None
    assert routing_keys(deployed) == (SENDER,)
    assert touched(deployed) == (balance_key(SENDER), nonce_key(SENDER), code_key(SENDER))


# ---- the gateway ------------------------------------------------------------------------------------------------


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RpcNode]:
    """One block: a deployment, an ordinary payment, a call that failed."""
    found = RpcNode(tmp_path / "index")
    raws = [for_machine(to=None, data=deployment(b"return {}", b"args")), signed(ALICE, 1), for_machine(2, value=3)]
    sources = [found.chain.send(raw) for raw in raws]
    found.chain.cut()
    found.chain.close({
        sources[0]: Verdict(contract=CREATED, gas=70_000, logs=(Event(address=CREATED, topics=(keccak(b"x"),), data=b"\1"),)),
        sources[2]: Verdict(status="failed", reason="execution reverted", gas=50_000)})
    found.read()
    yield found
    found.close()


def root(values: list[bytes]) -> str:
    """The root by a trie that stores its nodes."""
    trie = HexaryTrie({})
    for index, value in enumerate(values):
        trie[rlp.encode(index)] = value
    return f"0x{bytes(trie.root_hash).hex()}"


def test_the_form_of_a_transaction(node: RpcNode) -> None:
    deployed, payment, called = node.result("eth_getBlockByNumber", "0x1", True)["transactions"]
    own = {"machine"}
    assert deployed.keys() == called.keys() == payment.keys() | own
    assert (deployed["type"], deployed["machine"], deployed["to"]) == ("0x50", "lua", None)
    assert deployed["input"] == f"0x{deployment(b'return {}', b'args').hex()}"
    assert (called["to"], called["value"], called["input"]) == (f"0x{TO.hex()}", "0x3", f"0x{TRANSFER.hex()}")
    assert (called["maxFeePerGas"], called["maxPriorityFeePerGas"], called["gas"]) == (
        hex(2 * 10**9), hex(10**9), hex(100_000))
    assert called["accessList"] == []
    assert called["yParity"] == called["v"]
    assert called["chainId"] == hex(RULES.chain_id)
    assert node.result("eth_getTransactionByHash", called["hash"]) == called
    assert "machine" not in payment


def test_what_is_signed_can_be_put_together_again(node: RpcNode) -> None:
    """A client that only has the form finds the hash and the sender."""
    for shown in node.result("eth_getBlockByNumber", "0x1", True)["transactions"][::2]:
        number = lambda name: int(shown[name], 16)
        fields = [number(name) for name in ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas")]
        rest = [bytes.fromhex((shown[name] or "0x")[2:]) for name in ("to", "input")]
        raw = b"\x50" + rlp.encode([
            *fields, shown["machine"].encode(), rest[0], number("value"), rest[1], number("yParity"), number("r"), number("s")])
        assert f"0x{keccak(raw).hex()}" == shown["hash"]
        assert f"0x{decode(raw, RULES).sender.hex()}" == shown["from"]


def test_roots_of_a_block(node: RpcNode) -> None:
    block = node.result("eth_getBlockByNumber", "0x1", True)
    receipts = node.result("eth_getBlockReceipts", "0x1")
    raws = [bytes.fromhex(node.result("eth_getRawTransactionByHash", each["hash"])[2:]) for each in block["transactions"]]
    assert [raw[0] for raw in raws] == [0x50, 2, 0x50]
    assert block["transactionsRoot"] == root(raws)
    encoded = []
    for receipt in receipts:
        logs = [[bytes.fromhex(each["address"][2:]), [bytes.fromhex(topic[2:]) for topic in each["topics"]],
                 bytes.fromhex(each["data"][2:])] for each in receipt["logs"]]
        encoded.append(bytes([int(receipt["type"], 16)]) + rlp.encode([
            int(receipt["status"], 16), int(receipt["cumulativeGasUsed"], 16), bytes.fromhex(receipt["logsBloom"][2:]), logs]))
    assert [each[0] for each in encoded] == [0x50, 2, 0x50]
    assert block["receiptsRoot"] == root(encoded)
    size = len(rlp.encode([bytes(2), *raws, bytes(2)]))
    assert abs(int(block["size"], 16) - size) < 650, "as long as its transactions, and a header"


def test_receipts(node: RpcNode) -> None:
    deployed, _, called = node.result("eth_getBlockReceipts", "0x1")
    assert (deployed["type"], deployed["contractAddress"], deployed["status"]) == ("0x50", f"0x{CREATED.hex()}", "0x1")
    assert (called["type"], called["contractAddress"], called["status"]) == ("0x50", None, "0x0")
    assert len(deployed["logs"]) == 1
    shown = node.result("parsec_getReceipt", called["transactionHash"])
    assert (shown["status"], shown["reason"]) == ("failed", "execution reverted")


def test_sending_one(node: RpcNode) -> None:
    node.state.fund(SENDER, nonce=3)
    raw = for_machine(3)
    sent = node.result("eth_sendRawTransaction", f"0x{raw.hex()}")
    assert sent == f"0x{keccak(raw).hex()}"
    pending = node.result("eth_getTransactionByHash", sent)
    assert (pending["type"], pending["machine"], pending["blockHash"]) == ("0x50", "lua", None)
    unknown = sign_for_machine(
        ALICE, chain_id=RULES.chain_id, nonce=4, machine="cobol", to=TO, gas_limit=100_000, max_fee=10**9)
    assert node.error("eth_sendRawTransaction", f"0x{unknown.hex()}") == (
        -32000, "unknown machine 'cobol'; this chain has lua, wasm")
