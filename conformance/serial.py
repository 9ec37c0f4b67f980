"""A list of transactions on one overlay over a state in memory, as a lane runs it: the same walk, the same view."""

from collections.abc import Callable, Mapping
from typing import Final

from executors.machine import Block, Result, Status, VirtualMachine
from executors.view import Run, View
from executors.walk import Item, Refused, Walk
from ingest.transactions import Transaction, decode
from schemas.chain import Listed
from schemas.errors import InvalidTransaction
from schemas.hashing import keccak
from schemas.keys import balance_key, integer, minimal
from schemas.records import Epoch, Offset, Origin, Partition
from schemas.rules import Rules

PLAIN = Listed(Partition(0), Origin(Epoch(1), Partition(0), Offset(0)), None, None, False, False)
"""A place in a list of a transaction that nothing has happened to."""


_GIVEN: Final = Result(status=Status.SUCCESS, gas_used=0)


class SerialRun:
    """Runs one transaction after the other.

    Parameters
    ----------
    machine, block
        What runs them, and what they see.
    state
        Keys and values before the first one; it isn't changed.
    parked_ms_max
        How long the words of a rejection say that a nonce was waited for.
    """

    def __init__(
        self, machine: VirtualMachine, block: Block, state: Mapping[bytes, bytes], parked_ms_max: int = 0,
    ) -> None:
        self._walk = Walk(machine, block, parked_ms_max)
        self._machine = machine
        self._block = block
        self._before = state

    def run(self, item: Item, listed: Listed = PLAIN) -> Run | None:
        """Execute the next one; None for a hole in the list."""
        run = self._walk.run_one(item, listed, self._base)
        if run is not None:
            self._walk.overlay.absorb(run)
        return run

    def call(self, transaction: Transaction, without: Callable[[bytes], bool]) -> Run:
        """Execute a message of the system, and keep of its changes those whose keys aren't to be left out."""
        view = View(self._walk.overlay, self._base)
        run = view.finish(self._machine.execute(transaction, self._block, view))
        writes = {key: value for key, value in run.writes.items() if not without(key)}
        kept = Run(run.answer, run.reads, writes, run.deltas)
        self._walk.overlay.absorb(kept)
        return kept

    def credit(self, address: bytes, amount: int) -> None:
        """Add wei to an account, out of nothing."""
        if amount:
            self._walk.overlay.absorb(Run(_GIVEN, frozenset(), {}, {balance_key(address): amount}))

    def value(self, key: bytes) -> bytes:
        """What a key has now."""
        overlay = self._walk.overlay
        value = overlay.values.get(key)
        if value is None:
            value = self._base(key)
            added = overlay.deltas.get(key)
            if added:
                value = minimal(integer(value) + added)
        return value

    def state(self) -> dict[bytes, bytes]:
        """All keys that have a value now."""
        overlay = self._walk.overlay
        keys = {*self._before, *overlay.values, *overlay.deltas}
        return {key: value for key in keys if (value := self.value(key))}

    def _base(self, key: bytes) -> bytes:
        return self._before.get(key, b"")


def item_of(raw: bytes, rules: Rules) -> Transaction | Refused:
    """What a list holds of these bytes: a transaction, or why it can't be one."""
    try:
        return decode(raw, rules)
    except InvalidTransaction as exc:
        return Refused(exc.reason, raw, keccak(raw), dead=False)
