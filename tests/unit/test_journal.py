"""The journal: what it reads and when, what a revert takes back, and what it writes at the end."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.journal import Journal, read_blob
from executors.machine import Log
from schemas.errors import InvariantViolation
from schemas.hashing import EMPTY_CODE_HASH, keccak
from schemas.keys import (
    StateKey,
    balance_key,
    blob_key,
    code_key,
    entry_key,
    integer,
    minimal,
    nonce_key,
    slot_key,
    storage_key,
)
from tests.views import DictView, account

A, B, C = (bytes([number]) * 20 for number in (1, 2, 3))
K, L = entry_key(A, b"k"), entry_key(A, b"l")


def begin(state: dict[StateKey, bytes] | None = None) -> tuple[Journal, DictView]:
    """A journal over a state."""
    view = DictView(state or {})
    return Journal(view), view


def touched(view: DictView) -> tuple[set[StateKey], dict[StateKey, bytes], dict[StateKey, int]]:
    """Reads, writes and deltas."""
    return view.reads, view.writes, view.deltas


# ---- entries --------------------------------------------------------------------------------------------------------


def test_an_entry_is_read_once() -> None:
    """And nothing is written for it."""
    journal, view = begin({K: b"value"})
    view_reads: list[StateKey] = []
    read = view.read

    def noted(key: StateKey) -> bytes:
        view_reads.append(key)
        return read(key)

    view.read = noted  # type: ignore[method-assign]  # it is watched
    assert [journal.entry(K) for _ in range(3)] == [b"value"] * 3
    assert journal.entry(L) == journal.entry(L) == b""
    journal.flush()
    assert view_reads == [K, L]
    assert not view.writes


def test_an_entry_that_is_set() -> None:
    """It is seen at once and written at the end, a removal too; one that stays what it was isn't."""
    for value, expected in ((b"new", {K: b"new"}), (b"", {K: b""}), (b"old", {})):
        journal, view = begin({K: b"old"})
        assert journal.entry(K) == b"old"
        journal.set_entry(K, b"in between")
        journal.set_entry(K, value)
        assert journal.entry(K) == value
        assert not view.writes
        journal.flush()
        assert touched(view) == ({K}, expected, {})


def test_an_entry_is_no_code_hash() -> None:
    """Values of 32 bytes are written as they are, without any code."""
    journal, view = begin()
    journal.entry(K)
    journal.set_entry(K, bytes(32))
    journal.flush()
    assert view.writes == {K: bytes(32)}


def test_additions_stay_additions() -> None:
    """As long as nobody asks for the sum."""
    journal, view = begin({K: b"\5"})
    journal.add_to_entry(K, 3)
    journal.add_to_entry(K, 4)
    journal.add_to_entry(L, 2**255)
    journal.flush()
    assert touched(view) == (set(), {}, {K: 7, L: 2**255})


def test_reading_after_adding() -> None:
    """The sum is seen, and becomes a write; further additions go on top of it."""
    journal, view = begin({K: b"\5"})
    journal.add_to_entry(K, 3)
    assert journal.entry(K) == b"\x08"
    journal.add_to_entry(K, 300)
    assert journal.entry(K) == (308).to_bytes(2, "big")
    journal.flush()
    assert touched(view) == ({K}, {K: (308).to_bytes(2, "big")}, {})


def test_reading_after_adding_and_nothing_more() -> None:
    """The write is there without another change, too."""
    journal, view = begin({K: b"\5"})
    journal.add_to_entry(K, 3)
    journal.entry(K)
    journal.flush()
    assert touched(view) == ({K}, {K: b"\x08"}, {})


def test_setting_after_adding() -> None:
    """What was added is gone with the value that it was added to."""
    journal, view = begin({K: b"\5"})
    journal.add_to_entry(K, 3)
    journal.entry(K)
    journal.set_entry(K, b"text")
    journal.flush()
    assert touched(view) == ({K}, {K: b"text"}, {})


