"""Sending transactions: checks against the newest state, what is in flight, and the way to the topic.

All checks in here are a courtesy to the client: what decides is the epoch that runs the transaction.
"""

import time
from collections.abc import Sequence
from threading import BoundedSemaphore, Lock
from typing import Protocol

from executors.evm import admit
from executors.machine import Rejected
from executors.view import Overlay, View
from ingest.transactions import Transaction, decode
from ledger import BlockIndex
from ledger.assembly import CompleteEpoch
from schemas.errors import QueueFull
from schemas.keys import balance_key, code_key, integer, nonce_key
from schemas.records import Receipt
from schemas.rules import Rules
from streams.snapshots import Snapshots

from .errors import TransactionRefused


class Outbox(Protocol):
    """The way to the topic `transactions`: the producer, or a list in memory."""

    def send(self, transaction: Transaction, timeout_s: float) -> None:
        """Append a transaction and wait until the broker has stored it.

        Raises
        ------
        QueueFull
            Too much waits to be sent.
        Unavailable
            The broker doesn't acknowledge it in time.
        """


class InFlight:
    """Transactions that were sent through this gateway and have no receipt yet. Any thread may use it.

    They leave when their receipt is indexed; every transaction that the broker has stored gets one. A transaction whose
    sending failed leaves at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_hash: dict[bytes, Transaction] = {}
        self._by_sender: dict[bytes, dict[int, bytes]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        """Their number."""
        return len(self._by_hash)

    def add(self, transaction: Transaction) -> None:
        """Note a transaction that is about to be sent.

        Raises
        ------
        TransactionRefused
            It is in flight already, or another one of the same sender and nonce is.
        QueueFull
            Too many are in flight.
        """
        with self._lock:
            if transaction.hash in self._by_hash:
                raise TransactionRefused("already known")
            nonces = self._by_sender.get(transaction.sender, {})
            if transaction.nonce in nonces:
                raise TransactionRefused(
                    f"replacement transaction underpriced: nonce {transaction.nonce} of 0x{transaction.sender.hex()} "
                    f"is taken by 0x{nonces[transaction.nonce].hex()}, and what was sent cannot be replaced"
                )
            if len(self._by_hash) >= self._limit:
                raise QueueFull(f"{len(self._by_hash)} transactions are in flight; at most {self._limit}")
            self._by_hash[transaction.hash] = transaction
            self._by_sender.setdefault(transaction.sender, {})[transaction.nonce] = transaction.hash

    def remove(self, transaction_hash: bytes) -> None:
        """Forget a transaction."""
        with self._lock:
            transaction = self._by_hash.pop(transaction_hash, None)
            if transaction is not None:
                nonces = self._by_sender[transaction.sender]
                del nonces[transaction.nonce]
                if not nonces:
                    del self._by_sender[transaction.sender]

    def settle(self, epochs: Sequence[CompleteEpoch]) -> None:
        """Forget the transactions that have a receipt now."""
        if self._by_hash:
            for epoch in epochs:
                for receipt, _ in (*epoch.included, *epoch.rejected):
                    if receipt.hash in self._by_hash:
                        self.remove(receipt.hash)

    def find(self, transaction_hash: bytes) -> Transaction | None:
        """A transaction in flight."""
        return self._by_hash.get(transaction_hash)

    def next_nonce(self, sender: bytes, nonce: int) -> int:
        """The account's nonce after those that are in flight without a gap, from its committed nonce."""
        with self._lock:
            nonces = self._by_sender.get(sender, {})
            while nonce in nonces:
                nonce += 1
        return nonce


class Submission:
    """Takes signed transactions from clients.

    Parameters
    ----------
    unprotected_allowed
        Whether legacy transactions without a chain id are taken.
    timeout_s
        How long the broker has to acknowledge.
    receipt_wait_s
        How long a question for the receipt of a transaction in flight may wait for it.
    waiting_max
        So many questions wait at a time; others are answered at once.
    """

    def __init__(
        self,
        rules: Rules,
        index: BlockIndex,
        snapshots: Snapshots,
        outbox: Outbox,
        in_flight: InFlight,
        *,
        unprotected_allowed: bool,
        timeout_s: float,
        receipt_wait_s: float = 0.0,
        waiting_max: int = 1,
    ) -> None:
        self._receipt_wait_s = receipt_wait_s
        self._room_to_wait = BoundedSemaphore(waiting_max)
        self._rules = rules
        self._index = index
        self._snapshots = snapshots
        self._outbox = outbox
        self.in_flight = in_flight
        self._unprotected_allowed = unprotected_allowed
        self._timeout_s = timeout_s

    def send(self, raw: bytes) -> bytes:
        """Check a signed transaction and send it on; its hash.

        Raises
        ------
        InvalidTransaction
            No state makes it valid.
        TransactionRefused
            The newest state makes it invalid, or it is known.
        QueueFull
            Too many transactions are in flight.
        Unavailable
            The broker did not acknowledge it. It may have been stored all the same: ask for its receipt.
        """
        transaction = decode(raw, self._rules)
        if transaction.chain_id is None and not self._unprotected_allowed:
            raise TransactionRefused("only replay-protected (EIP-155) transactions are taken over RPC by this gateway")
        receipt = self._index.receipt(transaction.hash)
        if receipt is not None and receipt.included:
            raise TransactionRefused("already known")
        self._check(transaction)
        self.in_flight.add(transaction)
        try:
            self._outbox.send(transaction, self._timeout_s)
        except BaseException:
            self.in_flight.remove(transaction.hash)
            raise
        return transaction.hash

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """The receipt of a transaction. For one in flight through this gateway it waits a moment.

        Blocks come only with transactions. A library that asks too early and then waits for the next block would wait
        for ever, if that block is the one with its transaction and came between its two questions.
        """
        found = self._index.receipt(transaction_hash)
        if found is not None or self.in_flight.find(transaction_hash) is None:
            return found if found is not None else self._index.receipt(transaction_hash)
        if not self._room_to_wait.acquire(blocking=False):
            return None
        try:
            deadline = time.monotonic() + self._receipt_wait_s
            while True:
                epoch = self._index.latest_epoch
                found = self._index.receipt(transaction_hash)
                left_s = deadline - time.monotonic()
                if found is not None or left_s <= 0:
                    return found
                self._index.wait_for_epoch(epoch + 1, left_s)
        finally:
            self._room_to_wait.release()

    def _check(self, transaction: Transaction) -> None:
        """The rules of admission that need state, on the newest one."""
        snapshot = self._snapshots.at(self._index.latest_epoch)
        sender = transaction.sender
        snapshot.prefetch((nonce_key(sender), balance_key(sender), code_key(sender)))
        answer = admit(transaction, self._rules, View(Overlay(), snapshot.read))
        if isinstance(answer, Rejected):
            raise TransactionRefused(answer.reason)
        # One that waits for its nonce has not been looked at further.
        balance = integer(snapshot.read(balance_key(sender)))
        cost = transaction.gas_limit * transaction.max_fee + transaction.value
        if balance < cost:
            raise TransactionRefused(
                f"insufficient funds for gas * price + value: account 0x{sender.hex()} has {balance} wei, needs {cost}"
            )
