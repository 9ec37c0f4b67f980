"""The topics by their logical names, and the positions on them."""

from enum import StrEnum
from typing import NamedTuple


class TopicName(StrEnum):
    """All topics, in the order in which a transaction passes them. On the broker each carries the prefix."""

    TRANSACTIONS = "transactions"
    CARRIES = "carries"
    EPOCHS = "epochs"
    MEMBERS = "members"
    PREPARES = "prepares"
    VOTES = "votes"
    OUTCOMES = "outcomes"
    RECEIPTS = "receipts"
    DEADLETTERS = "deadletters"


class Topic(NamedTuple):
    """A topic, with the partition of it that is meant."""

    name: TopicName
    partition: int = 0


EPOCHS = Topic(TopicName.EPOCHS)
MEMBERS = Topic(TopicName.MEMBERS)
VOTES = Topic(TopicName.VOTES)
OUTCOMES = Topic(TopicName.OUTCOMES)
DEADLETTERS = Topic(TopicName.DEADLETTERS)

DEFAULT_PREFIX = "parsec."

RECORD_BYTES_MAX = 8 * 1024 * 1024
"""Largest record on any topic; what is larger is sent in parts."""


def transactions(partition: int) -> Topic:
    """A partition of the clients' transactions."""
    return Topic(TopicName.TRANSACTIONS, partition)


def carries(partition: int) -> Topic:
    """The carried transactions of a partition."""
    return Topic(TopicName.CARRIES, partition)


def prepares(shard: int) -> Topic:
    """The prepares and revisions for a shard."""
    return Topic(TopicName.PREPARES, shard)


def receipts(shard: int) -> Topic:
    """The receipts that a shard publishes."""
    return Topic(TopicName.RECEIPTS, shard)
