"""web3.py against the whole pipeline: broker, sequencer, executors, shards and a gateway."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth_account import Account
from trie.hexary import HexaryTrie
from web3 import Web3
from web3.exceptions import ContractCustomError, ContractLogicError, TransactionNotFound, Web3RPCError

from cluster.config import Config, load
from cluster.kafka import prepare
from cluster.supervisor import Supervisor
from gateway import Gateway, GatewaySettings
from ledger import FromEpoch, ReceiptFilter, ReceiptSubscriber
from schemas.hashing import keccak

ARTIFACTS = Path(__file__).resolve().parents[2] / "examples" / "contracts" / "artifacts"
MNEMONIC = "test test test test test test test test test test test junk"


@dataclass
class Running:
    """A pipeline with a gateway."""

    supervisor: Supervisor
    config: Config
    gateway: Gateway
    web3: Any

    def contract(self, name: str, owner: Any, *arguments: Any) -> Any:
        """Deploy an example contract."""
        artifact = json.loads((ARTIFACTS / f"{name}.json").read_text())
        factory = self.web3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
        receipt = self.run(owner, factory.constructor(*arguments))
        return self.web3.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"])

    def run(self, sender: Any, function: Any, **fields: Any) -> Any:
        """Estimate, sign, send and wait for the receipt."""
        nonce = self.web3.eth.get_transaction_count(sender.address, "pending")
        built = function.build_transaction({"from": sender.address, "nonce": nonce, **fields})
        return self.sent(sender.sign_transaction(built).raw_transaction)

    def pay(self, sender: Any, to: str, wei: int, **fields: Any) -> bytes:
        """A signed payment."""
        nonce = self.web3.eth.get_transaction_count(sender.address, "pending")
        signed = sender.sign_transaction({
            "to": to, "value": wei, "gas": 21_000, "gasPrice": 0, "nonce": nonce,
            "chainId": self.web3.eth.chain_id, **fields})
        return bytes(signed.raw_transaction)

    def sent(self, raw: bytes) -> Any:
        """Send and wait for the receipt."""
        return self.web3.eth.wait_for_transaction_receipt(
            self.web3.eth.send_raw_transaction(raw), timeout=60, poll_latency=0.02)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    prepare()
    data = tmp_path_factory.mktemp("cluster")
    config = load(None, environment={}, flags={"cluster.data": data, "gateway.enabled": False, "kafka.port": 29_392})
    with Supervisor(config) as supervisor:
        supervisor.start(lambda _: None)
        config = supervisor.config
        genesis = config.start(config.read_genesis())
        gateway = Gateway(
            config.settings, genesis, config.cluster.shards, data / "gateway", GatewaySettings(port=0))
        gateway.start()
        try:
            yield Running(supervisor=supervisor, config=config, gateway=gateway, web3=Web3(Web3.HTTPProvider(gateway.url)))
        finally:
            gateway.stop()


@pytest.fixture(scope="module")
def accounts() -> list[Any]:
    """The accounts of the development genesis."""
    Account.enable_unaudited_hdwallet_features()
    return [Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{number}") for number in range(10)]


def test_a_payment(running: Running, accounts: list[Any]) -> None:
    web3, (alice, bob) = running.web3, accounts[:2]
    assert web3.is_connected()
    assert web3.eth.chain_id == 52_188
    before = [web3.eth.get_balance(each.address) for each in (alice, bob)]
    nonce = web3.eth.get_transaction_count(alice.address)
    receipt = running.sent(running.pay(alice, bob.address, 12_345))
    assert (receipt["status"], receipt["gasUsed"]) == (1, 21_000)
    # What a receipt says can be read at once.
    assert [web3.eth.get_balance(each.address) for each in (alice, bob)] == [before[0] - 12_345, before[1] + 12_345]
    assert web3.eth.get_transaction_count(alice.address) == nonce + 1
    block = web3.eth.get_block(receipt["blockNumber"], full_transactions=True)
    assert block["hash"] == receipt["blockHash"]
    assert block["transactions"][0]["hash"] == receipt["transactionHash"]
    assert web3.eth.get_transaction(receipt["transactionHash"])["value"] == 12_345
    if block["number"]:
        assert web3.eth.get_balance(bob.address, block["number"] - 1) == before[1]


def test_blocks_are_chained(running: Running, accounts: list[Any]) -> None:
    for _ in range(3):
        running.sent(running.pay(accounts[2], accounts[3].address, 1))
    web3 = running.web3
    blocks = [web3.eth.get_block(number) for number in range(web3.eth.block_number + 1)]
    assert [block["number"] for block in blocks] == list(range(len(blocks)))
    assert [block["parentHash"] for block in blocks[1:]] == [block["hash"] for block in blocks[:-1]]
    assert all(earlier["timestamp"] <= later["timestamp"] for earlier, later in zip(blocks, blocks[1:], strict=False))


def test_a_token(running: Running, accounts: list[Any]) -> None:
    owner, holder, other = accounts[:3]
    token = running.contract("Token", owner, "Example", "EXM", 18, 10**21)
    assert token.functions.symbol().call() == "EXM"
    assert token.functions.balanceOf(owner.address).call() == 10**21
    first = running.run(owner, token.functions.transfer(holder.address, 700))
    second = running.run(holder, token.functions.transfer(other.address, 200))
    assert [token.functions.balanceOf(each.address).call() for each in (holder, other)] == [500, 200]
    found = token.events.Transfer().get_logs(from_block=first["blockNumber"])
    assert [(entry["args"]["to"], entry["args"]["value"]) for entry in found] == [
        (holder.address, 700), (other.address, 200)]
    to_other = token.events.Transfer().get_logs(from_block=0, argument_filters={"to": other.address})
    assert [entry["transactionHash"] for entry in to_other] == [second["transactionHash"]]
    assert token.functions.balanceOf(holder.address).call(block_identifier=first["blockNumber"]) == 700
    with pytest.raises(ContractCustomError):
        token.functions.mint(other.address, 1).call({"from": other.address})


def test_reverts_have_reasons(running: Running, accounts: list[Any]) -> None:
    store = running.contract("Store", accounts[4])
    with pytest.raises(ContractLogicError, match="execution reverted: no luck"):
        store.functions.fail("no luck").call()
    with pytest.raises(ContractLogicError, match="no luck"):
        store.functions.fail("no luck").estimate_gas({"from": accounts[4].address})
    failed = running.run(accounts[4], store.functions.fail("no luck"), gas=100_000)
    assert failed["status"] == 0
    shown = running.web3.provider.make_request("parsec_getReceipt", [failed["transactionHash"].to_0x_hex()])["result"]
    assert (shown["status"], shown["reason"]) == ("failed", "execution reverted: no luck")


def test_many_in_flight_at_once(running: Running, accounts: list[Any]) -> None:
    web3, sender, to = running.web3, accounts[5], accounts[6].address
    start, before = web3.eth.get_transaction_count(sender.address), web3.eth.get_balance(to)
    hashes = [web3.eth.send_raw_transaction(running.pay(sender, to, 7)) for _ in range(40)]
    receipts = [web3.eth.wait_for_transaction_receipt(each, timeout=60, poll_latency=0.02) for each in hashes]
    assert {receipt["status"] for receipt in receipts} == {1}
    assert web3.eth.get_transaction_count(sender.address) == start + 40
    assert web3.eth.get_balance(to) == before + 280
    places = [(receipt["blockNumber"], receipt["transactionIndex"]) for receipt in receipts]
    assert places == sorted(places)


def test_what_is_refused(running: Running, accounts: list[Any]) -> None:
    web3, sender = running.web3, accounts[7]
    running.sent(running.pay(sender, sender.address, 0))
    for raw, message in [
        (running.pay(sender, sender.address, 0, nonce=0), "already known"),
        (running.pay(sender, sender.address, 1, nonce=0), "nonce too low"),
        (running.pay(sender, sender.address, 10**24), "insufficient funds"),
        (running.pay(sender, sender.address, 0, chainId=1), "invalid chain id"),
    ]:
        with pytest.raises(Web3RPCError, match=message):
            web3.eth.send_raw_transaction(raw)
    with pytest.raises(TransactionNotFound):
        web3.eth.get_transaction(keccak(b"never sent"))


def test_roots_cover_what_the_block_says(running: Running, accounts: list[Any]) -> None:
    receipt = running.sent(running.pay(accounts[8], accounts[9].address, 1))
    block = running.web3.eth.get_block(receipt["blockNumber"])
    trie = HexaryTrie({})
    for index, each in enumerate(block["transactions"]):
        raw = running.web3.provider.make_request("eth_getRawTransactionByHash", [each.to_0x_hex()])["result"]
        assert keccak(bytes.fromhex(raw[2:])) == bytes(each)
        trie[rlp.encode(index)] = bytes.fromhex(raw[2:])
    assert trie.root_hash == bytes(block["transactionsRoot"])


def test_a_subscriber_sees_what_the_gateway_says(running: Running, accounts: list[Any]) -> None:
    config, sender = running.config, accounts[9]
    with ReceiptSubscriber(config.settings, config.cluster.shards) as live:
        receipt = running.sent(running.pay(sender, accounts[0].address, 3))
        found = live.wait(bytes(receipt["transactionHash"]), 30)
        assert (found.block, found.transaction_index) == (receipt["blockNumber"], receipt["transactionIndex"])
        assert live.wait(found.source, 0) == found
    address = bytes.fromhex(sender.address[2:])
    only = ReceiptFilter(addresses=frozenset({address}))
    with ReceiptSubscriber(
        config.settings, config.cluster.shards, start=FromEpoch(epoch=found.epoch), only=only
    ) as again:
        assert next(iter(again)) == found


def test_health(running: Running) -> None:
    with urllib.request.urlopen(f"{running.gateway.url}/healthz", timeout=10) as answer:
        report = json.load(answer)
    assert report["status"] == "ok"
    assert report["block"] == running.web3.eth.block_number


def test_an_index_built_again_is_the_same(running: Running, accounts: list[Any], tmp_path: Path) -> None:
    running.sent(running.pay(accounts[0], accounts[1].address, 1))
    config = running.config
    genesis = config.start(config.read_genesis())
    other = Gateway(config.settings, genesis, config.cluster.shards, tmp_path / "index", GatewaySettings(port=0))
    other.start()
    try:
        wanted = running.gateway.health()[1]["epoch"]
        assert other._index is not None
        assert other._index.wait_for_epoch(wanted, 60)
        web3 = Web3(Web3.HTTPProvider(other.url))
        for number in range(running.web3.eth.block_number + 1):
            assert web3.eth.get_block(number, True) == running.web3.eth.get_block(number, True)
    finally:
        other.stop()


def test_a_broker_that_dies_and_comes_back(running: Running, accounts: list[Any]) -> None:
    """Keep this one last: the others need not wait for reconnections."""
    config, supervisor, sender = running.config, running.supervisor, accounts[3]
    assert supervisor.broker is not None
    assert supervisor.broker.pid is not None
    with ReceiptSubscriber(config.settings, config.cluster.shards) as live:
        seen = [running.sent(running.pay(sender, accounts[4].address, 1))]
        os.kill(supervisor.broker.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while "broker" not in supervisor.restart_dead():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        while True:
            try:
                raw = running.pay(sender, accounts[4].address, 2)
                seen.append(running.sent(raw))
                break
            except Web3RPCError as exc:
                assert "already known" not in str(exc), "it was sent, but has no receipt"
                assert time.monotonic() < deadline, str(exc)
                supervisor.restart_dead()
                time.sleep(0.2)
        for receipt in seen:
            assert live.wait(bytes(receipt["transactionHash"]), 30).block == receipt["blockNumber"]
    running.gateway.check()
