"""Contracts of all machines in one chain: deployed, called, and moved by one transaction that works or doesn't.

Three tokens do the same, in Solidity, Lua and WebAssembly; three movers, of the same machines, take tokens of all three
in one transaction. Each mover so calls its own machine and both others.
"""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import rlp
from trie.hexary import HexaryTrie
from web3 import Web3

from client import Client, Code, Contract, ExecutionFailed, TransactionFailed
from cluster.supervisor import Supervisor
from executors.evm import PyEvm
from executors.machines import opened
from gateway import Gateway, GatewaySettings
from ingest.accounts import deployment, development_accounts, sign_for_machine
from ledger import ReceiptSubscriber
from ledger.audit import Audit, Report
from ledger.feed import Feed
from ledger.replay import LedgerLog
from schemas.records import Receipt
from streams.kafka import KafkaLog
from tests.broker_fixture import RunningBroker
from tests.running_pipeline import running_pipeline

pytestmark = pytest.mark.timeout(300)

EXAMPLES = Path(__file__).parents[2] / "examples"
OWNER, PAYEE, OTHER, STRANGER, *HOLDERS = development_accounts(7)
PARTITIONS, SHARDS = 3, 2
SUPPLY = 10**24
CONSTRUCTOR = "constructor(string name, string symbol, uint8 decimals, uint256 supply)"
ABI = json.loads((EXAMPLES / "contracts" / "artifacts" / "Token.json").read_text())["abi"]
TOKENS = {
    "evm": EXAMPLES / "contracts" / "artifacts" / "Token.json", "lua": EXAMPLES / "lua" / "token.lua",
    "wasm": EXAMPLES / "wasm" / "token.wasm"}
MOVE = "move(address first, address second, address third, address from, address to, uint256 amount, bool fails)"

LUA_MOVER = f"""
return {{
  ["{MOVE}"] = function(first, second, third, from, to, amount, fails)
    for _, token in ipairs({{ first, second, third }}) do
      call(token, "transferFrom(address,address,uint256) returns (bool)", from, to, amount)
    end
    require(not fails, "Mover: told to fail")
  end,
}}
"""

WASM_MOVER = """
(module
  (import "parsec" "input" (func $input (param i32 i32 i32)))
  (import "parsec" "revert" (func $revert (param i32 i32)))
  (import "parsec" "call" (func $call (param i32 i32 i32 i32 i64) (result i32)))
  (import "parsec" "return_size" (func $return_size (result i32)))
  (import "parsec" "return_data" (func $return_data (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 300) "\\23\\b8\\72\\dd")
  (func $move (param $word i32)
    (if (i32.eqz (call $call
          (i32.add (local.get $word) (i32.const 12)) (i32.const 512) (i32.const 300) (i32.const 100) (i64.const -1)))
      (then
        (call $return_data (i32.const 600) (i32.const 0) (call $return_size))
        (call $revert (i32.const 600) (call $return_size)))))
  (func (export "call")
    (call $input (i32.const 0) (i32.const 4) (i32.const 224))
    (call $input (i32.const 304) (i32.const 100) (i32.const 96))
    (call $move (i32.const 0))
    (call $move (i32.const 32))
    (call $move (i32.const 64))
    (if (i32.load8_u (i32.const 223)) (then (call $revert (i32.const 0) (i32.const 0))))))
"""


def evm_mover() -> bytes:
    """Init code of the same in instructions of the EVM."""
    def code(failed: int) -> bytes:
        parts = ["6323b872dd60e01b600052", "606060646004" + "37"]  # selector, and from, to and amount behind it
        for place in (4, 36, 68):
            parts += ["60006000606460006000", f"60{place:02x}35", "5a", "f1", "15", f"60{failed:02x}57"]
        parts += ["60c435", f"60{failed:02x}57", "00"]
        return bytes.fromhex("".join(parts))

    start = code(failed=len(code(0)))
    runtime = start + bytes.fromhex("5b3d6000803e3d6000fd")  # what the last call returned is what we revert with
    return bytes.fromhex(f"60{len(runtime):02x}80600b6000396000f3") + runtime


