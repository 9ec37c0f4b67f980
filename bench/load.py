"""The load generator and the reader of receipts, both in the process that measures."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Message, Producer

from ingest.routing import Router
from schemas.codec import CODEC
from schemas.records import Envelope, Receipt
from schemas.topics import TopicName, receipts
from streams.events import END
from streams.kafka import KafkaLog, KafkaSettings, topic_name

from .workloads import Signed


@dataclass(slots=True)
class Measured:
    """What came back."""

    sent: dict[tuple[int, int], float] = field(default_factory=dict)
    """When a source was due to be sent: open loop, so that a stall counts for all that it delays."""
    received: dict[tuple[int, int], tuple[float, str]] = field(default_factory=dict)
    twice: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    first_ms: int = 0
    last_ms: int = 0


class Load:
    """Sends signed transactions, reads receipts."""

    def __init__(self, settings: KafkaSettings, partitions: int, shards: int) -> None:
        self._settings = settings
        self._router = Router(partitions)
        self._shards = shards
        self.measured = Measured()
        self._stop = threading.Event()
        # Connected before the clock starts: an idempotent producer asks for its id first.
        self._producer = Producer(settings.producer() | {"linger.ms": 0.2})
        self._producer.list_topics(timeout=30)
        time.sleep(1)
        self._log = KafkaLog(settings, committed_only=True)
        self._log.follow({receipts(shard): END for shard in range(shards)})
        self._log.poll(0.5)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def run(self, transactions: Sequence[Signed], rate: float | None, window: int = 4_000) -> float:
        """Send all, at a rate per second or keeping a window full; the seconds that it took until all receipts came."""
        producer = self._producer
        topic = topic_name(self._settings, TopicName.TRANSACTIONS)
        sent = self.measured.sent
        start = time.perf_counter()
        before = len(self.measured.received)
        for number, signed in enumerate(transactions):
            due = start + number / rate if rate else time.perf_counter()
            if rate:
                while (left := due - time.perf_counter()) > 0:
                    producer.poll(min(left, 0.001))
            else:
                while number - (len(self.measured.received) - before) > window:
                    producer.poll(0.005)
                due = time.perf_counter()

            def stored(error: KafkaError | None, message: Message, due: float = due) -> None:
                if error is not None:
                    raise RuntimeError(str(error))
                sent[int(message.partition() or 0), int(message.offset() or 0)] = due

            producer.produce(
                topic, CODEC.encode(Envelope(raw=signed.raw)), partition=self._router.route(signed.keys),
                on_delivery=stored)
            producer.poll(0)
        producer.flush(60)
        deadline = time.perf_counter() + 120
        while len(self.measured.received) - before < len(transactions) and time.perf_counter() < deadline:
            time.sleep(0.02)
        return time.perf_counter() - start

    def latencies_ms(self) -> list[float]:
        """From due to received, sorted."""
        measured = self.measured
        return sorted(
            (measured.received[source][0] - due) * 1000
            for source, due in measured.sent.items() if source in measured.received)

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._reader.join()
        self._log.close()

    def _read(self) -> None:
        measured = self.measured
        while not self._stop.is_set():
            for fetched in self._log.poll(0.05):
                receipt = CODEC.decode_as(Receipt, fetched.value)
                source = (receipt.partition, receipt.offset)
                if source in measured.received:
                    measured.twice += 1
                measured.received[source] = time.perf_counter(), receipt.status
                self._router.settled(receipt.sender)
                measured.statuses[receipt.status] = measured.statuses.get(receipt.status, 0) + 1
                measured.first_ms = measured.first_ms or fetched.timestamp_ms
                measured.last_ms = max(measured.last_ms, fetched.timestamp_ms)
