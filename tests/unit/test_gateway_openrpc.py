"""Results against the OpenRPC document of Ethereum's JSON-RPC, where it is there."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.methods import METHODS
from schemas.hashing import keccak
from schemas.records import Event
from tests.rpc_node import RpcNode
from tests.written_chain import TO, Verdict, account, signed

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
DOCUMENT = FIXTURES / "rpc" / "openrpc.json.gz"
ALICE = account(1)
KINDS: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float)}

pytestmark = pytest.mark.skipif(not DOCUMENT.is_file(), reason="the OpenRPC document is not here")


def faults(value: Any, schema: dict[str, Any], where: str = "$") -> Iterator[str]:
    """What of a value doesn't fit a schema; as much of JSON Schema as the document uses."""
    kind = schema.get("type")
    if kind is not None and not isinstance(value, KINDS[kind]):
        yield f"{where}: {value!r} is no {kind}"
        return
    if "pattern" in schema and not (isinstance(value, str) and re.search(schema["pattern"], value)):
        yield f"{where}: {value!r} does not match {schema['pattern']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    for name in ("anyOf", "oneOf"):
        if name in schema:
            each = [list(faults(value, branch, where)) for branch in schema[name]]
            if all(each):
                yield min(each, key=len)[0]
    if isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value)
        if schema.get("additionalProperties") is False:
            yield from (f"{where}: {name} is unknown" for name in value if name not in known)
        for name in value.keys() & known.keys():
            yield from faults(value[name], known[name], f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from faults(item, schema["items"], f"{where}[{index}]")


def results() -> dict[str, dict[str, Any]]:
    """The schema of the result by method."""
    document = json.loads(gzip.decompress(DOCUMENT.read_bytes()))
    return {method["name"]: method["result"]["schema"] for method in document["methods"]}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RpcNode]:
    found = RpcNode(tmp_path / "index")
    found.state.fund(bytes.fromhex(ALICE.address[2:]), nonce=4)
    logs = (Event(address=TO, topics=(keccak(b"x"),), data=b"\1"),)
    types: list[dict[str, Any]] = [
        {"gasPrice": 10**9}, {"gasPrice": 10**9, "accessList": [{"address": ALICE.address, "storageKeys": ["0x" + "00" * 32]}]},
        {}, {"authorizationList": [ALICE.sign_authorization({"chainId": 0, "address": TO, "nonce": 9})]}]
    sources = [found.chain.send(signed(ALICE, nonce, **fields)) for nonce, fields in enumerate(types)]
    found.chain.cut()
    found.chain.close(dict.fromkeys(sources, Verdict(logs=logs)))
    found.read()
    yield found
    found.close()


def requests(node: RpcNode) -> list[tuple[Any, ...]]:
    """One request or several for each method that the document knows too."""
    block = node.index.block(1)
    assert block is not None
    block_hash = f"0x{block.hash.hex()}"
    who, call = ALICE.address, {"to": f"0x{TO.hex()}", "data": "0x12"}
    hashes = [f"0x{receipt.hash.hex()}" for receipt in node.index.receipts(block)]
    sent = f"0x{signed(ALICE, 4).hex()}"
    plain = ("accounts", "baseFee", "blobBaseFee", "blockNumber", "chainId", "coinbase", "gasPrice",
             "maxPriorityFeePerGas", "syncing")
    return [
        *[(f"eth_{name}",) for name in plain],
        ("net_version",),
        *[(f"eth_get{name}", who, tag) for name in ("Balance", "Code", "TransactionCount") for tag in ("latest", "0x0")],
        ("eth_getStorageAt", who, "0x0", "latest"),
        ("eth_call", call, "latest"),
        ("eth_estimateGas", call),
        ("eth_feeHistory", "0x5", "latest", [10, 90]),
        *[("eth_getBlockByNumber", tag, whole) for tag in ("0x0", "0x1", "latest") for whole in (False, True)],
        ("eth_getBlockByNumber", "0x7", True),
        ("eth_getBlockByHash", block_hash, True),
        ("eth_getBlockReceipts", "0x1"),
        ("eth_getBlockTransactionCountByHash", block_hash),
        ("eth_getBlockTransactionCountByNumber", "0x1"),
        ("eth_getTransactionByBlockHashAndIndex", block_hash, "0x0"),
        *[("eth_getTransactionByBlockNumberAndIndex", "0x1", hex(index)) for index in range(5)],
        *[(f"eth_getTransaction{name}", each) for name in ("ByHash", "Receipt") for each in hashes],
        ("eth_getTransactionReceipt", f"0x{bytes(32).hex()}"),
        ("eth_getLogs", {"fromBlock": "earliest"}),
        ("eth_sendRawTransaction", sent),
    ]


def test_results_fit_the_document(node: RpcNode) -> None:
    schemas = results()
    asked = requests(node)
    for name, *params in asked:
        wrong = list(faults(node.result(name, *params), schemas[name]))
        assert not wrong, f"{name}{tuple(params)}: {wrong[:3]}"
    assert {name for name, *_ in asked} == METHODS.keys() & schemas.keys()


def test_the_check_finds_what_does_not_fit(node: RpcNode) -> None:
    schema = results()["eth_getTransactionReceipt"]
    receipt = node.result("eth_getBlockReceipts", "0x1")[0]
    assert not list(faults(receipt, schema))
    for spoiled in (
        receipt | {"gasUsed": "0x00"}, receipt | {"odd": 1}, receipt | {"logs": [{}]},
        {name: value for name, value in receipt.items() if name != "from"}):
        assert list(faults(spoiled, schema))