def test_adding_to_what_was_set() -> None:
    """It counts as the integer that it is."""
    journal, view = begin()
    journal.entry(K)
    journal.set_entry(K, b"\0\xff")
    journal.add_to_entry(K, 1)
    assert journal.entry(K) == b"\1\0"
    journal.flush()
    assert view.writes == {K: b"\1\0"}


@pytest.mark.parametrize("before", ["nothing", "read", "set"])
def test_adding_nothing_changes_nothing(before: str) -> None:
    """Not even zeros in front of a value, whether it is known or not."""
    journal, view = begin({K: b"\0\5"})
    if before == "read":
        journal.entry(K)
    elif before == "set":
        journal.entry(K)
        journal.set_entry(K, b"\0\7")
    journal.add_to_entry(K, 0)
    journal.flush()
    assert view.deltas == {}
    assert view.writes == ({K: b"\0\7"} if before == "set" else {})
    assert view.reads == (set() if before == "nothing" else {K})


def test_a_revert_takes_additions_back() -> None:
    """Before the value was read, after it was, and after it was set."""
    journal, view = begin({K: b"\5", L: b"\5"})
    journal.add_to_entry(K, 1)
    mark = journal.mark()
    journal.add_to_entry(K, 10)
    journal.add_to_entry(L, 10)
    assert journal.entry(K) == b"\x10"
    journal.add_to_entry(K, 100)
    journal.set_entry(K, b"text")
    journal.revert(mark)
    assert journal.entry(K) == b"\6"
    journal.flush()
    # What was read stays read; the other one is as if it had never been touched.
    assert touched(view) == ({K}, {K: b"\6"}, {})


def test_a_revert_of_everything_leaves_nothing() -> None:
    """But what was read."""
    journal, view = begin({K: b"\5"})
    mark = journal.mark()
    journal.add_to_entry(K, 10)
    journal.entry(K)
    journal.revert(mark)
    journal.flush()
    assert touched(view) == ({K}, {}, {})


# ---- balances, nonces and code --------------------------------------------------------------------------------------


def test_credits() -> None:
    """They are deltas until somebody reads the balance; of nothing there is none."""
    journal, view = begin(account(A, balance=5) | account(B, balance=5))
    journal.credit(A, 2)
    journal.credit(A, 3)
    journal.credit(B, 7)
    journal.credit(C, 0)
    assert journal.balance(B) == 12
    journal.credit(B, 1)
    journal.flush()
    assert touched(view) == ({balance_key(B)}, {balance_key(B): b"\x0d"}, {balance_key(A): 5})


def test_moving_wei() -> None:
    """The sender's balance is read, the recipient's isn't; to oneself nothing moves."""
    journal, view = begin(account(A, balance=5))
    journal.move(A, B, 2)
    journal.move(A, A, 1)
    journal.move(A, C, 0)
    journal.flush()
    assert touched(view) == ({balance_key(A)}, {balance_key(A): b"\3"}, {balance_key(B): 2})


def test_what_comes_back_is_no_write() -> None:
    """A balance that is in the end what it was."""
    journal, view = begin(account(A, balance=5) | account(B, balance=1))
    journal.move(A, B, 5)
    journal.move(B, A, 5)
    journal.flush()
    assert touched(view) == ({balance_key(A), balance_key(B)}, {}, {})


@pytest.mark.parametrize(("there", "read", "empty"), [
    ({}, {code_key(A), nonce_key(A), balance_key(A)}, True),
    ({"balance": 1}, {code_key(A), nonce_key(A), balance_key(A)}, False),
    ({"nonce": 1}, {code_key(A), nonce_key(A)}, False),
    ({"code": b"\0"}, {code_key(A)}, False),
])  # fmt: skip
def test_emptiness(there: dict[str, Any], read: set[StateKey], empty: bool) -> None:
    """Each is read only if the ones before leave it open."""
    journal, view = begin(account(A, **there))
    assert journal.is_empty(A) is empty
    assert view.reads == read


def test_a_credit_makes_an_account_not_empty_without_its_balance() -> None:
    """The credit is enough."""
    journal, view = begin()
    journal.credit(A, 1)
    assert not journal.is_empty(A)
    assert view.reads == {code_key(A), nonce_key(A)}