@dataclass
class Chain:
    """What runs, and what was deployed."""

    supervisor: Supervisor
    client: Client
    web3: Any
    tokens: dict[str, Contract]
    movers: dict[str, Contract]

    def held(self, account: Any) -> list[int]:
        return [int(token.call("balanceOf", account)) for token in self.tokens.values()]

    def audit(self) -> Report:
        settings, genesis = self.supervisor.config.settings, self.supervisor.config.read_genesis()
        log = LedgerLog(KafkaLog(settings), KafkaLog(settings, committed_only=False))
        with closing(log):
            feed = Feed(log, Audit.topics(PARTITIONS, SHARDS))
            return Audit(feed, genesis, PARTITIONS, SHARDS, PyEvm(genesis.rules)).run()


@pytest.fixture(scope="module")
def chain(broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    data = tmp_path_factory.mktemp("machines")
    with running_pipeline(
        broker.bootstrap, data, executors=2, shards=SHARDS, partitions=PARTITIONS
    ) as supervisor:
        config = supervisor.config
        gateway = Gateway(
            config.settings, config.start(config.read_genesis()), SHARDS, data / "gateway", GatewaySettings(port=0))
        gateway.start()
        try:
            with Client.connect(config.settings) as client:
                tokens = {name: client.deploy(
                    path, OWNER, "Example", "EXM", 18, SUPPLY, constructor=CONSTRUCTOR, functions=ABI)
                    for name, path in TOKENS.items()}
                codes = {"evm": evm_mover(), "lua": LUA_MOVER.encode(), "wasm": WASM_MOVER.encode()}
                movers = {name: client.deploy(Code(machine=name, data=code), OWNER, functions=[MOVE])
                          for name, code in codes.items()}
                for mover in movers.values():
                    for token in tokens.values():
                        token.send(OWNER, "approve", mover, SUPPLY)
                yield Chain(supervisor, client, Web3(Web3.HTTPProvider(gateway.url)), tokens, movers)
        finally:
            gateway.stop()


@pytest.mark.parametrize("machine", TOKENS)
def test_a_token_of_each_machine(chain: Chain, machine: str) -> None:
    token = chain.tokens[machine]
    assert [token.call(name) for name in ("name", "symbol", "decimals", "totalSupply")] == ["Example", "EXM", 18, SUPPLY]
    before = token.call("balanceOf", PAYEE)
    receipt = token.send(OWNER, "transfer", PAYEE, 5)
    assert token.call("balanceOf", PAYEE) == before + 5
    (log,) = receipt.logs
    assert (f"0x{log.address.hex()}", int.from_bytes(log.data, "big")) == (token.address.lower(), 5)
    with pytest.raises(ExecutionFailed, match="insufficient balance") as caught:
        token.send(STRANGER, "transfer", PAYEE, 1)
    assert caught.value.output[:4].hex() == "08c379a0"
    with pytest.raises(TransactionFailed, match="failed: execution reverted: .*insufficient balance"):
        token.send(STRANGER, "transfer", PAYEE, 1, gas=200_000)


@pytest.mark.parametrize("machine", TOKENS)
def test_one_transaction_moves_tokens_of_all_machines(chain: Chain, machine: str) -> None:
    before = chain.held(OTHER)
    receipt = chain.movers[machine].send(STRANGER, "move", *chain.tokens.values(), OWNER, OTHER, 7, False)
    assert chain.held(OTHER) == [amount + 7 for amount in before]
    moved = [log for log in receipt.logs if int.from_bytes(log.data, "big") == 7]
    assert [f"0x{log.address.hex()}" for log in moved] == [token.address.lower() for token in chain.tokens.values()]


@pytest.mark.parametrize("machine", TOKENS)
def test_a_revert_at_the_end_undoes_all_of_it(chain: Chain, machine: str) -> None:
    before = chain.held(OWNER), chain.held(OTHER)
    with pytest.raises(TransactionFailed) as caught:
        chain.movers[machine].send(
            STRANGER, "move", *chain.tokens.values(), OWNER, OTHER, 7, True, gas=2_000_000)
    receipt = caught.value.receipt
    assert (receipt.status, receipt.logs) == ("failed", ())
    assert receipt.reason.startswith("execution reverted")
    # All three transfers ran before: they have been paid for.
    assert receipt.gas_used > 90_000
    assert (chain.held(OWNER), chain.held(OTHER)) == before


@pytest.mark.parametrize("machine", TOKENS)
@pytest.mark.parametrize("place", range(3))
def test_a_part_that_fails_takes_the_others_with_it(chain: Chain, machine: str, place: int) -> None:
    """The last one fails, which is of another machine each time; its words come out whoever called it."""
    tokens, holder = list(chain.tokens.values()), HOLDERS[place]
    tokens = tokens[place + 1:] + tokens[:place + 1]
    for token in tokens[:2]:  # nothing of the last one
        token.send(OWNER, "transfer", holder, 7)
    for token in tokens:
        token.send(holder, "approve", chain.movers[machine], 7)
    before = chain.held(holder), chain.held(OTHER)
    move = ("move", *tokens, holder, OTHER, 7, False)
    with pytest.raises(ExecutionFailed, match="insufficient balance"):
        chain.movers[machine].send(STRANGER, *move)
    with pytest.raises(TransactionFailed, match="insufficient balance") as caught:
        chain.movers[machine].send(STRANGER, *move, gas=2_000_000)
    assert caught.value.receipt.logs == ()
    assert (chain.held(holder), chain.held(OTHER)) == before
    tokens[2].send(OWNER, "transfer", holder, 7)
    assert len(chain.movers[machine].send(STRANGER, *move).logs) >= 3
    assert chain.held(OTHER) == [amount + 7 for amount in before[1]]
    assert chain.held(holder) == [max(0, amount - 7) for amount in before[0]]


def test_what_cannot_be_deployed(chain: Chain) -> None:
    nonce = chain.client.nonce(STRANGER)
    for machine, code, fault in (
        ("lua", b"return {", "execution reverted: invalid lua code: line 1"),
        ("wasm", b"(module)", "execution reverted: invalid wasm code: no memory is exported as 'memory'"),
    ):
        with pytest.raises(ExecutionFailed, match=fault):
            chain.client.deploy(Code(machine=machine, data=code), STRANGER)
        with pytest.raises(TransactionFailed, match=f"failed: {fault}"):
            chain.client.deploy(Code(machine=machine, data=code), STRANGER, gas=1_000_000)
    assert chain.client.nonce(STRANGER) == nonce + 2


# ---- the gateway ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", TOKENS)
def test_calls_estimates_and_logs_by_web3(chain: Chain, machine: str) -> None:
    token = chain.tokens[machine]
    seen = chain.web3.eth.contract(address=token.address, abi=ABI)
    assert seen.functions.balanceOf(OTHER.address).call() == token.call("balanceOf", OTHER)
    gas = seen.functions.transfer(OTHER.address, 3).estimate_gas({"from": OWNER.address})
    receipt = token.send(OWNER, "transfer", OTHER, 3, gas=gas)
    assert receipt.gas_used <= gas
    with pytest.raises(Exception, match="insufficient balance"):
        seen.functions.transfer(OTHER.address, 1).call({"from": STRANGER.address})
    found = wait_for(chain, receipt)
    (event,) = seen.events.Transfer().process_receipt(found)
    assert (event["args"]["to"], event["args"]["value"]) == (OTHER.address, 3)
    assert event in seen.events.Transfer().get_logs(from_block=receipt.block)
    container = opened(bytes(chain.web3.eth.get_code(token.address)))
    assert (container[0] if container else "evm") == machine


def wait_for(chain: Chain, receipt: Receipt) -> Any:
    return chain.web3.eth.wait_for_transaction_receipt(f"0x{receipt.hash.hex()}", timeout=30, poll_latency=0.02)


@pytest.mark.parametrize("machine", ["lua", "wasm"])
def test_a_deployment_by_web3(chain: Chain, machine: str) -> None:
    """What the gateway shows of a transaction of type 0x50, and the roots of its block."""
    code, nonce = {"lua": b"return {}", "wasm": WASM_MOVER.encode()}[machine], chain.client.nonce(PAYEE)
    raw = sign_for_machine(
        PAYEE, chain_id=chain.client.chain_id, nonce=nonce, machine=machine, to=None, data=deployment(code),
        gas_limit=2_000_000, max_fee=5)
    web3 = chain.web3
    receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(raw), timeout=30)
    assert (receipt["status"], receipt["type"], receipt["to"]) == (1, 0x50, None)
    assert opened(bytes(web3.eth.get_code(receipt["contractAddress"])))[0] == machine
    shown = web3.eth.get_transaction(receipt["transactionHash"])
    assert (shown["type"], shown["machine"], shown["to"], shown["nonce"]) == (0x50, machine, None, nonce)
    assert (shown["maxFeePerGas"], shown["accessList"], bytes(shown["input"])) == (5, [], deployment(code))
    assert bytes(web3.eth.get_raw_transaction(receipt["transactionHash"])) == raw
    block = web3.eth.get_block(receipt["blockNumber"], full_transactions=True)
    assert [each["hash"] for each in block["transactions"]] == [receipt["transactionHash"]]
    assert bytes(block["transactionsRoot"]) == root([raw])
    body = rlp.encode([1, receipt["cumulativeGasUsed"], bytes(receipt["logsBloom"]), []])
    assert bytes(block["receiptsRoot"]) == root([b"\x50" + body])


