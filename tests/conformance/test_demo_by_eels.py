"""The demonstration's transactions, executed again by the Ethereum specification in the order of the blocks.

The pipeline ran them in parallel, repaired and carried them, with processes killed in between; the specification runs
them one after the other. Status, gas and logs of each have to be the same, and so have the balances at the end.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.config import load
from cluster.supervisor import Supervisor
from ledger.feed import Feed
from ledger.replay import LedgerLog
from schemas import topics
from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.genesis import Genesis
from schemas.hashing import digest
from schemas.keys import balance_key, home, integer, nonce_key
from schemas.records import Envelope, Exclusion, Manifest, Receipt
from streams.kafka import KafkaLog
from streams.reads import ShardReader
from streams.start import shard_addresses
from tests.conformance.eels.engine import EelsEngine, EelsUnavailable

ROOT = Path(__file__).parents[2]
PARTITIONS, SHARDS = 4, 2


@pytest.fixture(scope="module")
def engine() -> EelsEngine:
    try:
        return EelsEngine()
    except EelsUnavailable as exc:
        if os.environ.get("REQUIRE_EELS"):
            raise
        pytest.skip(f"the specification cannot be installed here: {exc}")


def drained(feed: Feed, topic: topics.Topic) -> list[object]:
    records = []
    while (fetched := feed.next(topic)) is not None:
        records.append(fetched)
    return records


@pytest.mark.timeout(600)
def test_the_demonstration_again_by_the_specification(tmp_path: Path, engine: EelsEngine) -> None:
    # The demonstration, kept; then the same data directory once more, to read the log and the state.
    done = subprocess.run(
        [sys.executable, "-m", "cluster", "demo", "--data", str(tmp_path), "--payments", "400", "--swaps", "60", "--keep"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    config = load(None, environment={}, flags={"gateway.enabled": False, "kafka.port": 39092})
    config = replace(config, cluster=replace(config.cluster, data=tmp_path / "demo", shards=SHARDS, partitions=PARTITIONS))
    saved = tmp_path / "demo" / "genesis.json"
    if saved.exists():
        config = replace(config, cluster=replace(config.cluster, genesis=saved))
    genesis = config.read_genesis()
    with Supervisor(config) as supervisor:
        supervisor.start(lambda _: None)
        settings = supervisor.config.settings
        log = LedgerLog(KafkaLog(settings), KafkaLog(settings, committed_only=False))
        sources = [topics.transactions(p) for p in range(PARTITIONS)]
        feed = Feed(log, [topics.EPOCHS, *sources, *(topics.receipts(s) for s in range(SHARDS))])
        raws = {
            (topic.partition, record.offset): CODEC.decode_as(Envelope, record.value).raw
            for topic in sources for record in drained(feed, topic)}
        receipts = [
            CODEC.decode_as(Receipt, record.value)
            for shard in range(SHARDS) for record in drained(feed, topics.receipts(shard))]
        opened = manifests(genesis, drained(feed, topics.EPOCHS))
        document, order = blocks(genesis, opened, receipts, raws)
        result = engine.run(document)
        assert len(order) == len(result.receipts) >= 2 * 460
        for ours, theirs in zip(order, result.receipts, strict=True):
            assert theirs.hash == ours.hash
            assert theirs.status == (1 if ours.status == "success" else 0), ours
            assert theirs.gas_used == ours.gas_used, ours
            assert [(log.address, log.topics, log.data) for log in theirs.logs] == [
                (log.address, log.topics, log.data) for log in ours.logs]
        reader = ShardReader(SHARDS)
        for shard, address in shard_addresses(KafkaLog(settings), SHARDS).items():
            reader.set_address(shard, address)
        accounts = list(result.accounts)
        entries = reader.read([key(account) for account in accounts for key in (balance_key, nonce_key)])
        for account in accounts:
            assert integer(entries[balance_key(account)].value) == result.accounts[account].balance
            assert integer(entries[nonce_key(account)].value) == result.accounts[account].nonce
        reader.close()
        log.close()
    assert {home(balance_key(account), SHARDS) for account in accounts} == {0, 1}


def manifests(genesis: Genesis, records: list[object]) -> dict[int, Tip]:
    """The tip of each epoch, when it was open."""
    tip = Tip.genesis(genesis.hash, PARTITIONS, SHARDS, genesis.rules, genesis.timestamp_ms)
    opened = {}
    for fetched in records:
        record = CODEC.decode(fetched.value)  # type: ignore[attr-defined]
        assert isinstance(record, Manifest | Exclusion)
        tip = tip.after(record, digest(fetched.value), fetched.offset) or tip  # type: ignore[attr-defined]
        opened[tip.epoch] = tip
    return opened


def blocks(genesis: Genesis, opened: dict[int, Tip], receipts: list[Receipt], raws: dict[tuple[int, int], bytes]) -> tuple[dict, list[Receipt]]:
    """The input of the specification, and our receipts in the same order."""
    order = sorted(
        (receipt for receipt in receipts if receipt.included), key=lambda r: (r.block or 0, r.transaction_index or 0))
    numbered: dict[int, dict] = {}
    for receipt in order:
        tip = opened[receipt.epoch]
        block = numbered.setdefault(receipt.block or 0, {
            "number": tip.block, "timestamp": tip.timestamp_ms // 1000, "prevrandao": "0x" + tip.randomness.hex(),
            "transactions": []})
        block["transactions"].append("0x" + raws[receipt.partition, receipt.offset].hex())
    rules = genesis.rules
    return {
        "chain_id": rules.chain_id, "coinbase": "0x" + rules.coinbase.hex(), "gas_limit": rules.block_gas_limit,
        "base_fee": rules.base_fee, "blocks": [numbered[number] for number in sorted(numbered)],
        "alloc": alloc(genesis), "block_hashes": {}}, order


def alloc(genesis: Genesis) -> dict[str, dict]:
    """The accounts of the genesis with all fields."""
    empty = {"balance": "0x0", "nonce": "0x0", "code": "0x", "storage": {}}
    return {address: empty | account for address, account in json.loads(genesis.document)["alloc"].items()}
