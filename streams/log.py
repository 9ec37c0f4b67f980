"""The log that services meet through: read from positions, append, and learn of acknowledgements.

`KafkaLog` in `streams.kafka` is the real one; `MemoryLog` keeps topics in memory for the simulator and for tests.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from schemas.topics import Topic

from .events import END


class Fetched(NamedTuple):
    """A record as the broker holds it."""

    topic: Topic
    offset: int
    key: bytes | None
    value: bytes
    timestamp_ms: int
    headers: Mapping[str, bytes]


class Acked(NamedTuple):
    """An append that the broker has stored."""

    token: object
    offset: int


class Log(Protocol):
    """One reader's and writer's view of all topics. Not for use by several threads."""

    def follow(self, positions: Mapping[Topic, int]) -> None:
        """Read these topics too, each from an offset or from its `END`; one that is read already is moved there."""

    def leave(self, topics: Iterable[Topic]) -> None:
        """Stop reading these topics."""

    def poll(self, timeout_s: float) -> list[Fetched]:
        """The next records; returns early when there are some, or when an acknowledgement came in."""

    def append(
        self,
        topic: Topic,
        value: bytes,
        *,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
        token: object = None,
    ) -> None:
        """Append a record; it is stored once `acknowledged` returns its token. Without one nobody waits for that.

        Raises
        ------
        QueueFull
            The bounded queue of unsent records is full.
        """

    def acknowledged(self) -> list[Acked]:
        """The appends with a token that were stored since the last call."""

    def ends(self, topics: Iterable[Topic]) -> dict[Topic, int]:
        """One past the last offset of each topic that a reader of this kind may see."""

    def close(self) -> None:
        """Send what is queued, within a bound, and disconnect."""


class MemoryLog:
    """A log in memory. Several share the same `topics`; offsets are dense."""

    def __init__(self, topics: dict[Topic, list[Fetched]] | None = None) -> None:
        self.topics: dict[Topic, list[Fetched]] = {} if topics is None else topics
        self._positions: dict[Topic, int] = {}
        self._acked: list[Acked] = []

    def follow(self, positions: Mapping[Topic, int]) -> None:
        """Read these topics from here on."""
        for topic, at in positions.items():
            self._positions[topic] = len(self.topics.get(topic, ())) if at == END else at

    def leave(self, topics: Iterable[Topic]) -> None:
        """Stop reading these topics."""
        for topic in topics:
            self._positions.pop(topic, None)

    def poll(self, timeout_s: float) -> list[Fetched]:  # noqa: ARG002 - nothing comes later
        """All records that are there."""
        found: list[Fetched] = []
        for topic, at in self._positions.items():
            new = self.topics.get(topic, [])[at:]
            found += new
            self._positions[topic] = at + len(new)
        return found

    def append(
        self,
        topic: Topic,
        value: bytes,
        *,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
        token: object = None,
    ) -> None:
        """Store a record at once."""
        stored = self.topics.setdefault(topic, [])
        stored.append(Fetched(topic, len(stored), key, value, 0, headers or {}))
        if token is not None:
            self._acked.append(Acked(token, len(stored) - 1))

    def acknowledged(self) -> list[Acked]:
        """All appends with a token since the last call."""
        acked, self._acked = self._acked, []
        return acked

    def ends(self, topics: Iterable[Topic]) -> dict[Topic, int]:
        """One past the last offset of each."""
        return {topic: len(self.topics.get(topic, ())) for topic in topics}

    def close(self) -> None:
        """Nothing to do."""
