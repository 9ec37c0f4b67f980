"""The whole pipeline on a broker that is there already: from produce to receipt, and a shard that lost its disk."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.wallets import Wallet
from bench.workloads import erc20, genesis
from cluster.config import load
from cluster.supervisor import Supervisor
from executors.evm import PyEvm
from ingest.producer import TransactionProducer
from ingest.routing import Router
from ledger.audit import Audit, Report
from ledger.feed import Feed
from ledger.replay import LedgerLog
from ledger.subscriber import ReceiptSubscriber
from streams.kafka import KafkaLog
from streams.reads import ShardReader
from streams.start import shard_addresses
from tests.broker_fixture import RunningBroker
from tests.integration.kafka_container import KafkaContainer, require_image

PARTITIONS, SHARDS = 4, 2
WALLETS = [Wallet.numbered(number) for number in range(40)]


def supervisor(data: Path, bootstrap: str, prefix: str) -> Supervisor:
    """Two executors and two shards that use a broker of somebody else."""
    (data / "genesis.json").write_bytes(genesis(WALLETS))
    return Supervisor(load(None, environment={}, flags={
        "cluster.data": data, "cluster.genesis": data / "genesis.json", "cluster.partitions": PARTITIONS,
        "cluster.shards": SHARDS, "gateway.enabled": False, "kafka.bootstrap": bootstrap, "kafka.prefix": prefix}))


def send(running: Supervisor, count: int, seed: int) -> None:
    """Token transfers, and a receipt that says success for each."""
    settings, rules = running.config.settings, running.config.read_genesis().rules
    with ReceiptSubscriber(settings, SHARDS) as receipts, TransactionProducer(
        settings, rules, Router(PARTITIONS)
    ) as producer:
        sent = [producer.send(signed.raw) for signed in erc20(WALLETS, count, seed)]
        open_ = {(delivery.partition, delivery.offset) for delivery in (future.result(30) for future in sent)}
        deadline = time.monotonic() + 60
        while open_ and time.monotonic() < deadline:
            for receipt in receipts.poll(0.5):
                assert receipt.status == "success", receipt
                open_.remove((receipt.partition, receipt.offset))
    assert not open_


def audit(running: Supervisor) -> Report:
    settings = running.config.settings
    log = LedgerLog(KafkaLog(settings), KafkaLog(settings, committed_only=False))
    chain = running.config.read_genesis()
    try:
        return Audit(Feed(log, Audit.topics(PARTITIONS, SHARDS)), chain, PARTITIONS, SHARDS, PyEvm(chain.rules)).run()
    finally:
        log.close()


@pytest.fixture(autouse=True)
def fresh_wallets() -> Iterator[None]:
    for wallet in WALLETS:
        wallet.nonce = 0
    yield


def applied(running: Supervisor, shard: int) -> int:
    """The newest epoch that a shard has applied."""
    log, reader = KafkaLog(running.config.settings), ShardReader(SHARDS)
    try:
        reader.set_address(shard, shard_addresses(log, SHARDS)[shard])
        return reader.tip(shard, deadline_s=5).epoch - 1
    finally:
        reader.close()
        log.close()


@pytest.mark.timeout(300)
def test_a_shard_that_lost_its_disk_is_built_again_from_the_log(
    broker: RunningBroker, topic_prefix: str, tmp_path: Path
) -> None:
    with supervisor(tmp_path, broker.bootstrap, topic_prefix) as running:
        running.start()
        send(running, 150, seed=1)
    shutil.rmtree(tmp_path / "shard-1")
    with supervisor(tmp_path, broker.bootstrap, topic_prefix) as running:
        running.start()
        # What it has built is what the others rely on: reads of it and votes of it count again.
        send(running, 150, seed=2)
        deadline = time.monotonic() + 30
        while applied(running, 0) != applied(running, 1) and time.monotonic() < deadline:
            time.sleep(0.1)
        report = audit(running)
    assert report.identical, report.difference
    assert report.transactions == report.receipts == 300
    assert report.digests > 0


@pytest.mark.timeout(300)
def test_on_the_official_image(tmp_path: Path) -> None:
    require_image()
    with KafkaContainer() as container, supervisor(tmp_path, container.bootstrap, "smoke.") as running:
        running.start()
        send(running, 100, seed=1)
        report = audit(running)
    assert report.identical, report.difference
    assert report.transactions == report.receipts == 100
