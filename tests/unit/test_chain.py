"""What makes a record of `epochs` valid, and what follows from it."""

from dataclasses import replace
from typing import Any

import pytest

from schemas.chain import ANCESTORS, Tip, carries_from
from schemas.codec import CODEC
from schemas.records import FirstCut, Input, Origin, ShardDigest, Slice
from tests.chains import RULES, A, B, accepted, after, came_to, excluding, genesis, lane, manifest, opened


def test_the_first_record_names_the_anchor() -> None:
    """And block 0 is the genesis."""
    tip = after(genesis(), manifest(genesis()))
    assert (tip.epoch, tip.block, tip.ancestors) == (1, 1, (genesis().hash,))
    assert genesis().after(manifest(genesis(), previous=bytes(32)), bytes(32), 0) is None


@pytest.mark.parametrize("wrong", [
    {"previous": b"!" * 32},
    {"epoch": 3},
    {"epoch": 1},
    {"block": 1},
    {"timestamp_ms": 999},
    {"rules": bytes(32)},
    {"offers": (0,)},
    {"close": (came_to(A, included=1),)},
    {"close": (came_to(B, included=1), came_to(A))},
    {"close": (came_to(A, included=1, accepted=(accepted(2, 0, (1, 0, 0)),)), came_to(B))},
    {"cut": (lane(A, Slice(partition=0, low=2, high=4)),)},
    {"cut": (lane(A, Slice(partition=0, low=3, high=2)),)},
    {"cut": (lane(A, Slice(partition=2, low=0, high=1)),)},
    {"cut": (lane(A, Slice(partition=-1, low=0, high=1)),)},
    {"cut": (lane(A, Slice(partition=0, low=3, high=4), joined=3),)},
    {"cut": (lane(A, Slice(partition=0, low=3, high=4, carries=(9,)), joined=4),)},
    {"cut": (lane(A, Slice(partition=0, low=3, high=4, skip=True), joined=4),)},
    {"cut": (replace(lane(A, Slice(partition=0, low=3, high=4), joined=4), partitions=(1,)),)},
    {"cut": (lane(A, Slice(partition=0, low=3, high=4), joined=4), lane(B, Slice(partition=0, low=3, high=4), joined=6))},
    {"cut": (lane(A, Slice(partition=0, low=3, high=4), joined=4), lane(A, Slice(partition=1, low=2, high=4), joined=6))},
], ids=repr)
def test_a_manifest_with_one_wrong_thing_is_skipped(wrong: dict[str, Any]) -> None:
    """Each check refuses; with none of it wrong the manifest is valid."""
    tip = opened()
    right: dict[str, Any] = {
        "close": (came_to(A, included=1), came_to(B)), "cut": (lane(A, Slice(partition=0, low=3, high=4), joined=4),)}
    assert tip.after(manifest(tip, **right), bytes(32), 1) is not None
    block = {"block": 2} if "close" in wrong else {}
    assert tip.after(manifest(tip, **right | block | wrong), bytes(32), 1) is None


@pytest.mark.parametrize("wrong", [
    {"epoch": 2}, {"previous": bytes(32)}, {"lanes": ()}, {"lanes": (2,)}, {"lanes": (-1,)}, {"lanes": (0, 2)}], ids=repr)
def test_an_exclusion_with_one_wrong_thing_is_skipped(wrong: dict[str, Any]) -> None:
    """It names running lanes of the open cut."""
    tip = opened()
    assert tip.after(replace(excluding(tip, 0), **wrong), bytes(32), 1) is None


def test_a_lane_is_excluded_once_and_never_commits() -> None:
    """Its close says *aborted*."""
    tip = after(opened(), excluding(opened(), 0))
    assert tip.after(excluding(tip, 0), bytes(32), 2) is None
    assert tip.after(manifest(tip, (came_to(A), came_to(B))), bytes(32), 2) is None
    assert tip.after(manifest(tip, (None, came_to(B))), bytes(32), 2) is not None


