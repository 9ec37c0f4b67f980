"""Blocks, transactions, receipts, logs and state through JSON-RPC."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from gateway.settings import GatewaySettings
from ledger.tries import bloom
from schemas.hashing import keccak
from schemas.keys import STORAGE_DELETED, StateKey, balance_key, minimal, nonce_key, slot_key, storage_key
from schemas.records import Event
from tests.rpc_node import RpcNode
from tests.written_chain import START_MS, TO, Verdict, account, signed

ALICE, BOB = account(1), account(2)
TOKEN = b"\x0a" * 20
TOPIC = keccak(b"Transfer(address,address,uint256)")


def hexed(value: bytes) -> str:
    """Bytes as JSON-RPC has them."""
    return f"0x{value.hex()}"


def address(who: Any) -> bytes:
    """The address of a key."""
    return bytes.fromhex(who.address[2:])


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RpcNode]:
    found = RpcNode(tmp_path / "index", GatewaySettings(block_range_max=100, logs_max=5))
    yield found
    found.close()


@pytest.fixture
def blocks(node: RpcNode) -> RpcNode:
    """Block 1 holds a transaction of every type with its nonce in order; block 2 a creation that failed."""
    authorization = BOB.sign_authorization({"chainId": node.chain.rules.chain_id, "address": TO, "nonce": 0})
    raws = [
        signed(ALICE, 0, gasPrice=10**9),
        signed(ALICE, 1, gasPrice=10**9, accessList=[{"address": hexed(TO), "storageKeys": [hexed(bytes(32))]}]),
        signed(ALICE, 2, data="0x1234"),
        signed(ALICE, 3, authorizationList=[authorization]),
        signed(BOB, 0, gasPrice=10**9, chainId=None),
    ]
    sources = [node.chain.send(raw, partition) for raw, partition in zip(raws, (0, 0, 0, 0, 1), strict=True)]
    node.chain.cut()
    logs = (Event(address=TOKEN, topics=(TOPIC, bytes(31) + b"\1"), data=b"\7"),)
    node.chain.close({sources[1]: Verdict(logs=logs), sources[3]: Verdict(logs=logs * 2)})
    node.raws = raws  # type: ignore[attr-defined]  # for the tests
    creation = node.chain.send(signed(ALICE, 4, to=None, data="0x60006000fd"), 0)
    refused = node.chain.send(signed(ALICE, 3), 1)
    node.chain.cut()
    node.chain.close({
        creation: Verdict(status="failed", reason="execution reverted", contract=b"\xcc" * 20),
        refused: Verdict(status="rejected", reason="nonce too low: 3, account is at 4")})
    node.read()
    return node


def test_the_chain_and_the_node(node: RpcNode) -> None:
    assert node.result("eth_chainId") == "0xcbdc"
    assert node.result("net_version") == "52188"
    assert node.result("net_listening") is True
    assert node.result("eth_accounts") == []
    assert node.result("eth_gasPrice") == "0x0"
    assert node.result("eth_maxPriorityFeePerGas") == "0x0"
    assert node.result("web3_clientVersion") == "test/1"
    assert node.result("web3_sha3", "0x") == "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert node.result("eth_blockNumber") == "0x0"


def test_syncing_until_the_index_has_caught_up(node: RpcNode) -> None:
    node.read()
    assert node.result("eth_syncing") is False
    node.follower._target = 10
    assert node.result("eth_syncing") == {"startingBlock": "0x0", "currentBlock": "0x0", "highestBlock": "0x0"}


def test_a_block_in_its_form(blocks: RpcNode) -> None:
    block = blocks.result("eth_getBlockByNumber", "0x1", False)
    found = blocks.index.block(1)
    assert found is not None
    roots = blocks.index.roots(found)
    assert block["hash"] == hexed(found.hash)
    assert block["parentHash"] == hexed(blocks.chain.genesis.hash)
    assert block["timestamp"] == hex((START_MS + 1_500 * found.epoch) // 1000)
    assert block["mixHash"] == hexed(found.randomness)
    assert block["gasUsed"] == hex(5 * 21_000)
    assert block["transactionsRoot"] == hexed(roots.transactions)
    assert block["receiptsRoot"] == hexed(roots.receipts)
    assert block["logsBloom"] == hexed(roots.bloom) != hexed(bytes(256))
    assert block["stateRoot"] == hexed(found.state_root)
    assert block["transactions"] == [hexed(keccak(raw)) for raw in blocks.raws]  # type: ignore[attr-defined]
    assert block == blocks.result("eth_getBlockByHash", block["hash"], False)
    assert blocks.result("eth_getBlockByNumber", "0x3", False) is None
    assert blocks.result("eth_getBlockByHash", hexed(b"\7" * 32), False) is None


@pytest.mark.parametrize(
    ("tag", "number"), [("latest", 2), ("pending", 2), ("safe", 2), ("finalized", 2), ("earliest", 0), ("0x1", 1)])
def test_tags(blocks: RpcNode, tag: str, number: int) -> None:
    assert blocks.result("eth_getBlockByNumber", tag)["number"] == hex(number)
    assert blocks.result("eth_blockNumber") == "0x2"
    count = blocks.result("eth_getBlockTransactionCountByNumber", tag)
    assert count == hex((0, 5, 1)[number])


def test_whole_transactions_are_those_that_were_signed(blocks: RpcNode) -> None:
    block = blocks.result("eth_getBlockByNumber", "0x1", True)
    for index, (raw, found) in enumerate(zip(blocks.raws, block["transactions"], strict=True)):  # type: ignore[attr-defined]
        assert found["hash"] == hexed(keccak(raw))
        assert found["from"] == hexed(address(BOB if index == 4 else ALICE))
        assert found["from"].lower() == Account.recover_transaction(raw).lower()
        assert (found["blockHash"], found["blockNumber"]) == (block["hash"], "0x1")
        assert found["transactionIndex"] == hex(index)
        assert found["blockTimestamp"] == block["timestamp"]
        assert found["type"] == hex((0, 1, 2, 4, 0)[index])
        assert found["to"] == hexed(TO)
        for ask in (
            ("eth_getTransactionByHash", found["hash"]),
            ("eth_getTransactionByBlockNumberAndIndex", "0x1", hex(index)),
            ("eth_getTransactionByBlockHashAndIndex", block["hash"], hex(index)),
        ):
            assert blocks.result(*ask) == found
    legacy, listed, fees, delegating, unprotected = block["transactions"]
    assert (legacy["chainId"], "chainId" in unprotected) == ("0xcbdc", False)
    assert unprotected["v"] in ("0x1b", "0x1c")
    assert listed["accessList"] == [{"address": hexed(TO), "storageKeys": [hexed(bytes(32))]}]
    assert (fees["maxFeePerGas"], fees["maxPriorityFeePerGas"], fees["input"]) == (hex(2 * 10**9), hex(10**9), "0x1234")
    assert fees["gasPrice"] == hex(10**9)
    assert delegating["authorizationList"][0]["address"] == hexed(TO)
    assert "yParity" not in legacy
    assert blocks.result("eth_getTransactionByBlockNumberAndIndex", "0x1", "0x5") is None
    assert blocks.result("eth_getTransactionByBlockNumberAndIndex", "0x9", "0x0") is None


def test_receipts(blocks: RpcNode) -> None:
    receipts = blocks.result("eth_getBlockReceipts", "0x1")
    assert len(receipts) == 5
    assert [receipt["cumulativeGasUsed"] for receipt in receipts] == [hex(21_000 * n) for n in range(1, 6)]
    assert [[entry["logIndex"] for entry in receipt["logs"]] for receipt in receipts] == [
        [], ["0x0"], [], ["0x1", "0x2"], []]
    for receipt in receipts:
        assert blocks.result("eth_getTransactionReceipt", receipt["transactionHash"]) == receipt
    logged = receipts[1]
    assert logged["logsBloom"] == hexed(bloom([Event(address=TOKEN, topics=(TOPIC, bytes(31) + b"\1"), data=b"")]))
    assert logged["logs"][0]["transactionHash"] == logged["transactionHash"]
    assert (logged["status"], logged["effectiveGasPrice"], logged["contractAddress"]) == ("0x1", hex(10**9), None)
    (failed,) = blocks.result("eth_getBlockReceipts", "latest")
    assert (failed["status"], failed["to"], failed["contractAddress"]) == ("0x0", None, hexed(b"\xcc" * 20))
    assert blocks.result("eth_getBlockReceipts", failed["blockHash"]) == [failed]
    assert blocks.result("eth_getBlockReceipts", "0x7") is None
    assert blocks.result("eth_getTransactionReceipt", hexed(b"\7" * 32)) is None


def test_rejected_transactions_have_a_receipt_of_the_pipeline_alone(blocks: RpcNode) -> None:
    transaction_hash = hexed(keccak(signed(ALICE, 3)))
    assert blocks.result("eth_getTransactionReceipt", transaction_hash) is None
    assert blocks.result("eth_getTransactionByHash", transaction_hash) is None
    receipt = blocks.result("parsec_getReceipt", transaction_hash)
    assert receipt["status"] == "rejected"
    assert receipt["reason"] == "nonce too low: 3, account is at 4"
    assert receipt["receipt"] is None
    assert receipt == blocks.result("parsec_getReceipt", receipt["source"])
    included = blocks.result("parsec_getReceipt", hexed(keccak(blocks.raws[0])))  # type: ignore[attr-defined]
    assert included["receipt"]["blockNumber"] == "0x1"
    assert blocks.result("parsec_getReceipt", {"partition": 0, "offset": 99}) is None
    assert blocks.error("parsec_getReceipt", {"partition": 0})[0] == -32602
    assert blocks.error("parsec_getReceipt", {"partition": -1, "offset": 0})[0] == -32602
    assert blocks.error("parsec_getReceipt", {"partition": 1 << 40, "offset": 0})[0] == -32602


def test_logs(blocks: RpcNode) -> None:
    everything = blocks.result("eth_getLogs", {"fromBlock": "earliest", "toBlock": "latest"})
    receipts = blocks.result("eth_getBlockReceipts", "0x1")
    assert everything == [entry for receipt in receipts for entry in receipt["logs"]]
    by_hash = {"blockHash": receipts[0]["blockHash"]}
    assert blocks.result("eth_getLogs", by_hash) == everything
    for found, query in [
        (3, {"fromBlock": "0x1", "address": hexed(TOKEN)}),
        (3, {"fromBlock": "0x1", "address": [hexed(TOKEN), hexed(TO)], "topics": [hexed(TOPIC)]}),
        (3, {"fromBlock": "0x1", "topics": [None, [hexed(bytes(31) + b"\1"), hexed(bytes(32))]]}),
        (3, {"fromBlock": "0x1", "topics": [[]]}),
        (0, {"fromBlock": "0x1", "address": hexed(TO)}),
        (0, {"fromBlock": "0x1", "topics": [hexed(bytes(32))]}),
        (0, {"fromBlock": "0x2"}),
        (0, {}),
        (0, {"fromBlock": "0x64", "toBlock": "0x70"}),
    ]:
        assert len(blocks.result("eth_getLogs", query)) == found, query


def test_queries_for_logs_are_limited(blocks: RpcNode) -> None:
    assert blocks.error("eth_getLogs", {"fromBlock": "0x2", "toBlock": "0x1"}) == (
        -32602, "invalid parameter 0, filter: fromBlock 2 is above toBlock 1")
    assert blocks.error("eth_getLogs", {"blockHash": hexed(b"\7" * 32)})[0] == -32001
    assert blocks.error("eth_getLogs", {"blockHash": hexed(b"\7" * 32), "fromBlock": "0x1"})[0] == -32602
    for nonce in range(100):
        source = blocks.chain.send(signed(ALICE, 5 + nonce))
        blocks.chain.cut()
        logs = (Event(address=TOKEN, topics=(), data=b""),) if nonce > 93 else ()
        blocks.chain.close({source: Verdict(logs=logs)})
    blocks.read()
    assert blocks.error("eth_getLogs", {"fromBlock": "0x2"}) == (-32005, "the query spans 101 blocks; at most 100")
    assert blocks.error("eth_getLogs", {"fromBlock": "0x3"}) == (-32005, "query returned more than 5 results")
    assert len(blocks.result("eth_getLogs", {"fromBlock": hex(98), "toBlock": "0xffff"})) == 5


def test_fee_history(blocks: RpcNode) -> None:
    history = blocks.result("eth_feeHistory", "0x2", "latest", [0, 50, 100])
    assert history["oldestBlock"] == "0x1"
    assert history["baseFeePerGas"] == ["0x0"] * 3
    assert history["gasUsedRatio"] == [105_000 / 10**9, 21_000 / 10**9]
    assert history["reward"] == [[hex(10**9)] * 3] * 2
    assert len(blocks.result("eth_feeHistory", "0xff", "0x1", [])["gasUsedRatio"]) == 2
    assert blocks.error("eth_feeHistory", "0x0", "latest", [])[0] == -32602
    assert blocks.error("eth_feeHistory", "0x1", "latest", [60, 50])[0] == -32602


def test_state_at_a_block(blocks: RpcNode) -> None:
    first, second = (blocks.index.block(number) for number in (1, 2))
    assert first is not None
    assert second is not None
    blocks.state.set(balance_key(TO), minimal(5))
    blocks.state.set(balance_key(TO), minimal(7), first.epoch)
    blocks.state.set(balance_key(TO), minimal(9), second.epoch)
    for name, wei in [
        ("earliest", 5), ("0x0", 5), ("0x1", 7), ("0x2", 9), ("latest", 9), ("pending", 9), (None, 9),
        (hexed(first.hash), 7), ({"blockHash": hexed(first.hash)}, 7), ({"blockNumber": "0x1"}, 7),
        ({"blockHash": hexed(second.hash), "requireCanonical": True}, 9),
    ]:
        assert blocks.result("eth_getBalance", hexed(TO), name) == hex(wei), name
    assert blocks.error("eth_getBalance", hexed(TO), "0x9") == (-32001, "block 9 not found; the newest is 2")
    assert blocks.error("eth_getBalance", hexed(TO), {"blockHash": hexed(b"\7" * 32)})[0] == -32001
    assert blocks.error("eth_getBalance", hexed(TO), {})[0] == -32602


def test_accounts_that_nobody_has_touched(node: RpcNode) -> None:
    for method, expected in [
        ("eth_getBalance", "0x0"), ("eth_getTransactionCount", "0x0"), ("eth_getCode", "0x")]:
        assert node.result(method, hexed(TO), "latest") == expected
    assert node.result("eth_getStorageAt", hexed(TO), "0x0", "latest") == hexed(bytes(32))


def test_nonce_code_and_storage(node: RpcNode) -> None:
    node.state.set(nonce_key(TO), minimal(300))
    node.state.deploy(TOKEN, b"\x60\x01")
    node.state.set(slot_key(TOKEN, 5), b"\1\2")
    assert node.result("eth_getTransactionCount", hexed(TO)) == hex(300)
    assert node.result("eth_getCode", hexed(TOKEN)) == "0x6001"
    for slot in ("0x5", "0x05", hexed(bytes(31) + b"\5")):
        assert node.result("eth_getStorageAt", hexed(TOKEN), slot, "latest") == hexed(b"\1\2".rjust(32, b"\0"))


def test_storage_of_a_contract_that_came_back(node: RpcNode) -> None:
    """What it had before it was deleted still lies there, and is not its own."""
    node.state.set(slot_key(TOKEN, 5), b"\1")
    node.state.set(storage_key(TOKEN), STORAGE_DELETED + b"\2")
    node.state.set(StateKey(slot_key(TOKEN, 6) + b"\2"), b"\3")
    for slot, value in (("0x5", b""), ("0x6", b"\3")):
        assert node.result("eth_getStorageAt", hexed(TOKEN), slot, "latest") == hexed(value.rjust(32, b"\0"))


def test_state_that_is_no_longer_kept_names_the_oldest_epoch(blocks: RpcNode) -> None:
    blocks.state.oldest = blocks.index.latest_epoch
    assert blocks.result("eth_getBalance", hexed(TO)) == "0x0"
    code, message = blocks.error("eth_getBalance", hexed(TO), "0x1")
    assert code == 4444
    assert message.endswith(f"the oldest kept epoch is {blocks.state.oldest}")


def test_the_newest_state_is_read_at_the_newest_complete_epoch(blocks: RpcNode) -> None:
    blocks.chain.cut()
    blocks.chain.cut()
    blocks.read()
    block = blocks.index.block(2)
    assert block is not None
    assert blocks.index.latest_epoch > block.epoch
    blocks.state.reads.clear()
    blocks.result("eth_getBalance", hexed(TO), "0x2")
    assert {at for at, _ in blocks.state.reads} == {blocks.index.latest_epoch}


def test_state_that_is_not_applied_in_time_is_an_error_to_try_again(node: RpcNode) -> None:
    node.state.applied = -1
    assert node.error("eth_getBalance", hexed(TO))[0] == -32002