def test_code() -> None:
    """It is stored under its hash, which is written with it; a new one of a reverted call isn't."""
    journal, view = begin(account(A, code=b"old"))
    assert journal.code(A) == b"old"
    assert journal.code(B) == b""
    assert journal.visible_code_hash(A) == keccak(b"old")
    assert journal.visible_code_hash(B) == EMPTY_CODE_HASH
    journal.set_code(A, b"new")
    mark = journal.mark()
    journal.set_code(B, b"reverted")
    assert journal.code(B) == b"reverted"
    journal.revert(mark)
    assert journal.code(A) == b"new"
    assert journal.code(B) == b""
    journal.flush()
    assert view.writes == {code_key(A): keccak(b"new"), blob_key(keccak(b"new")): b"new"}


def test_code_that_is_taken_away() -> None:
    """The hash becomes empty, and no code is written."""
    journal, view = begin(account(A, code=b"old"))
    journal.code_hash(A)
    journal.set_code(A, b"")
    journal.flush()
    assert view.writes == {code_key(A): b""}


def test_lost_code_stops_everything() -> None:
    """A hash without code is no state that a transaction could bring about."""
    journal, view = begin({code_key(A): b"\7" * 32})
    with pytest.raises(InvariantViolation, match="0x0707"):
        journal.code(A)
    with pytest.raises(InvariantViolation):
        read_blob(view, b"\7" * 32)


@pytest.mark.parametrize(("there", "collides"), [
    ({}, False), ({"balance": 9}, False), ({"nonce": 1}, True), ({"code": b"\0"}, True), ({"storage": {1: 1}}, True)])
def test_collisions(there: dict[str, Any], collides: bool) -> None:
    """Code, a nonce or storage; a balance is none."""
    journal, view = begin(account(A, **there))
    assert journal.collides(A) is collides
    assert balance_key(A) not in view.reads
    if not collides:
        assert view.reads == {code_key(A), nonce_key(A), storage_key(A)}


def test_a_new_contract() -> None:
    """It has the nonce 1 and no slots; a revert makes the slots of the state visible again."""
    journal, view = begin({slot_key(A, 1): b"\7"})
    mark = journal.mark()
    journal.create(A)
    assert journal.nonce(A) == 1
    assert journal.slot(slot_key(A, 1), A) == journal.original_slot(slot_key(A, 1), A) == 0
    assert view.reads == set()
    journal.revert(mark)
    assert journal.nonce(A) == 0
    assert journal.slot(slot_key(A, 1), A) == 7


def test_destruction() -> None:
    """Balance, nonce, code and the slots that were set go; other accounts' slots and what stays zero don't."""
    journal, view = begin(account(A, balance=5))
    key, other = slot_key(A, 1), slot_key(B, 1)
    assert not journal.collides(A)
    journal.create(A)
    journal.set_code(A, b"code")
    journal.put(journal.current, key, 7)
    journal.slot(other, B)
    journal.put(journal.current, other, 8)
    journal.balance(A)
    journal.set_balance(A, 0)
    journal.put(journal.doomed, A, True)
    journal.credit(A, 9)
    journal.destroy_doomed()
    journal.flush()
    assert view.writes == {balance_key(A): b"", other: b"\x08"}
    assert view.deltas == {}


def test_everything_is_taken_back() -> None:
    """Transient storage, warm addresses and slots, events, refunds, and the marks of creation and destruction."""
    journal, view = begin()
    journal.add_refund(5)
    journal.add_log(Log(address=A, topics=(), data=b"stays"))
    journal.put(journal.transient, (A, 1), 3)
    mark = journal.mark()
    inner = journal.mark()
    journal.put(journal.transient, (A, 1), 4)
    journal.put(journal.warm, A, True)
    journal.put(journal.warm_slots, slot_key(A, 1), True)
    journal.add_log(Log(address=A, topics=(), data=b"goes"))
    journal.revert(inner)
    journal.add_refund(-5)
    journal.create(A)
    journal.put(journal.doomed, A, True)
    journal.set_nonce(B, 7)
    journal.credit(B, 7)
    journal.revert(mark)
    assert journal.refund == 5
    assert [log.data for log in journal.logs.values()] == [b"stays"]
    assert journal.transient == {(A, 1): 3}
    assert not (journal.warm or journal.warm_slots or journal.created or journal.doomed or journal.current or journal.credits)
    journal.flush()
    assert touched(view) == (set(), {}, {})


