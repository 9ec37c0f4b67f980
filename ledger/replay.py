"""What the audit reads from: two connections, because not all topics are read alike."""

from collections.abc import Iterable, Mapping

from schemas.errors import InvariantViolation
from schemas.topics import Topic, TopicName
from streams.kafka import KafkaLog
from streams.log import Acked, Fetched


class LedgerLog:
    """All topics of the ledger, read as the services read them; it never writes.

    `transactions` is read uncommitted, as executors do: what an aborted client transaction wrote is executed all the
    same. Everything else counts when it is committed.
    """

    def __init__(self, committed: KafkaLog, uncommitted: KafkaLog) -> None:
        self._committed = committed
        self._uncommitted = uncommitted
        self._turn = 0

    def _of(self, topic: Topic) -> KafkaLog:
        return self._uncommitted if topic.name is TopicName.TRANSACTIONS else self._committed

    def _split(self, topics: Iterable[Topic]) -> list[tuple[KafkaLog, list[Topic]]]:
        named = list(topics)
        logs = (self._committed, self._uncommitted)
        split = [(log, [topic for topic in named if self._of(topic) is log]) for log in logs]
        return [(log, own) for log, own in split if own]

    def follow(self, positions: Mapping[Topic, int]) -> None:
        """Read these topics too."""
        for log, topics in self._split(positions):
            log.follow({topic: positions[topic] for topic in topics})

    def leave(self, topics: Iterable[Topic]) -> None:
        """Stop reading these topics."""
        for log, own in self._split(topics):
            log.leave(own)

    def pause(self, topics: Iterable[Topic]) -> None:
        """Fetch nothing of these topics until `resume`."""
        for log, own in self._split(topics):
            log.pause(own)

    def resume(self, topics: Iterable[Topic]) -> None:
        """Fetch these topics again."""
        for log, own in self._split(topics):
            log.resume(own)

    def position(self, topic: Topic) -> int:
        """The next offset to be read of a topic."""
        return self._of(topic).position(topic)

    def poll(self, timeout_s: float) -> list[Fetched]:
        """The next records of one connection or the other; it waits for both in turn."""
        self._turn += 1
        first, second = (self._committed, self._uncommitted)[:: 1 if self._turn % 2 else -1]
        return first.poll(0) or second.poll(timeout_s / 2) or first.poll(timeout_s / 2)

    def ends(self, topics: Iterable[Topic]) -> dict[Topic, int]:
        """One past the last offset of each."""
        return {topic: end for log, own in self._split(topics) for topic, end in log.ends(own).items()}

    def append(
        self,
        topic: Topic,
        value: bytes,  # noqa: ARG002 - as the protocol `Log` has it
        *,
        key: bytes | None = None,  # noqa: ARG002
        headers: Mapping[str, bytes] | None = None,  # noqa: ARG002
        token: object = None,  # noqa: ARG002
    ) -> None:
        """Refused: an audit changes nothing."""
        raise InvariantViolation(f"an audit does not write to {topic.name}")

    def acknowledged(self) -> list[Acked]:
        """Nothing is ever appended."""
        return []

    def close(self) -> None:
        """Disconnect."""
        self._committed.close()
        self._uncommitted.close()
