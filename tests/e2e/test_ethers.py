"""ethers against the gateway: deploy, pay, call, read logs, see why a call reverts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cluster.config import load
from cluster.supervisor import Supervisor
from tests.broker_fixture import RunningBroker
from tests.integration.test_readme import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with its library, in a folder of its own."""

    def missing(reason: str) -> None:
        if os.environ.get("REQUIRE_NODE"):
            pytest.fail(reason)
        pytest.skip(reason)

    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("node and npm aren't installed")
    examples = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "examples" / "contracts" / "artifacts", examples / "contracts" / "artifacts")
    shutil.copytree(ROOT / "examples" / "ethers", examples / "ethers")
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=examples / "ethers", capture_output=True, text=True)
    if done.returncode:
        missing(f"npm cannot install ethers: {done.stderr[-300:]}")
    return examples / "ethers" / "token.mjs"


@pytest.mark.timeout(240)
def test_the_example(script: Path, tmp_path: Path, broker: RunningBroker, topic_prefix: str) -> None:
    config = load(None, environment={}, flags={
        "cluster.data": tmp_path, "kafka.bootstrap": broker.bootstrap, "kafka.prefix": topic_prefix,
        "gateway.port": free_port()})
    with Supervisor(config) as pipeline:
        pipeline.start()
        gateway = pipeline.config.gateway
        done = subprocess.run(
            ["node", str(script), f"http://{gateway.host}:{gateway.port}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert lines["token"].startswith("0x")
    assert lines["transfer"].startswith("1 block ")
    assert lines["balance"] == lines["log"] == str(25 * 10**18)
    assert "insufficient balance" in lines["revert"]
