"""What a transaction sees, and what is recorded of it."""

from hypothesis import given
from hypothesis import strategies as st

from executors.machine import Rejected, Result, Status, Waits
from executors.view import Overlay, Run, View
from schemas.keys import StateKey, integer, minimal

K, L = StateKey(b"bk"), StateKey(b"bl")
DONE = Result(status=Status.SUCCESS, gas_used=0)


def view_of(committed: dict[bytes, bytes], overlay: Overlay | None = None) -> View:
    """A view over committed state."""
    return View(overlay or Overlay(), lambda key: committed.get(key, b""))


def test_own_changes_come_first_then_the_overlay_then_committed_state() -> None:
    """In this order."""
    overlay = Overlay()
    overlay.values[L] = b"\2"
    view = view_of({K: b"\1", L: b"\1"}, overlay)
    assert (view.read(K), view.read(L)) == (b"\1", b"\2")
    view.write(K, b"\3")
    assert view.read(K) == b"\3"
    assert view.finish(DONE).reads == {K, L}


def test_an_addition_is_no_read() -> None:
    """Nobody loses a fee recipient for paying to it."""
    view = view_of({K: b"\5"})
    view.add(K, 2)
    view.add(K, 3)
    run = view.finish(DONE)
    assert (run.reads, run.writes, run.deltas) == (frozenset(), {}, {K: 5})


def test_reading_after_adding_sees_the_sum() -> None:
    """And is a read, besides the addition."""
    view = view_of({K: b"\5"})
    view.add(K, 2)
    assert view.read(K) == b"\7"
    run = view.finish(DONE)
    assert run == Run(DONE, frozenset({K}), {}, {K: 2})


def test_additions_of_earlier_transactions_are_seen() -> None:
    """The overlay holds them as an amount."""
    overlay = Overlay()
    overlay.deltas[K] = 4
    assert view_of({K: b"\5"}, overlay).read(K) == b"\x09"
    assert view_of({}, overlay).read(K) == b"\4"


def test_writing_ends_an_addition_and_adding_to_what_was_written_writes() -> None:
    """A key is either a value or an amount."""
    view = view_of({})
    view.add(K, 2)
    view.write(K, b"\x0a")
    view.add(K, 1)
    run = view.finish(DONE)
    assert (run.writes, run.deltas) == ({K: b"\x0b"}, {})


def test_writing_what_was_there_is_no_change() -> None:
    """If it was read; an unread value isn't known."""
    view = view_of({K: b"\1", L: b"\1"})
    view.read(K)
    view.write(K, b"\1")
    view.write(L, b"\1")
    assert view.finish(DONE).writes == {L: b"\1"}


def test_writing_and_writing_back_is_no_change() -> None:
    """A lock that is taken and released conflicts with nobody's write, only as a read."""
    view = view_of({K: b""})
    view.read(K)
    view.write(K, b"\1")
    view.write(K, b"")
    run = view.finish(DONE)
    assert run == Run(DONE, frozenset({K}), {}, {})


def test_a_rejected_or_waiting_transaction_changes_nothing_and_keeps_its_reads() -> None:
    """They are validated as ever."""
    for answer in (Rejected(reason="no"), Waits(nonce=1)):
        view = view_of({})
        view.read(K)
        view.write(K, b"\1")
        view.add(L, 1)
        run = view.finish(answer)
        assert run == Run(answer, frozenset({K}), {}, {})
        assert run.waits == isinstance(answer, Waits)


def test_a_second_read_is_answered_from_the_first() -> None:
    """Within a transaction a value doesn't change by itself."""
    answers = [b"\1", b"\2"]
    view = View(Overlay(), lambda key: answers.pop(0))
    assert view.read(K) == view.read(K) == b"\1"


Change = tuple[str, StateKey, int]


@given(st.lists(st.lists(st.tuples(
    st.sampled_from(["read", "write", "add"]), st.sampled_from([K, L]), st.integers(0, 5)), max_size=5), max_size=6),
    st.dictionaries(st.sampled_from([K, L]), st.integers(0, 9).map(minimal)))
def test_an_overlay_says_what_a_plain_state_says(lists: list[list[Change]], start: dict[bytes, bytes]) -> None:
    """Values and amounts together are the same as executing on a dictionary."""
    overlay, plain = Overlay(), dict(start)
    for changes in lists:
        view = View(overlay, lambda key: start.get(key, b""))
        for kind, key, number in changes:
            if kind == "read":
                assert view.read(key) == plain.get(key, b"")
            elif kind == "write":
                view.write(key, minimal(number))
                plain[key] = minimal(number)
            else:
                view.add(key, number)
                plain[key] = minimal(integer(plain.get(key, b"")) + number)
        overlay.absorb(view.finish(DONE))
    for key in (K, L):
        value = overlay.values.get(key, start.get(key, b""))
        assert minimal(integer(value) + overlay.deltas.get(key, 0)) == plain.get(key, b"")
    assert not overlay.values.keys() & overlay.deltas.keys()


def test_absorbing_adds_to_what_is_known() -> None:
    """An amount on a known value becomes part of it."""
    overlay = Overlay()
    overlay.absorb(Run(DONE, frozenset(), {K: b"\1"}, {L: 2}))
    overlay.absorb(Run(DONE, frozenset(), {L: b"\7"}, {K: 2}))
    assert (overlay.values, overlay.deltas) == ({K: b"\3", L: b"\7"}, {})
