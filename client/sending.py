"""Signed transactions on their way: nonces, the producer, and the receipts that come back."""

import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final

from ingest.producer import Delivery, TransactionProducer
from ingest.routing import Router
from ingest.transactions import Transaction, decode
from ledger.subscriber import ReceiptSubscriber
from schemas.errors import Unavailable
from schemas.records import Offset, Partition, Receipt, Source
from streams.kafka import KafkaLog

from .chain import Chain
from .failures import TransactionFailed

IDLE_S: Final = 5.0
"""After so long without a transaction in flight, receipts that came meanwhile are passed over unread."""


class Nonces:
    """The nonces of accounts, with those of transactions in flight. Not for several threads at a time."""

    def __init__(self) -> None:
        self._next: dict[bytes, int] = {}
        """By account: above all nonces that a receipt has told of."""
        self._taken: dict[bytes, set[int]] = {}

    def take(self, account: bytes, committed: int) -> int:
        """The first nonce that is free, from that in the state on; it is taken now."""
        taken = self._taken.setdefault(account, set())
        nonce = max(committed, self._next.get(account, 0))
        taken -= {each for each in taken if each < nonce}
        while nonce in taken:
            nonce += 1
        taken.add(nonce)
        return nonce

    def settle(self, account: bytes, nonce: int, *, used: bool) -> None:
        """A transaction has ended; its nonce is free again if it wasn't used."""
        self._taken.get(account, set()).discard(nonce)
        if used:
            self._next[account] = max(self._next.get(account, 0), nonce + 1)


class Sent:
    """A transaction that was sent."""

    def __init__(self, outbox: "Outbox", transaction: Transaction, stored: "Future[Delivery]") -> None:
        self.transaction: Final = transaction
        self._outbox = outbox
        self._stored = stored
        self._receipt: Receipt | None = None

    @property
    def settled(self) -> bool:
        """Whether its receipt is here."""
        return self._receipt is not None

    @property
    def hash(self) -> bytes:
        """Of the transaction, 32 bytes."""
        return self.transaction.hash

    def delivery(self, timeout_s: float | None = None) -> Delivery:
        """Where the broker has stored it.

        Raises
        ------
        Unavailable
            The broker doesn't acknowledge it in time. It may be stored all the same.
        """
        try:
            return self._stored.result(self._outbox.timeout_s if timeout_s is None else timeout_s)
        except FutureTimeout:
            raise Unavailable(f"the broker did not acknowledge transaction 0x{self.hash.hex()} in time") from None
        except Unavailable:
            self._outbox.settle(self.transaction, used=False)
            raise

    def receipt(self, timeout_s: float | None = None) -> Receipt:
        """Wait for its receipt.

        Raises
        ------
        TransactionFailed
            It failed or was rejected.
        Unavailable
            There is none in time. It may come later: ask again.
        """
        if self._receipt is None:
            until = time.monotonic() + (self._outbox.timeout_s if timeout_s is None else timeout_s)
            place = self.delivery(until - time.monotonic())
            source = Source(Partition(place.partition), Offset(place.offset))
            self._receipt = self._outbox.receipt(source, self.transaction, until)
        if self._receipt.status != "success":
            raise TransactionFailed(self._receipt)
        return self._receipt


class Outbox:
    """Sends signed transactions and waits for their receipts. Any thread may use it.

    Parameters
    ----------
    chain
        Tells the nonces in the state.
    """

    def __init__(self, chain: Chain) -> None:
        self.timeout_s: Final = chain.timeout_s
        self._chain = chain
        self._nonces = Nonces()
        self._lock = threading.Lock()
        """For all but the subscriber."""
        self._waiting = threading.Lock()
        """For the subscriber, which serves one thread; what it reads for one is remembered for the others."""
        self._producer: TransactionProducer | None = None
        self._kafka: KafkaLog | None = None
        self._subscriber: ReceiptSubscriber | None = None
        self._open: weakref.WeakSet[Sent] = weakref.WeakSet()
        """Whose receipt may still be asked for."""
        self._used_s = 0.0

    def send(self, account: bytes, committed: int, sign: Callable[[int], bytes]) -> Sent:
        """Sign a transaction with the next nonce of an account, and send it.

        Parameters
        ----------
        account
            Who sends, 20 bytes.
        committed
            Its nonce in the state.
        sign
            Gives the signed bytes for a nonce.

        Raises
        ------
        InvalidTransaction
            It is wrong whatever the state is.
        """
        with self._lock:
            self._connect()
            nonce = self._nonces.take(account, committed)
            try:
                transaction = decode(sign(nonce), self._chain.rules)
                stored = self._opened().send_decoded(transaction, timeout_s=self.timeout_s)
            except BaseException:
                self._nonces.settle(account, nonce, used=False)
                raise
            sent = Sent(self, transaction, stored)
            self._open.add(sent)
        return sent

    def receipt(self, source: Source, transaction: Transaction, until: float) -> Receipt:
        """Wait for the receipt of a source up to a moment of the monotonic clock."""
        if not self._waiting.acquire(timeout=max(0.0, until - time.monotonic())):
            raise Unavailable(f"no receipt of transaction 0x{transaction.hash.hex()} in time")
        try:
            if self._subscriber is None:
                raise Unavailable("the client is closed")
            found = self._subscriber.wait(source, max(0.0, until - time.monotonic()))
        finally:
            self._waiting.release()
        self._chain.saw(found.epoch)
        self.settle(transaction, used=found.included)
        return found

    def settle(self, transaction: Transaction, *, used: bool) -> None:
        """A transaction has ended."""
        with self._lock:
            self._nonces.settle(transaction.sender, transaction.nonce, used=used)
            self._used_s = time.monotonic()

    def close(self) -> None:
        """Send what is queued, and disconnect."""
        with self._lock:
            if self._producer is not None:
                self._producer.close()
            self._producer = None
        with self._waiting:
            if self._subscriber is not None:
                self._subscriber.close()
            self._subscriber = self._kafka = None

    def _opened(self) -> TransactionProducer:
        if self._producer is None:
            raise Unavailable("the client is closed")
        return self._producer

    def _connect(self) -> None:
        """Begin to read receipts where they end now, unless some are waited for, and have a producer."""
        chain = self._chain
        if self._subscriber is None or (
            all(sent.settled for sent in self._open) and time.monotonic() > self._used_s + IDLE_S
        ):
            with self._waiting:
                if self._kafka is None:
                    self._kafka = KafkaLog(chain.settings)
                self._subscriber = ReceiptSubscriber(chain.settings, chain.shards, log=self._kafka)
        if self._producer is None:
            self._producer = TransactionProducer(chain.settings, chain.rules, Router(chain.partitions))
        self._used_s = time.monotonic()
