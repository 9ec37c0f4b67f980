"""The demonstration as a subprocess, smaller than users see it: it proves itself, fails where it has to, and leaves nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.kafka import prepare
from cluster.kafka.lock import process_exists

ROOT = Path(__file__).resolve().parents[2]
PAYMENTS, SWAPS = 600, 60
TIMEOUT_S = 300

RUN = """
import sys
from pathlib import Path
from cluster.config import load
from cluster.demo import run, scenario
{before}
config = load(None, flags={{"cluster.data": Path(sys.argv[1])}})
sys.exit(run(config, None, payments={payments}, swaps={swaps}, {options}))
"""

FORGED = """
from cluster.demo.flow import Flow
from schemas.topics import receipts
from streams.kafka import KafkaLog
settle = Flow.settle

def forge(flow):
    # The newest receipt of shard 0 once more: what a shard that publishes twice would do.
    settle(flow)
    reader, found = KafkaLog(flow._log._settings), []
    reader.follow({receipts(0): 0})
    while not found:
        found = reader.poll(0.1)
    reader.append(receipts(0), found[-1].value, key=found[-1].key)
    reader.close()

Flow.settle = forge
"""

ANOTHER_AUDITOR = """
# An auditor to whom one transaction of the market cost one gas more than the log says.
from executors.evm import PyEvm
from dataclasses import replace

class Dear(PyEvm):
    def execute(self, transaction, block, view):
        answer = super().execute(transaction, block, view)
        return replace(answer, gas_used=answer.gas_used + 1) if transaction.nonce == 5 else answer

scenario.PyEvm = Dear
"""


@pytest.fixture(scope="module", autouse=True)
def _jars() -> None:
    """Whatever a machine fetches once is not part of the demonstration."""
    prepare()


def start(data: Path, options: str, before: str = "", payments: int = PAYMENTS, swaps: int = SWAPS) -> subprocess.Popen:
    script = RUN.format(before=before, options=options, payments=payments, swaps=swaps)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(data)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=data.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True)


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    return process.returncode, out, err


def named(data: Path) -> list[int]:
    """Processes whose command line or working directory names the data directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            told = (entry / "cmdline").read_bytes().decode(errors="replace") + os.readlink(entry / "cwd")
        except OSError:
            continue
        if str(data) in told:
            found.append(int(entry.name))
    return found


def none_left(data: Path) -> None:
    if not Path("/proc").is_dir():
        return
    deadline = time.monotonic() + 10
    while (left := named(data)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def test_all_holds_though_processes_are_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    status, out, err = finish(start(data, "json_output=False"))
    assert status == 0, out + err
    last = out.strip().splitlines()[-1]
    found = re.fullmatch(r"demo ok: (\d+) transactions, (\d+) receipts, supply conserved, audit identical", last)
    assert found is not None, last
    assert found[1] == found[2]
    assert int(found[1]) > 2 * (PAYMENTS + SWAPS)
    assert "killed executor-0 (SIGKILL)" in out
    assert "killed shard-1 (SIGKILL)" in out
    assert not (data / "demo").exists()
    none_left(data)


def test_it_holds_without_routing_and_tells_machines(tmp_path: Path) -> None:
    data = tmp_path / "data"
    status, out, err = finish(start(data, "json_output=True, scramble=True, keep=True"))
    assert status == 0, out + err
    document = json.loads(out)
    assert document["ok"] is True
    assert document["transactions"] == document["receipts"] == document["audit"]["transactions"]
    assert document["audit"]["identical"] is True
    assert document["epochs_parallel"] > 0
    assert document["carried"] > 0
    assert document["lanes_repaired"] > 0
    assert document["waited_for_nonce"] > 0, "a sender's transactions came on several partitions"
    assert set(document["votes"]) == {"0", "1"}
    killed = [kill["process"] for part in document["rounds"] for kill in part["killed"]]
    assert killed == ["executor-0", "shard-1"]
    assert (data / "demo" / "logs" / "executor-0.log").is_file(), "it was to be kept"
    none_left(data)


@pytest.mark.parametrize(("before", "reason"), [
    (FORGED, r"offset \d+ has 2 receipts"),
    (ANOTHER_AUDITOR, r"the audit found a difference: .*gas"),
], ids=["receipt twice", "audit differs"])
def test_what_is_off_is_said(tmp_path: Path, before: str, reason: str) -> None:
    data = tmp_path / "data"
    status, out, err = finish(start(data, "json_output=False", before, payments=300, swaps=60))
    assert status == 1, out + err
    assert "demo ok" not in out
    assert re.search(reason, err), err
    assert (data / "demo" / "logs").is_dir(), "the logs stay where something failed"
    none_left(data)


def test_impossible_numbers_are_refused(tmp_path: Path) -> None:
    status, out, err = finish(start(tmp_path / "data", "json_output=True", payments=0))
    assert status == 1
    assert json.loads(out)["ok"] is False
    assert "0 payments" in json.loads(out)["reason"]
    assert "0 payments" in err


def test_an_interrupt_cleans_up(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = start(data, "json_output=False")
    try:
        for line in process.stdout:  # in the middle of it: everything runs
            if line.startswith("first round"):
                break
        pids = named(data)
        assert len(pids) >= 6, "broker, executors, shards and sequencer"
        process.send_signal(signal.SIGINT)
    finally:
        status, _, _ = finish(process)
    assert status not in (0, 1)
    assert not (data / "demo").exists()
    none_left(data)
    assert not any(process_exists(pid) for pid in pids)