def test_only_the_first_record_that_names_a_tip_counts() -> None:
    """The second of two sequencers comes too late."""
    tip = opened()
    first, second = excluding(tip, 0), excluding(tip, 1)
    assert after(tip, first).after(second, bytes(32), 2) is None


def test_what_commits_is_consumed_and_what_aborts_is_input_again() -> None:
    """Origins stay what they were at the first cut."""
    tip = after(opened(), excluding(opened(), 0))
    tip = after(tip, manifest(tip, (None, came_to(B, included=2))))
    assert [waiting.consumed for waiting in tip.inputs] == [0, 2]
    tip = after(tip, manifest(tip, (), (lane(A, Slice(partition=0, low=0, high=5), joined=5),)))
    assert [entry.origin for entry in tip.listed(0)] == [
        Origin(1, 0, 0), Origin(1, 0, 1), Origin(1, 0, 2), Origin(3, 0, 3), Origin(3, 0, 4)]  # type: ignore[arg-type]  # plain numbers


def test_an_exclusion_bars_the_join_for_all_its_partitions() -> None:
    """Also for one without work in this cut."""
    start = genesis(3)
    tip = after(start, manifest(start, (), (lane(A, Slice(partition=0, low=0, high=1), joined=4, also=(2,)),)))
    tip = after(tip, excluding(tip, 0))
    assert [waiting.joins_from for waiting in tip.inputs] == [5, 0, 5]
    assert [waiting.strikes for waiting in tip.inputs] == [1, 0, 0]


def test_carries_are_pending_by_origin_until_a_lane_with_them_commits() -> None:
    """Carries come first in a list, the oldest origin first, whatever partition they wait at."""
    tip = opened()
    tip = after(tip, manifest(tip, (
        came_to(A, carried=(1,), accepted=(accepted(1, 7, (1, 0, 1)),)),
        came_to(B, carried=(0,), accepted=(accepted(1, 9, (1, 1, 0)), accepted(0, 2, (1, 1, 1)))))))
    assert [carry.position for carry in tip.inputs[1].pending] == [7, 9]
    assert [carries_from(waiting) for waiting in tip.inputs] == [2, 7]
    assert [waiting.carries_end for waiting in tip.inputs] == [3, 10]
    both = lane(
        A, Slice(partition=0, low=3, high=4, carries=(2,)), Slice(partition=1, low=2, high=2, carries=(7, 9)), joined=8)
    tip = after(tip, manifest(tip, (), (both,)))
    assert [(entry.partition, entry.carry, entry.origin.offset) for entry in tip.listed(0)] == [
        (1, 7, 1), (1, 9, 0), (0, 2, 1), (0, None, 3)]
    aborted = after(tip, excluding(tip, 0))
    aborted = after(aborted, manifest(aborted, (None,)))
    assert aborted.inputs[1].pending == tip.inputs[1].pending
    done = after(tip, manifest(tip, (came_to(A, included=4),)))
    assert [waiting.pending for waiting in done.inputs] == [(), ()]
    assert [carries_from(waiting) for waiting in done.inputs] == [3, 10]
    stays = after(tip, manifest(tip, (came_to(A, included=3, carried=(0,), accepted=(accepted(1, 7, (1, 0, 1)),)),)))
    assert (carries_from(stays.inputs[1]), stays.inputs[1].carries_end) == (7, 10)


def test_a_parked_transaction_expires_by_the_manifests_clock() -> None:
    """The limit is a rule, and no process has a clock of its own."""
    tip = opened()
    tip = after(tip, manifest(tip, (came_to(A, accepted=(accepted(0, 0, (1, 0, 0), 1_000),)), came_to(B))))
    cut = (lane(A, Slice(partition=0, low=3, high=3, carries=(0,)), joined=4),)
    assert not after(tip, manifest(tip, (), cut, timestamp_ms=1_999)).listed(0)[0].expired
    assert after(tip, manifest(tip, (), cut, timestamp_ms=2_000)).listed(0)[0].expired


