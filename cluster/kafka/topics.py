"""The topics that the protocol needs: their settings, making them, and refusing ones that would break it."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it imports them without exporting them
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from cluster.kafka.settings import BATCH_OVERHEAD_BYTES
from schemas.errors import ConfigurationError, ParsecError, TopicRefused, Unavailable
from schemas.topics import RECORD_BYTES_MAX, TopicName

__all__ = ["FOREVER_MS", "KEPT_MS", "TopicSpec", "broker_count", "ensure_topics", "replication_for", "topic_specs"]

_log = logging.getLogger(__name__)

FOREVER_MS: Final = -1
"""Kafka's way of saying that nothing is deleted by age."""

KEPT_MS: Final = 7 * 24 * 3600 * 1000
"""How long votes and outcomes are kept, unless a setting says otherwise."""

TRANSACTION_BYTES_MAX: Final = 1024 * 1024
"""The largest transaction in its envelope."""

_REPLICATION_MAX: Final = 3
_POLL_S: Final = 0.1
_REQUEST_TIMEOUT_S: Final = 10.0

_OPERATOR_ERRORS: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.POLICY_VIOLATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
        KafkaError._INVALID_ARG,
    }
)
"""What waiting doesn't cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """What the protocol asks of a topic."""

    name: str
    """With the prefix."""
    partitions: int
    """Exactly so many."""
    max_message_bytes: int
    """At least."""
    replication: int
    """Copies of each partition, at least."""
    min_insync_replicas: int
    """Copies that have a record before it is acknowledged, at least."""
    retention_ms: int = FOREVER_MS
    """At least; :data:`FOREVER_MS` for ever."""
    cleanup: str = "delete"
    """Never with `compact`: a log of which records are missing can't be replayed."""

    def settings(self) -> dict[str, str]:
        """The settings of Kafka to make it with."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "retention.bytes": "-1",
            "max.message.bytes": str(self.max_message_bytes),
            "min.insync.replicas": str(self.min_insync_replicas),
            "unclean.leader.election.enable": "false",
        }

    def problems(self, settings: Mapping[str, str]) -> list[str]:
        """What is wrong with the settings of an existing topic: name, value, need.

        A setting that isn't there is one that this kind of broker doesn't have.
        """
        checks: tuple[tuple[str, Callable[[str], bool], str], ...] = (
            ("cleanup.policy", lambda found: "compact" not in found, f"{self.cleanup}, without compact"),
            ("retention.ms", self._keeps, "-1 (for ever)" if self._forever else f"at least {self.retention_ms}, or -1"),
            ("retention.bytes", lambda found: int(found) < 0, "-1 (no limit)"),
            ("unclean.leader.election.enable", lambda found: found == "false", "false"),
            (
                "min.insync.replicas",
                lambda found: int(found) >= self.min_insync_replicas,
                f"at least {self.min_insync_replicas}",
            ),
            (
                "max.message.bytes",
                lambda found: int(found) >= self.max_message_bytes,
                f"at least {self.max_message_bytes}",
            ),
        )
        return [
            f"{self.name}: {setting} is {settings[setting]}, needed is {need}"
            for setting, good, need in checks
            if setting in settings and not good(settings[setting])
        ]

    @property
    def _forever(self) -> bool:
        return self.retention_ms == FOREVER_MS

    def _keeps(self, found: str) -> bool:
        return int(found) == FOREVER_MS or (not self._forever and int(found) >= self.retention_ms)


def replication_for(brokers: int) -> int:
    """How many copies of each partition a cluster of so many brokers can hold; three are enough."""
    return max(1, min(_REPLICATION_MAX, brokers))


def topic_specs(
    prefix: str,
    partitions: int,
    shards: int,
    *,
    replication: int,
    kept_ms: int = KEPT_MS,
    transaction_bytes_max: int = TRANSACTION_BYTES_MAX,
) -> list[TopicSpec]:
    """The topics of the protocol, in the order in which a transaction passes them.

    Parameters
    ----------
    prefix
        Stands before every name.
    partitions
        N, the number of partitions of transactions.
    shards
        M, the number of state shards.
    replication
        Copies of each partition, see :func:`replication_for`. From three on, two have to have a record before it is
        acknowledged.
    kept_ms
        How long votes and outcomes are kept, in milliseconds. All else is the ledger or what vouches for it, and stays.
    transaction_bytes_max
        The largest transaction in its envelope, in bytes.
    """
    # A carried transaction takes its origin along, a dead letter its reason.
    small = transaction_bytes_max + BATCH_OVERHEAD_BYTES
    medium = small + BATCH_OVERHEAD_BYTES
    large = RECORD_BYTES_MAX + BATCH_OVERHEAD_BYTES
    table = (
        (TopicName.TRANSACTIONS, partitions, small, FOREVER_MS),
        (TopicName.CARRIES, partitions, medium, FOREVER_MS),
        (TopicName.EPOCHS, 1, large, FOREVER_MS),
        (TopicName.MEMBERS, 1, small, FOREVER_MS),
        (TopicName.PREPARES, shards, large, FOREVER_MS),
        (TopicName.VOTES, 1, large, kept_ms),
        (TopicName.OUTCOMES, 1, large, kept_ms),
        (TopicName.RECEIPTS, shards, large, FOREVER_MS),
        (TopicName.DEADLETTERS, 1, medium, FOREVER_MS),
    )
    return [
        TopicSpec(
            name=f"{prefix}{name}",
            partitions=number,
            max_message_bytes=size,
            retention_ms=retention_ms,
            replication=replication,
            min_insync_replicas=2 if replication >= _REPLICATION_MAX else 1,
        )
        for name, number, size, retention_ms in table
    ]


def broker_count(cluster: str | Mapping[str, Any]) -> int:
    """Number of brokers of a cluster that are up.

    Raises
    ------
    Unavailable, ConfigurationError
        It doesn't answer, or doesn't let us in.
    """
    try:
        return len(_admin(cluster).list_topics(timeout=_REQUEST_TIMEOUT_S).brokers)
    except KafkaException as error:
        raise _translated("the cluster doesn't tell its brokers", error) from error


def ensure_topics(cluster: str | Mapping[str, Any], specs: Sequence[TopicSpec], *, timeout_s: float = 30.0) -> None:
    """Have all topics, with settings that the protocol can live with.

    1. Make the ones that are missing. Another process that makes them at the same time does no harm.
    2. Wait until every partition has a leader.
    3. Check all of them, the new ones too: another process may have made them with other settings.

    Existing topics are never changed.

    Parameters
    ----------
    cluster
        ``host:port,…``, or librdkafka's options of a client, with security.
    specs
        What is needed.
    timeout_s
        For the whole of it.

    Raises
    ------
    TopicRefused
        One or more existing topics have other partitions or dangerous settings; all of them are named.
    ConfigurationError
        The cluster refuses to make a topic.
    Unavailable
        It doesn't answer in time.
    """
    deadline = time.monotonic() + timeout_s
    admin = _admin(cluster)
    try:
        _create(admin, [spec for spec in specs if spec.name not in _topics(admin, deadline)], deadline)
        topics = _with_leaders(admin, specs, deadline)
        settings = _settings(admin, specs, deadline)
    except KafkaException as error:
        raise _translated("the topics can't be looked after", error) from error
    problems = [problem for spec in specs for problem in _shape(spec, topics[spec.name])]
    problems += [problem for spec in specs for problem in spec.problems(settings[spec.name])]
    if problems:
        raise TopicRefused("topics with settings that would break the protocol:\n" + "\n".join(problems))


def _admin(cluster: str | Mapping[str, Any]) -> AdminClient:
    options: dict[str, Any] = {"bootstrap.servers": cluster} if isinstance(cluster, str) else dict(cluster)
    try:
        return AdminClient(options)
    except KafkaException as error:
        raise ConfigurationError(f"the options of the Kafka client are wrong: {error}") from error


def _left(deadline: float) -> float:
    """Seconds for the next request."""
    return max(_POLL_S, min(_REQUEST_TIMEOUT_S, deadline - time.monotonic()))


def _topics(admin: AdminClient, deadline: float) -> dict[str, TopicMetadata]:
    # Of all topics: asking for one by name makes it where the broker creates topics by itself.
    return admin.list_topics(timeout=_left(deadline)).topics


def _create(admin: AdminClient, missing: Sequence[TopicSpec], deadline: float) -> None:
    if not missing:
        return
    new = [
        NewTopic(spec.name, num_partitions=spec.partitions, replication_factor=spec.replication, config=spec.settings())
        for spec in missing
    ]
    refused: list[ParsecError] = []
    for name, future in admin.create_topics(new, request_timeout=_left(deadline)).items():
        try:
            future.result()
            _log.info("made topic %s", name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                refused.append(_translated(name, error))
    if refused:
        what = "topics can't be made:\n" + "\n".join(map(str, refused))
        final = any(isinstance(error, ConfigurationError) for error in refused)
        raise ConfigurationError(what) if final else Unavailable(what)


def _with_leaders(admin: AdminClient, specs: Sequence[TopicSpec], deadline: float) -> dict[str, TopicMetadata]:
    while True:
        topics = _topics(admin, deadline)
        waiting = [spec.name for spec in specs if spec.name not in topics or not _led(topics[spec.name])]
        if not waiting:
            return topics
        if time.monotonic() >= deadline:
            raise Unavailable(f"these topics have partitions without a leader: {', '.join(waiting)}")
        time.sleep(_POLL_S)


def _led(topic: TopicMetadata) -> bool:
    return bool(topic.partitions) and all(partition.leader >= 0 for partition in topic.partitions.values())


def _settings(admin: AdminClient, specs: Iterable[TopicSpec], deadline: float) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs]
    described = admin.describe_configs(resources, request_timeout=_left(deadline))
    return {
        resource.name: {name: entry.value for name, entry in future.result().items() if entry.value is not None}
        for resource, future in described.items()
    }


def _shape(spec: TopicSpec, topic: TopicMetadata) -> list[str]:
    """What is wrong with the number of partitions and of copies."""
    problems = []
    if len(topic.partitions) != spec.partitions:
        problems.append(f"{spec.name}: it has {len(topic.partitions)} partitions, needed are exactly {spec.partitions}")
    copies = min(len(partition.replicas) for partition in topic.partitions.values())
    if copies < spec.replication:
        problems.append(f"{spec.name}: replication factor is {copies}, needed is at least {spec.replication}")
    return problems


def _translated(what: str, error: KafkaException) -> ParsecError:
    cause: KafkaError = error.args[0]
    message = f"{what}: {cause.str()} ({cause.name()})"
    return ConfigurationError(message) if cause.code() in _OPERATOR_ERRORS else Unavailable(message)
