"""Whether a broker can serve: not its port alone, but what the first clients need of it."""

import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import Unavailable

__all__ = ["await_ready", "port_open"]

_log = logging.getLogger(__name__)

_POLL_S: Final = 0.02
_METADATA_TIMEOUT_S: Final = 2.0
_ATTEMPT_S: Final = 0.15
"""A client waits a whole second after "coordinator load in progress"; a new one asks again at once."""

_ATTEMPT_GROWTH: Final = 1.5
_ATTEMPT_S_MAX: Final = 5.0
"""On a loaded machine an answer needs longer than the first attempts allow."""

_PROBE: Final = "parsec.readiness"
"""Transactional id and group of the probe. No record is ever written under it."""


def await_ready(host: str, port: int, *, cluster_id: str, timeout_s: float, alive: Callable[[], bool]) -> None:
    """Wait until a broker serves idempotent, transactional and group clients.

    1. The port is open and metadata come from the cluster that was started, not from a stranger on its port.
    2. A transactional producer gets its id: the transaction coordinator has made and loaded its topic.
    3. A group's offsets are answered: so has the group coordinator.

    Raises
    ------
    Unavailable
        Not within `timeout_s` seconds, or the broker's process ended (`alive` is False).
    """
    bootstrap = f"{host}:{port}"
    wait = _Wait(bootstrap, time.monotonic() + timeout_s, alive)
    wait.until("open port", lambda: port_open(host, port))
    wait.until("metadata", lambda: _answers(bootstrap, cluster_id))
    with ThreadPoolExecutor(2, "broker-probe") as pool:  # on new data each makes its topic, which takes a while
        steps = [
            pool.submit(wait.until, "transaction coordinator", _attempts(partial(_transactions, bootstrap))),
            pool.submit(wait.until, "group coordinator", _attempts(partial(_groups, bootstrap))),
        ]
    for step in steps:
        step.result()


def port_open(host: str, port: int) -> bool:
    """Whether something listens on a TCP port."""
    try:
        with socket.create_connection((host, port), _METADATA_TIMEOUT_S):
            return True
    except OSError:
        return False


class _Wait:
    """One deadline through all steps."""

    def __init__(self, where: str, deadline: float, alive: Callable[[], bool]) -> None:
        self._where, self._deadline, self._alive = where, deadline, alive
        self._begun = time.monotonic()

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        while not holds():
            if not self._alive():
                raise Unavailable(f"the broker's process ended: no {what} at {self._where}")
            if time.monotonic() >= self._deadline:
                raise Unavailable(f"no {what} at {self._where} within {time.monotonic() - self._begun:.0f} s")
            time.sleep(_POLL_S)
        _log.debug("%s after %.2f s", what, time.monotonic() - self._begun)


def _attempts(holds: Callable[[float], bool]) -> Callable[[], bool]:
    """Give each attempt more time than the one before."""
    limit_s = _ATTEMPT_S

    def attempt() -> bool:
        nonlocal limit_s
        allowed_s, limit_s = limit_s, min(limit_s * _ATTEMPT_GROWTH, _ATTEMPT_S_MAX)
        return holds(allowed_s)

    return attempt


def _client(bootstrap: str) -> dict[str, Any]:
    # A broker that starts refuses and closes connections: no news for a log.
    return {"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.ms": 20, "retry.backoff.ms": 20}


def _answers(bootstrap: str, cluster_id: str) -> bool:
    try:
        metadata = AdminClient(_client(bootstrap)).list_topics(timeout=_METADATA_TIMEOUT_S)
    except KafkaException:
        return False
    if metadata.cluster_id != cluster_id:
        raise Unavailable(f"{bootstrap} is answered by cluster {metadata.cluster_id}, not by {cluster_id}")
    return bool(metadata.brokers)


def _transactions(bootstrap: str, timeout_s: float) -> bool:
    producer = Producer(_client(bootstrap) | {"transactional.id": _PROBE})
    try:
        producer.init_transactions(timeout_s)
    except KafkaException:
        return False
    return True


def _groups(bootstrap: str, timeout_s: float) -> bool:
    consumer = Consumer(_client(bootstrap) | {"group.id": _PROBE})
    try:
        consumer.committed([TopicPartition(_PROBE, 0)], timeout=timeout_s)
    except KafkaException:
        return False
    finally:
        consumer.close()
    return True
