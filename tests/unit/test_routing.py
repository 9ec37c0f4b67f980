"""Routing: a sender stays, what is hot draws, the rest is spread, and the same input goes the same way."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import routing
from ingest.routing import HOT_SHARE, WINDOW, Router, home_partition

PARTITIONS = 8


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def account(number: int) -> bytes:
    return number.to_bytes(20, "big")


def of_home(partition: int, start: int = 0) -> bytes:
    """An account that nothing draws away from this partition."""
    return next(
        account(n) for n in range(start, start + 10_000) if home_partition(account(n), PARTITIONS) == partition)


def warm(router: Router, pool: bytes, share: float, transactions: int = WINDOW) -> None:
    """Traffic of many senders, a share of which touches the pool."""
    each = round(1 / share)
    for n in range(transactions):
        sender = account(1_000_000 + n)
        router.route((sender, pool) if n % each == 0 else (sender, account(2_000_000 + n)))


@given(st.lists(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4), max_size=60), st.integers(1, 64))
def test_every_transaction_gets_a_partition_and_the_same_one_again(traffic: list[list[bytes]], partitions: int) -> None:
    first, second = (Router(partitions, now_s=Clock()) for _ in range(2))
    went = [first.route(keys) for keys in traffic]
    assert all(0 <= partition < partitions for partition in went)
    assert went == [second.route(keys) for keys in traffic]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50)), max_size=200))
def test_a_sender_keeps_its_partition_while_something_may_be_in_flight(traffic: list[tuple[int, int]]) -> None:
    clock = Clock()
    router = Router(PARTITIONS, hold_s=10, now_s=clock)
    seen: dict[int, int] = {}
    for sender, other in traffic:
        clock.now_s += 9.9 / len(traffic)
        partition = router.route((account(sender), account(100 + other)))
        assert seen.setdefault(sender, partition) == partition


def test_senders_are_spread_evenly() -> None:
    router = Router(PARTITIONS, now_s=Clock())
    went = Counter(router.route((account(n),)) for n in range(4_000))
    assert set(went) == set(range(PARTITIONS))
    assert max(went.values()) < 1.3 * min(went.values())


def test_what_is_hot_draws_all_that_touches_it_to_one_partition() -> None:
    router = Router(PARTITIONS, now_s=Clock())
    pool = account(7)
    warm(router, pool, share=0.1)
    assert len({router.route((account(5_000_000 + n), pool)) for n in range(100)}) == 1
    assert len({router.route((account(6_000_000 + n), account(7_000_000 + n))) for n in range(100)}) == PARTITIONS


def test_what_is_used_less_draws_nothing() -> None:
    router = Router(PARTITIONS, now_s=Clock())
    merchant = account(7)
    warm(router, merchant, share=HOT_SHARE / 2)
    assert len({router.route((account(5_000_000 + n), merchant)) for n in range(100)}) == PARTITIONS


def test_two_hot_keys_go_to_different_partitions() -> None:
    router = Router(PARTITIONS, now_s=Clock())
    pools = (account(7), account(8))
    for n in range(WINDOW):
        router.route((account(1_000_000 + n), pools[n % 2]))
    assert len({router.route((account(5_000_000 + n), pool)) for n, pool in enumerate(pools)}) == 2


def test_a_key_that_has_gone_quiet_draws_nothing_any_more() -> None:
    router = Router(PARTITIONS, now_s=Clock())
    pool = account(7)
    warm(router, pool, share=0.1)
    for n in range(6 * WINDOW):
        router.route((account(3_000_000 + n),))
    assert len({router.route((account(5_000_000 + n), pool)) for n in range(100)}) == PARTITIONS


def test_a_sender_moves_to_a_hot_key_only_when_nothing_is_in_flight() -> None:
    clock = Clock()
    router = Router(PARTITIONS, hold_s=10, now_s=clock)
    pool = account(7)
    warm(router, pool, share=0.1)
    drawn = router.route((account(5_000_000), pool))
    sender = of_home((drawn + 1) % PARTITIONS)
    assert router.route((sender,)) == (drawn + 1) % PARTITIONS
    assert router.route((sender, pool)) == (drawn + 1) % PARTITIONS
    clock.now_s += 9.9
    assert router.route((sender, pool)) == (drawn + 1) % PARTITIONS, "it is held since its last transaction"
    clock.now_s += 10.1
    assert router.route((sender, pool)) == drawn


def test_a_sender_that_has_all_its_receipts_may_move_at_once() -> None:
    router = Router(PARTITIONS, now_s=Clock())
    pool = account(7)
    warm(router, pool, share=0.1)
    drawn = router.route((account(5_000_000), pool))
    sender = of_home((drawn + 1) % PARTITIONS)
    router.route((sender,))
    router.settled(sender)
    assert router.route((sender, pool)) == drawn
    router.settled(b"unknown")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "SENDERS_MAX", 500)
    router = Router(PARTITIONS, now_s=Clock())
    for n in range(20_000):
        router.route((account(n), account(1_000_000 + n)))
    assert len(router._held) == 500
    assert len(router._counts) <= 4 * WINDOW
