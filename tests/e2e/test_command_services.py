"""Each service by its own command on a cluster that is there, as containers run them: no supervisor, no shared directory."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.genesis import DEVELOPMENT_ACCOUNTS
from tests.broker_fixture import RunningBroker

pytestmark = pytest.mark.timeout(300)

TO = "0x" + DEVELOPMENT_ACCOUNTS[9].hex()
NUMBERS = {"PARSEC_CLUSTER_SHARDS": "2", "PARSEC_CLUSTER_PARTITIONS": "3", "PARSEC_CLUSTER_EXECUTORS": ""}
SERVICES = {
    "shard-0": ("shard", "--shard", "0"),
    "shard-1": ("shard", "--shard", "1"),
    "sequencer": ("sequencer",),
    "standby": ("sequencer", "--patience-ms", "300"),
    "executor-0": ("executor", "--instance", "one"),
}


class Place:
    """A cluster, a prefix, and a directory for each service."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.where = ("--kafka", bootstrap, "--prefix", prefix)
        self.folder = folder
        self.environment = os.environ | NUMBERS
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cluster", *arguments, *self.where], capture_output=True, text=True, timeout=120,
            check=False, env=self.environment, cwd=self.folder)

    def start(self, name: str) -> None:
        own = self.folder / name
        own.mkdir(exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "cluster", *SERVICES[name], *self.where, "--data", str(own)], env=self.environment,
                cwd=own, stdout=log, stderr=log)

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(30)


@pytest.fixture(scope="module")
def place(broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(broker.bootstrap, f"services{os.getpid()}.", tmp_path_factory.mktemp("services"))
    yield made
    for name in list(made.running):
        made.stop(name, signal.SIGKILL)


def sent(place: Place, nonce: int) -> str:
    raw = subprocess.run(
        [sys.executable, "-m", "cluster", "account", "sign", "--from", "dev:0", "--to", TO, "--nonce", str(nonce)],
        capture_output=True, text=True, timeout=60, check=True, cwd=place.folder).stdout.strip()
    done = place.command("send", raw, "--wait", "--json", "--timeout", "60")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["status"])


def test_before_the_topics_are_there_nobody_guesses(place: Place) -> None:
    done = place.command("status")
    assert done.returncode == 2
    assert f"has no topic {place.where[-1]}transactions" in done.stderr
    assert "parsec topics" in done.stderr


def test_topics_are_made_once_and_checked_after_that(place: Place) -> None:
    first, second = place.command("topics", "--json"), place.command("topics", "--json")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    made = {line["name"]: line for line in map(json.loads, first.stdout.splitlines())}
    assert made[f"{place.where[-1]}transactions"]["partitions"] == 3
    assert made[f"{place.where[-1]}receipts"]["partitions"] == 2
    assert first.stdout == second.stdout
    refused = place.command("topics", "--shards", "3")
    assert refused.returncode == 2
    assert "it has 2 partitions, needed are exactly 3" in refused.stderr


def test_services_that_start_alone_find_each_other(place: Place) -> None:
    for name in SERVICES:
        place.start(name)
    assert sent(place, 0) == "success"
    status = json.loads(place.command("status", "--json").stdout)
    assert len(status["partitions"]) == 3
    assert [shard["problem"] for shard in status["shards"]] == ["", ""]


def test_a_standby_takes_over(place: Place) -> None:
    assert place.stop("sequencer", signal.SIGKILL) == -signal.SIGKILL
    assert sent(place, 1) == "success"


def test_a_shard_that_comes_back_has_another_address_and_is_found(place: Place) -> None:
    assert place.stop("shard-1") == 0
    status = json.loads(place.command("status", "--json").stdout)
    assert len(status["problems"]) == 1
    assert status["problems"][0].startswith("shard 1 does not answer")
    place.start("shard-1")
    assert sent(place, 2) == "success"


def test_a_service_with_other_numbers_is_refused_for_good(place: Place) -> None:
    """Another N makes another chain: the exit status says that it makes no sense to start it again."""
    own = place.folder / "stranger"
    own.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "cluster", "shard", "--shard", "0", "--partitions", "5", *place.where, "--data", str(own)],
        capture_output=True, text=True, timeout=60, check=False, env=place.environment)
    assert done.returncode == 2, done.stderr
    assert "number of partitions" in done.stderr
    done = place.command("shard", "--shard", "2", "--data", str(own))
    assert done.returncode == 2
    assert "shard 2: there are 2, from 0" in done.stderr


def test_every_service_ends_well_when_it_is_asked_to(place: Place) -> None:
    assert {name: place.stop(name) for name in list(place.running)} == dict.fromkeys(
        ["shard-0", "standby", "executor-0", "shard-1"], 0)


def test_what_is_over_answers_soon(place: Place) -> None:
    began = time.monotonic()
    status = json.loads(place.command("status", "--json").stdout)
    assert sum(problem.startswith("shard ") for problem in status["problems"]) == 2
    assert time.monotonic() - began < 20
    audit = place.command("audit")
    assert (audit.returncode, audit.stdout.splitlines()[-1]) == (0, "identical")
