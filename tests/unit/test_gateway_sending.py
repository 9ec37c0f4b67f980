"""Sending transactions through JSON-RPC."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.settings import GatewaySettings
from schemas.errors import Unavailable
from schemas.hashing import keccak
from schemas.rules import Rules
from tests.rpc_node import RpcNode
from tests.written_chain import TO, Verdict, WrittenChain, account, signed

ALICE, BOB = account(1), account(2)


def hexed(value: bytes) -> str:
    """Bytes as JSON-RPC has them."""
    return f"0x{value.hex()}"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RpcNode]:
    found = RpcNode(tmp_path / "index", GatewaySettings(in_flight_max=4))
    found.state.fund(bytes.fromhex(ALICE.address[2:]), nonce=3)
    found.state.fund(bytes.fromhex(BOB.address[2:]), wei=10**15)
    yield found
    found.close()


def send(node: RpcNode, raw: bytes) -> str:
    """Send, and get the hash."""
    answer: str = node.result("eth_sendRawTransaction", hexed(raw))
    return answer


def refused(node: RpcNode, raw: bytes) -> tuple[int, str]:
    """Send, and get code and message."""
    return node.error("eth_sendRawTransaction", hexed(raw))


def nonces(node: RpcNode) -> tuple[str, str]:
    """The nonces at `latest` and `pending`."""
    latest, pending = (node.result("eth_getTransactionCount", ALICE.address, tag) for tag in ("latest", "pending"))
    return latest, pending


def test_a_transaction_on_its_way(node: RpcNode) -> None:
    raw = signed(ALICE, 3)
    transaction_hash = send(node, raw)
    assert transaction_hash == hexed(keccak(raw))
    assert [transaction.raw for transaction in node.outbox.sent] == [raw]
    pending = node.result("eth_getTransactionByHash", transaction_hash)
    assert (pending["hash"], pending["blockHash"], pending["blockNumber"]) == (transaction_hash, None, None)
    assert (pending["transactionIndex"], pending["gasPrice"]) == (None, pending["maxFeePerGas"])
    assert node.result("eth_getTransactionReceipt", transaction_hash) is None
    node.chain.cut()
    node.chain.close()
    node.read()
    assert node.result("eth_getTransactionByHash", transaction_hash)["blockNumber"] == "0x1"
    assert node.result("eth_getTransactionReceipt", transaction_hash)["status"] == "0x1"
    assert len(node.node.submission.in_flight) == 0


def test_pending_counts_what_is_in_flight_without_a_gap(node: RpcNode) -> None:
    assert nonces(node) == ("0x3", "0x3")
    send(node, signed(ALICE, 5))
    assert nonces(node) == ("0x3", "0x3")
    send(node, signed(ALICE, 3))
    assert nonces(node) == ("0x3", "0x4")
    send(node, signed(ALICE, 4))
    assert nonces(node) == ("0x3", "0x6")
    node.chain.cut()
    node.chain.close()
    node.read()
    assert nonces(node) == ("0x3", "0x3"), "the state in this test does not move, so nothing is in flight"


def test_a_rejected_one_is_no_longer_in_flight(node: RpcNode) -> None:
    transaction_hash = send(node, signed(ALICE, 3))
    node.chain.cut()
    (lane,) = node.chain.listed
    node.chain.close({lane[0]: Verdict(status="rejected", reason="insufficient funds")})
    node.read()
    assert node.result("eth_getTransactionByHash", transaction_hash) is None
    assert node.result("parsec_getReceipt", transaction_hash)["reason"] == "insufficient funds"
    assert send(node, signed(ALICE, 3)) == transaction_hash, "it may be sent again"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (signed(ALICE, 2), "nonce too low"),
        (signed(ALICE, 3 + Rules().nonce_ahead_max + 1), "nonce too high"),
        (signed(BOB, 0, value=10**18), "insufficient funds for gas * price + value"),
        (signed(BOB, 5, value=10**18), "insufficient funds for gas * price + value"),
        (signed(account(9), 0), "insufficient funds for gas * price + value"),
        (signed(ALICE, 3, gas=20_000), "intrinsic gas too low"),
        (signed(ALICE, 3, gas=31_000_000), "gas limit 31000000 exceeds"),
        (signed(ALICE, 3, rules=Rules(chain_id=1)), "invalid chain id"),
        (signed(ALICE, 3, gasPrice=10**9, chainId=None), "only replay-protected"),
        (b"", "empty transaction"),
        (b"\x03\x04", "blob transactions"),
        (signed(ALICE, 3)[:-1], "undecodable"),
    ],
)
def test_what_is_wrong_is_not_sent(node: RpcNode, raw: bytes, message: str) -> None:
    code, text = refused(node, raw)
    assert code == -32000
    assert text.startswith(message)
    assert node.outbox.sent == []
    assert len(node.node.submission.in_flight) == 0


def test_senders_with_code_are_refused_unless_it_is_a_delegation(node: RpcNode) -> None:
    sender = bytes.fromhex(ALICE.address[2:])
    node.state.deploy(sender, b"\x60\x00")
    assert refused(node, signed(ALICE, 3))[1].startswith("sender not an eoa")
    node.state.deploy(sender, b"\xef\x01\x00" + TO)
    node.node.snapshots._kept.clear()
    send(node, signed(ALICE, 3))


def test_known_transactions_and_taken_nonces(node: RpcNode) -> None:
    send(node, signed(ALICE, 3))
    assert refused(node, signed(ALICE, 3)) == (-32000, "already known")
    code, message = refused(node, signed(ALICE, 3, value=2))
    assert code == -32000
    assert message.startswith("replacement transaction underpriced")
    node.chain.cut()
    node.chain.close()
    node.read()
    assert refused(node, signed(ALICE, 3)) == (-32000, "already known")
    assert len(node.outbox.sent) == 1


def test_too_much_in_flight(node: RpcNode) -> None:
    for nonce in range(3, 7):
        send(node, signed(ALICE, nonce))
    assert refused(node, signed(ALICE, 7)) == (-32005, "4 transactions are in flight; at most 4")
    node.chain.cut()
    node.chain.close()
    node.read()
    send(node, signed(ALICE, 7))


def test_what_could_not_be_sent_may_be_tried_again(node: RpcNode) -> None:
    node.outbox.failure = Unavailable("the broker is away")
    assert refused(node, signed(ALICE, 3)) == (-32002, "the broker is away")
    node.outbox.failure = None
    send(node, signed(ALICE, 3))


def test_unprotected_transactions_need_a_setting(tmp_path: Path) -> None:
    allowing = RpcNode(tmp_path / "index", GatewaySettings(unprotected_allowed=True), WrittenChain())
    allowing.state.fund(bytes.fromhex(ALICE.address[2:]))
    send(allowing, signed(ALICE, 0, gasPrice=10**9, chainId=None))
    allowing.close()
