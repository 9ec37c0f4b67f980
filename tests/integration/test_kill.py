"""Nothing is lost or doubled when processes are killed: every one of them in turn, with SIGKILL, under load."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from executors.evm import PyEvm
from ledger.audit import Audit
from ledger.feed import Feed
from schemas.codec import CODEC
from schemas.genesis import Genesis
from schemas.records import Receipt
from streams.kafka import KafkaLog, KafkaSettings

from .transfer_client import wallets

ROOT = Path(__file__).parents[2]
COUNT = int(os.environ.get("PARSEC_KILL_TRANSFERS", "2500"))
RATE = int(os.environ.get("PARSEC_KILL_RATE", "60"))
PARTITIONS, SHARDS = 4, 2
VICTIMS = ("executor-0", "shard-1", "sequencer-0", "broker", "executor-1", "shard-0", "client", "supervisor")


class Drill:
    """A pipeline and a client, as a user starts them."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.reports = data / "reports.txt"
        document = {
            "config": {"chainId": 52188, "parsec": {"parkedMsMax": 60_000}},
            "alloc": {f"0x{wallet.address.hex()}": {"balance": hex(10**18)} for wallet in wallets()}}
        self.genesis = data / "genesis.json"
        self.genesis.write_text(json.dumps(document))
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "PARSEC_GATEWAY_ENABLED": "false"}
        self.supervisor: subprocess.Popen[bytes] | None = None
        self.client: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        self.out = (self.data / "up.log").open("ab")
        self.supervisor = subprocess.Popen(
            [sys.executable, "-m", "cluster", "up", "--data", str(self.data / "run"), "--genesis", str(self.genesis),
             "--executors", "2", "--shards", str(SHARDS), "--partitions", str(PARTITIONS)],
            cwd=self.data, env=self.env, stdout=self.out, stderr=self.out, start_new_session=True)
        self.until_ready()

    def until_ready(self) -> None:
        before = (self.data / "up.log").read_text().count("Ctrl-C stops everything")
        deadline = time.monotonic() + 90
        while (self.data / "up.log").read_text().count("Ctrl-C stops everything") == before:
            assert self.supervisor is not None and self.supervisor.poll() is None, (self.data / "up.log").read_text()
            assert time.monotonic() < deadline, (self.data / "up.log").read_text()
            time.sleep(0.1)

    def settings(self) -> KafkaSettings:
        config = json.loads((self.data / "run" / "run.json").read_text())["config"]
        return KafkaSettings(bootstrap=config["kafka"]["bootstrap"], prefix=config["kafka"]["prefix"])

    def send(self) -> None:
        settings = self.settings()
        self.client = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.transfer_client", settings.bootstrap, settings.prefix,
             str(PARTITIONS), str(self.reports), str(COUNT), str(RATE), str(self.genesis)],
            cwd=ROOT, env=self.env, stdout=subprocess.PIPE, stderr=(self.data / "client.log").open("ab"))

    def pid(self, name: str) -> int:
        path = next(self.data.joinpath("run").rglob(f"{name}.pid")) if name != "broker" else next(
            self.data.joinpath("run", "kafka").rglob("*.pid"))
        return int(path.read_text())

    def kill(self, name: str) -> None:
        assert self.client is not None and self.supervisor is not None
        if name == "client":
            self.client.kill()
            self.client.wait()
            self.send()
        elif name == "supervisor":
            os.kill(self.supervisor.pid, signal.SIGKILL)
            self.supervisor.wait()
            time.sleep(1)
            self.up()
        else:
            before = self.pid(name)
            os.kill(before, signal.SIGKILL)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                time.sleep(0.1)
                try:
                    if self.pid(name) != before:
                        return
                except (OSError, ValueError, StopIteration):
                    continue
            pytest.fail(f"{name} was not started again")

    def accepted(self) -> list[tuple[int, int]]:
        lines = self.reports.read_text().splitlines()
        return [(int(line.split()[1]), int(line.split()[2])) for line in lines if line.count(" ") == 2]

    def stop(self) -> None:
        for process, how in ((self.client, signal.SIGKILL), (self.supervisor, signal.SIGTERM)):
            if process is not None and process.poll() is None:
                process.send_signal(how)
                process.wait(40)


def receipts(settings: KafkaSettings, wanted: int, timeout_s: float) -> Counter[tuple[int, int]]:
    """What a plain read_committed consumer sees, by source, until no more come."""
    consumer = Consumer({
        "bootstrap.servers": settings.bootstrap, "group.id": "counter", "isolation.level": "read_committed",
        "enable.auto.commit": False})
    consumer.assign([TopicPartition(f"{settings.prefix}receipts", shard, 0) for shard in range(SHARDS)])
    found: Counter[tuple[int, int]] = Counter()
    last = time.monotonic()
    while time.monotonic() - last < (timeout_s if len(found) < wanted else 3):
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            receipt = CODEC.decode_as(Receipt, message.value())
            found[receipt.partition, receipt.offset] += 1
            last = time.monotonic()
    consumer.close()
    return found


@pytest.mark.timeout(900)
def test_every_process_killed_in_turn(tmp_path: Path) -> None:
    drill = Drill(tmp_path)
    try:
        drill.up()
        drill.send()
        time.sleep(3)
        for victim in VICTIMS:
            drill.kill(victim)
            time.sleep(2.5)
        assert drill.client is not None and drill.client.wait(600) == 0, (tmp_path / "client.log").read_text()
        accepted = drill.accepted()
        settings = drill.settings()
        found = receipts(settings, len(set(accepted)), 60)
        assert len(accepted) >= COUNT
        missing = [source for source in accepted if found[source] != 1]
        assert not missing, f"{len(missing)} of {len(accepted)} without exactly one receipt, such as {missing[:5]}"
        assert max(found.values()) == 1
        genesis = Genesis.parse(drill.genesis.read_bytes())
        log = KafkaLog(settings)
        try:
            feed = Feed(log, Audit.topics(PARTITIONS, SHARDS))
            report = Audit(feed, genesis, PARTITIONS, SHARDS, PyEvm(genesis.rules)).run()
        finally:
            log.close()
        assert report.identical, report.difference
        assert report.receipts == len(found)
    finally:
        drill.stop()
