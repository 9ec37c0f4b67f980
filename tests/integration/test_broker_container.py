"""The topics of the protocol on Apache Kafka's official image."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from cluster.kafka import ensure_topics, topic_specs
from cluster.kafka.topics import broker_count
from schemas.errors import TopicRefused
from tests.integration.kafka_container import KafkaContainer, require_image

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    require_image()
    with KafkaContainer() as container:
        yield container.bootstrap


def test_topics_and_records(bootstrap: str) -> None:
    assert broker_count(bootstrap) == 1
    specs = topic_specs("container.", 2, 2, replication=1)
    ensure_topics(bootstrap, specs)
    with pytest.raises(TopicRefused, match="container.transactions: it has 2 partitions, needed are exactly 3"):
        ensure_topics(bootstrap, topic_specs("container.", 3, 2, replication=1))

    large = os.urandom(8 * 1024 * 1024)
    options = {"enable.idempotence": True, "message.max.bytes": 9 * 1024 * 1024, "log_level": 0}
    producer = Producer({"bootstrap.servers": bootstrap} | options)
    producer.produce("container.prepares", large, partition=1)
    assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "container", "log_level": 0})
    consumer.assign([TopicPartition("container.prepares", 1, 0)])
    message = consumer.poll(20)
    consumer.close()
    assert message is not None
    assert message.value() == large


@pytest.mark.parametrize(("required", "outcome"), [("1", "failed"), ("", "skipped")])
def test_no_docker_is_said_in_words(required: str, outcome: str) -> None:
    """Where Docker doesn't answer, the tests of this file are skipped, or fail where it is required."""
    environment = os.environ | {"DOCKER_HOST": "tcp://127.0.0.1:1", "REQUIRE_DOCKER": required}
    line = [sys.executable, "-m", "pytest", "-q", "-rsEf", "-p", "no:cacheprovider", __file__, "-k", "and_records"]
    run = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "no Docker daemon answers: " in run.stdout
    assert ("1 skipped" in run.stdout) is (outcome == "skipped")
    assert (run.returncode == 0) is (outcome == "skipped")
