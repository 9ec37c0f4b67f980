"""Apache Kafka's official image under Testcontainers, whose own class knows another vendor's image only."""

import io
import os
import tarfile
import time
from collections.abc import Mapping
from typing import Final

import docker  # type: ignore[import-untyped]  # it has no types
import docker.errors  # type: ignore[import-untyped]
import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

IMAGE: Final = "apache/kafka:4.1.0"

_CLIENTS: Final = 9092
_CONTROLLER: Final = 9093
_INSIDE: Final = 19092
_SCRIPT: Final = "/tmp/start-kafka.sh"
_STARTED: Final = "Kafka Server started"
_PING_TIMEOUT_S: Final = 5
_READY_TIMEOUT_S: Final = 60

_ONE_NODE: Final[Mapping[str, str]] = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@localhost:{_CONTROLLER}",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
    "KAFKA_LISTENERS": f"CLIENTS://:{_CLIENTS},INSIDE://:{_INSIDE},CONTROLLER://:{_CONTROLLER}",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CLIENTS:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_MESSAGE_MAX_BYTES": str(8 * 1024 * 1024 + 64 * 1024),
    "KAFKA_HEAP_OPTS": "-Xmx512m",
}


class KafkaContainer(DockerContainer):
    """One node of Kafka on a port that Docker chooses.

    The broker has to advertise that port, which is known only once the container runs. So the container first waits
    for a script, and the script is put there with the port in it.
    """

    def __init__(self, image: str = IMAGE) -> None:
        super().__init__(image)
        self.with_exposed_ports(_CLIENTS)
        self.with_envs(**_ONE_NODE)
        self.with_command(["sh", "-c", f"until [ -f {_SCRIPT} ]; do sleep 0.1; done; exec sh {_SCRIPT}"])

    @property
    def bootstrap(self) -> str:
        """What clients take as ``bootstrap.servers``."""
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(_CLIENTS)}"

    def start(self) -> "KafkaContainer":
        """Start it, and wait until the broker says that it has started."""
        super().start()
        advertised = f"CLIENTS://{self.bootstrap},INSIDE://localhost:{_INSIDE}"
        self._put(f"export KAFKA_ADVERTISED_LISTENERS={advertised}\nexec /etc/kafka/docker/run\n".encode())
        LogMessageWaitStrategy(_STARTED).with_startup_timeout(_READY_TIMEOUT_S).wait_until_ready(self)
        return self

    def _put(self, script: bytes) -> None:
        """Put the script into the container in one step: its name appears with the archive."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo(_SCRIPT.lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(script), 0o755, int(time.time())
            archive.addfile(entry, io.BytesIO(script))
        self.get_wrapped_container().put_archive("/", packed.getvalue())


def require_image(image: str = IMAGE) -> None:
    """Skip the test where Docker doesn't answer or the image can't be had; fail it where ``REQUIRE_DOCKER=1``."""
    reason = _missing(image)
    if reason is None:
        # The container that cleans up after killed test runs is an image of its own; it isn't what is tested.
        if _missing(testcontainers_config.ryuk_image) is not None:
            testcontainers_config.ryuk_disabled = True
        return
    if os.environ.get("REQUIRE_DOCKER") == "1":
        pytest.fail(f"REQUIRE_DOCKER=1, but {reason}")
    pytest.skip(reason)


def _missing(image: str) -> str | None:
    """Why an image can't be run; None where it can."""
    try:
        client = docker.from_env(timeout=_PING_TIMEOUT_S)
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        return f"no Docker daemon answers: {error}"
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        client.api.timeout = _READY_TIMEOUT_S
        try:
            client.images.pull(image)
        except (docker.errors.DockerException, OSError) as error:
            return f"the image {image} is not there and can't be pulled: {error}"
    finally:
        client.close()
    return None
