"""The log on Kafka, by confluent-kafka. All options that correctness rests on stand here, each with its reason."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.errors import InvariantViolation, QueueFull, Unavailable
from schemas.topics import DEFAULT_PREFIX, RECORD_BYTES_MAX, Topic, TopicName

from .events import END
from .log import Acked, Fetched

log = logging.getLogger(__name__)

FETCH_RECORDS_MAX = 1_000
"""Records that one poll returns at most."""
ACK_WAIT_S = 0.005
"""How long a poll waits for acknowledgements before it looks for records."""
METADATA_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """How to reach the cluster."""

    bootstrap: str
    """``host:port,…``."""
    prefix: str = DEFAULT_PREFIX
    """Prepended to every topic name, group id and transactional id."""
    security: Mapping[str, str] = field(default_factory=dict)
    """SASL and TLS options of librdkafka, passed to every client as they are."""

    def client(self) -> dict[str, Any]:
        """Options that all clients share."""
        return {
            "bootstrap.servers": self.bootstrap,
            "allow.auto.create.topics": False,  # a mistyped prefix is to fail, not to make topics
            "socket.nagle.disable": True,  # a hop costs 0.2 ms instead of up to 40
            "socket.keepalive.enable": True,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,  # a restarted broker is found again within a second
            "log_level": 3,
            **self.security,
        }

    def consumer(self, group: str, *, committed_only: bool) -> dict[str, Any]:
        """Options of a reader."""
        return self.client() | {
            "group.id": f"{self.prefix}{group}",
            "enable.auto.commit": False,  # positions come from the chain of manifests, never from the group
            "auto.offset.reset": "error",  # an offset that is gone is not to be skipped silently
            "isolation.level": "read_committed" if committed_only else "read_uncommitted",
            "fetch.wait.max.ms": 100,  # bounds the delay of a topic that is followed anew
            "fetch.message.max.bytes": RECORD_BYTES_MAX,
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 65_536,  # bounds memory
            "fetch.error.backoff.ms": 50,
        }

    def producer(self) -> dict[str, Any]:
        """Options of a writer."""
        return self.client() | {
            "acks": "all",  # what is acknowledged survives the leader
            "enable.idempotence": True,  # a retry neither repeats nor reorders
            "linger.ms": 0,  # the pipeline batches by itself; waiting would add to every hop
            "message.max.bytes": RECORD_BYTES_MAX + 65_536,
            "delivery.timeout.ms": 120_000,  # a dead leader stalls acknowledgements for up to 13 s
            "queue.buffering.max.messages": 100_000,
            "queue.buffering.max.kbytes": 262_144,
            "retry.backoff.ms": 20,
            "compression.type": "none",
        }

    def transactional(self, name: str, timeout_s: float) -> dict[str, Any]:
        """Options of a writer of Kafka transactions; a later one of the same name fences it."""
        timeout_ms = int(timeout_s * 1000)
        return self.producer() | {
            "transactional.id": f"{self.prefix}{name}",
            "transaction.timeout.ms": timeout_ms,  # one that hangs holds readers of what is committed back so long
            "delivery.timeout.ms": timeout_ms,  # a record that outlives its transaction helps nobody
            "retry.backoff.ms": 5,  # the next transaction begins while the broker still ends the last one
        }


class KafkaLog:
    """A consumer that is assigned by hand and an idempotent producer, used by one thread.

    Parameters
    ----------
    settings
        The cluster.
    committed_only
        Whether records of open and aborted Kafka transactions are left out.
    gather_ms
        How long the broker gathers records before it answers, for what nobody is in a hurry to read.
    """

    def __init__(self, settings: KafkaSettings, *, committed_only: bool = True, gather_ms: int = 0) -> None:
        self._settings = settings
        options = settings.consumer("followers", committed_only=committed_only)
        if gather_ms:
            options |= {"fetch.min.bytes": RECORD_BYTES_MAX, "fetch.wait.max.ms": gather_ms}
        self._consumer = Consumer(options)
        self._producer: Producer | None = None
        self._following: set[Topic] = set()
        self._began: dict[Topic, int] = {}
        self._acked: list[Acked] = []
        self._in_flight = 0
        self._awaited = 0
        """Of those in flight, how many somebody waits for: they have a token."""
        self._failed: KafkaError | None = None
        self._topics: dict[tuple[str, int], Topic] = {}

    # ---- reading ------------------------------------------------------------------------------------------------

    def follow(self, positions: Mapping[Topic, int]) -> None:
        """Read these topics too; one that is read already is moved."""
        moved = [topic for topic in positions if topic in self._following]
        self.leave(moved)
        at_end = self.ends([topic for topic, offset in positions.items() if offset == END])
        began = {topic: at_end.get(topic, offset) for topic, offset in positions.items()}
        self._consumer.incremental_assign([self._partition(topic, offset) for topic, offset in began.items()])
        self._following |= positions.keys()
        self._began |= began

    def leave(self, topics: Iterable[Topic]) -> None:
        """Stop reading these topics."""
        gone = [topic for topic in topics if topic in self._following]
        if gone:
            self._consumer.incremental_unassign([self._partition(topic) for topic in gone])
            self._following -= set(gone)

    def pause(self, topics: Iterable[Topic]) -> None:
        """Fetch nothing of these topics until `resume`: back-pressure."""
        self._consumer.pause([self._partition(topic) for topic in topics if topic in self._following])

    def resume(self, topics: Iterable[Topic]) -> None:
        """Fetch these topics again."""
        self._consumer.resume([self._partition(topic) for topic in topics if topic in self._following])

    def poll(self, timeout_s: float) -> list[Fetched]:
        """The next records. While an acknowledgement is awaited it waits for that instead."""
        if self._producer is not None:
            self._producer.poll(min(timeout_s, ACK_WAIT_S) if self._awaited else 0)
            self._check()
            if self._awaited or self._acked:
                timeout_s = 0
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        # `consume` waits until it has as many as asked for, so it is only used for what is here already.
        messages = [first, *self._consumer.consume(FETCH_RECORDS_MAX, 0)]
        return [fetched for message in messages if (fetched := self._fetched(message)) is not None]

    def position(self, topic: Topic) -> int:
        """The next offset to be read of a topic that is followed; it passes over what isn't for readers."""
        (at,) = self._consumer.position([self._partition(topic)])
        # Before the first record the client knows none.
        return int(at.offset) if at.offset >= 0 else self._began.get(topic, 0)

    def ends(self, topics: Iterable[Topic]) -> dict[Topic, int]:
        """One past the last offset of each."""
        return {topic: self._watermarks(topic)[1] for topic in topics}

    def begins(self, topics: Iterable[Topic]) -> dict[Topic, int]:
        """The first offset of each that is still kept."""
        return {topic: self._watermarks(topic)[0] for topic in topics}

    def _watermarks(self, topic: Topic) -> tuple[int, int]:
        """First kept offset and end of a topic; a new topic has no leader for a moment."""
        deadline = time.monotonic() + METADATA_TIMEOUT_S
        while True:
            try:
                low, high = self._consumer.get_watermark_offsets(self._partition(topic), timeout=METADATA_TIMEOUT_S)
            except KafkaException as exc:
                if time.monotonic() > deadline:
                    raise Unavailable(f"the broker does not tell where {topic.name} begins and ends: {exc}") from exc
                time.sleep(0.1)
            else:
                return low, high

    def _partition(self, topic: Topic, offset: int = OFFSET_END) -> TopicPartition:
        name = f"{self._settings.prefix}{topic.name}"
        self._topics[name, topic.partition] = topic
        return TopicPartition(name, topic.partition, offset)

    def _fetched(self, message: Message) -> Fetched | None:
        error = message.error()
        if error is not None:
            if error.retriable() or error.code() in _PASSING:
                log.warning("reading %s: %s", message.topic(), error)
                return None
            raise InvariantViolation(f"cannot read {message.topic()} [{message.partition()}]: {error}")
        topic = self._topics[str(message.topic()), int(message.partition() or 0)]
        headers: Any = message.headers() or ()
        return Fetched(
            topic, int(message.offset() or 0), message.key(), message.value() or b"", message.timestamp()[1],
            dict(headers))

    # ---- writing ------------------------------------------------------------------------------------------------

    def append(
        self,
        topic: Topic,
        value: bytes,
        *,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
        token: object = None,
    ) -> None:
        """Append a record."""
        if self._producer is None:
            self._producer = Producer(self._settings.producer() | {"error_cb": self._note_error})
        try:
            self._producer.produce(
                f"{self._settings.prefix}{topic.name}", value, key, topic.partition,
                headers=list(headers.items()) if headers else None, on_delivery=self._delivered(token))
        except BufferError as exc:
            raise QueueFull(f"{self._in_flight} records wait to be sent to the broker") from exc
        self._in_flight += 1
        self._awaited += token is not None

    def acknowledged(self) -> list[Acked]:
        """The appends with a token that were stored since the last call."""
        self._check()
        acked, self._acked = self._acked, []
        return acked

    def _delivered(self, token: object) -> Callable[[KafkaError | None, Message], None]:
        def note(error: KafkaError | None, message: Message) -> None:
            self._in_flight -= 1
            self._awaited -= token is not None
            if error is not None:
                self._failed = error
            elif token is not None:
                self._acked.append(Acked(token, int(message.offset() or 0)))

        return note

    def _note_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._failed = error
        else:
            log.info("broker: %s", error)

    def _check(self) -> None:
        """A record that could not be delivered may be lost or may come late: only a new attempt is safe."""
        if self._failed is not None:
            raise Unavailable(f"a record was not delivered: {self._failed}")

    @property
    def in_flight(self) -> int:
        """Appends that aren't acknowledged yet."""
        return self._in_flight

    def close(self) -> None:
        """Send what is queued, for at most ten seconds, and disconnect."""
        if self._producer is not None:
            self._producer.flush(10)
        self._consumer.close()


_PASSING = frozenset({
    KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._RESOLVE,
    KafkaError._PARTITION_EOF, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION})


def topic_name(settings: KafkaSettings, name: TopicName) -> str:
    """A topic as the broker names it."""
    return f"{settings.prefix}{name}"
