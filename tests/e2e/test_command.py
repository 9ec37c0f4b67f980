"""The command as people use it: start everything, send, read, look, kill a process, stop, start again, audit."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster.kafka import prepare
from cluster.kafka.lock import process_exists
from schemas.genesis import DEVELOPMENT_ACCOUNTS

pytestmark = pytest.mark.timeout(400)

TO = "0x" + DEVELOPMENT_ACCOUNTS[9].hex()
READY_S = 120.0
EXAMPLE = Path(__file__).parents[2] / "examples" / "produce_and_read.py"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass(slots=True)
class Up:
    """A ``parsec up`` in a process of its own."""

    data: Path
    port: int
    process: subprocess.Popen[str] = field(init=False)
    ready: dict[str, Any] = field(init=False)

    def start(self) -> None:
        arguments = ["up", "--data", str(self.data), "--port", str(self.port), "--executors", "2", "--json"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cluster", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.data.parent)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended: {self.process.communicate()[1]}"
        self.ready = json.loads(line)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Stop it; what it said on standard error."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        return str(said)

    def run(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Another command on the same data."""
        return subprocess.run(
            [sys.executable, "-m", "cluster", *arguments, "--data", str(self.data)], input=text, capture_output=True,
            text=True, timeout=120, check=False, cwd=self.data.parent)

    def json(self, *arguments: str, text: str | None = None) -> list[dict[str, Any]]:
        done = self.run(*arguments, "--json", text=text)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def signed(self, sender: str, nonce: int, value: str = "0.5ether") -> str:
        done = self.run("account", "sign", "--from", sender, "--to", TO, "--value", value, "--nonce", str(nonce))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    prepare()
    running = Up(tmp_path_factory.mktemp("command") / "data", free_port())
    running.start()
    yield running
    if running.process.poll() is None:
        running.stop()


def test_a_transfer_from_the_shell(up: Up) -> None:
    sent = up.run("send", "-", "--wait", text=up.signed("dev:0", 0) + "\n")
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout.startswith("success ")
    assert sent.stderr == ""
    # The nonce of the next one comes from the shards.
    raw = up.run("account", "sign", "--from", "dev:0", "--to", TO, "--value", "1").stdout.strip()
    (receipt,) = up.json("send", raw, "--wait")
    assert (receipt["status"], receipt["nonce"]) == ("success", 1)


def test_a_file_of_transactions_with_some_that_are_wrong(up: Up, tmp_path: Path) -> None:
    good = [up.signed("dev:1", nonce) for nonce in range(2)]
    file = tmp_path / "transactions"
    file.write_text(f"# two payments\n{good[0]}\n\nzz\n0x03c0\n{good[1]}\n")
    done = up.run("send", str(file))
    assert done.returncode == 1
    places = [line.split() for line in done.stdout.splitlines()]
    assert [len(place) for place in places] == [3, 3]
    assert "line 4: not sent: 'zz' is not hexadecimal" in done.stderr
    assert "line 5: not sent: blob transactions (type 3) are not supported" in done.stderr
    again = up.run("send", good[0], "--wait")
    assert again.returncode == 1
    assert "rejected" in again.stdout
    assert "nonce too low" in again.stdout


def test_receipts_are_filtered(up: Up) -> None:
    (placed,) = up.json("send", up.signed("dev:2", 0))
    (receipt,) = up.json("send", up.signed("dev:2", 1), "--wait")
    every = up.json("receipts")
    assert {(each["partition"], each["offset"]) for each in every} >= {(placed["partition"], placed["offset"])}
    sender = "0x" + DEVELOPMENT_ACCOUNTS[2].hex()
    assert [each["nonce"] for each in sorted(up.json("receipts", "--address", sender), key=lambda each: each["nonce"])] == [0, 1]
    assert up.json("receipts", "--hash", placed["hash"])[0]["status"] == "success"
    assert all(each["epoch"] >= receipt["epoch"] for each in up.json("receipts", "--from-epoch", str(receipt["epoch"])))
    assert len(up.json("receipts", "--limit", "2")) == 2
    assert up.json("receipts", "--hash", "0x" + "00" * 32) == []


