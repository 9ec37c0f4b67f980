"""Topics in memory that hold bytes, with holes as control records leave them."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.codec import CODEC
from schemas.errors import UndecodableRecord
from schemas.topics import Topic


class Stored(NamedTuple):
    """A record on a topic."""

    data: bytes
    value: Any
    """What the bytes decode to, None if nobody can read them."""


@dataclass(slots=True)
class Broker:
    """All topics. A position without a record is a hole: no reader is ever given it."""

    topics: defaultdict[Topic, list[Stored | None]] = field(default_factory=lambda: defaultdict(list))

    def append(self, topic: Topic, data: bytes) -> int:
        """Store a record; its offset."""
        try:
            value = CODEC.decode(data)
        except UndecodableRecord:
            value = None
        log = self.topics[topic]
        log.append(Stored(data, value))
        return len(log) - 1

    def hole(self, topic: Topic) -> None:
        """Use up an offset, as the end of a Kafka transaction does."""
        self.topics[topic].append(None)

    def end(self, topic: Topic) -> int:
        """One past the last offset, holes included."""
        return len(self.topics[topic])

    def records(self, topic: Topic) -> list[tuple[int, Stored]]:
        """All records with their offsets."""
        return [(offset, stored) for offset, stored in enumerate(self.topics[topic]) if stored is not None]

    def records_end(self, topic: Topic) -> int:
        """One past the last offset that holds a record."""
        log = self.topics[topic]
        end = len(log)
        while end and log[end - 1] is None:
            end -= 1
        return end