# ---- against a plain dictionary -------------------------------------------------------------------------------------

KEYS = (K, L, entry_key(B, b"k"))
VALUES = (b"", b"\1", b"\0\1", b"text of more than an integer would be", bytes(3))
operations = st.one_of(
    st.tuples(st.just("read"), st.sampled_from(KEYS)),
    st.tuples(st.just("set"), st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.tuples(st.just("add"), st.sampled_from(KEYS), st.sampled_from((0, 1, 255, 2**64))),
    st.tuples(st.just("credit"), st.sampled_from((A, B)), st.sampled_from((0, 1, 300))),
    st.tuples(st.just("balance"), st.sampled_from((A, B))),
    st.tuples(st.just("move"), st.sampled_from((A, B)), st.sampled_from((A, B)), st.sampled_from((0, 1, 5))),
    st.tuples(st.just("mark")), st.tuples(st.just("revert")), st.tuples(st.just("keep")))


@settings(max_examples=400)
@given(
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES).filter(bool)),
    st.dictionaries(st.sampled_from((A, B)), st.integers(1, 1000)), st.lists(operations, max_size=30))
def test_against_a_dictionary(entries: dict[StateKey, bytes], balances: dict[bytes, int], done: list[Any]) -> None:
    """The state in the end, and every value on the way, are those of a dictionary that is copied at each mark."""
    state = entries | {balance_key(address): minimal(amount) for address, amount in balances.items()}
    journal, view = begin(state)
    plain: dict[StateKey, bytes] = dict(state)
    marks: list[tuple[int, dict[StateKey, bytes]]] = []
    asked: set[StateKey] = set()

    def balance(address: bytes) -> int:
        asked.add(balance_key(address))
        value = journal.balance(address)
        assert value == integer(plain.get(balance_key(address), b""))
        return value

    def entry(key: StateKey) -> bytes:
        asked.add(key)
        value = journal.entry(key)
        assert value == plain.get(key, b"")
        return value

    def put(key: StateKey, change: Callable[[int], int]) -> None:
        plain[key] = minimal(change(integer(plain.get(key, b""))))

    for name, *arguments in done:
        match name, *arguments:
            case "read", key:
                entry(key)
            case "set", key, value:
                entry(key)
                journal.set_entry(key, value)
                plain[key] = value
            case "add", key, amount:
                journal.add_to_entry(key, amount)
                if amount:
                    put(key, lambda before: before + amount)  # noqa: B023 -- it is called at once
            case "credit", address, amount:
                journal.credit(address, amount)
                put(balance_key(address), lambda before: before + amount)  # noqa: B023
            case "balance", address:
                balance(address)
            case "move", sender, recipient, amount:
                if balance(sender) >= amount:
                    journal.move(sender, recipient, amount)
                    put(balance_key(sender), lambda before: before - amount)  # noqa: B023
                    put(balance_key(recipient), lambda before: before + amount)  # noqa: B023
            case ("mark",):
                marks.append((journal.mark(), deepcopy(plain)))
            case ("revert",) if marks:
                mark, plain = marks.pop()
                journal.revert(mark)
            case ("keep",) if marks:
                marks.pop()
    assert view.state == state
    journal.flush()
    assert {key: value for key, value in view.state.items() if value} == {
        key: value for key, value in plain.items() if value}
    assert view.reads == asked
    assert view.writes.keys() <= asked
    assert not view.deltas.keys() & (asked | view.writes.keys())
    assert all(value != state.get(key, b"") for key, value in view.writes.items())
    assert all(view.deltas.values())
