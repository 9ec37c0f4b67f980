"""Reading several topics side by side, each only as far as it is asked for, with bounded memory."""

import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from schemas.errors import Unavailable
from schemas.topics import Topic
from streams.log import Fetched, Log

BUFFER_RECORDS_MAX = 20_000
"""A topic with so many unread records is paused."""


class PausableLog(Log, Protocol):
    """A log whose topics can be held back."""

    def pause(self, topics: Iterable[Topic]) -> None:
        """Fetch nothing of these topics until `resume`."""

    def resume(self, topics: Iterable[Topic]) -> None:
        """Fetch these topics again."""

    def position(self, topic: Topic) -> int:
        """The next offset to be read of a topic."""


class Feed:
    """The records of some topics from their begin up to where they end now, in order, topic by topic.

    Parameters
    ----------
    kafka
        Reads; nobody else may use it.
    topics
        Which ones.
    patience_s
        How long nothing may arrive before the broker counts as gone.
    """

    def __init__(self, kafka: PausableLog, topics: Iterable[Topic], *, patience_s: float = 30.0) -> None:
        self._kafka = kafka
        self._patience_s = patience_s
        names = list(topics)
        self.ends = kafka.ends(names)
        self._buffers: dict[Topic, deque[Fetched]] = {topic: deque() for topic in names}
        self._paused: set[Topic] = set()
        kafka.follow(dict.fromkeys(names, 0))

    def next(self, topic: Topic) -> Fetched | None:
        """The next record of a topic, or None at its end."""
        buffer = self._buffers[topic]
        if not buffer:
            self._fill(topic)
        return buffer.popleft() if buffer else None

    def peek(self, topic: Topic) -> Fetched | None:
        """The next record of a topic, which stays the next."""
        buffer = self._buffers[topic]
        if not buffer:
            self._fill(topic)
        return buffer[0] if buffer else None

    def _fill(self, wanted: Topic) -> None:
        if wanted in self._paused:
            self._kafka.resume([wanted])
            self._paused.discard(wanted)
        deadline = time.monotonic() + self._patience_s
        while not self._buffers[wanted] and self._kafka.position(wanted) < self.ends[wanted]:
            fetched = self._kafka.poll(0.1)
            for record in fetched:
                if record.offset < self.ends[record.topic]:
                    self._buffers[record.topic].append(record)
            if fetched:
                deadline = time.monotonic() + self._patience_s
            elif time.monotonic() > deadline:
                raise Unavailable(f"no record of {wanted.name} [{wanted.partition}] for {self._patience_s:g} s")
            full = [
                topic for topic, buffer in self._buffers.items()
                if len(buffer) > BUFFER_RECORDS_MAX and topic not in self._paused and topic != wanted]
            if full:
                self._kafka.pause(full)
                self._paused.update(full)
