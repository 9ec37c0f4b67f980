"""What a transaction sees of the state, and what a list has changed so far.

Reads go to the transaction's own changes, then to the overlay of its list, then to committed state ("base"). What was
touched is recorded: that is all the conflict rules ever look at.
"""

from collections.abc import Callable
from dataclasses import dataclass

from schemas.keys import StateKey, integer, minimal

from .machine import Answer, Rejected, Waits

Base = Callable[[bytes], bytes]
"""Committed state; it may raise `Missing`."""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a transaction."""

    answer: Answer
    reads: frozenset[bytes]
    writes: dict[bytes, bytes]
    deltas: dict[bytes, int]

    @property
    def waits(self) -> bool:
        """Whether the transaction waits for a nonce."""
        return isinstance(self.answer, Waits)


class Overlay:
    """What a list has changed. A key is either a known value, or a delta on one that nobody has read."""

    __slots__ = ("deltas", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.deltas: dict[bytes, int] = {}

    def absorb(self, run: Run) -> None:
        """Take over the changes of a transaction."""
        values, deltas = self.values, self.deltas
        for key, value in run.writes.items():
            values[key] = value
            deltas.pop(key, None)
        for key, amount in run.deltas.items():
            known = values.get(key)
            if known is None:
                deltas[key] = deltas.get(key, 0) + amount
            else:
                values[key] = minimal(integer(known) + amount)


class View:
    """A transaction's only way to state."""

    __slots__ = ("_base", "_overlay", "deltas", "seen", "values")

    def __init__(self, overlay: Overlay, base: Base) -> None:
        self._overlay = overlay
        self._base = base
        self.seen: dict[bytes, bytes] = {}
        """What was read of the state before this transaction."""
        self.values: dict[bytes, bytes] = {}
        self.deltas: dict[bytes, int] = {}

    def read(self, key: StateKey) -> bytes:
        """The value of a key, with all changes so far."""
        value = self.values.get(key)
        if value is not None:
            return value
        value = self.seen.get(key)
        if value is None:
            value = self._overlay.values.get(key)
            if value is None:
                value = self._base(key)
                earlier = self._overlay.deltas.get(key)
                if earlier:
                    value = minimal(integer(value) + earlier)
            self.seen[key] = value
        own = self.deltas.get(key)
        return minimal(integer(value) + own) if own else value

    def write(self, key: StateKey, value: bytes) -> None:
        """Set a key."""
        self.values[key] = value
        self.deltas.pop(key, None)

    def add(self, key: StateKey, amount: int) -> None:
        """Add to a key without reading it."""
        value = self.values.get(key)
        if value is None:
            self.deltas[key] = self.deltas.get(key, 0) + amount
        else:
            self.values[key] = minimal(integer(value) + amount)

    def finish(self, answer: Answer) -> Run:
        """The record of the run. A rejected transaction changes nothing; a write of what was there is none."""
        reads = frozenset(self.seen)
        if isinstance(answer, Rejected | Waits):
            return Run(answer, reads, {}, {})
        seen = self.seen
        writes = {key: value for key, value in self.values.items() if seen.get(key) != value}
        return Run(answer, reads, writes, self.deltas)
