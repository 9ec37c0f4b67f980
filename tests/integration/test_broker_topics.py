"""The protocol's topics on a real broker: made once, checked always, never changed."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it imports them without exporting them
    AdminClient,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from cluster.kafka import ensure_topics, topic_specs
from cluster.kafka.topics import TopicSpec, broker_count
from schemas.errors import ConfigurationError, TopicRefused, Unavailable
from tests.broker_fixture import RunningBroker

pytestmark = pytest.mark.timeout(120)


def _specs(prefix: str) -> list[TopicSpec]:
    return topic_specs(prefix, 4, 2, replication=1)


def _admin(broker: RunningBroker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})


def _with(broker: RunningBroker, spec: TopicSpec, partitions: int | None = None, **settings: str) -> None:
    """Make a topic as it is needed, but for these settings."""
    config = spec.settings() | {name.replace("_", "."): value for name, value in settings.items()}
    new = NewTopic(spec.name, partitions or spec.partitions, 1, config=config)
    admin = _admin(broker)
    admin.create_topics([new])[spec.name].result()


def test_made_as_specified(broker: RunningBroker, topic_prefix: str) -> None:
    specs = _specs(topic_prefix)
    ensure_topics(broker.bootstrap, specs)
    admin = _admin(broker)
    topics = admin.list_topics(timeout=10).topics
    described = admin.describe_configs([ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs])
    settings = {resource.name: future.result() for resource, future in described.items()}
    for spec in specs:
        assert len(topics[spec.name].partitions) == spec.partitions
        found = {name: entry.value for name, entry in settings[spec.name].items()}
        assert {name: found[name] for name in spec.settings()} == spec.settings()


def test_a_second_time_changes_nothing(broker: RunningBroker, topic_prefix: str) -> None:
    specs = _specs(topic_prefix)
    ensure_topics({"bootstrap.servers": broker.bootstrap}, specs)
    before = _admin(broker).list_topics(timeout=10).topics.keys()
    ensure_topics({"bootstrap.servers": broker.bootstrap}, specs)
    assert _admin(broker).list_topics(timeout=10).topics.keys() == before


def test_many_at_once(broker: RunningBroker, topic_prefix: str) -> None:
    specs = _specs(topic_prefix)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(ensure_topics, broker.bootstrap, specs) for _ in range(4)]:
            done.result()
    topics = _admin(broker).list_topics(timeout=10).topics
    assert {spec.name for spec in specs} <= topics.keys()


@pytest.mark.parametrize(
    ("topic", "setting", "value"),
    [
        ("epochs", "cleanup.policy", "compact"),
        ("transactions", "retention.ms", "86400000"),
        ("votes", "retention.ms", "3600000"),
        ("carries", "retention.bytes", "1000000"),
        ("members", "unclean.leader.election.enable", "true"),
        ("prepares", "max.message.bytes", "1048588"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    broker: RunningBroker, topic_prefix: str, topic: str, setting: str, value: str
) -> None:
    specs = _specs(topic_prefix)
    (spec,) = (spec for spec in specs if spec.name == f"{topic_prefix}{topic}")
    _with(broker, spec, None, **{setting.replace(".", "_"): value})
    with pytest.raises(TopicRefused) as refused:
        ensure_topics(broker.bootstrap, specs)
    assert f"{spec.name}: {setting} is {value}, needed is" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 2


def test_all_that_is_wrong_is_said_at_once(broker: RunningBroker, topic_prefix: str) -> None:
    specs = {spec.name.removeprefix(topic_prefix): spec for spec in _specs(topic_prefix)}
    _with(broker, specs["transactions"], partitions=3)
    _with(broker, specs["receipts"], partitions=5, retention_ms="1000", cleanup_policy="compact,delete")
    with pytest.raises(TopicRefused) as refused:
        ensure_topics(broker.bootstrap, list(specs.values()))
    problems = str(refused.value).splitlines()[1:]
    assert problems == [
        f"{topic_prefix}transactions: it has 3 partitions, needed are exactly 4",
        f"{topic_prefix}receipts: it has 5 partitions, needed are exactly 2",
        f"{topic_prefix}receipts: cleanup.policy is compact,delete, needed is delete, without compact",
        f"{topic_prefix}receipts: retention.ms is 1000, needed is -1 (for ever)",
    ]


def test_too_few_copies(broker: RunningBroker, topic_prefix: str) -> None:
    for spec in (specs := _specs(topic_prefix)):
        _with(broker, spec)
    with pytest.raises(TopicRefused) as refused:
        ensure_topics(broker.bootstrap, topic_specs(topic_prefix, 4, 2, replication=3))
    said = str(refused.value)
    for spec in specs:
        assert f"{spec.name}: replication factor is 1, needed is at least 3" in said
        assert f"{spec.name}: min.insync.replicas is 1, needed is at least 2" in said


def test_partitions_that_were_added_later(broker: RunningBroker, topic_prefix: str) -> None:
    specs = _specs(topic_prefix)
    ensure_topics(broker.bootstrap, specs)
    name = f"{topic_prefix}transactions"
    admin = _admin(broker)
    admin.create_partitions([NewPartitions(name, 6)])[name].result()
    deadline = time.monotonic() + 10
    while len(admin.list_topics(timeout=10).topics[name].partitions) != 6:
        assert time.monotonic() < deadline
    with pytest.raises(TopicRefused, match=f"{name}: it has 6 partitions, needed are exactly 4"):
        ensure_topics(broker.bootstrap, specs)


def test_a_cluster_that_cannot_hold_them(broker: RunningBroker, topic_prefix: str) -> None:
    brokers = broker_count(broker.bootstrap)
    specs = topic_specs(topic_prefix, 1, 1, replication=brokers + 1)
    with pytest.raises(ConfigurationError, match=f"{topic_prefix}epochs: .*[Rr]eplication factor"):
        ensure_topics(broker.bootstrap, specs)


def test_nobody_answers() -> None:
    specs = _specs(f"{uuid.uuid4().hex}.")
    with pytest.raises(Unavailable, match="the topics can't be looked after"):
        ensure_topics({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, specs, timeout_s=1)


def test_wrong_options() -> None:
    with pytest.raises(ConfigurationError, match="options of the Kafka client are wrong: .*no.such.option"):
        ensure_topics({"bootstrap.servers": "127.0.0.1:1", "no.such.option": "1"}, [])
