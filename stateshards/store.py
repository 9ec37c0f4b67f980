"""What the voting machine needs of a store, and a store in memory for the simulator.

The machine calls its store synchronously: a vote reads versions of what is applied, and an epoch is applied in one
atomic batch with everything that a restart needs.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.chain import Tip
from schemas.errors import Gone, Unavailable
from schemas.records import NEVER, Entry, ShardDigest, version_epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Durable:
    """All of a shard that survives a crash, besides the values (step 10)."""

    tip: Tip
    """After the manifest that closed the last applied epoch."""
    published: Tip
    """After the one that closed the last epoch whose receipts were known to be published."""
    prepares_from: int
    """Where to read on in `prepares`."""
    digest: ShardDigest
    """The newest digest."""

    @property
    def applied(self) -> int:
        """The last applied epoch. Epoch 0 is the genesis: it is applied from the start."""
        return max(0, self.tip.epoch - 1)


class Store(Protocol):
    """The state of one shard."""

    @property
    def durable(self) -> Durable:
        """What the last batch stored."""

    def entries(self, keys: Sequence[bytes]) -> list[Entry]:
        """The newest applied entries, `NEVER` for a key that isn't there, in the order of the keys."""

    def apply(self, values: Mapping[bytes, Entry], durable: Durable) -> None:
        """Store what an epoch changed, with what it replaced as history, in one atomic batch."""

    def read(self, keys: Sequence[bytes], at: int | None) -> tuple[int, list[Entry]]:
        """Entries of one snapshot, and its epoch.

        Raises
        ------
        Unavailable
            The epoch isn't applied yet.
        Gone
            It isn't kept any more.
        """


class MemoryStore:
    """A store in memory. It keeps all history."""

    def __init__(self, durable: Durable, entries: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._durable = durable
        self._history: dict[bytes, list[Entry]] = {key: [Entry(value, NEVER.version)] for key, value in entries}

    @property
    def durable(self) -> Durable:
        """What the last batch stored."""
        return self._durable

    def entries(self, keys: Sequence[bytes]) -> list[Entry]:
        """The newest applied entries."""
        history = self._history
        return [history[key][-1] if key in history else NEVER for key in keys]

    def apply(self, values: Mapping[bytes, Entry], durable: Durable) -> None:
        """Store what an epoch changed."""
        for key, entry in values.items():
            self._history.setdefault(key, []).append(entry)
        self._durable = durable

    def read(self, keys: Sequence[bytes], at: int | None) -> tuple[int, list[Entry]]:
        """Entries of one snapshot, and its epoch."""
        applied = self._durable.applied
        epoch = applied if at is None else at
        if epoch > applied:
            raise Unavailable(f"epoch {epoch} is not applied yet; the newest is {applied}")
        if epoch < 0:
            raise Gone(epoch, 0)
        found = []
        for key in keys:
            kept = self._history.get(key, [])
            index = bisect_right(kept, epoch, key=lambda entry: version_epoch(entry.version))
            found.append(kept[index - 1] if index else NEVER)
        return epoch, found
