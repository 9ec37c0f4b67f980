"""The example of a machine by somebody else: installed as a package, tested by its own tests, used in a chain."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from client import Client, ExecutionFailed, TransactionFailed
from executors import machines
from executors.evm import PyEvm
from ingest.accounts import development_accounts
from ledger.audit import Audit
from ledger.feed import Feed
from ledger.replay import LedgerLog
from schemas.errors import ConfigurationError
from streams.kafka import KafkaLog
from tests.broker_fixture import RunningBroker
from tests.e2e.test_command_wheel import uv
from tests.running_pipeline import genesis_file, running_pipeline

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "machine"
OWNER, PAYER, MEMBER = development_accounts(3)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package in a folder of its own, so that no environment keeps it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [uv(), "pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target", str(folder), str(PACKAGE)],
        capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return folder


def test_its_own_tests(installed: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(installed), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(PACKAGE), "-c", os.devnull,
         str(PACKAGE / "tests")], env={**os.environ, "PYTHONPATH": path}, cwd=tmp_path, capture_output=True, text=True,
        timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_a_chain_with_it(
    installed: Path, tmp_path: Path, broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed))  # for the services
    monkeypatch.syspath_prepend(str(installed))  # for this process
    file = genesis_file(tmp_path / "genesis.json", {"machines": ["lua/1", "wasm/1", "rules/1"]})
    with running_pipeline(broker.bootstrap, tmp_path / "data", genesis=file, executors=2, shards=2) as pipeline:
        settings, genesis = pipeline.config.settings, pipeline.config.read_genesis()
        with Client.connect(settings, genesis=genesis) as client:
            till = client.deploy(
                PACKAGE / "till.rules", OWNER, 1_000, machine="rules", constructor="constructor(uint256)",
                functions=["deposit()", "take(uint256)", "left(uint256 member) returns (uint256)"])
            till.send(PAYER, "deposit", value=5_000)
            till.send(MEMBER, "take", 600)
            assert till.call("left", int(MEMBER.address, 16)) == 400
            with pytest.raises(ExecutionFailed, match="execution reverted: over the limit"):
                till.send(MEMBER, "take", 401)
            with pytest.raises(TransactionFailed, match="failed: execution reverted: over the limit"):
                till.send(MEMBER, "take", 401, gas=200_000)
            assert client.balance(till) == 4_400
        log = LedgerLog(KafkaLog(settings), KafkaLog(settings, committed_only=False))
        with closing(log):
            partitions = pipeline.config.cluster.partitions
            feed = Feed(log, Audit.topics(partitions, 2))
            report = Audit(feed, genesis, partitions, 2, PyEvm(genesis.rules)).run()
    assert report.identical, report.difference
    assert report.transactions == 4


def test_a_process_without_it_says_what_is_missing() -> None:
    with pytest.raises(ConfigurationError, match=r"names the machine rules/9.*installed (are|is) "):
        machines.load(("rules/9",))
