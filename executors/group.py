"""Membership in the executors' consumer group, and the fenced join (step 1).

The group only gives out partitions: they are paused at once, and read by the service's own consumer from positions
that the chain tells.
"""

import logging
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from schemas.codec import CODEC
from schemas.errors import Unavailable
from schemas.records import Join
from schemas.topics import TopicName
from streams.kafka import KafkaSettings, topic_name

log = logging.getLogger(__name__)

SESSION_TIMEOUT_MS = 6_000
JOIN_TIMEOUT_S = 10.0


class GroupMember:
    """One member of the group, polled by the service's thread.

    Parameters
    ----------
    settings
        The cluster.
    instance
        A name that stays the same when the process starts again, so that it gets its partitions back at once and its
        former self is fenced; empty for a member without one.
    """

    def __init__(self, settings: KafkaSettings, instance: str = "") -> None:
        self._settings = settings
        self._topic = topic_name(settings, TopicName.TRANSACTIONS)
        self.partitions: frozenset[int] = frozenset()
        self._changed = False
        options: dict[str, Any] = settings.consumer("executors", committed_only=False) | {
            "partition.assignment.strategy": "cooperative-sticky",  # a rebalance moves as little as it has to
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": 1_000,
            "max.poll.interval.ms": 300_000,
            "auto.offset.reset": "latest",  # its offsets are never read from, only committed as the join's fence
        }
        if instance:
            options["group.instance.id"] = f"{settings.prefix}{instance}"
        self._consumer = Consumer(options)
        self._consumer.subscribe(
            [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def poll(self) -> frozenset[int] | None:
        """The partitions if the group has given them out anew since the last call."""
        message = self._consumer.poll(0)
        error = message.error() if message is not None else None
        if error is not None and error.fatal():
            raise Unavailable(f"the group has fenced this member: {error}")
        if not self._changed:
            return None
        self._changed = False
        return self.partitions

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        self.partitions |= {partition.partition for partition in partitions}
        self._changed = True

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(partitions)
        self.partitions -= {partition.partition for partition in partitions}
        self._changed = True

    def join(self, join: Join, consumed: dict[int, int]) -> bool:
        """Write a join, unless the group has replaced this member since.

        The broker checks the group's generation when the offsets are committed, so that the join of a member that was
        replaced never becomes visible (KIP-447).

        Returns
        -------
        bool
            False if it was refused; the next assignment brings another attempt.
        """
        producer = Producer(self._settings.transactional(f"join-{join.attempt.hex()}", JOIN_TIMEOUT_S))
        try:
            producer.init_transactions(JOIN_TIMEOUT_S)
            producer.begin_transaction()
            producer.produce(topic_name(self._settings, TopicName.MEMBERS), CODEC.encode(join), key=join.attempt)
            offsets = [TopicPartition(self._topic, partition, consumed[partition]) for partition in join.partitions]
            producer.send_offsets_to_transaction(offsets, self._consumer.consumer_group_metadata(), JOIN_TIMEOUT_S)
            producer.commit_transaction(JOIN_TIMEOUT_S)
        except KafkaException as exc:
            log.warning("the join of partitions %s was refused: %s", join.partitions, exc)
            return False
        return True

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()
