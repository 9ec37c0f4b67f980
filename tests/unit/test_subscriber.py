"""The client for receipts, on a log in memory."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import pytest

from ledger import FromEpoch, Live, ReceiptFilter, ReceiptSubscriber
from ledger.subscriber import Start
from schemas.errors import Unavailable
from schemas.hashing import keccak
from schemas.keys import source_home
from schemas.records import Event, Offset, Partition, Receipt, Source
from schemas.topics import receipts
from streams.kafka import KafkaSettings
from streams.log import MemoryLog
from tests.written_chain import TO, Verdict, WrittenChain, account, signed

ALICE, BOB = account(1), account(2)
CONTRACT, EMITTER = b"\x0c" * 20, b"\x0e" * 20
SETTINGS = KafkaSettings(bootstrap="unused:1")


def subscriber(chain: WrittenChain, start: Start | None = None, only: ReceiptFilter | None = None) -> ReceiptSubscriber:
    """A subscriber to a written chain."""
    return ReceiptSubscriber(SETTINGS, chain.shards, start=start, only=only, log=MemoryLog(chain.log.topics))


def epochs_of_two(chain: WrittenChain, count: int) -> list[Receipt]:
    """Epochs with one transaction at each shard."""
    found = []
    for nonce in range(count):
        chain.send(signed(ALICE, nonce), 0)
        chain.send(signed(BOB, nonce), 1)
        chain.cut()
        found += chain.close()
    return found


def by_source(found: Iterable[Receipt]) -> list[Receipt]:
    """Receipts in the order of their sources: shards come in any order."""
    return sorted(found, key=lambda receipt: receipt.source)


@pytest.fixture
def chain() -> WrittenChain:
    return WrittenChain()


def test_live_gives_only_what_comes_from_now_on(chain: WrittenChain) -> None:
    epochs_of_two(chain, 2)
    for start in (None, Live()):
        live = subscriber(chain, start)
        assert live.poll(0) == []
        new = epochs_of_two(chain, 1)
        assert by_source(live.poll(0)) == by_source(new)
        assert live.poll(0) == []


def test_a_map_of_offsets_starts_there_and_goes_on_where_it_ended(chain: WrittenChain) -> None:
    given = epochs_of_two(chain, 3)
    everything = subscriber(chain, {})
    assert by_source(everything.poll(0)) == by_source(given)
    first = subscriber(chain, {0: 0, 1: 1})
    taken = list(islice(first, 3))
    assert not [receipt for receipt in taken if receipt.shard == 1 and receipt.epoch == given[0].epoch]
    # Receipts that were fetched but not handed out yet are not passed over.
    rest = subscriber(chain, first.positions).poll(0)
    assert len(taken) + len(rest) == 5
    assert len({receipt.source for receipt in (*taken, *rest)}) == 5
    assert by_source(first.poll(0)) == by_source(rest)


@pytest.mark.parametrize("epoch", [1, 2, 300, 777, 1_999, 5_000])
def test_from_an_epoch_finds_its_first_receipt(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.subscriber._SCAN_RECORDS", 16)
    monkeypatch.setattr("ledger.subscriber._PROBE_S", 0.01)
    chain = WrittenChain(shards=2)
    (draft,) = epochs_of_one(chain)
    wanted = []
    for number in range(2, 2_000):
        for shard in (0, 1):
            # Shard 1 has receipts in every seventh epoch alone, then several.
            for copy in range(1 if shard == 0 else 3 * (number % 7 == 0)):
                receipt = moved(draft, number, shard, copy)
                chain.publish([receipt])
                if number >= epoch:
                    wanted.append(receipt)
    seeking = subscriber(chain, FromEpoch(epoch=epoch))
    found = [receipt for receipt in seeking.poll(0) if receipt.hash != draft.hash]
    assert by_source(found) == by_source(wanted)


def epochs_of_one(chain: WrittenChain) -> list[Receipt]:
    """One epoch with one transaction."""
    chain.send(signed(ALICE))
    chain.cut()
    return chain.close()


def moved(draft: Receipt, epoch: int, shard: int, copy: int) -> Receipt:
    """A receipt like another one, elsewhere."""
    return replace(draft, epoch=epoch, shard=shard, partition=shard, offset=10 * epoch + copy, hash=bytes(31) + b"\1")


def test_filters(chain: WrittenChain) -> None:
    logs = (Event(address=EMITTER, topics=(), data=b""),)
    call = chain.send(signed(ALICE, 0), 0)
    creation = chain.send(signed(BOB, 0, to=None, data="0x00"), 1)
    rejected = chain.send(signed(BOB, 9), 1)
    chain.cut()
    chain.close({
        call: Verdict(logs=logs), creation: Verdict(contract=CONTRACT), rejected: Verdict(status="rejected", reason="no")})
    alice, bob = (bytes.fromhex(each.address[2:]) for each in (ALICE, BOB))
    for only, expected in [
        (ReceiptFilter(), {call, creation, rejected}),
        (ReceiptFilter(hashes=frozenset({keccak(signed(ALICE, 0))})), {call}),
        (ReceiptFilter(sources=frozenset({creation, Source(Partition(1), Offset(77))})), {creation}),
        (ReceiptFilter(addresses=frozenset({alice})), {call}),
        (ReceiptFilter(addresses=frozenset({bob})), {creation, rejected}),
        (ReceiptFilter(addresses=frozenset({TO})), {call, rejected}),
        (ReceiptFilter(addresses=frozenset({CONTRACT})), {creation}),
        (ReceiptFilter(addresses=frozenset({EMITTER, CONTRACT})), {call, creation}),
        (ReceiptFilter(addresses=frozenset({bob}), sources=frozenset({call})), set()),
    ]:
        assert {receipt.source for receipt in subscriber(chain, {}, only).poll(0)} == expected, only


def test_wait_by_source_and_by_hash(chain: WrittenChain) -> None:
    with subscriber(chain) as waiting:
        given = epochs_of_two(chain, 3)
        for receipt in reversed(given):
            assert waiting.wait(receipt.source, 0) == receipt
        for receipt in given:
            assert waiting.wait(receipt.hash, 0) == receipt


def test_wait_ends_in_time(chain: WrittenChain) -> None:
    waiting = subscriber(chain)
    with pytest.raises(Unavailable, match=r"source \(1, 5\) within 0.05 s"):
        waiting.wait(Source(Partition(1), Offset(5)), 0.05)
    with pytest.raises(Unavailable, match="transaction 0x0707"):
        waiting.wait(b"\7" * 32, 0)


@pytest.mark.parametrize("inclusion_first", [True, False])
def test_wait_by_hash_prefers_an_inclusion(chain: WrittenChain, inclusion_first: bool) -> None:
    raw = signed(ALICE)
    included, rejected = chain.send(raw, 0), chain.send(raw, 1)
    chain.cut()
    given = chain.close({rejected: Verdict(status="rejected")}, publish=False)
    waiting = subscriber(chain)
    chain.publish(sorted(given, key=lambda receipt: receipt.included, reverse=inclusion_first))
    assert waiting.wait(rejected, 0).status == "rejected"
    assert waiting.wait(keccak(raw), 0).source == included


def test_what_wait_passes_by_is_kept_within_a_bound(chain: WrittenChain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.subscriber.REMEMBERED_MAX", 3)
    waiting = subscriber(chain)
    given = epochs_of_two(chain, 3)
    with pytest.raises(Unavailable):
        waiting.wait(b"\7" * 32, 0)
    known = [receipt for receipt in given if receipt.source in waiting._by_source]
    assert len(known) == len(waiting._by_hash) == 3
    assert {source_home(*receipt.source, 2) for receipt in known} <= {0, 1}
    assert receipts(0) in chain.log.topics
