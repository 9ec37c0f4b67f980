"""The index of blocks, receipts and logs, fed with a log written by hand."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import rlp
from trie.hexary import HexaryTrie

from ledger import BlockIndex, IndexFollower, LimitExceeded, LogFilter, assembly
from ledger.tries import bloom, encoded_receipt
from schemas.codec import CODEC
from schemas.errors import GenesisRefused, InvariantViolation
from schemas.hashing import digest, keccak
from schemas.records import Event, Offset, Partition, Receipt, Source
from schemas.topics import EPOCHS, receipts, transactions
from streams.log import Fetched, MemoryLog
from tests.written_chain import START_MS, Verdict, WrittenChain, account, signed

ALICE, BOB = account(1), account(2)
TOKEN, POOL = b"\x0a" * 20, b"\x0b" * 20
TRANSFER, SWAP = keccak(b"Transfer"), keccak(b"Swap")


def event(address: bytes, *topics: bytes, data: bytes = b"") -> Event:
    """A log."""
    return Event(address=address, topics=topics, data=data)


class Feed:
    """An index with a follower on a written chain."""

    def __init__(self, chain: WrittenChain, path: Path) -> None:
        self.chain, self.path = chain, path
        self.open()

    def open(self) -> None:
        """Open the index, as after a start of the process."""
        self.index = BlockIndex(self.path, self.chain.genesis, self.chain.shards)
        topics = self.chain.log.topics
        self.committed = MemoryLog(topics)
        self.follower = IndexFollower(self.index, self.committed, MemoryLog(topics))
        self.follower.start()

    def restart(self) -> None:
        """End the process and start it again."""
        self.index.close()
        self.open()

    def read(self, steps: int = 4) -> None:
        """Let it read all that is there."""
        for _ in range(steps):
            self.follower.step(0)


@pytest.fixture
def chain() -> WrittenChain:
    return WrittenChain()


@pytest.fixture
def feed(chain: WrittenChain, tmp_path: Path) -> Iterator[Feed]:
    fed = Feed(chain, tmp_path / "index")
    yield fed
    fed.index.close()


def blocks_of_one(chain: WrittenChain, count: int, logs: Sequence[tuple[Event, ...]] = ()) -> list[Receipt]:
    """Blocks with one transaction each."""
    found = []
    for nonce in range(count):
        source = chain.send(signed(ALICE, nonce))
        chain.cut()
        found += chain.close({source: Verdict(logs=logs[nonce] if logs else ())})
    return found


def test_block_zero_is_the_genesis(chain: WrittenChain, feed: Feed) -> None:
    block = feed.index.block(0)
    assert block is not None
    assert (feed.index.latest_epoch, feed.index.latest_block) == (0, 0)
    assert block.hash == chain.genesis.hash
    assert block.timestamp_ms == START_MS
    assert block.sources == ()
    assert feed.index.block_by_hash(chain.genesis.hash) == block
    assert feed.index.block(1) is None
    assert feed.index.block_by_hash(b"\7" * 32) is None


def test_a_block_is_an_epoch_with_an_included_transaction(chain: WrittenChain, feed: Feed) -> None:
    first, second = chain.send(signed(ALICE), 0), chain.send(signed(BOB), 1)
    chain.cut()
    epoch, cut_ms, randomness = chain.tip.epoch, chain.tip.timestamp_ms, chain.tip.randomness
    given = chain.close({first: Verdict(gas=30_000), second: Verdict(status="failed", gas=50_000)})
    closing = chain.log.topics[EPOCHS][-1].value
    feed.read()
    block = feed.index.block(1)
    assert block is not None
    assert block.number == feed.index.latest_block == 1
    assert block.epoch == feed.index.latest_epoch == epoch
    assert block.hash == digest(closing)
    assert block.parent_hash == chain.genesis.hash
    assert (block.timestamp_ms, block.timestamp_s) == (cut_ms, cut_ms // 1000)
    assert block.randomness == randomness
    assert block.gas_used == 80_000
    assert block.sources == (first, second)
    assert feed.index.receipts(block) == given
    assert feed.index.receipts(block, [1]) == given[1:]
    assert [receipt.block_hash for receipt in given] == [block.hash] * 2
    assert feed.index.block_by_hash(block.hash) == block


def test_epochs_without_an_included_transaction_are_no_blocks(chain: WrittenChain, feed: Feed) -> None:
    chain.cut()
    chain.cut()
    rejected = chain.send(signed(ALICE, 5))
    chain.cut()
    chain.close({rejected: Verdict(status="rejected", reason="nonce too low")})
    feed.read()
    assert feed.index.latest_block == 0
    assert feed.index.latest_epoch == chain.tip.epoch - 1
    (receipt,) = blocks_of_one(chain, 1)
    feed.read()
    assert feed.index.latest_block == receipt.block == 1
    block = feed.index.block(1)
    assert block is not None
    assert block.parent_hash == chain.genesis.hash


def test_parent_hashes_chain_the_blocks(chain: WrittenChain, feed: Feed) -> None:
    blocks_of_one(chain, 5)
    feed.read()
    blocks = [block for number in range(6) if (block := feed.index.block(number)) is not None]
    assert [block.parent_hash for block in blocks[1:]] == [block.hash for block in blocks[:-1]]


def test_an_epoch_appears_only_when_all_its_receipts_are_there(chain: WrittenChain, feed: Feed) -> None:
    for nonce in range(3):
        chain.send(signed(ALICE, nonce), 0)
    chain.send(signed(BOB), 1)
    chain.cut()
    given = chain.close(publish=False)
    random.Random(1).shuffle(given)
    for receipt in given[:-1]:
        chain.publish([receipt])
        feed.read()
        assert feed.index.latest_block == 0
        assert feed.index.receipt(receipt.hash) is None
    chain.publish(given[-1:])
    feed.read()
    assert feed.index.latest_block == 1


def test_receipts_may_come_before_the_close(chain: WrittenChain, feed: Feed) -> None:
    source = chain.send(signed(ALICE))
    chain.cut()
    given = chain.close({source: Verdict()}, publish=False)
    closing = chain.log.topics[EPOCHS].pop()
    chain.publish(given)
    feed.read()
    assert feed.index.latest_epoch == 0
    chain.log.topics[EPOCHS].append(closing)
    feed.read()
    assert feed.index.receipt_of(source) == given[0]


def test_an_epoch_waits_until_its_transactions_are_read(chain: WrittenChain, feed: Feed) -> None:
    source = chain.send(signed(ALICE))
    chain.cut()
    held = chain.log.topics.pop(transactions(0))
    chain_source = {source: Verdict()}
    chain.log.topics[transactions(0)] = held
    given = chain.close(chain_source, publish=False)
    chain.log.topics[transactions(0)] = []
    chain.publish(given)
    feed.read()
    assert feed.index.latest_block == 0
    chain.log.topics[transactions(0)] += held
    feed.read()
    block = feed.index.block(1)
    assert block is not None
    assert feed.index.transactions(block) == [signed(ALICE)]


def test_records_that_are_not_valid_are_skipped(chain: WrittenChain, feed: Feed) -> None:
    chain.send(signed(ALICE))
    chain.cut()
    listed = chain.listed
    rival = replace(chain.manifest((None,)), previous=b"\3" * 32)
    chain.listed = listed
    chain.log.append(EPOCHS, CODEC.encode(rival))
    chain.log.append(EPOCHS, b"nonsense")
    chain.close()
    feed.read()
    assert feed.index.latest_block == 1
    assert feed.follower.caught_up


def test_a_lane_that_did_not_commit_is_in_a_later_block(chain: WrittenChain, feed: Feed) -> None:
    first, second = chain.send(signed(ALICE), 0), chain.send(signed(BOB), 1)
    chain.cut()
    close = (chain.outcome(0, [first]), None)
    draft = chain.drafts([first])
    chain.append(chain.manifest(close))
    chain.publish([replace(draft[0], block=1, block_hash=chain.tip.hash)])
    feed.read()
    block = feed.index.block(1)
    assert block is not None
    assert block.sources == (first,)
    chain.close()
    feed.read()
    block = feed.index.block(2)
    assert block is not None
    assert block.sources == (second,)


def test_a_receipt_published_twice_counts_once(chain: WrittenChain, feed: Feed) -> None:
    chain.send(signed(ALICE, 0))
    chain.send(signed(ALICE, 1))
    chain.cut()
    given = chain.close(publish=False)
    chain.publish([given[0], given[0]])
    feed.read()
    assert feed.index.latest_block == 0
    chain.publish([given[1]])
    feed.read()
    assert feed.index.latest_block == 1
    chain.publish(given)
    blocks_of_one(chain, 1)
    feed.read()
    assert feed.index.latest_block == 2
    assert feed.follower._assembler._waiting == 0


def test_more_receipts_than_the_close_promises_stop_the_follower(chain: WrittenChain, feed: Feed) -> None:
    chain.send(signed(ALICE))
    chain.cut()
    (given,) = chain.close(publish=False)
    chain.publish([given, replace(given, offset=7)])
    with pytest.raises(InvariantViolation, match="2 receipts, its close promises 1"):
        feed.read()


def test_a_rejection_never_replaces_an_inclusion_of_the_same_hash(chain: WrittenChain, feed: Feed) -> None:
    raw = signed(ALICE)
    first, second, third = chain.send(raw, 0), chain.send(raw, 1), chain.send(raw, 1)
    refused = Verdict(status="rejected", reason="nonce too low")
    chain.cut()
    chain.close({first: Verdict(), second: refused, third: refused})
    again = chain.send(raw, 1)
    chain.cut()
    chain.close({again: refused})
    feed.read()
    found = feed.index.receipt(keccak(raw))
    assert found is not None
    assert (found.included, found.source) == (True, first)
    for source in (second, again):
        by_source = feed.index.receipt_of(source)
        assert by_source is not None
        assert (by_source.status, by_source.reason) == ("rejected", "nonce too low")


def test_an_inclusion_replaces_an_earlier_rejection(chain: WrittenChain, feed: Feed) -> None:
    raw = signed(ALICE)
    early = chain.send(raw)
    chain.cut()
    chain.close({early: Verdict(status="rejected", reason="insufficient funds")})
    feed.read()
    rejected = feed.index.receipt(keccak(raw))
    assert rejected is not None
    assert rejected.reason == "insufficient funds"
    late = chain.send(raw)
    chain.cut()
    chain.close()
    feed.read()
    included = feed.index.receipt(keccak(raw))
    assert included is not None
    assert included.source == late


def test_transactions_that_cannot_be_decoded_have_receipts_only(chain: WrittenChain, feed: Feed) -> None:
    good = chain.send(signed(ALICE))
    chain.log.append(transactions(0), b"no envelope")
    bad = Source(Partition(0), Offset(1))
    chain.cut()
    chain.close({good: Verdict(), bad: Verdict(status="rejected", reason="undecodable")})
    feed.read()
    receipt = feed.index.receipt_of(bad)
    assert receipt is not None
    assert receipt.reason == "undecodable"
    assert feed.index.transaction(bad) is None
    assert feed.index.transaction(good) == signed(ALICE)


def test_wrong_transaction_indexes_stop_the_follower(chain: WrittenChain, feed: Feed) -> None:
    chain.send(signed(ALICE))
    chain.cut()
    (given,) = chain.close(publish=False)
    chain.publish([replace(given, transaction_index=1)])
    with pytest.raises(InvariantViolation, match="indexes"):
        feed.read()


def test_roots_and_bloom_are_those_of_ethereum(chain: WrittenChain, feed: Feed) -> None:
    raws = [signed(ALICE, 0), signed(ALICE, 1, gasPrice=10**9), signed(ALICE, 2, gasPrice=10**9, accessList=[])]
    sources = [chain.send(raw) for raw in raws]
    logs = (event(TOKEN, TRANSFER, data=b"1"), event(POOL))
    chain.cut()
    given = chain.close({sources[1]: Verdict(logs=logs), sources[2]: Verdict(status="failed")})
    feed.read()
    block = feed.index.block(1)
    assert block is not None
    roots = feed.index.roots(block)
    for root, values in ((roots.transactions, raws), (roots.receipts, [encoded_receipt(each) for each in given])):
        trie = HexaryTrie({})
        for index, value in enumerate(values):
            trie[rlp.encode(index)] = value
        assert root == trie.root_hash
    assert roots.bloom == bloom(logs)
    assert feed.index.roots(block) == roots
    assert sum(map(len, raws)) + 500 < roots.size < sum(map(len, raws)) + 700


def test_state_root_commits_to_the_newest_digests(chain: WrittenChain, feed: Feed) -> None:
    chain.send(signed(ALICE, 0))
    chain.cut()
    chain.close(digests=(b"\1" * 32, b"\2" * 32))
    chain.send(signed(ALICE, 1))
    chain.cut()
    chain.close()
    feed.read()
    blocks = [feed.index.block(number) for number in (1, 2)]
    expected = digest(b"".join(s.to_bytes(4, "big") + (1).to_bytes(8, "big") + bytes([s + 1]) * 32 for s in (0, 1)))
    assert [block.state_root for block in blocks if block] == [expected] * 2


def test_a_restart_goes_on_where_the_last_batch_ended(chain: WrittenChain, feed: Feed) -> None:
    before = blocks_of_one(chain, 3)
    for nonce in range(3, 7):
        chain.send(signed(ALICE, nonce))
    chain.cut()
    open_epoch = chain.close(publish=False)
    chain.publish(open_epoch[:2])
    feed.read()
    feed.restart()
    assert feed.index.latest_block == 3
    chain.publish(open_epoch[2:])
    after = blocks_of_one(chain, 2)
    # What the batch covered is not read again: those records could be gone.
    epochs, given = chain.log.topics[EPOCHS], chain.log.topics[receipts(0)]
    for index in range(feed.index.tip.offset + 1):
        epochs[index] = epochs[index]._replace(value=b"")
    for index in range(feed.index.positions.receipts[0]):
        given[index] = given[index]._replace(value=b"")
    feed.read()
    assert feed.index.latest_block == 6
    for receipt in (*before, *open_epoch, *after):
        assert feed.index.receipt_of(receipt.source) == receipt
    feed.restart()
    assert feed.index.latest_block == 6
    assert feed.index.head.epoch == chain.tip.epoch - 1


def test_restarts_at_any_time_lead_to_the_same_index(tmp_path: Path) -> None:
    for seed in range(5):
        chance = random.Random(seed)
        chain = WrittenChain(partitions=3, shards=3)
        feed = Feed(chain, tmp_path / str(seed))
        late: list[Receipt] = []
        everything: list[Receipt] = []
        for _ in range(25):
            for _ in range(chance.randint(0, 3)):
                chain.send(signed(ALICE, len(everything)), chance.randrange(3))
            chain.cut()
            given = chain.close(
                {source: Verdict(status=chance.choice(("success", "failed", "rejected")))
                 for lane in chain.listed for source in lane}, publish=False)
            everything += given
            late += given
            # Each shard publishes in the order of epochs, but how far it is behind differs.
            for shard in range(3):
                mine = [receipt for receipt in late if receipt.shard == shard]
                count = chance.randint(0, len(mine))
                chain.publish(mine[:count])
                late = [receipt for receipt in late if receipt not in mine[:count]]
            if chance.random() < 0.7:
                feed.read(chance.randint(1, 2))
            if chance.random() < 0.3:
                feed.restart()
        chain.publish(late)
        feed.read()
        assert feed.index.latest_epoch == chain.tip.epoch - 1, f"seed {seed}"
        assert feed.index.latest_block == chain.tip.block - 1, f"seed {seed}"
        for receipt in everything:
            assert feed.index.receipt_of(receipt.source) == receipt, f"seed {seed}"
        feed.index.close()


def test_shards_that_run_ahead_are_not_read(
    chain: WrittenChain, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "RECEIPTS_WAITING_MAX", 5)
    held: list[Receipt] = []
    for nonce in range(40):
        chain.send(signed(ALICE, nonce))
        chain.cut()
        given = chain.close(publish=False)
        held += [receipt for receipt in given if receipt.shard == 1]
        chain.publish([receipt for receipt in given if receipt.shard == 0])
        feed.read(1)
    assert feed.index.latest_block == 1
    assert receipts(0) not in feed.follower._assembler.wanted()
    assert receipts(1) in feed.follower._assembler.wanted()
    chain.publish(held)
    feed.read(100)
    assert feed.index.latest_block == 40


def test_an_index_of_another_chain_is_refused(chain: WrittenChain, feed: Feed) -> None:
    feed.index.close()
    other = WrittenChain(shards=3)
    with pytest.raises(GenesisRefused, match="belongs to a chain"):
        BlockIndex(feed.path, other.genesis, 3)
    feed.open()


@pytest.fixture
def logged(chain: WrittenChain, feed: Feed) -> Feed:
    """Blocks 1 to 7 with logs: transfers in 1, 2, 4, 5, 7; swaps in 2, 4; none in 3; one without topics in 6."""
    transfer = event(TOKEN, TRANSFER, b"\1" * 32, data=b"t")
    swap = event(POOL, SWAP, b"\2" * 32, data=b"s")
    paid = event(POOL, TRANSFER, b"\3" * 32, data=b"p")
    plain = event(POOL, data=b"n")
    blocks_of_one(
        chain, 7, [(transfer,), (transfer, swap), (), (paid, swap, transfer), (transfer,), (plain,), (paid,)])
    feed.read()
    return feed


ANY: frozenset[bytes] = frozenset()


@pytest.mark.parametrize(
    ("asked", "first", "last", "expected"),
    [
        (LogFilter(), 0, 9, ["1t", "2t", "2s", "4p", "4s", "4t", "5t", "6n", "7p"]),
        (LogFilter(), 2, 4, ["2t", "2s", "4p", "4s", "4t"]),
        (LogFilter(addresses=frozenset({POOL})), 0, 9, ["2s", "4p", "4s", "6n", "7p"]),
        (LogFilter(addresses=frozenset({POOL}), topics=(frozenset({SWAP}),)), 0, 9, ["2s", "4s"]),
        (LogFilter(addresses=frozenset({POOL}), topics=(frozenset({TRANSFER}),)), 0, 9, ["4p", "7p"]),
        (LogFilter(topics=(frozenset({TRANSFER}),)), 0, 9, ["1t", "2t", "4p", "4t", "5t", "7p"]),
        (LogFilter(topics=(frozenset({TRANSFER}),)), 2, 4, ["2t", "4p", "4t"]),
        (LogFilter(topics=(frozenset({TRANSFER, SWAP}), frozenset({b"\2" * 32, b"\3" * 32}))), 0, 9, ["2s", "4p", "4s", "7p"]),
        (LogFilter(topics=(ANY, frozenset({b"\1" * 32}))), 0, 9, ["1t", "2t", "4t", "5t"]),
        (LogFilter(topics=(ANY,)), 5, 9, ["5t", "7p"]),
        (LogFilter(topics=(ANY, ANY, ANY)), 0, 9, []),
        (LogFilter(addresses=frozenset({TOKEN, POOL}), topics=(frozenset({TRANSFER}),)), 4, 4, ["4p", "4t"]),
        (LogFilter(addresses=frozenset({b"\7" * 20})), 0, 9, []),
        (LogFilter(), 8, 9, []),
    ],
)
def test_logs_by_range_address_and_topics(
    logged: Feed, asked: LogFilter, first: int, last: int, expected: list[str]
) -> None:
    found = logged.index.logs(asked, first, last, 100)
    assert [f"{each.receipt.block}{each.event.data.decode()}" for each in found] == expected


def test_log_indexes_count_within_the_block(chain: WrittenChain, feed: Feed) -> None:
    first, second = chain.send(signed(ALICE), 0), chain.send(signed(BOB), 1)
    chain.cut()
    logs = (event(TOKEN, TRANSFER), event(POOL))
    chain.close({first: Verdict(logs=logs), second: Verdict(logs=logs)})
    feed.read()
    found = feed.index.logs(LogFilter(addresses=frozenset({POOL})), 1, 1, 10)
    assert [(each.receipt.transaction_index, each.log_index) for each in found] == [(0, 1), (1, 3)]


def test_too_many_logs_are_an_error_with_the_limit(logged: Feed) -> None:
    assert len(logged.index.logs(LogFilter(), 0, 9, 9)) == 9
    with pytest.raises(LimitExceeded, match="more than 8 results"):
        logged.index.logs(LogFilter(), 0, 9, 8)


def test_listeners_hear_of_epochs_after_they_can_be_looked_up(chain: WrittenChain, feed: Feed) -> None:
    heard: list[tuple[int, int]] = []
    feed.follower.listen(lambda epochs: heard.extend((each.closed.epoch, feed.index.latest_epoch) for each in epochs))
    blocks_of_one(chain, 2)
    feed.read()
    assert [epoch for epoch, _ in heard] == list(range(1, chain.tip.epoch))
    assert all(epoch <= latest for epoch, latest in heard)


def test_caught_up_only_when_all_of_the_start_is_indexed(chain: WrittenChain, tmp_path: Path) -> None:
    blocks_of_one(chain, 3)
    feed = Feed(chain, tmp_path / "late")
    assert not feed.follower.caught_up
    feed.read()
    assert feed.follower.caught_up
    feed.index.close()


def test_fetched_records_of_the_past_are_ignored(chain: WrittenChain, feed: Feed) -> None:
    blocks_of_one(chain, 2)
    feed.read()
    old: Fetched = chain.log.topics[EPOCHS][0]
    feed.follower._assembler.take(old)
    feed.follower._assembler.take(chain.log.topics[receipts(0)][0])
    blocks_of_one(chain, 1)
    feed.read()
    assert feed.index.latest_block == 3
