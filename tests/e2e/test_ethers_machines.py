"""ethers with a Lua contract: the transaction that deployed it, its block, calls, logs and reasons."""

import shutil
import subprocess
from pathlib import Path

import pytest

from client import Client
from cluster.config import load
from cluster.supervisor import Supervisor
from ingest.accounts import development_accounts
from tests.broker_fixture import RunningBroker
from tests.e2e.test_ethers import script  # noqa: F401 (the library, in a folder of its own)
from tests.integration.test_readme import free_port

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_a_contract_in_lua(script: Path, tmp_path: Path, broker: RunningBroker, topic_prefix: str) -> None:  # noqa: F811
    program = shutil.copy(ROOT / "tests" / "e2e" / "machines.mjs", script.parent)
    config = load(None, environment={}, flags={
        "cluster.data": tmp_path, "kafka.bootstrap": broker.bootstrap, "kafka.prefix": topic_prefix,
        "gateway.port": free_port()})
    owner, *_ = development_accounts(1)
    with Supervisor(config) as pipeline:
        pipeline.start()
        gateway = pipeline.config.gateway
        with Client.connect(pipeline.config.settings) as client:
            token = client.deploy(ROOT / "examples" / "lua" / "token.lua", owner, "Example", "EXM", 18, 10**24)
        assert token.receipt is not None
        done = subprocess.run(
            ["node", program, f"http://{gateway.host}:{gateway.port}", token.address, f"0x{token.receipt.hash.hex()}"],
            capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "transaction 80 true null", "receipt 1 80 true", "block 80", "transfer 1 balance 11", "log 11",
        "revert Token: insufficient balance"]