def test_strikes_count_exclusions_in_a_row() -> None:
    """A commit ends the row; while older offsets are left the partition stays one by one."""
    tip = genesis(1)
    for number in range(3):
        tip = after(tip, manifest(tip, (None,) * len(tip.cut), (lane(A, Slice(partition=0, low=0, high=4), joined=number),)))
        tip = after(tip, excluding(tip, 0))
    assert tip.inputs[0].strikes == 3
    assert tip.inputs[0].first_cuts == (FirstCut(end=4, epoch=1),)
    single = (lane(A, Slice(partition=0, low=0, high=1), joined=5),)
    tip = after(tip, manifest(tip, (None,), single))
    tip = after(tip, manifest(tip, (came_to(A, included=1),), (lane(A, Slice(partition=0, low=1, high=4), joined=5),)))
    assert tip.inputs[0].strikes == RULES.strikes_single
    tip = after(tip, manifest(tip, (came_to(A, included=3),)))
    assert tip.inputs[0].strikes == 0


def test_a_position_may_be_skipped_only_after_enough_strikes() -> None:
    """The rule is in the chain, so that no sequencer can drop a transaction."""
    tip, cut = genesis(1), (lane(A, Slice(partition=0, low=0, high=1), joined=9),)
    skipping = (replace(cut[0], slices=(Slice(partition=0, low=0, high=1, skip=True),)),)
    for strikes in range(RULES.strikes_skip):
        assert tip.after(manifest(tip, (None,) * len(tip.cut), skipping), bytes(32), 0) is None, strikes
        tip = after(tip, manifest(tip, (None,) * len(tip.cut), (replace(cut[0], joined=strikes),)))
        tip = after(tip, excluding(tip, 0))
    assert after(tip, manifest(tip, (None,), skipping)).listed(0)[0].skip


def test_only_epochs_with_included_transactions_are_blocks() -> None:
    """Numbers are dense, and the hash of a block is that of the manifest that closes it."""
    tip = after(opened(), manifest(opened(), (came_to(A, rejected=2), came_to(B))))
    assert (tip.block, len(tip.ancestors)) == (1, 1)
    tip = after(opened(), manifest(opened(), (came_to(A), came_to(B, included=1))), b"block one")
    assert (tip.block, tip.ancestors[-1]) == (2, tip.hash)
    assert tip.ancestor(1) == tip.hash
    assert tip.ancestor(0) == genesis().hash
    assert tip.ancestor(2) == tip.ancestor(-1) == bytes(32)


def test_the_last_256_blocks_can_be_asked_for() -> None:
    """And none before."""
    tip = replace(genesis(), block=300, ancestors=tuple(bytes([n % 256]) * 32 for n in range(300 - ANCESTORS, 300)))
    assert tip.ancestor(44) == bytes([44]) * 32
    assert tip.ancestor(299) == bytes([43]) * 32
    assert tip.ancestor(43) == tip.ancestor(300) == bytes(32)


def test_the_newest_digest_of_each_shard_is_known() -> None:
    """Manifests add to what was known."""
    def known(shard: int, epoch: int) -> ShardDigest:
        return ShardDigest(shard=shard, epoch=epoch, digest=bytes([epoch]) * 32)

    tip = after(genesis(), manifest(genesis(), digests=(known(1, 0), known(0, 0))))
    tip = after(tip, manifest(tip, digests=(known(1, 1),)))
    assert tip.digests == (known(0, 0), known(1, 1))


def test_a_tip_survives_its_bytes() -> None:
    """As shards store and serve it."""
    tip = after(opened(), excluding(opened(), 1))
    assert Tip.restored(CODEC.decode(CODEC.encode(tip.stored())), RULES) == tip


def test_inputs_start_at_zero() -> None:
    """One for each partition."""
    assert genesis(3).inputs == (Input(),) * 3
