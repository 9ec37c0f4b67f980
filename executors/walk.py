"""Serial passes over a list: the first one, and the repair that runs again what depended on changed values (step 7)."""

from collections.abc import Callable, Sequence
from functools import partial

from ingest.transactions import Transaction
from schemas.chain import Listed

from .machine import Block, Rejected, VirtualMachine, Waits
from .view import Overlay, Run, View


class Refused:
    """A record that is wrong whatever the state is: its receipt is *rejected*, without execution."""

    __slots__ = ("dead", "hash", "raw", "reason")

    def __init__(self, reason: str, raw: bytes, record_hash: bytes, *, dead: bool) -> None:
        self.reason = reason
        self.raw = raw
        """The signed transaction, or the whole record where that cannot be told."""
        self.hash = record_hash
        """Keccak-256 of `raw`."""
        self.dead = dead
        """Whether it becomes a dead letter, too."""


Item = Transaction | Refused | None
"""What an offset holds; None for a hole, such as a control record."""

BaseAt = Callable[[int, bytes], bytes]
"""Committed state for a position of the list."""

SKIPPED = "skipped: its executors ended or timed out again and again while they ran it"


class Walk:
    """One pass over a list. Where a value is missing it stops, and goes on from there when called again."""

    def __init__(self, machine: VirtualMachine, block: Block, parked_ms_max: int = 0) -> None:
        self._machine = machine
        self._block = block
        self.parked_ms_max = parked_ms_max
        """How long a transaction may wait for a nonce, a rule."""
        self.overlay = Overlay()
        self.runs: list[Run | None] = []
        """By position in the list; None: a hole, or not committed."""

    def run_one(self, item: Item, listed: Listed, base: Callable[[bytes], bytes]) -> Run | None:
        """Execute one position on the overlay, without changing it."""
        if item is None:
            return None
        if isinstance(item, Refused):
            return Run(Rejected(reason=item.reason), frozenset(), {}, {})
        if listed.skip:
            return Run(Rejected(reason=SKIPPED), frozenset(), {}, {})
        view = View(self.overlay, base)
        run = view.finish(self._machine.execute(item, self._block, view))
        if isinstance(run.answer, Waits) and listed.expired:
            reason = (
                f"nonce {item.nonce} is ahead of the account's, which is {run.answer.nonce}, and the missing ones did "
                f"not come within {self.parked_ms_max} ms")
            return Run(Rejected(reason=reason), run.reads, {}, {})
        return run

    def first(self, listed: Sequence[Listed], items: Sequence[Item], base: BaseAt) -> None:
        """Run the rest of the list. `base` may raise `Missing`."""
        for position in range(len(self.runs), len(listed)):
            run = self.run_one(items[position], listed[position], partial(base, position))
            if run is not None:
                self.overlay.absorb(run)
            self.runs.append(run)


class Repair(Walk):
    """The second pass. What depended on nothing that changed keeps its result."""

    def __init__(self, machine: VirtualMachine, block: Block, before: Walk, changed: set[bytes]) -> None:
        super().__init__(machine, block, before.parked_ms_max)
        self._before = before
        self._changed = changed
        """Keys whose value differs from what the first pass saw."""
        self.runs_again = 0

    def again(
        self,
        listed: Sequence[Listed],
        items: Sequence[Item],
        base: BaseAt,
        keep: Callable[[int, Run, bool], bool],
    ) -> None:
        """Run the rest of the list; `keep(position, run, ran_again)` decides whether it commits."""
        changed = self._changed
        for position in range(len(self.runs), len(listed)):
            before = self._before.runs[position]
            if before is None:
                self.runs.append(None)
                continue
            run, again = before, not before.reads.isdisjoint(changed)
            if again:
                fresh = self.run_one(items[position], listed[position], partial(base, position))
                run = before if fresh is None else fresh
                self.runs_again += 1
            kept = keep(position, run, again)
            if kept:
                self.overlay.absorb(run)
            if again or not kept:
                self._differs(before, run if kept else None)
            self.runs.append(run if kept else None)

    def _differs(self, before: Run, after: Run | None) -> None:
        """Note the keys that an earlier run left with another value than this one."""
        writes, deltas = (after.writes, after.deltas) if after is not None else ({}, {})
        for key in before.writes.keys() | writes.keys():
            if before.writes.get(key) != writes.get(key):
                self._changed.add(key)
        for key in before.deltas.keys() | deltas.keys():
            if before.deltas.get(key) != deltas.get(key):
                self._changed.add(key)
