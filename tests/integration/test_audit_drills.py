"""The audit finds whatever is altered, and names it. Each drill alters one thing in a copy of a log that really ran."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from eth_account.signers.local import LocalAccount

from executors.evm import PyEvm
from ingest.accounts import development_accounts, sign_transfer
from ingest.producer import TransactionProducer
from ingest.routing import Router
from ledger.audit import Audit, Report
from ledger.feed import Feed
from ledger.replay import LedgerLog
from ledger.subscriber import FromEpoch, ReceiptSubscriber
from schemas import topics
from schemas.codec import CODEC
from schemas.genesis import Genesis
from schemas.hashing import keccak
from schemas.keys import describe
from schemas.records import Carry, Envelope, LaneOutcome, Manifest, Prepare, Receipt, Revision
from schemas.topics import Topic, TopicName
from streams.kafka import KafkaLog, KafkaSettings
from streams.log import Acked, Fetched
from tests.broker_fixture import RunningBroker
from tests.running_pipeline import genesis_file, running_pipeline

pytestmark = pytest.mark.timeout(300)

PARTITIONS, SHARDS, EXECUTORS = 4, 2, 2
STORE = b"\x51" * 20
INCREMENT = keccak(b"increment()")[:4]
SET = keccak(b"set(uint256,uint256)")[:4]
COUNTED, PAID, SET_BY_EACH = 8, 3, 2
"""Transactions of each kind by each of ten senders; besides, one of each with a nonce that is used."""
TURNS_MAX = 12
WAIT_S = 90.0
ARTIFACT = Path(__file__).parents[2] / "examples" / "contracts" / "artifacts" / "Store.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A log after everything has come to rest."""

    settings: KafkaSettings
    genesis_file: Path
    genesis: Genesis
    records: dict[Topic, list[Fetched]]
    ends: dict[Topic, int]


