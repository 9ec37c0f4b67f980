"""Kafka for a single machine, from Python packages alone, and the topics that the protocol needs on any Kafka."""

from .broker import DEFAULT_PORT, EmbeddedBroker
from .java import find_java
from .prepare import prepare
from .topics import TopicSpec, ensure_topics, replication_for, topic_specs

__all__ = [
    "DEFAULT_PORT",
    "EmbeddedBroker",
    "TopicSpec",
    "ensure_topics",
    "find_java",
    "prepare",
    "replication_for",
    "topic_specs",
]
