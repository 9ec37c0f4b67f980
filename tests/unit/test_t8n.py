"""`parsec t8n`: blocks with known results, inputs and outputs of every kind, bad input, and the run through the protocol."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
import rlp
from click.testing import CliRunner, Result
from eth_account import Account as Signer
from trie.hexary import HexaryTrie

from cluster.cli import main
from conformance.accounts import entries_of, read_accounts
from conformance.environment import of_block
from conformance.fields import Fields, Malformed
from conformance.forks import FORKS, next_base_fee
from conformance.pipeline import Pipeline, Shape
from conformance.protocol import ProtocolRun, run_protocol
from conformance.transactions import join_list, signed, split_list
from schemas.errors import InvariantViolation
from stateshards.voting import Shard
from tests.transitions import (
    ADDRESSES,
    BLOCKS,
    COUNTER,
    DEPOSITS,
    INIT_CODE,
    KEYS,
    WITHDRAWALS,
    Block,
    alloc,
    authorization,
    deposit_data,
    env,
    legacy,
    transaction,
)

ROOT = Path(__file__).parents[2]
GOLD = json.loads((Path(__file__).parent / "t8n_gold.json").read_text())
"""What the Ethereum specification says; tests/conformance/test_t8n_by_eels.py compares it, and writes it anew."""
MIXED = next(block for block in BLOCKS if block.name == "mixed Prague")


@pytest.fixture
def t8n(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command in a directory with the three inputs of a block."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, block: Block | None = None, text: str | None = None) -> Result:
        if block is not None:
            for name, document in block.document().items():
                (tmp_path / f"{name}.json").write_text(json.dumps(document))
            arguments = ("--state.fork", block.fork, "--output.basedir", "out", *arguments)
        return CliRunner().invoke(main, ["t8n", *map(str, arguments)], input=text)

    return run


def result_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "out" / "result.json").read_text())
    return found


# ---- results ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_a_block(block: Block, t8n: Callable[..., Result], tmp_path: Path) -> None:
    done = t8n(block=block)
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    result = result_of(tmp_path)
    gold = dict(GOLD[block.name])
    assert [each["index"] for each in result["rejected"]] == gold.pop("rejected")
    assert {name: result.get(name) for name in gold} == gold
    assert result["currentDifficulty"] is None


def test_every_block_has_a_known_result() -> None:
    assert GOLD.keys() == {block.name for block in BLOCKS}


def test_a_receipt(t8n: Callable[..., Result], tmp_path: Path) -> None:
    t8n(block=MIXED)
    receipts = result_of(tmp_path)["receipts"]
    counted = receipts[1]
    assert counted["type"] == "0x2"
    assert counted["status"] == "0x1"
    assert counted["transactionIndex"] == "0x1"
    assert counted["effectiveGasPrice"] == "0x9"
    assert counted["contractAddress"] == "0x" + "00" * 20
    assert [(log["address"], log["data"], log["logIndex"]) for log in counted["logs"]] == [(COUNTER, "0x" + "00" * 31 + "01", "0x0")]
    assert [log["logIndex"] for log in receipts[2]["logs"]] == ["0x1"]
    assert int(counted["cumulativeGasUsed"], 16) == int(receipts[0]["gasUsed"], 16) + int(counted["gasUsed"], 16)
    created = receipts[3]
    assert created["contractAddress"] == "0x" + _created(ADDRESSES[0], 1)
    assert receipts[4]["status"] == "0x0"


def _created(sender: str, nonce: int) -> str:
    from schemas.hashing import keccak
    return keccak(rlp.encode([bytes.fromhex(sender[2:]), nonce]))[12:].hex()


def test_what_is_rejected_is_told(t8n: Callable[..., Result], tmp_path: Path) -> None:
    t8n(block=MIXED)
    told = {each["index"]: each["error"] for each in result_of(tmp_path)["rejected"]}
    assert told[5].startswith("nonce too high: 1, account ")
    assert told[6] == "gas limit 40000000 exceeds the highest allowed, 30000000"
    assert told[7] == "max fee per gas less than block base fee: 3, base fee 7"
    assert told[9].startswith("nonce too low: 1, account ")
    assert told[11].startswith("insufficient funds")


def test_the_gas_limit_of_the_block_applies(t8n: Callable[..., Result], tmp_path: Path) -> None:
    t8n(block=next(block for block in BLOCKS if block.name == "full"))
    (rejected,) = result_of(tmp_path)["rejected"]
    assert rejected["error"].startswith("gas limit reached: the transaction has 120000, ")
    assert len(result_of(tmp_path)["receipts"]) == 3


def test_blobs_of_a_block_are_limited(t8n: Callable[..., Result], tmp_path: Path) -> None:
    t8n(block=next(block for block in BLOCKS if block.name == "blobs"))
    result = result_of(tmp_path)
    assert [each["error"].split(":")[0] for each in result["rejected"]] == [
        "blob gas limit reached", "too many blobs in transaction"]
    assert result["blobGasUsed"] == hex(9 * 131_072)
    assert [each.get("blobGasUsed") for each in result["receipts"]] == [hex(2 * 131_072), hex(6 * 131_072), hex(131_072), None]


def test_the_state_afterwards(t8n: Callable[..., Result], tmp_path: Path) -> None:
    block = Block("one", alloc(), env("Shanghai"), [transaction(1, 0, COUNTER), transaction(0, 0, "0x" + "dd" * 20, value=3)], "Shanghai")
    t8n(block=block)
    after = json.loads((tmp_path / "out" / "alloc.json").read_text())
    assert after[COUNTER] == {
        "code": block.alloc[COUNTER]["code"], "storage": {"0x" + "00" * 32: "0x" + "00" * 31 + "01"}, "balance": "0x0",
        "nonce": "0x1"}
    assert after["0x" + "dd" * 20] == {"balance": "0x3"}
    gas = sum(int(each["gasUsed"], 16) for each in result_of(tmp_path)["receipts"])
    before, now = (sum(int(each["balance"], 16) for each in accounts.values()) for accounts in (block.alloc, after))
    assert before - now == 7 * gas  # the base fee is burned


def test_the_root_of_transactions_is_that_of_a_trie(t8n: Callable[..., Result], tmp_path: Path) -> None:
    t8n("--output.body", "body.rlp", block=MIXED)
    body = json.loads((tmp_path / "out" / "body.rlp").read_text())
    trie = HexaryTrie({})
    raws = split_list(bytes.fromhex(body[2:]), "body")
    for index, raw in enumerate(raws):
        trie[rlp.encode(index)] = raw
    assert len(raws) == 9
    assert result_of(tmp_path)["txRoot"] == "0x" + trie.root_hash.hex()


def test_base_fee_of_the_next_block() -> None:
    assert next_base_fee(1_000, 15_000_000, 30_000_000) == 1_000
    assert next_base_fee(1_000, 30_000_000, 30_000_000) == 1_125
    assert next_base_fee(1_000, 0, 30_000_000) == 875
    assert next_base_fee(1, 15_000_001, 30_000_000) == 2
    assert FORKS["prague"].excess_blob_gas(100, 6 * 131_072) == 100
    assert FORKS["cancun"].excess_blob_gas(0, 131_072) == 0


# ---- transactions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [
    legacy(0, 1, ADDRESSES[1], value=7, data="0x0102"), legacy(0, 1, None, data=INIT_CODE),
    transaction(2, 0, COUNTER, value=128), transaction(2, 300, None, data=INIT_CODE),
    transaction(3, 0, COUNTER, type="0x1", maxFeePerGas=None, maxPriorityFeePerGas=None, gasPrice="0x80",
                accessList=[{"address": COUNTER, "storageKeys": ["0x" + "00" * 31 + "01", "0x" + "ff" * 32]}]),
    transaction(4, 0, COUNTER, type="0x3", maxFeePerBlobGas="0x9", blobVersionedHashes=["0x01" + "22" * 31]),
    transaction(5, 0, COUNTER, type="0x4", authorizationList=[authorization(1, COUNTER, 0), authorization(2, COUNTER, 9, 0)]),
], ids=["legacy", "legacy creation", "fee market", "fee market creation", "access list", "blob", "set code"])
def test_a_transaction_is_signed_as_another_library_signs_it(fields: dict[str, Any]) -> None:
    number = KEYS.index(bytes.fromhex(fields["secretKey"][2:]))
    left_out = ("secretKey", "v", "r", "s", "authorizationList", "to", "input")
    other: dict[str, Any] = {"chainId": "0x1"} | {name: value for name, value in fields.items() if name not in left_out}
    other["data"] = fields["input"]
    if fields["to"] is not None:
        other["to"] = bytes.fromhex(fields["to"][2:])
    if "authorizationList" in fields:
        other["authorizationList"] = [
            {"chainId": int(each["chainId"], 16), "address": bytes.fromhex(each["address"][2:]), "nonce": int(each["nonce"], 16),
             "yParity": int(each["v"], 16), "r": int(each["r"], 16), "s": int(each["s"], 16)} for each in fields["authorizationList"]]
    if fields.get("type") == "0x3":
        other["blobVersionedHashes"] = [bytes.fromhex(each[2:]) for each in fields["blobVersionedHashes"]]
    theirs = Signer.from_key(KEYS[number]).sign_transaction(other).raw_transaction
    assert signed(Fields(fields, "tx"), 1).hex() == bytes(theirs).hex()


def test_a_signature_that_is_there_is_kept() -> None:
    fields = transaction(0, 0, COUNTER)
    raw = signed(Fields(fields, "tx"), 1)
    parity, r, s = (int.from_bytes(each, "big") for each in rlp.decode(raw[1:])[-3:])
    del fields["secretKey"]
    assert signed(Fields(fields | {"v": hex(parity), "r": hex(r), "s": hex(s)}, "tx"), 1) == raw
    assert signed(Fields(fields | {"yParity": hex(parity), "r": hex(r), "s": hex(s)}, "tx"), 1) == raw


def test_an_unprotected_transaction_runs_on_any_chain() -> None:
    unprotected, bound = (signed(Fields(legacy(0, 0, COUNTER, protected=protected), "tx"), 5) for protected in (False, True))
    assert int.from_bytes(rlp.decode(unprotected)[6], "big") in (27, 28)
    assert int.from_bytes(rlp.decode(bound)[6], "big") in (45, 46)


def test_without_key_and_signature_it_is_rejected(t8n: Callable[..., Result], tmp_path: Path) -> None:
    unsigned = transaction(0, 0, COUNTER)
    del unsigned["secretKey"]
    assert t8n(block=Block("", alloc(), env(), [unsigned, transaction(0, 0, COUNTER)])).exit_code == 0
    (rejected,) = result_of(tmp_path)["rejected"]
    assert rejected["index"] == 0
    assert rejected["error"].startswith("invalid signature")
    assert len(result_of(tmp_path)["receipts"]) == 1


def test_lists_are_split_and_joined() -> None:
    raws = [signed(Fields(fields, "tx"), 1) for fields in (legacy(0, 0, COUNTER), transaction(1, 0, COUNTER), legacy(2, 0, None))]
    assert split_list(join_list(raws), "body") == raws
    assert split_list(b"\xc0", "body") == []
    for wrong in (b"", b"\x80", b"\xc1", b"\xc0\x00", b"\xc2\xc5\x01", join_list(raws)[:-1], b"\xf9\x01"):
        with pytest.raises(Malformed, match="^body: "):
            split_list(wrong, "body")


# ---- inputs and outputs -----------------------------------------------------------------------------------------


def test_standard_streams(t8n: Callable[..., Result]) -> None:
    streams = ("--input.alloc", "stdin", "--input.env", "stdin", "--input.txs", "stdin")
    done = t8n(*streams, "--output.result", "stdout", "--output.alloc", "stdout", "--output.body", "stdout",
               text=json.dumps(MIXED.document()))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found.keys() == {"result", "alloc", "body"}
    assert found["result"]["stateRoot"] == GOLD["mixed Prague"]["stateRoot"]
    # The body is what other runs take as their transactions, and a state the start of the next block.
    again = t8n(*streams, "--output.result", "stderr", "--output.alloc", "", text=json.dumps(
        {"alloc": MIXED.alloc, "env": MIXED.env, "txsRlp": found["body"]}))
    assert json.loads(again.stderr)["result"]["txRoot"] == found["result"]["txRoot"]
    assert again.stdout == ""
    follows = t8n(*streams, "--output.result", "stdout", "--output.alloc", "", text=json.dumps(
        {"alloc": found["alloc"], "env": MIXED.env | {"currentNumber": "0x6", "parentHash": "0x" + "01" * 32}, "txs": MIXED.txs}))
    result = json.loads(follows.stdout)["result"]
    assert [each["index"] for each in result["rejected"]] != GOLD["mixed Prague"]["rejected"]
    assert "nonce too low" in result["rejected"][0]["error"]


@pytest.mark.parametrize("quoted", [True, False])
def test_transactions_in_rlp(quoted: bool, t8n: Callable[..., Result], tmp_path: Path) -> None:
    raws = [signed(Fields(fields, "tx"), 1) for fields in MIXED.txs]
    text = "0x" + join_list(raws).hex()
    (tmp_path / "txs.rlp").write_text(json.dumps(text) if quoted else text + "\n")
    assert t8n("--input.txs", "txs.rlp", block=MIXED).exit_code == 0
    assert result_of(tmp_path)["receiptsRoot"] == GOLD["mixed Prague"]["receiptsRoot"]


def test_no_transactions_at_all(t8n: Callable[..., Result]) -> None:
    done = t8n("--input.alloc", "stdin", "--input.env", "stdin", "--input.txs", "stdin", "--output.result", "stdout",
               "--output.alloc", "", text=json.dumps({"alloc": alloc(), "env": env(), "txs": None}))
    assert json.loads(done.stdout)["result"]["stateRoot"] == GOLD["empty"]["stateRoot"]


@pytest.mark.parametrize("reward", [0, -1])
def test_no_reward_is_accepted(reward: int, t8n: Callable[..., Result], tmp_path: Path) -> None:
    assert t8n("--state.reward", reward, block=MIXED).exit_code == 0
    assert result_of(tmp_path)["stateRoot"] == GOLD["mixed Prague"]["stateRoot"]


def test_a_chain_of_another_id(t8n: Callable[..., Result], tmp_path: Path) -> None:
    t8n("--state.chainid", 5, block=Block("", alloc(), env(), [legacy(0, 0, COUNTER), transaction(1, 0, COUNTER)]))
    (rejected,) = result_of(tmp_path)["rejected"]
    assert rejected == {"index": 1, "error": "invalid chain id: 1, this chain has 5"}


# ---- bad input --------------------------------------------------------------------------------------------------


def block_with(env_: dict[str, Any] | None = None, fork: str = "Prague", txs: Any = None, **more: Any) -> Block:
    """A block with other fields; None takes one out."""
    fields = env(fork) | (env_ or {})
    return Block("", alloc(**more), {name: value for name, value in fields.items() if value is not None}, txs or [], fork)


@pytest.mark.parametrize(("block", "words"), [
    (block_with({"currentNumber": None}), "env.json.currentNumber: missing"),
    (block_with({"currentCoinbase": "0x12"}), "env.json.currentCoinbase: 1 bytes instead of 20"),
    (block_with({"currentGasLimit": "many"}), "env.json.currentGasLimit: 'many' is not an integer"),
    (block_with({"currentTimestamp": -1}), "env.json.currentTimestamp: -1 is not in 0 … 2**64 - 1"),
    (block_with({"currentRandom": None}), "env.json.currentRandom: missing"),
    (block_with({"currentDifficulty": "0x1"}), "env.json.currentDifficulty: after the merge it is 0"),
    (block_with({"currentBaseFee": None}), "env.json.parentBaseFee: missing"),
    (block_with({"withdrawals": None}), "env.json.withdrawals: a list is expected"),
    (block_with({"withdrawals": [{"index": "0x1"}]}), "env.json.withdrawals[0].validatorIndex: missing"),
    (block_with({"ommers": [{"delta": 1}]}), "env.json.ommers: after the merge blocks have none"),
    (block_with({"parentBeaconBlockRoot": None}), "env.json.parentBeaconBlockRoot: missing; blocks of Prague have it"),
    (block_with({"parentBeaconBlockRoot": "0x" + "00" * 32}, "Shanghai"), "blocks of Shanghai have none"),
    (block_with({"currentExcessBlobGas": hex(2**40)}), "env.json.currentExcessBlobGas: '0x10000000000' is not in"),
    (block_with({"blockHashes": {"four": "0x" + "00" * 32}}), "env.json.blockHashes.four: 'four' is not an integer"),
    (block_with({"blockHashes": {"0x4": "0x00"}}), "env.json.blockHashes.0x4: 1 bytes instead of 32"),
    (block_with({"blockHashes": {"0x3": "0x" + "00" * 32}}, txs=[transaction(0, 0, "0x" + "b0" * 20)]),
     "env.json.blockHashes: a transaction asks for the hash of block 4, which isn't there"),
    (block_with(**{"0x12": {"balance": "0x1"}}), "alloc.json.0x12: the name is no address"),
    (block_with(**{"0x" + "12" * 20: {"balance": "lots"}}), "balance: 'lots' is not an integer"),
    (block_with(**{"0x" + "C0" * 20: {}}), "the account stands there twice"),
    (block_with(**{"0x" + "12" * 20: []}), "an object is expected, found []"),
    (block_with(txs={"to": None}), "txs.json: a list of transactions is expected"),
    (block_with(txs=[3]), "txs.json[0]: an object is expected, found 3"),
    (block_with(txs=[transaction(0, 0, COUNTER), transaction(0, 1, COUNTER) | {"nonce": "one"}]), "txs.json[1].nonce: 'one'"),
    (block_with(txs=[{"to": COUNTER, "secretKey": "0x1"}]), "txs.json[0].gasLimit: missing"),
    (block_with(txs=[transaction(0, 0, COUNTER, type="0x50")]), "txs.json[0].type: 0x50 can't be built from fields"),
    (block_with(txs=[transaction(0, 0, COUNTER) | {"secretKey": "0x0"}]), "txs.json[0].secretKey: no private key"),
    (block_with(txs=[transaction(0, 0, COUNTER, accessList=[5])]), "txs.json[0].accessList[0]: an object is expected"),
    (block_with(txs="0x12"), "txs.json: no RLP list"),
    (block_with(txs="0xzz"), "txs.json: '0xzz' is not hexadecimal"),
    (block_with(txs=[transaction(0, 0, DEPOSITS, data=deposit_data()[:-2])]), "a log of the deposit contract has another form"),
    (block_with(txs=[transaction(0, 0, DEPOSITS, data="0x")]), "a log of the deposit contract has another form"),
    (block_with(**{WITHDRAWALS: {"code": "0xfe"}}), f"the queue of requests at {WITHDRAWALS} fails"),
    (block_with(fork="Paris"), "--state.fork: no fork 'Paris'; there are Shanghai, Cancun, Prague"),
])
def test_bad_input_is_named(block: Block, words: str, t8n: Callable[..., Result], tmp_path: Path) -> None:
    done = t8n(block=block)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("arguments", "words"), [
    (("--state.reward", "2"), "--state.reward: 2; after the merge there is none"),
    (("--engine", "revm"), "--engine: no engine 'revm'; there are py-evm"),
    (("--input.txs", "none.json"), "none.json: No such file or directory"),
    (("--input.env", "broken.json"), "broken.json: not JSON"),
    (("--input.alloc", "list.json"), "list.json: an object is expected, found [1]"),
    (("--partitions", "0"), "--partitions"),
    (("--state.chainid", "x"), "--state.chainid"),
])
def test_bad_arguments_are_named(arguments: tuple[str, ...], words: str, t8n: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    done = t8n(*arguments, block=MIXED)
    assert done.exit_code == 2
    assert words in done.output


def test_standard_input_that_lacks_a_document(t8n: Callable[..., Result]) -> None:
    streams = ("--input.alloc", "stdin", "--input.env", "stdin", "--input.txs", "stdin")
    assert "stdin.env: an object is expected, found null" in t8n(*streams, text='{"alloc": {}}').output
    assert "stdin: not JSON" in t8n(*streams, text="").output


# ---- the protocol -----------------------------------------------------------------------------------------------


def through_protocol(block: Block, shape: Shape) -> ProtocolRun:
    environment = of_block(Fields(block.env, "env"), FORKS[block.fork.lower()], 1)
    state = entries_of(read_accounts(Fields(block.alloc, "alloc")))
    raws = [signed(Fields(fields, "tx"), 1) for fields in block.txs]
    return run_protocol(environment, "py-evm", state, raws, shape)


def crowd(seed: int, number: int = 60) -> Block:
    """Payments and calls of eight accounts that all want the same slot."""
    rng, nonces, txs = Random(seed), [0] * 8, []
    for _ in range(number):
        sender = rng.randrange(8)
        to = COUNTER if rng.random() < 0.7 else ADDRESSES[rng.randrange(8)]
        txs.append(transaction(sender, nonces[sender], to, value=0 if to == COUNTER else 1))
        nonces[sender] += 1
    return Block("crowd", alloc(), env(), txs)


SHAPES = [
    Shape(partitions=1, executors=1, shards=1, seed=1), Shape(partitions=4, executors=4, shards=3, seed=2),
    Shape(partitions=8, executors=3, shards=2, seed=3), Shape(partitions=2, executors=5, shards=1, seed=4)]


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_a_crowd_is_serial(shape: Shape) -> None:
    done = through_protocol(crowd(shape.seed), shape)
    assert done.differences == ()
    assert done.serial
    assert sorted(done.order) == list(range(60))
    assert not done.applied.rejected
    if shape.partitions > 1:
        assert done.carried
        assert done.repaired


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_every_block_is_serial(block: Block) -> None:
    done = through_protocol(block, Shape(partitions=3, executors=2, shards=2, seed=5))
    assert done.serial, done.differences


def test_one_partition_gives_what_a_block_gives(t8n: Callable[..., Result], tmp_path: Path) -> None:
    # The order is that of the list, and nothing is rejected for the limit of the block or waits.
    done = t8n("--partitions", 1, "--executors", 1, "--shards", 1, block=MIXED)
    assert done.exit_code == 0, done.output
    result, gold = result_of(tmp_path), GOLD["mixed Prague"]
    assert {name: result[name] for name in ("stateRoot", "gasUsed", "logsBloom", "requestsHash")} == {
        name: gold[name] for name in ("stateRoot", "gasUsed", "logsBloom", "requestsHash")}
    assert result["protocol"]["serial"] is True
    assert done.stderr.startswith("serial: 14 transactions in ")


def test_a_seed_replays_a_run(tmp_path: Path) -> None:
    for name, document in crowd(9).document().items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    runs = [
        subprocess.run(
            [sys.executable, "-m", "cluster", "t8n", "--partitions", "4", "--executors", "3", "--seed", seed, "--output.alloc", "",
             "--output.result", "stdout"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": salt}, capture_output=True, text=True,
            timeout=120, check=True).stdout
        for seed, salt in (("7", "1"), ("7", "2"), ("8", "1"))]
    assert runs[0] == runs[1]
    orders = [json.loads(run)["result"]["protocol"]["order"] for run in runs]
    assert orders[0] != orders[2]


def test_what_waits_for_ever_is_rejected() -> None:
    txs = [transaction(0, 0, COUNTER), transaction(0, 2, COUNTER), transaction(1, 1, COUNTER), transaction(2, 0, COUNTER)]
    done = through_protocol(Block("gaps", alloc(), env(), txs), Shape(partitions=2, executors=2, seed=3))
    assert done.serial, done.differences
    assert [index for index, _ in done.applied.rejected] == [1, 2]
    assert all("the missing ones did not come within" in reason for _, reason in done.applied.rejected)


def test_a_nonce_that_comes_late_is_waited_for() -> None:
    txs = [transaction(0, 2, COUNTER), transaction(0, 1, COUNTER), transaction(0, 0, COUNTER)]
    done = through_protocol(Block("reversed", alloc(), env(), txs), Shape(partitions=2, executors=2, seed=3))
    assert done.serial, done.differences
    assert done.order == (2, 1, 0)
    assert done.carried


def test_the_same_transaction_twice_has_two_receipts() -> None:
    txs = [transaction(0, 0, COUNTER)] * 2
    done = through_protocol(Block("twice", alloc(), env(), txs), Shape(seed=3))
    assert done.serial, done.differences
    assert len(done.applied.included) == len(done.applied.rejected) == 1


def test_a_protocol_that_loses_updates_is_found_out(t8n: Callable[..., Result], tmp_path: Path) -> None:
    with patch.object(Shard, "losing", lambda _self, _read, _written: ()):  # nobody is told of a conflict
        done = t8n("--partitions", 4, "--executors", 4, block=crowd(2))
    assert done.exit_code == 1, done.output
    protocol = result_of(tmp_path)["protocol"]
    assert protocol["serial"] is False
    assert any("in the pipeline" in difference for difference in protocol["differences"])
    assert done.stderr.startswith("different: 60 transactions")


def test_a_pipeline_that_stops_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.pipeline.TURNS_EACH_MAX", 1)
    monkeypatch.setattr("conformance.pipeline.TURNS_MAX", 20)
    with pytest.raises(InvariantViolation, match="0 of 60 transactions have a receipt after 80 turns, seed 1"):
        through_protocol(crowd(1), Shape())


def test_a_receipt_that_comes_twice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(self: Pipeline, process: Any, command: Any) -> None:
        take(self, process, command)
        if type(command).__name__ == "Publish" and command.receipts:
            take(self, process, command)

    take = Pipeline._take
    monkeypatch.setattr(Pipeline, "_take", twice)
    with pytest.raises(InvariantViolation, match="two receipts for"):
        through_protocol(crowd(1, 5), Shape())
