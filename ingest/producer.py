"""The producer client: a signed transaction in, its place in the log out."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.codec import CODEC
from schemas.errors import InvalidTransaction, QueueFull, Unavailable
from schemas.records import Envelope
from schemas.rules import Rules
from schemas.topics import TopicName
from streams.kafka import KafkaSettings, topic_name

from .hints import routing_keys, touched
from .routing import Router
from .transactions import Transaction, decode

log = logging.getLogger(__name__)

QUEUE_MAX = 50_000
"""Transactions that may wait for the broker."""


class Delivery(NamedTuple):
    """Where the broker has stored a transaction: the identity of its receipt."""

    partition: int
    offset: int
    hash: bytes


class TransactionProducer:
    """Produces signed transactions, idempotently and with acks=all. Any thread may use it.

    Parameters
    ----------
    settings
        The cluster.
    rules
        Of the genesis: what is wrong whatever the state is, is refused before it is sent.
    router
        Chooses partitions.
    queue_max
        Transactions that may wait for the broker; `send` blocks at this bound, or raises.
    """

    def __init__(
        self, settings: KafkaSettings, rules: Rules, router: Router, *, queue_max: int = QUEUE_MAX
    ) -> None:
        self._rules = rules
        self._router = router
        self._topic = topic_name(settings, TopicName.TRANSACTIONS)
        self._room = threading.BoundedSemaphore(queue_max)
        self._queue_max = queue_max
        self._lock = threading.Lock()
        self._failure: KafkaError | None = None
        self._producer = Producer(settings.producer() | {"linger.ms": 0.2, "error_cb": self._note})
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="transaction-producer", daemon=True)
        self._thread.start()

    def send(self, raw: bytes, *, timeout_s: float | None = 30.0) -> "Future[Delivery]":
        """Produce a signed transaction.

        Parameters
        ----------
        raw
            Its signed bytes.
        timeout_s
            How long to wait while the queue is full; 0 raises at once, None waits without end.

        Returns
        -------
        Future of Delivery
            Done when the brokers have it.

        Raises
        ------
        InvalidTransaction
            It is wrong whatever the state is.
        QueueFull
            The queue stayed full.
        """
        return self.send_decoded(decode(raw, self._rules), timeout_s=timeout_s)

    def send_decoded(self, transaction: Transaction, *, timeout_s: float | None = 30.0) -> "Future[Delivery]":
        """Produce a transaction that is decoded already."""
        return self.send_unchecked(
            transaction.raw, transaction.hash, routing_keys(transaction), touched(transaction), timeout_s=timeout_s)

    def send_unchecked(
        self,
        raw: bytes,
        transaction_hash: bytes,
        keys: Sequence[bytes],
        hint: Sequence[bytes] = (),
        *,
        timeout_s: float | None = 30.0,
    ) -> "Future[Delivery]":
        """Produce bytes as they are, routed by keys, the sender first; what is wrong gets a rejected receipt."""
        if self._closed.is_set():
            raise Unavailable("the producer is closed")
        if self._failure is not None:
            raise Unavailable(f"the producer has failed, make a new one: {self._failure}")
        if not self._room.acquire(timeout=timeout_s):
            raise QueueFull(f"{self._queue_max} transactions wait for the broker")
        future: Future[Delivery] = Future()

        def stored(error: KafkaError | None, message: Message) -> None:
            self._room.release()
            if error is not None:
                name = f"transaction 0x{transaction_hash.hex()}"
                future.set_exception(Unavailable(f"the broker did not take {name}: {error}"))
            else:
                future.set_result(Delivery(int(message.partition() or 0), int(message.offset() or 0), transaction_hash))

        value = CODEC.encode(Envelope(raw=raw, touched=tuple(hint)))
        with self._lock:
            partition = self._router.route(keys)
            try:
                self._producer.produce(self._topic, value, transaction_hash, partition, on_delivery=stored)
            except BufferError as exc:
                self._room.release()
                raise QueueFull("the client's buffer for the broker is full") from exc
            except KafkaException as exc:
                self._room.release()
                raise InvalidTransaction(f"{len(value)} bytes cannot be produced: {exc.args[0].str()}") from exc
        return future

    def flush(self, timeout_s: float = 30.0) -> int:
        """Wait for what is queued; how many are left."""
        return 0 if self._closed.is_set() else self._producer.flush(timeout_s)

    def close(self, timeout_s: float = 30.0) -> None:
        """Send what is queued and disconnect; the futures of what could not be sent fail."""
        if self._closed.is_set():
            return
        if self._producer.flush(timeout_s):
            self._producer.purge()
            self._producer.flush(1)
        self._closed.set()
        self._thread.join(2)
        # The client and its callback hold each other: it would look for its broker until a garbage collection.
        del self._producer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)

    def _note(self, error: KafkaError) -> None:
        if error.fatal():
            self._failure = error
            log.error("the producer has failed: %s", error)
        else:
            log.info("broker: %s", error)
