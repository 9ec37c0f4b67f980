"""Publishing receipts exactly once, in a thread of its own (step 11).

A Kafka transaction holds whole epochs, so the newest receipt of the partition tells which epoch was published last:
that is the record of it, and it cannot expire. A publisher first fences its predecessor by the `transactional.id`,
then looks, and drops what was published before. An epoch without receipts at this shard needs no record.
"""

import logging
import queue
import threading
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer

from schemas import topics
from schemas.codec import CODEC
from schemas.errors import QueueFull, Transient, Unavailable, UndecodableRecord
from schemas.records import Receipt
from schemas.topics import TopicName
from streams.events import Publish
from streams.kafka import KafkaLog, KafkaSettings, topic_name
from streams.start import records_between

log = logging.getLogger(__name__)

EPOCHS_PER_TRANSACTION = 64
RECEIPTS_PER_TRANSACTION = 4_000
QUEUE_EPOCHS_MAX = 4_096
"""So many epochs may wait to be published; reaching it holds the shard back."""
TRANSACTION_TIMEOUT_S = 60.0
TAIL = 64


class Publisher:
    """Publishes the receipts of one shard.

    Parameters
    ----------
    done
        Called in the publisher's thread with each command that is published, in order.
    """

    def __init__(self, settings: KafkaSettings, shard: int, done: Callable[[Publish], None]) -> None:
        self._settings = settings
        self._shard = shard
        self._done = done
        self._queue: queue.Queue[Publish | None] = queue.Queue(QUEUE_EPOCHS_MAX)
        self._thread = threading.Thread(target=self._run, name=f"publisher-{shard}", daemon=True)
        self.failure: BaseException | None = None
        """Why it has stopped; the process has to end and start again."""

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def submit(self, publish: Publish) -> None:
        """Publish after all that was submitted before."""
        while self.failure is None:
            try:
                self._queue.put(publish, timeout=1)
            except queue.Full:
                log.warning("%d epochs wait to be published", QUEUE_EPOCHS_MAX)
            else:
                return

    def stop(self, timeout_s: float) -> None:
        """Publish what is queued, then stop."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            producer = self._fenced()
            published = self._published()
            log.info("receipts of shard %d are published up to epoch %d", self._shard, published)
            while True:
                batch = self._batch()
                fresh = [publish for publish in batch if publish.epoch > published and publish.receipts]
                if fresh:
                    self._publish(producer, fresh)
                    published = fresh[-1].epoch
                for publish in batch:
                    self._done(publish)
                if self._stopping:
                    return
        except BaseException as exc:  # the thread has nobody to raise to; the service sees it and ends
            log.exception("publishing failed")
            self.failure = exc

    _stopping = False

    def _batch(self) -> list[Publish]:
        """The next epochs: all that wait, within the limits of a transaction."""
        batch: list[Publish] = []
        count = 0
        block = True
        while len(batch) < EPOCHS_PER_TRANSACTION and count < RECEIPTS_PER_TRANSACTION:
            try:
                publish = self._queue.get(block)
            except queue.Empty:
                break
            if publish is None:
                self._stopping = True
                break
            batch.append(publish)
            count += len(publish.receipts)
            block = False
        return batch

    def _fenced(self) -> Producer:
        """A producer after which no earlier one of this shard can commit anything."""
        producer = Producer(self._settings.transactional(f"shard-{self._shard}", TRANSACTION_TIMEOUT_S))
        try:
            producer.init_transactions(TRANSACTION_TIMEOUT_S)
        except KafkaException as exc:
            raise Unavailable(f"the publisher of shard {self._shard} cannot start: {exc}") from exc
        return producer

    def _published(self) -> int:
        """The newest epoch that has receipts on the topic, 0 without any."""
        kafka = KafkaLog(self._settings, committed_only=True)
        topic = topics.receipts(self._shard)
        try:
            (low,), (high,) = kafka.begins([topic]).values(), kafka.ends([topic]).values()
            back = TAIL
            while high > low:
                start = max(low, high - back)
                epochs = []
                for fetched in records_between(kafka, topic, start, high):
                    try:
                        epochs.append(CODEC.decode_as(Receipt, fetched.value).epoch)
                    except UndecodableRecord as exc:
                        raise Transient(f"receipts [{self._shard}] at {fetched.offset}: {exc}") from exc
                if epochs:
                    return max(epochs)
                if start == low:
                    break
                back *= 4  # control records take offsets too
            return 0
        finally:
            kafka.close()

    def _publish(self, producer: Producer, batch: list[Publish]) -> None:
        """One transaction with the receipts of some epochs."""
        name = topic_name(self._settings, TopicName.RECEIPTS)
        try:
            producer.begin_transaction()
            for publish in batch:
                for receipt in publish.receipts:
                    self._produce(producer, name, receipt)
            producer.commit_transaction(TRANSACTION_TIMEOUT_S)
        except KafkaException as exc:
            raise Unavailable(f"receipts of epoch {batch[0].epoch} could not be published: {exc}") from exc

    def _produce(self, producer: Producer, name: str, receipt: Receipt) -> None:
        recipient = receipt.recipient or receipt.contract or b""
        headers: list[tuple[str, str | bytes | None]] = [
            ("status", receipt.status.encode()), ("from", receipt.sender), ("to", recipient)]
        value = CODEC.encode(receipt)
        for _ in range(100):
            try:
                producer.produce(name, value, receipt.hash, self._shard, headers=headers)
            except BufferError:
                producer.poll(0.1)
            else:
                return
        raise QueueFull(f"the broker takes no receipts of shard {self._shard}")
