"""The embedded broker: starts, serves, keeps its data, and never outlives its parent."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # it has no __all__

from cluster.kafka import EmbeddedBroker
from cluster.kafka.lock import process_exists
from cluster.kafka.readiness import await_ready, port_open
from schemas.errors import ConfigurationError, Unavailable
from tests.broker_fixture import RunningBroker

pytestmark = pytest.mark.timeout(180)

_QUIET: dict[str, Any] = {"log_level": 0}

_PARENT = """
import sys, time
from pathlib import Path
from cluster.kafka import EmbeddedBroker
broker = EmbeddedBroker(Path(sys.argv[1]), port=0).start()
print(broker.pid, broker.port, flush=True)
time.sleep(120)
"""


def _eventually(holds: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def _make(bootstrap: str, topic: str, partitions: int = 1, **settings: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap} | _QUIET)
    admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result()
    _eventually(lambda: topic in admin.list_topics(timeout=5).topics)


def _write(bootstrap: str, topic: str, values: list[bytes]) -> None:
    failed: list[object] = []
    options = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "message.max.bytes": 9 * 1024 * 1024}
    producer = Producer(options | _QUIET)
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(30) == 0
    assert failed == []


def _read(bootstrap: str, topic: str, count: int, timeout_s: float = 20.0) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False} | _QUIET)
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[bytes] = []
    deadline = time.monotonic() + timeout_s
    while len(found) < count and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message.value() or b"")
    consumer.close()
    return found


def _cluster_id(bootstrap: str) -> str | None:
    cluster_id: str | None = AdminClient({"bootstrap.servers": bootstrap} | _QUIET).list_topics(timeout=10).cluster_id
    return cluster_id


@pytest.fixture
def own(tmp_path: Path, broker: RunningBroker) -> Iterator[EmbeddedBroker]:
    """A broker for this test alone, running."""
    if broker.embedded is None:
        pytest.skip("PARSEC_TEST_KAFKA names another cluster: the embedded broker isn't tested")
    with EmbeddedBroker(tmp_path / "data", port=0) as started:
        yield started


def test_serves(broker: RunningBroker, topic_prefix: str) -> None:
    topic = f"{topic_prefix}records"
    _make(broker.bootstrap, topic)
    values = [b"%d" % number for number in range(1000)]
    _write(broker.bootstrap, topic, values)
    assert _read(broker.bootstrap, topic, len(values)) == values


def test_the_largest_record_passes(broker: RunningBroker, topic_prefix: str) -> None:
    topic = f"{topic_prefix}large"
    _make(broker.bootstrap, topic)
    value = os.urandom(8 * 1024 * 1024)
    _write(broker.bootstrap, topic, [value])
    assert _read(broker.bootstrap, topic, 1) == [value]


def test_transactions_and_fast_groups(broker: RunningBroker, topic_prefix: str) -> None:
    """The pipeline's join: one transaction with a record and the group's offsets; sessions of 2 s are allowed."""
    topic = f"{topic_prefix}members"
    _make(broker.bootstrap, topic, 2)
    options = {
        "bootstrap.servers": broker.bootstrap,
        "group.id": f"{topic_prefix}executors",
        "session.timeout.ms": 2000,
        "heartbeat.interval.ms": 500,
        "enable.auto.commit": False,
    }
    consumer = Consumer(options | _QUIET)
    consumer.subscribe([topic])
    try:
        _eventually(lambda: (consumer.poll(0.1), consumer.assignment())[1])
        producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"{topic_prefix}join"} | _QUIET)
        producer.init_transactions(10)
        producer.begin_transaction()
        producer.produce(topic, b"join", partition=0)
        offsets = [TopicPartition(topic, 0, 1)]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 10)
        producer.commit_transaction(10)
        assert consumer.committed([TopicPartition(topic, 0)], timeout=10)[0].offset == 1
    finally:
        consumer.close()


def test_mistyped_topics_are_not_made(broker: RunningBroker, topic_prefix: str) -> None:
    if broker.embedded is None:
        pytest.skip("another cluster has its own mind about this")
    producer = Producer({"bootstrap.servers": broker.bootstrap, "message.timeout.ms": 1500} | _QUIET)
    producer.produce(f"{topic_prefix}mistyped", b"x")
    producer.flush(5)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap} | _QUIET)
    assert f"{topic_prefix}mistyped" not in admin.list_topics(timeout=5).topics


def test_only_on_the_loopback_interface(own: EmbeddedBroker) -> None:
    pid, tcp = own.pid, Path("/proc/net/tcp")
    if not tcp.exists():
        pytest.skip("there is no /proc/net/tcp to look at")
    sockets = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if os.path.islink(link)}
    listening = []
    for table in (tcp, Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                listening.append(words[1].rpartition(":")[0])
    # little-endian words of 127.0.0.1, by itself or within IPv6
    assert len(listening) == 2
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_a_port_that_is_taken(tmp_path: Path, broker: RunningBroker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with EmbeddedBroker(tmp_path / "data", port=port) as started:
            assert started.port != port
            assert _cluster_id(started.bootstrap) == started.cluster_id


def test_a_restart_keeps_the_data_on_any_port(own: EmbeddedBroker) -> None:
    first = own.port
    _make(own.bootstrap, "kept")
    _write(own.bootstrap, "kept", [b"one"])
    own.stop()
    assert not own.alive
    assert own.pid is None
    with socket.socket() as other:  # so that a different port comes out
        with contextlib.suppress(OSError):
            other.bind(("127.0.0.1", first))
        again = EmbeddedBroker(own.data, port=0)
        with again:
            assert again.port != first
            assert again.cluster_id == own.cluster_id == _cluster_id(again.bootstrap)
            _write(again.bootstrap, "kept", [b"two"])
            assert _read(again.bootstrap, "kept", 2) == [b"one", b"two"]


def test_a_killed_broker_is_seen_and_comes_back(own: EmbeddedBroker) -> None:
    _make(own.bootstrap, "kept")
    _write(own.bootstrap, "kept", [b"%d" % number for number in range(500)])
    killed, port = own.pid, own.port
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    _eventually(lambda: not own.alive)
    own.start()
    assert own.pid != killed
    assert own.port == port  # clients go on where they were
    _write(own.bootstrap, "kept", [b"after"])
    assert _read(own.bootstrap, "kept", 501) == [*(b"%d" % number for number in range(500)), b"after"]


def test_a_second_broker_on_the_same_data_is_refused(own: EmbeddedBroker) -> None:
    with pytest.raises(ConfigurationError, match=f"process {os.getpid()} runs a broker on .*data already"):
        EmbeddedBroker(own.data, port=0).start()
    assert own.alive
    assert _cluster_id(own.bootstrap) == own.cluster_id


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_orphan(tmp_path: Path, broker: RunningBroker, ending: signal.Signals) -> None:
    """However the parent ends, its broker ends as well."""
    line = [sys.executable, "-c", _PARENT, str(tmp_path / "data")]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        pid, port = (int(word) for word in parent.stdout.readline().split())
        assert port_open("127.0.0.1", port)
        parent.send_signal(ending)
        parent.wait(10)
    _eventually(lambda: not process_exists(pid))
    assert not port_open("127.0.0.1", port)


def test_a_hanging_broker_of_a_killed_parent(tmp_path: Path, broker: RunningBroker) -> None:
    """It is killed when its grace is over; a new start on the same data waits for that, without being told."""
    line = [sys.executable, "-c", _PARENT, str(tmp_path / "data")]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        pid, port = (int(word) for word in parent.stdout.readline().split())
        _make(f"127.0.0.1:{port}", "kept")
        _write(f"127.0.0.1:{port}", "kept", [b"before"])
        os.kill(pid, signal.SIGSTOP)
        parent.kill()
    with EmbeddedBroker(tmp_path / "data", port=0) as next_one:
        assert not process_exists(pid)
        _write(next_one.bootstrap, "kept", [b"after"])
        assert _read(next_one.bootstrap, "kept", 2) == [b"before", b"after"]


def test_a_start_that_fails_says_why(tmp_path: Path, broker: RunningBroker) -> None:
    with EmbeddedBroker(tmp_path / "data", port=0):
        pass
    meta = tmp_path / "data" / "kafka" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    failing = EmbeddedBroker(tmp_path / "data", port=0)
    with pytest.raises(Unavailable, match=r"(?s)process ended.*broker\.log:\n.*RuntimeException: Stored node id 7"):
        failing.start()
    assert failing.pid is None
    meta.write_text(meta.read_text().replace("node.id=7", "node.id=1"))
    with failing:  # the lock was given back
        assert failing.alive


def test_a_stranger_on_the_port_is_not_taken_for_ours(broker: RunningBroker) -> None:
    host, _, port = broker.bootstrap.rpartition(":")
    with pytest.raises(Unavailable, match="is answered by cluster .*, not by another"):
        await_ready(host, int(port), cluster_id="another", timeout_s=10, alive=lambda: True)


def test_waiting_has_an_end() -> None:
    with socket.socket() as silent:  # bound, not listening
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(Unavailable, match=f"no open port at 127.0.0.1:{port} within 0 s"):
            await_ready("127.0.0.1", port, cluster_id="x", timeout_s=0.2, alive=lambda: True)
        with pytest.raises(Unavailable, match="process ended"):
            await_ready("127.0.0.1", port, cluster_id="x", timeout_s=60, alive=lambda: False)


def test_a_folder_that_kafka_would_misread(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has a comma"):
        EmbeddedBroker(tmp_path / "one,two").start()
