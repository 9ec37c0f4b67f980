"""The table of conflicts between two lanes that touch one key, and that each of its lines is needed."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Final

import pytest

from schemas.records import Attempt, Prepare, Slice, Vote
from stateshards.voting import Shard
from tests.chains import A, B, lane
from tests.unit.test_voting import Bench, K, both, prepare, votes

TOUCHES: Final[dict[str, dict[str, Any]]] = {
    "reads": {"reads": {K: 0}},
    "writes": {"writes": {K: b"\1"}},
    "adds": {"deltas": {K: 1}},
    "reads and writes": {"reads": {K: 0}, "writes": {K: b"\1"}},
    "reads and adds": {"reads": {K: 0}, "deltas": {K: 1}},
}
LOST: Final = {
    ("writes", "reads"): True, ("writes", "writes"): True, ("writes", "adds"): False,
    ("adds", "reads"): True, ("adds", "writes"): True, ("adds", "adds"): False,
    ("reads", "reads"): False, ("reads", "writes"): False, ("reads", "adds"): False,
}
"""By what the lower and the higher rank do: whether the higher one loses the key."""


def parts(touch: str) -> list[str]:
    """The single touches of a combined one."""
    return touch.split(" and ")


def expected(lower: str, higher: str) -> bool:
    """A combined touch loses where one of its parts does."""
    return any(LOST[one, other] for one, other in product(parts(lower), parts(higher)))


def verdict(lower: str, higher: str) -> Vote:
    """What a shard says of two lanes."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(A, **TOUCHES[lower]))
    (vote,) = votes(bench.gets(prepare(B, **TOUCHES[higher])))
    return vote


def wrong_cells() -> list[tuple[str, str]]:
    """The cells in which the verdict isn't that of the table."""
    return [
        (lower, higher) for lower, higher in product(TOUCHES, TOUCHES)
        if bool(verdict(lower, higher).lanes[1].lost_indexes) != expected(lower, higher)]


def test_the_table() -> None:
    """Every cell, the combined ones included; the lower rank never loses, and the winner is named."""
    assert wrong_cells() == []
    for lower, higher in product(TOUCHES, TOUCHES):
        vote = verdict(lower, higher)
        assert vote.lanes[0].lost_indexes == ()
        assert set(vote.lanes[1].lost_ranks) <= {0}


@pytest.mark.parametrize(("name", "without", "first_wrong"), [
    ("changing", lambda self, part: part.delta_keys, ("writes", "reads")),
    ("changing", lambda self, part: part.write_keys, ("adds", "reads")),
    ("losing", lambda self, read, written: written, ("writes", "reads")),
    ("losing", lambda self, read, written: read, ("writes", "writes")),
], ids=["a write changes", "an addition changes", "a reader loses", "a writer loses"])
def test_no_line_of_the_table_can_be_taken_out(
    monkeypatch: pytest.MonkeyPatch, name: str, without: Callable[..., Sequence[bytes]], first_wrong: tuple[str, str]
) -> None:
    """Without it, some cell is wrong."""
    monkeypatch.setattr(Shard, name, without)
    assert first_wrong in wrong_cells()


def test_no_line_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """If readers changed keys, readers would conflict with each other."""
    def changing(_self: Shard, part: Prepare) -> tuple[bytes, ...]:
        return *part.write_keys, *part.delta_keys, *part.read_keys

    monkeypatch.setattr(Shard, "changing", changing)
    assert ("reads", "reads") in wrong_cells()


def test_the_lowest_rank_that_changes_a_key_wins_it() -> None:
    """Not the last one, nor one that only reads it."""
    third = Attempt(b"c" * 16)
    bench = Bench(partitions=4)
    bench.opens(*(
        lane(attempt, Slice(partition=partition, low=0, high=0))
        for partition, attempt in enumerate((Attempt(b"r" * 16), A, B, third))))
    bench.gets(prepare(Attempt(b"r" * 16), reads={K: 0}))
    bench.gets(prepare(A, writes={K: b"\1"}))
    bench.gets(prepare(B, writes={K: b"\2"}))
    (vote,) = votes(bench.gets(prepare(third, reads={K: 0})))
    assert [judged.lost_ranks for judged in vote.lanes] == [(), (), (1,), (1,)]


def test_a_key_that_is_read_and_written_is_named_twice() -> None:
    """Once by each of its indexes."""
    bench = Bench()
    bench.opens(*both())
    bench.gets(prepare(B, writes={K: b"\1"}, reads={K: 0}))
    (vote,) = votes(bench.gets(prepare(A, deltas={K: 1})))
    assert vote.lanes[1].lost_indexes == (0, 1)
    assert vote.lanes[1].lost_ranks == (0, 0)