def root(values: list[bytes]) -> bytes:
    """The root by a trie that stores its nodes."""
    trie = HexaryTrie({})
    for index, value in enumerate(values):
        trie[rlp.encode(index)] = value
    return bytes(trie.root_hash)


def test_a_call_that_names_its_machine(chain: Chain) -> None:
    """A transaction of type 0x50 with a recipient calls contracts of that machine, and of no other."""
    token, balance = chain.tokens["lua"], chain.tokens["lua"].call("balanceOf", OTHER)
    data = chain.web3.eth.contract(abi=ABI).encode_abi("transfer", [OTHER.address, 2])

    def sent(machine: str) -> Any:
        raw = sign_for_machine(
            OWNER, chain_id=chain.client.chain_id, nonce=chain.client.nonce(OWNER), machine=machine,
            to=bytes.fromhex(token.address[2:]), data=bytes.fromhex(data[2:]), gas_limit=300_000, max_fee=0)
        return chain.web3.eth.wait_for_transaction_receipt(chain.web3.eth.send_raw_transaction(raw), timeout=30)

    assert sent("lua")["status"] == 1
    assert token.call("balanceOf", OTHER) == balance + 2
    assert sent("wasm")["status"] == 0
    assert token.call("balanceOf", OTHER) == balance + 2


def test_the_example_of_the_documentation(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    example = re.findall(r"```python\n(.*?)```", Path("docs/machines.md").read_text(), re.DOTALL)[0]
    example = example.replace('"127.0.0.1:9092"', "settings")
    exec(compile(example, "docs/machines.md", "exec"), {"settings": chain.supervisor.config.settings})
    assert capsys.readouterr().out == "5\n"


def test_the_audit_is_identical(chain: Chain) -> None:
    """Last in this file: the whole log, executed again."""
    report = chain.audit()
    assert report.identical, report.difference
    assert report.transactions == report.receipts > 20
    with ReceiptSubscriber(chain.supervisor.config.settings, SHARDS, start={}) as receipts:
        kinds = {receipt.kind for receipt in receipts.poll(5)}
    assert kinds == {2, 0x50}
