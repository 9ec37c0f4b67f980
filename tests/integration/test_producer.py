"""What clients send comes back as exactly one receipt each, and what is wrong says why: thing, value, limit."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer
from eth_account import Account
from eth_account.signers.local import LocalAccount

from cluster.supervisor import Supervisor
from ingest.accounts import development_accounts, sign_transfer
from ingest.producer import Delivery, TransactionProducer
from ingest.rlp import read_list, write, write_list
from ingest.routing import Router
from ingest.signatures import HALF_ORDER
from ledger.subscriber import FromEpoch, ReceiptSubscriber
from schemas import topics
from schemas.codec import CODEC
from schemas.genesis import Genesis
from schemas.hashing import keccak
from schemas.records import DeadLetter, Receipt, Source
from streams.kafka import KafkaLog
from streams.start import records_between
from tests.broker_fixture import RunningBroker
from tests.running_pipeline import genesis_file, running_pipeline

pytestmark = pytest.mark.timeout(240)

PARTITIONS, SHARDS = 2, 2
PARKED_MS_MAX = 1_500
ORDER = 2 * HALF_ORDER + 1
CHAIN_ID = 52188
RECIPIENT = bytes(19) + b"\x99"
WAIT_S = 60.0


@pytest.fixture(scope="module")
def pipeline(broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    folder = tmp_path_factory.mktemp("pipeline")
    genesis = genesis_file(folder / "genesis.json", {"parkedMsMax": PARKED_MS_MAX, "nonceAheadMax": 50})
    with running_pipeline(
        broker.bootstrap, folder / "data", genesis=genesis, partitions=PARTITIONS, shards=SHARDS, executors=1
    ) as supervisor:
        yield supervisor


@pytest.fixture(scope="module")
def genesis(pipeline: Supervisor) -> Genesis:
    return pipeline.config.read_genesis()


@pytest.fixture(scope="module")
def producer(pipeline: Supervisor, genesis: Genesis) -> Iterator[TransactionProducer]:
    with TransactionProducer(pipeline.config.settings, genesis.rules, Router(PARTITIONS)) as made:
        yield made


@pytest.fixture(scope="module")
def accounts() -> tuple[LocalAccount, ...]:
    return development_accounts(10)


@pytest.fixture
def subscriber(pipeline: Supervisor) -> Iterator[ReceiptSubscriber]:
    with ReceiptSubscriber(pipeline.config.settings, SHARDS, start=FromEpoch(epoch=0)) as made:
        yield made


def source_of(delivery: Delivery) -> Source:
    return Source(delivery.partition, delivery.offset)  # type: ignore[arg-type]  # both are counted from 0


def transfer(account: LocalAccount, nonce: int, **changes: object) -> bytes:
    values = {"chain_id": CHAIN_ID, "to": RECIPIENT, "value": 1, "max_fee": 0, "gas_limit": 21_000}
    return sign_transfer(account, nonce=nonce, **(values | changes))  # type: ignore[arg-type]  # the names are its parameters


def unchecked(producer: TransactionProducer, raw: bytes, sender: bytes = b"someone") -> Delivery:
    return producer.send_unchecked(raw, keccak(raw), (sender,)).result(WAIT_S)


# ---- delivery ---------------------------------------------------------------------------------------------------


def test_a_delivery_is_the_identity_of_the_receipt(
    producer: TransactionProducer, subscriber: ReceiptSubscriber, accounts: tuple[LocalAccount, ...]
) -> None:
    futures = [producer.send(transfer(accounts[0], nonce)) for nonce in range(5)]
    deliveries = [future.result(WAIT_S) for future in futures]
    assert len({delivery.partition for delivery in deliveries}) == 1, "a sender keeps its partition"
    assert [delivery.offset for delivery in deliveries] == sorted(delivery.offset for delivery in deliveries)
    for nonce, delivery in enumerate(deliveries):
        receipt = subscriber.wait(source_of(delivery), WAIT_S)
        assert (receipt.status, receipt.hash, receipt.nonce) == ("success", delivery.hash, nonce)
        assert receipt.sender == bytes.fromhex(accounts[0].address[2:])


def test_the_queue_empties_as_the_broker_takes_it(
    pipeline: Supervisor, genesis: Genesis, subscriber: ReceiptSubscriber, accounts: tuple[LocalAccount, ...]
) -> None:
    with TransactionProducer(pipeline.config.settings, genesis.rules, Router(PARTITIONS), queue_max=2) as narrow:
        futures = [narrow.send(transfer(accounts[1], nonce), timeout_s=WAIT_S) for nonce in range(12)]
        assert narrow.flush() == 0
        deliveries = [future.result(0) for future in futures]
    assert len({source_of(delivery) for delivery in deliveries}) == 12
    assert subscriber.wait(source_of(deliveries[-1]), WAIT_S).included


def test_the_same_transaction_twice_is_included_once(
    producer: TransactionProducer, subscriber: ReceiptSubscriber, accounts: tuple[LocalAccount, ...]
) -> None:
    raw = transfer(accounts[2], 0)
    first, second = (unchecked(producer, raw, key) for key in (b"one", b"two-elsewhere"))
    receipts = [subscriber.wait(source_of(delivery), WAIT_S) for delivery in (first, second)]
    assert sorted(receipt.status for receipt in receipts) == ["rejected", "success"]
    assert subscriber.wait(first.hash, WAIT_S).status == "success", "a rejection never replaces an inclusion"


# ---- rejected input ---------------------------------------------------------------------------------------------


class Wrong(NamedTuple):
    """A transaction that gets a rejected receipt, and what the reason says."""

    raw: bytes
    words: tuple[str, ...]
    """Thing, value and limit."""
    signed: bool = True
    """Whether the signature gives a sender."""


POOR: LocalAccount = Account.from_key(b"\x07" * 32)
USED = 9
"""Number of the account whose first nonce is used."""


def with_high_s(raw: bytes) -> bytes:
    """The same transaction with the other signature that the curve would take."""
    items = read_list(raw[1:])
    s = int.from_bytes(bytes(items[-1]), "big")  # type: ignore[arg-type]  # a signature is no list
    assert items[-3] in (b"", b"\x01")
    flipped = b"" if items[-3] else b"\x01"
    body = [raw_item(item) for item in items[:-3]] + [write(flipped), write(items[-2]), write((ORDER - s).to_bytes(32, "big"))]  # type: ignore[arg-type]  # as above
    return raw[:1] + write_list(tuple(body))


def raw_item(item: object) -> bytes:
    return write_list(tuple(map(raw_item, item))) if isinstance(item, list) else write(item)  # type: ignore[arg-type]  # bytes are left


def wrong_ones() -> dict[str, Wrong]:
    account = development_accounts(USED + 1)[USED]
    poor = "0x" + POOR.address[2:].lower()
    sender = "0x" + account.address[2:].lower()
    return {
        "undecodable": Wrong(b"\xc1\x80\x00", ("undecodable",), signed=False),
        "empty": Wrong(b"", ("empty transaction",), signed=False),
        "unknown type": Wrong(b"\x7f\xc0", ("transaction type 0x7f", "0x01, 0x02, 0x04 and 0x50"), signed=False),
        "blob": Wrong(b"\x03" + write_list(()), ("blob transactions (type 3)", "not supported"), signed=False),
        "bad signature": Wrong(with_high_s(transfer(account, 1)), ("invalid signature", "half of the curve's order"), signed=False),
        "wrong chain": Wrong(transfer(account, 1, chain_id=1), ("invalid chain id", "1", "52188"), signed=False),
        "oversized": Wrong(
            transfer(account, 1, data=b"\x01" * 131_072, gas_limit=10_000_000), ("oversized data", "bytes", "limit 131072"),
            signed=False),
        "gas below intrinsic": Wrong(
            transfer(account, 1, gas_limit=20_999), ("intrinsic gas", "20999", "needed 21000"), signed=False),
        "gas above the highest": Wrong(
            transfer(account, 1, gas_limit=30_000_001), ("gas limit 30000001", "30000000"), signed=False),
        "nonce used": Wrong(transfer(account, 0, value=5), ("nonce too low", "0", sender, "1")),
        "no funds": Wrong(transfer(POOR, 0, value=12_345), ("insufficient funds", poor, "0", "12345")),
        "no funds for gas": Wrong(
            transfer(POOR, 0, value=0, max_fee=1_000), ("insufficient funds", poor, str(21_000 * 1_000))),
        "nonce far ahead": Wrong(transfer(account, 1_000, value=5), ("nonce", "1000", "1", "50")),
    }


WRONG = wrong_ones()


@pytest.fixture(scope="module")
def sent(producer: TransactionProducer, accounts: tuple[LocalAccount, ...]) -> dict[str, Delivery]:
    """All that is wrong, after the transaction that uses the nonce."""
    producer.send(transfer(accounts[USED], 0)).result(WAIT_S)
    return {name: unchecked(producer, wrong.raw, bytes.fromhex(accounts[USED].address[2:])) for name, wrong in WRONG.items()}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_rejected_with_its_reason(
    name: str, sent: dict[str, Delivery], subscriber: ReceiptSubscriber
) -> None:
    receipt = subscriber.wait(source_of(sent[name]), WAIT_S)
    assert receipt.status == "rejected"
    assert receipt.hash == keccak(WRONG[name].raw)
    assert (receipt.block, receipt.transaction_index, receipt.gas_used) == (None, None, 0)
    assert bool(receipt.sender) == WRONG[name].signed
    missing = [word for word in WRONG[name].words if word not in receipt.reason]
    assert not missing, receipt.reason


def test_a_gap_waits_and_is_then_rejected(
    producer: TransactionProducer, subscriber: ReceiptSubscriber, accounts: tuple[LocalAccount, ...]
) -> None:
    began = time.monotonic()
    delivery = producer.send(transfer(accounts[3], 2)).result(WAIT_S)
    receipt = subscriber.wait(source_of(delivery), WAIT_S)
    assert time.monotonic() - began >= PARKED_MS_MAX / 1000
    assert receipt.status == "rejected"
    assert "nonce 2" in receipt.reason
    assert "did not come within" in receipt.reason


def test_a_gap_that_is_filled_in_time_is_included(
    producer: TransactionProducer, subscriber: ReceiptSubscriber, accounts: tuple[LocalAccount, ...]
) -> None:
    later = producer.send(transfer(accounts[4], 1)).result(WAIT_S)
    time.sleep(0.3)
    first = producer.send(transfer(accounts[4], 0)).result(WAIT_S)
    receipts = [subscriber.wait(source_of(delivery), WAIT_S) for delivery in (first, later)]
    assert [receipt.status for receipt in receipts] == ["success", "success"]
    places = [(receipt.block, receipt.transaction_index) for receipt in receipts]
    assert places == sorted(places)


def test_a_record_that_nobody_can_read_becomes_a_dead_letter_too(
    pipeline: Supervisor, subscriber: ReceiptSubscriber
) -> None:
    junk = b"\x00not an envelope"
    stored: list[Any] = []
    client = Producer(pipeline.config.settings.producer())
    client.produce(
        f"{pipeline.config.kafka.prefix}transactions", junk, partition=1,
        on_delivery=lambda error, message: stored.append(message))
    assert client.flush(30) == 0
    source = Source(stored[0].partition(), stored[0].offset())
    receipt = subscriber.wait(source, WAIT_S)
    assert receipt.status == "rejected"
    assert "not an Avro single object: it starts with 0x006e" in receipt.reason
    letters = [letter for letter in dead_letters(pipeline) if (letter.partition, letter.offset) == source]
    assert letters[0].record == junk
    assert letters[0].reason in receipt.reason


def dead_letters(pipeline: Supervisor) -> list[DeadLetter]:
    """What lies on `deadletters`; the letter is written before the receipt."""
    kafka = KafkaLog(pipeline.config.settings)
    try:
        end = kafka.ends([topics.DEADLETTERS])[topics.DEADLETTERS]
        return [CODEC.decode_as(DeadLetter, each.value) for each in records_between(kafka, topics.DEADLETTERS, 0, end)]
    finally:
        kafka.close()


def test_everything_has_exactly_one_receipt(pipeline: Supervisor, sent: dict[str, Delivery]) -> None:
    """Last in this file: over all that the tests before have sent."""
    wanted: set[Source] = set()
    kafka = KafkaLog(pipeline.config.settings, committed_only=False)
    inputs = [topics.transactions(partition) for partition in range(PARTITIONS)]
    for topic, end in kafka.ends(inputs).items():
        wanted |= {Source(topic.partition, each.offset) for each in records_between(kafka, topic, 0, end)}  # type: ignore[arg-type]  # as above
    kafka.close()
    assert {source_of(delivery) for delivery in sent.values()} <= wanted
    found: list[Receipt] = []
    with ReceiptSubscriber(pipeline.config.settings, SHARDS, start=FromEpoch(epoch=0)) as subscriber:
        deadline = time.monotonic() + WAIT_S
        while len(found) < len(wanted) and time.monotonic() < deadline:
            found += subscriber.poll(0.5)
        found += subscriber.poll(2.0)  # and no more come
    assert sorted(receipt.source for receipt in found) == sorted(wanted)
