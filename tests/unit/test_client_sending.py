"""Nonces of what is in flight."""

from client.sending import Nonces

ALICE, BOB = b"a" * 20, b"b" * 20


def test_nonces_follow_each_other_by_account() -> None:
    nonces = Nonces()
    assert [nonces.take(ALICE, 4), nonces.take(ALICE, 4), nonces.take(BOB, 0), nonces.take(ALICE, 4)] == [4, 5, 0, 6]


def test_a_nonce_that_was_not_used_is_free_again() -> None:
    nonces = Nonces()
    assert [nonces.take(ALICE, 0) for _ in range(3)] == [0, 1, 2]
    nonces.settle(ALICE, 1, used=False)
    assert [nonces.take(ALICE, 0), nonces.take(ALICE, 0)] == [1, 3]


def test_a_receipt_counts_although_the_state_was_read_before_it() -> None:
    nonces = Nonces()
    nonces.take(ALICE, 0)
    nonces.settle(ALICE, 0, used=True)
    assert nonces.take(ALICE, 0) == 1


def test_what_others_sent_meanwhile_counts() -> None:
    nonces = Nonces()
    assert nonces.take(ALICE, 0) == 0
    assert nonces.take(ALICE, 5) == 5