class CopiedLog:
    """A log in memory that keeps the offsets of the one that it was copied from, holes included."""

    def __init__(self, records: Mapping[Topic, list[Fetched]], ends: Mapping[Topic, int]) -> None:
        self._records = records
        self._ends = ends
        self._next: dict[Topic, int] = {}
        self._paused: set[Topic] = set()

    def follow(self, positions: Mapping[Topic, int]) -> None:
        self._next |= positions

    def leave(self, topics: Iterable[Topic]) -> None:
        for topic in topics:
            self._next.pop(topic, None)

    def pause(self, topics: Iterable[Topic]) -> None:
        self._paused |= set(topics)

    def resume(self, topics: Iterable[Topic]) -> None:
        self._paused -= set(topics)

    def position(self, topic: Topic) -> int:
        return self._next[topic]

    def poll(self, timeout_s: float) -> list[Fetched]:
        found: list[Fetched] = []
        for topic in self._next.keys() - self._paused:
            found += [record for record in self._records[topic] if record.offset >= self._next[topic]]
            self._next[topic] = self._ends[topic]
        return found

    def ends(self, topics: Iterable[Topic]) -> dict[Topic, int]:
        return {topic: self._ends[topic] for topic in topics}

    def append(self, topic: Topic, value: bytes, **_: Any) -> None:
        raise AssertionError("an audit does not write")

    def acknowledged(self) -> list[Acked]:
        return []

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def ran(broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """A pipeline that ran transfers and conflicting calls, with carries and revisions, and has ended."""
    folder = tmp_path_factory.mktemp("audited")
    code = json.loads(ARTIFACT.read_text())["deployedBytecode"]
    file = genesis_file(folder / "genesis.json", {}, {"0x" + STORE.hex(): {"balance": "0x0", "nonce": "0x1", "code": code}})
    with running_pipeline(
        broker.bootstrap, folder / "data", genesis=file, partitions=PARTITIONS, shards=SHARDS, executors=EXECUTORS,
        lane_transactions_max=8,  # so little per epoch that all lanes have work in most of them
    ) as supervisor:
        settings, genesis = supervisor.config.settings, supervisor.config.read_genesis()
        sent = 0
        for turn in range(TURNS_MAX):
            # Which lanes meet is a matter of time: go on until there is something of each kind to alter.
            sent += send_all(settings, genesis, turn)
            await_receipts(settings, sent)
            await_rest(settings)
            log = LedgerLog(KafkaLog(settings), KafkaLog(settings, committed_only=False))
            try:
                records, ends = copied(log)
            finally:
                log.close()
            found = Ran(settings=settings, genesis_file=file, genesis=genesis, records=records, ends=ends)
            if has_all(found):
                break
    yield found


def has_all(ran: Ran) -> bool:
    """Whether the log has prepares and revisions that count, one that was replaced, and a carry that was accepted."""
    closed = outcomes(ran)
    counted = {kind: False for kind in (Prepare, Revision)}
    replaced = False
    for kind in counted:
        for _, part in decoded(ran, TopicName.PREPARES, kind):
            outcome = closed.get((part.epoch, bytes(part.attempt)))
            if outcome is not None and part.write_keys:
                revised = part.shard in outcome.revised
                counted[kind] |= revised == (kind is Revision)
                replaced |= revised and kind is Prepare
    accepted = any(outcome.accepted for outcome in closed.values())
    return all(counted.values()) and replaced and accepted and sum(len(o.accepted) for o in closed.values()) >= 3


class ByNumber(Router):
    """Every sender has a partition by its number, so that all partitions, and with them all lanes, have work."""

    def route(self, keys: Sequence[bytes]) -> int:
        return keys[0][0] % self.partitions


def send_all(settings: KafkaSettings, genesis: Genesis, turn: int) -> int:
    """Send everything at once, each sender to its own partition, so that calls of the one counter meet across lanes."""
    senders = development_accounts(10)
    raws: list[tuple[bytes, int]] = []
    each = COUNTED + PAID + SET_BY_EACH
    for nonce in range(turn * each, (turn + 1) * each):
        for number, sender in enumerate(senders):
            raws.append((transaction(sender, number, nonce), number))
    raws += [(transaction(sender, number, 0, value=3), number) for number, sender in enumerate(senders[:3])]
    with TransactionProducer(settings, genesis.rules, ByNumber(PARTITIONS)) as producer:
        for raw, number in raws:
            producer.send_unchecked(raw, keccak(raw), (bytes([number]),))
    return len(raws)


def transaction(sender: LocalAccount, number: int, nonce: int, value: int = 0) -> bytes:
    rest = {"chain_id": 52188, "nonce": nonce, "max_fee": 10**9}
    if value or nonce % 4 == 3:
        return sign_transfer(sender, to=bytes(19) + bytes([number]), value=value or 1, **rest)  # type: ignore[arg-type]  # the names are its parameters
    data = INCREMENT if nonce % 4 else SET + number.to_bytes(32, "big") + nonce.to_bytes(32, "big")
    return sign_transfer(sender, to=STORE, value=0, data=data, gas_limit=150_000, **rest)


def await_receipts(settings: KafkaSettings, count: int) -> None:
    deadline = time.monotonic() + WAIT_S
    with ReceiptSubscriber(settings, SHARDS, start=FromEpoch(epoch=0)) as subscriber:
        found = 0
        while found < count and time.monotonic() < deadline:
            found += len(subscriber.poll(0.5))
    assert found == count


def await_rest(settings: KafkaSettings) -> None:
    """Wait until the manifests that name the last digests are there."""
    kafka = KafkaLog(settings)
    end, since = -1, time.monotonic()
    while time.monotonic() - since < 1.5:
        now = kafka.ends([topics.EPOCHS])[topics.EPOCHS]
        if now != end:
            end, since = now, time.monotonic()
        time.sleep(0.1)
    kafka.close()


def copied(log: LedgerLog) -> tuple[dict[Topic, list[Fetched]], dict[Topic, int]]:
    """All records of the ledger and of the claims, and where their topics end."""
    names = Audit.topics(PARTITIONS, SHARDS)
    ends = log.ends(names)
    log.follow(dict.fromkeys(names, 0))
    records: dict[Topic, list[Fetched]] = {topic: [] for topic in names}
    deadline = time.monotonic() + 60
    while any(log.position(topic) < ends[topic] for topic in names):
        assert time.monotonic() < deadline, "the log can't be read to its end"
        for record in log.poll(0.2):
            records[record.topic].append(record)
    return records, ends


# ---- the drills -------------------------------------------------------------------------------------------------

Alter = Callable[[Any], Any]


def audited(ran: Ran, altered: Mapping[Topic, list[Fetched]] | None = None) -> Report:
    """What the audit says of the log, with some topics replaced."""
    feed = Feed(CopiedLog(ran.records | dict(altered or {}), ran.ends), Audit.topics(PARTITIONS, SHARDS), patience_s=1.0)
    return Audit(feed, ran.genesis, PARTITIONS, SHARDS, PyEvm(ran.genesis.rules)).run()


def with_changed(ran: Ran, record: Fetched, alter: Alter) -> dict[Topic, list[Fetched]]:
    """The topic of a record, with that one altered."""
    changed = record._replace(value=CODEC.encode(alter(CODEC.decode(record.value))))
    assert changed.value != record.value
    return {record.topic: [changed if each is record else each for each in ran.records[record.topic]]}


def decoded(ran: Ran, name: TopicName, kind: type) -> list[tuple[Fetched, Any]]:
    """The records of a kind on all partitions of a topic."""
    every = [record for topic, records in ran.records.items() if topic.name is name for record in records]
    return [(record, value) for record in every if isinstance(value := CODEC.decode(record.value), kind)]


def outcomes(ran: Ran) -> dict[tuple[int, bytes], LaneOutcome]:
    """What committed, by epoch and attempt."""
    return {
        (manifest.epoch - 1, bytes(outcome.attempt)): outcome
        for _, manifest in decoded(ran, TopicName.EPOCHS, Manifest) for outcome in manifest.close if outcome is not None}


def difference(report: Report) -> str:
    assert not report.identical
    return report.difference


def test_the_log_has_what_the_drills_need(ran: Ran) -> None:
    lanes = outcomes(ran).values()
    assert any(len(manifest.cut) > 1 for _, manifest in decoded(ran, TopicName.EPOCHS, Manifest)), "never two lanes"
    assert any(outcome.accepted for outcome in lanes), "nothing was carried"
    assert any(outcome.revised for outcome in lanes), "nothing was revised"
    assert {receipt.status for _, receipt in decoded(ran, TopicName.RECEIPTS, Receipt)} >= {"success", "rejected"}


def test_the_copy_as_it_is_is_identical(ran: Ran) -> None:
    report = audited(ran)
    assert report.difference == ""
    assert report.identical
    received = decoded(ran, TopicName.RECEIPTS, Receipt)
    assert report.receipts == report.transactions == len(received)
    assert report.blocks > 1
    assert report.carried > 0
    assert report.digests >= SHARDS


RECEIPT_FIELDS: dict[str, Alter] = {
    "status": lambda receipt: replace(receipt, status="failed"),
    "reason": lambda receipt: replace(receipt, reason="because"),
    "sender": lambda receipt: replace(receipt, sender=b"\x01" * 20),
    "recipient": lambda receipt: replace(receipt, recipient=b"\x01" * 20),
    "contract": lambda receipt: replace(receipt, contract=b"\x01" * 20),
    "nonce": lambda receipt: replace(receipt, nonce=receipt.nonce + 1),
    "block": lambda receipt: replace(receipt, block=receipt.block + 1),
    "block_hash": lambda receipt: replace(receipt, block_hash=bytes(32)),
    "timestamp_ms": lambda receipt: replace(receipt, timestamp_ms=receipt.timestamp_ms + 1),
    "transaction_index": lambda receipt: replace(receipt, transaction_index=receipt.transaction_index + 1),
    "gas_used": lambda receipt: replace(receipt, gas_used=receipt.gas_used - 1),
    "cumulative_gas": lambda receipt: replace(receipt, cumulative_gas=receipt.cumulative_gas + 1),
    "gas_price": lambda receipt: replace(receipt, gas_price=receipt.gas_price + b"\x00"),
    "log_index": lambda receipt: replace(receipt, log_index=receipt.log_index + 1),
    "logs": lambda receipt: replace(receipt, logs=receipt.logs[1:] or receipt.logs * 2),
    "output": lambda receipt: replace(receipt, output=b"\x01"),
    "index": lambda receipt: replace(receipt, index=receipt.index + 1),
    "shard": lambda receipt: replace(receipt, shard=1 - receipt.shard),
    "offset": lambda receipt: replace(receipt, offset=receipt.offset + 1),
}


def middle_receipt(ran: Ran) -> tuple[Fetched, Receipt]:
    """One with logs, from the middle of the run."""
    included = [(record, receipt) for record, receipt in decoded(ran, TopicName.RECEIPTS, Receipt) if receipt.logs]
    return included[len(included) // 2]


@pytest.mark.parametrize("field", RECEIPT_FIELDS)
def test_a_receipt_field(ran: Ran, field: str) -> None:
    record, receipt = middle_receipt(ran)
    said = difference(audited(ran, with_changed(ran, record, RECEIPT_FIELDS[field])))
    assert f"0x{receipt.hash.hex()} has another {field}" in said


def test_a_receipt_under_another_key(ran: Ran) -> None:
    record, _ = middle_receipt(ran)
    altered = [each._replace(key=bytes(32)) if each is record else each for each in ran.records[record.topic]]
    assert f"offset {record.offset}: its key" in difference(audited(ran, {record.topic: altered}))


def test_a_receipt_that_is_missing(ran: Ran) -> None:
    record, receipt = middle_receipt(ran)
    altered = [each for each in ran.records[record.topic] if each is not record]
    assert f"0x{receipt.hash.hex()}" in difference(audited(ran, {record.topic: altered}))


def test_a_receipt_twice(ran: Ran) -> None:
    record, receipt = middle_receipt(ran)
    at = ran.records[record.topic].index(record)
    altered = [*ran.records[record.topic][:at], record, *ran.records[record.topic][at:]]
    assert f"0x{receipt.hash.hex()}" in difference(audited(ran, {record.topic: altered}))


def counting(ran: Ran, kind: type) -> tuple[Fetched, Any]:
    """The first prepare or revision with writes that its shard applied."""
    closed = outcomes(ran)
    for record, part in decoded(ran, TopicName.PREPARES, kind):
        outcome = closed.get((part.epoch, bytes(part.attempt)))
        if outcome is not None and part.write_keys and (part.shard in outcome.revised) == (kind is Revision):
            return record, part
    raise AssertionError(f"no {kind.__name__} that counts")


@pytest.mark.parametrize("kind", [Prepare, Revision])
def test_a_value_in_what_a_shard_applied(ran: Ran, kind: type) -> None:
    record, part = counting(ran, kind)
    said = difference(audited(ran, with_changed(
        ran, record, lambda each: replace(each, write_values=(each.write_values[0] + b"\x01", *each.write_values[1:])))))
    assert f"epoch {part.epoch}, shard {part.shard}: the {kind.__name__.lower()}" in said
    assert f"another value of key {describe(part.write_keys[0])}" in said


def test_a_value_in_a_prepare_that_a_revision_replaced_does_not_count(ran: Ran) -> None:
    closed = outcomes(ran)
    record = next(
        record for record, part in decoded(ran, TopicName.PREPARES, Prepare)
        if part.write_keys and part.shard in getattr(closed.get((part.epoch, bytes(part.attempt))), "revised", ()))
    altered = with_changed(ran, record, lambda each: replace(each, write_values=(b"\x05\x05", *each.write_values[1:])))
    assert audited(ran, altered).identical


def test_a_key_that_was_not_written(ran: Ran) -> None:
    record, _ = counting(ran, Prepare)
    key = b"b" + b"\x77" * 20
    said = difference(audited(ran, with_changed(ran, record, lambda each: replace(
        each, write_keys=(*each.write_keys, key), write_values=(*each.write_values, b"\x01")))))
    assert f"key {describe(key)}: 0x01, the execution gives none" in said


def test_a_delta(ran: Ran) -> None:
    closed = outcomes(ran)
    record, part = next(
        (record, part) for record, part in decoded(ran, TopicName.PREPARES, Prepare)
        if part.delta_keys and (outcome := closed.get((part.epoch, bytes(part.attempt)))) is not None
        and part.shard not in outcome.revised)
    said = difference(audited(ran, with_changed(ran, record, lambda each: replace(
        each, delta_amounts=(each.delta_amounts[0] + b"\x01", *each.delta_amounts[1:])))))
    assert f"another delta of key {describe(part.delta_keys[0])}" in said


def named_digests(ran: Ran) -> list[tuple[Fetched, Manifest]]:
    return [(record, manifest) for record, manifest in decoded(ran, TopicName.EPOCHS, Manifest) if manifest.digests]


def test_a_digest_in_a_manifest(ran: Ran) -> None:
    record, manifest = named_digests(ran)[-1]
    wrong = b"\xee" * 32
    said = difference(audited(ran, with_changed(ran, record, lambda each: replace(
        each, digests=(replace(each.digests[0], digest=wrong), *each.digests[1:])))))
    assert wrong.hex() in said
    assert f"shard {manifest.digests[0].shard} after epoch {manifest.digests[0].epoch}" in said
    assert manifest.digests[0].digest.hex() in said


def test_a_digest_in_the_middle_breaks_the_chain_of_hashes(ran: Ran) -> None:
    record, _ = named_digests(ran)[len(named_digests(ran)) // 2]
    said = difference(audited(ran, with_changed(ran, record, lambda each: replace(
        each, digests=(replace(each.digests[0], digest=b"\xee" * 32), *each.digests[1:])))))
    assert "has another block_hash" in said or ("ee" * 32) in said


def accepted_carry(ran: Ran) -> tuple[Fetched, Carry]:
    """A carry that a close named."""
    named = {(each.partition, each.position) for outcome in outcomes(ran).values() for each in outcome.accepted}
    return next(
        (record, carry) for record, carry in decoded(ran, TopicName.CARRIES, Carry)
        if (record.topic.partition, record.offset) in named)


def test_a_carry_that_holds_another_transaction(ran: Ran) -> None:
    record, carry = accepted_carry(ran)
    other = next(raw for _, envelope in decoded(ran, TopicName.TRANSACTIONS, Envelope) if (raw := envelope.raw) != carry.raw)
    said = difference(audited(ran, with_changed(ran, record, lambda each: replace(each, raw=other))))
    assert f"carries [{record.topic.partition}] offset {record.offset} holds transaction 0x{keccak(other).hex()}" in said
    assert f"is 0x{carry.hash.hex()}" in said


def test_a_carry_that_is_missing(ran: Ran) -> None:
    record, _ = accepted_carry(ran)
    altered = [each for each in ran.records[record.topic] if each is not record]
    said = difference(audited(ran, {record.topic: altered}))
    assert f"carries [{record.topic.partition}] offset {record.offset} is not on the log" in said


def test_a_transaction(ran: Ran) -> None:
    """The input itself, altered: the list that ran is another one."""
    raws = decoded(ran, TopicName.TRANSACTIONS, Envelope)
    record, envelope = raws[len(raws) // 2]
    other = next(each.raw for _, each in raws if each.raw != envelope.raw)
    said = difference(audited(ran, with_changed(ran, record, lambda each: replace(each, raw=other))))
    assert "the list that ran is not the one on the log" in said or keccak(other).hex() in said


def last_close(ran: Ran) -> tuple[Fetched, Manifest]:
    return [
        (record, manifest) for record, manifest in decoded(ran, TopicName.EPOCHS, Manifest)
        if any(outcome and outcome.included + outcome.rejected for outcome in manifest.close)][-1]


def test_a_count_in_the_last_close(ran: Ran) -> None:
    record, manifest = last_close(ran)

    def alter(each: Manifest) -> Manifest:
        rank = next(rank for rank, outcome in enumerate(each.close) if outcome and outcome.gas + outcome.rejected)
        outcome = each.close[rank]
        assert outcome is not None
        return replace(each, close=(*each.close[:rank], replace(outcome, gas=outcome.gas + 1), *each.close[rank + 1:]))

    said = difference(audited(ran, with_changed(ran, record, alter)))
    assert f"epoch {manifest.epoch - 1}, lane" in said
    assert "the close counts" in said


def test_a_receipt_of_the_last_epoch(ran: Ran) -> None:
    every = decoded(ran, TopicName.RECEIPTS, Receipt)
    last = max(receipt.epoch for _, receipt in every)
    record, receipt = next((record, receipt) for record, receipt in every if receipt.epoch == last)
    said = difference(audited(ran, with_changed(ran, record, lambda each: replace(each, reason="because"))))
    assert f"0x{receipt.hash.hex()} has another reason: because" in said


def test_the_last_close_that_is_missing(ran: Ran) -> None:
    record, manifest = last_close(ran)
    altered = [each for each in ran.records[topics.EPOCHS] if each.offset < record.offset]
    said = difference(audited(ran, {topics.EPOCHS: altered}))
    published = {f"0x{receipt.hash.hex()}" for _, receipt in decoded(ran, TopicName.RECEIPTS, Receipt) if receipt.epoch == manifest.epoch - 1}
    assert any(name in said for name in published)
    assert f"receipt of epoch {manifest.epoch - 1}, but the chain of manifests ends" in said


def test_another_genesis(ran: Ran) -> None:
    """With it no record is valid, so that nothing explains the receipts."""
    other = Genesis.parse(ran.genesis_file.read_bytes().replace(b'"0x0"', b'"0x1"', 1))
    feed = Feed(CopiedLog(ran.records, ran.ends), Audit.topics(PARTITIONS, SHARDS), patience_s=1.0)
    report = Audit(feed, other, PARTITIONS, SHARDS, PyEvm(other.rules)).run()
    assert "but the chain of manifests ends with epoch 0" in difference(report)


# ---- the command ------------------------------------------------------------------------------------------------


def command(ran: Ran, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = [
        "audit", "--kafka", ran.settings.bootstrap, "--prefix", ran.settings.prefix, "--genesis", str(ran.genesis_file),
        "--partitions", str(PARTITIONS), "--shards", str(SHARDS)]
    return subprocess.run(
        [sys.executable, "-m", "cluster", *arguments, *more], capture_output=True, text=True, timeout=120, check=False)


def test_the_command_on_the_log_itself(ran: Ran) -> None:
    done = command(ran)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "identical"


def test_the_command_refuses_other_numbers_and_another_genesis(ran: Ran, tmp_path: Path) -> None:
    done = command(ran, "--partitions", "3")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--partitions: the log has 4, not 3" in done.stderr
    done = command(ran, "--genesis", str(genesis_file(tmp_path / "other.json", {"parkedMsMax": 7})))
    assert (done.returncode, done.stdout) == (2, "")
    assert "another genesis file" in done.stderr


def test_the_command_names_a_forged_receipt(ran: Ran) -> None:
    """Last in this file: it changes the log for good."""
    _, receipt = middle_receipt(ran)
    forged = replace(receipt, hash=b"\xfa" * 32, status="success")
    client = Producer(ran.settings.producer())
    client.produce(f"{ran.settings.prefix}receipts", CODEC.encode(forged), forged.hash, receipt.shard)
    assert client.flush(30) == 0
    done = command(ran, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["identical"] is False
    assert "fa" * 32 in report["difference"]
