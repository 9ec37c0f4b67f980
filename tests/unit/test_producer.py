"""The producer without a broker: its bounds, its refusals, and what comes of futures that can't be kept."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from ingest.accounts import development_accounts, sign_transfer
from ingest.producer import TransactionProducer
from ingest.routing import Router
from schemas.errors import InvalidTransaction, QueueFull, Unavailable
from schemas.genesis import DEVELOPMENT_ACCOUNTS
from schemas.rules import Rules
from streams.kafka import KafkaSettings

NOBODY = KafkaSettings(bootstrap="127.0.0.1:1", security={"log_level": "0"})
"""No broker listens there."""


@pytest.fixture
def producer() -> Iterator[TransactionProducer]:
    made = TransactionProducer(NOBODY, Rules(), Router(4), queue_max=3)
    yield made
    made.close(0.05)


def transfer(nonce: int, chain_id: int = 52188) -> bytes:
    (account,) = development_accounts(1)
    return sign_transfer(account, chain_id=chain_id, nonce=nonce, to=DEVELOPMENT_ACCOUNTS[1], value=1, max_fee=0)


def test_the_queue_has_a_bound_and_reaching_it_is_told(producer: TransactionProducer) -> None:
    futures = [producer.send(transfer(nonce), timeout_s=0) for nonce in range(3)]
    began = time.monotonic()
    with pytest.raises(QueueFull, match="3 transactions wait for the broker"):
        producer.send(transfer(3), timeout_s=0)
    assert time.monotonic() - began < 0.2
    began = time.monotonic()
    with pytest.raises(QueueFull):
        producer.send(transfer(3), timeout_s=0.3)
    assert time.monotonic() - began >= 0.3
    assert not any(future.done() for future in futures)
    assert producer.flush(0) == 3


def test_what_is_wrong_whatever_the_state_is_takes_no_room(producer: TransactionProducer) -> None:
    for _ in range(10):
        with pytest.raises(InvalidTransaction, match="invalid chain id: 1, this chain has 52188"):
            producer.send(transfer(0, chain_id=1), timeout_s=0)
    producer.send(transfer(0), timeout_s=0)


def test_what_no_record_can_hold_takes_no_room(producer: TransactionProducer) -> None:
    for _ in range(5):
        with pytest.raises(InvalidTransaction, match=r"9000\d\d\d bytes cannot be produced"):
            producer.send_unchecked(b"\x02" * 9_000_000, bytes(32), [b"sender"], timeout_s=0)


def test_futures_that_cannot_be_kept_fail_when_it_closes() -> None:
    producer = TransactionProducer(NOBODY, Rules(), Router(4))
    future = producer.send(transfer(0))
    producer.close(0.05)
    with pytest.raises(Unavailable, match="the broker did not take transaction 0x"):
        future.result(0)


def test_after_a_fatal_error_a_new_producer_is_needed(producer: TransactionProducer) -> None:
    producer._note(KafkaError(KafkaError._TRANSPORT))
    producer.send(transfer(0), timeout_s=0)
    producer._note(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "gap", fatal=True))
    with pytest.raises(Unavailable, match="make a new one"):
        producer.send(transfer(1), timeout_s=0)