def test_receipts_are_followed(up: Up) -> None:
    follow = subprocess.Popen(
        [sys.executable, "-m", "cluster", "receipts", "--follow", "--limit", "1", "--json", "--data", str(up.data),
         "--address", "0x" + DEVELOPMENT_ACCOUNTS[3].hex()], stdout=subprocess.PIPE, text=True)
    try:
        nonce = 0
        deadline = time.monotonic() + 60
        while follow.poll() is None and time.monotonic() < deadline:  # it may not have begun to listen yet
            up.run("send", up.signed("dev:3", nonce), "--wait")
            nonce += 1
        assert json.loads(follow.communicate(timeout=5)[0])["status"] == "success"
    finally:
        follow.kill()


def test_the_status_tells_what_happened(up: Up) -> None:
    (receipt,) = up.json("send", up.signed("dev:4", 0), "--wait")
    (status,) = up.json("status")
    assert status["problems"] == []
    assert status["executors"] == 2
    assert status["block"] >= receipt["block"]
    assert status["lag"] == 0
    assert sum(each["end"] for each in status["partitions"]) == len(up.json("receipts"))
    assert [each["shard"] for each in status["shards"]] == [0, 1]
    assert all(each["applied"] >= receipt["epoch"] for each in status["shards"])
    assert status["rates"]["included"] >= 1
    text = up.run("status")
    assert "\x1b" not in text.stdout
    assert f"block {status['block']}" in text.stdout


def test_the_rpc_answers_where_the_banner_says(up: Up) -> None:
    import urllib.request

    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}).encode()
    request = urllib.request.Request(up.ready["rpc"], body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert int(json.load(answer)["result"], 16) == up.ready["chain_id"] == 52188


def test_thirty_lines_with_kafka_and_avro_alone(up: Up) -> None:
    """The example has its own idea of names and encodings, and gets its receipt."""
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) <= 30
    imported = {line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imported - set(sys.stdlib_module_names) == {"confluent_kafka", "fastavro"}
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for nonce, expected in ((0, "success in block "), (0, "rejected in block None nonce too low")):
        done = subprocess.run(
            [sys.executable, str(EXAMPLE), up.ready["kafka"], up.signed("dev:5", nonce)], capture_output=True, text=True,
            timeout=60, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        stored, result = done.stdout.splitlines()
        assert stored.startswith("stored at 0 ")
        assert result.startswith(expected)


def test_a_killed_service_is_started_again(up: Up) -> None:
    victim = int((up.data / "executor-0.pid").read_text())
    os.kill(victim, signal.SIGKILL)
    (receipt,) = up.json("send", up.signed("dev:6", 0), "--wait", "--timeout", "90")
    assert receipt["status"] == "success"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if int((up.data / "executor-0.pid").read_text()) != victim:
                return
        except (OSError, ValueError):
            time.sleep(0.1)
    pytest.fail("executor-0 was not started again")


def test_a_second_one_on_the_same_data_is_refused(up: Up) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cluster", "up", "--data", str(up.data), "--port", str(free_port())], capture_output=True,
        text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert str(up.data) in done.stderr
    assert "Traceback" not in done.stderr
    assert up.run("status").returncode == 0, "the first one still runs, and is found"


def test_it_stops_with_one_line_starts_again_and_passes_the_audit(up: Up) -> None:
    """Last in this file: the same data twice."""
    before = up.json("receipts")
    pids = [int(path.read_text()) for path in up.data.glob("*.pid")]
    said = up.stop(signal.SIGTERM)
    assert up.process.returncode == 0
    assert said.splitlines()[-2:] == ["stopping", "stopped"]
    assert "executor-0 was started again" in said
    assert "Traceback" not in said
    assert len(pids) >= 6
    assert not [pid for pid in pids if process_exists(pid)]
    assert up.run("status").returncode == 2
    up.start()
    assert up.json("receipts") == before
    (receipt,) = up.json("send", up.signed("dev:7", 0), "--wait", "--timeout", "60")
    assert receipt["status"] == "success"
    (report,) = up.json("audit")
    assert report["difference"] == ""
    assert report["receipts"] == len(before) + 1
    said = up.stop(signal.SIGINT)
    assert (up.process.returncode, said.splitlines()[-1]) == (0, "stopped")
