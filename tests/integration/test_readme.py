"""The README's examples, as they stand there, against a pipeline that runs."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.config import load
from cluster.kafka import prepare
from cluster.supervisor import Supervisor

README = Path(__file__).parents[2] / "README.md"


def examples() -> list[str]:
    """The Python of the README, in order."""
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """The development chain, as `parsec up` runs it."""
    prepare()
    config = load(None, environment={}, flags={
        "cluster.data": tmp_path_factory.mktemp("readme"), "kafka.port": free_port(), "gateway.port": free_port()})
    with Supervisor(config) as supervisor:
        yield supervisor.start()


def test_the_examples_do_what_they_say(pipeline: Supervisor, capsys: pytest.CaptureFixture[str]) -> None:
    gateway = pipeline.config.gateway
    produce, subscribe, audit, contract, web3 = (
        block
        .replace("127.0.0.1:9092", pipeline.config.kafka.bootstrap)
        .replace("http://127.0.0.1:8545", f"http://{gateway.host}:{gateway.port}")
        for block in examples())

    def printed(block: str) -> str:
        exec(compile(block, str(README), "exec"), {})
        return capsys.readouterr().out

    stored = re.fullmatch(r"stored in partition \d at offset 0: (0x[0-9a-f]{64})\n", printed(produce))
    assert stored is not None
    assert printed(subscribe) == f"success {stored[1]} 1 21000 \n"
    assert printed(audit) == "identical 1 transactions\n"
    assert re.fullmatch(r"0x[0-9a-fA-F]{40} 5\n", printed(contract))
    assert printed(web3).splitlines() == ["52188 3", str(10_001 * 10**18)]
