"""State as of an epoch: pinned reads at the shards, with a cache for as long as the epoch is asked for."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Final, Protocol

from schemas.keys import StateKey, is_blob
from schemas.records import Entry

SNAPSHOTS_MAX: Final = 8
ENTRIES_MAX: Final = 50_000
"""Entries cached for one epoch."""
WAIT_MS: Final = 1_000
"""How long a shard waits for an epoch that it hasn't applied, before it is asked again."""
BLOBS_MAX: Final = 512
"""Codes that are kept whatever the epoch: they are immutable."""


class StateReader(Protocol):
    """Reads from shards: the client of their read service, or a state in memory."""

    def read(
        self, keys: Iterable[bytes], at: int | None = None, *, wait_ms: int = 0, deadline_s: float | None = None
    ) -> Mapping[bytes, Entry]:
        """Entries of one epoch; a shard waits for it up to `wait_ms` at a time, all together up to `deadline_s`.

        Raises
        ------
        Gone
            The epoch isn't kept any more.
        Unavailable
            A shard doesn't answer, or hasn't applied the epoch in time.
        """


class Snapshot:
    """The state at one epoch. May be used by several threads: a race only reads a key twice."""

    def __init__(self, reader: StateReader, epoch: int, timeout_s: float, blobs: "OrderedDict[bytes, bytes]") -> None:
        self.epoch = epoch
        self._reader = reader
        self._timeout_s = timeout_s
        self._values: dict[bytes, bytes] = {}
        self._blobs = blobs

    def read(self, key: bytes) -> bytes:
        """The value of a key, empty if there is none."""
        value = self._known(key)
        if value is None:
            self.prefetch((key,))
            value = self._known(key)
        return b"" if value is None else value

    def read_all(self, keys: Iterable[StateKey]) -> list[bytes]:
        """The values of several keys, by one request for those that aren't known."""
        wanted = list(keys)
        self.prefetch(wanted)
        return [self.read(key) for key in wanted]

    def prefetch(self, keys: Iterable[bytes]) -> None:
        """Read keys in one request, so that reading them one by one costs nothing."""
        missing = {key for key in keys if self._known(key) is None}
        if not missing:
            return
        if len(self._values) + len(missing) > ENTRIES_MAX:
            self._values = {}
        found = self._reader.read(missing, self.epoch, wait_ms=WAIT_MS, deadline_s=self._timeout_s)
        for key, entry in found.items():
            self._values[key] = entry.value
            if is_blob(key) and entry.value:
                self._blobs[key] = entry.value
                while len(self._blobs) > BLOBS_MAX:
                    self._blobs.popitem(last=False)

    def _known(self, key: bytes) -> bytes | None:
        value = self._values.get(key)
        return self._blobs.get(key) if value is None and is_blob(key) else value


class Snapshots:
    """The snapshots that were used last."""

    def __init__(self, reader: StateReader, timeout_s: float) -> None:
        self._reader = reader
        self._timeout_s = timeout_s
        self._kept: OrderedDict[int, Snapshot] = OrderedDict()
        self._blobs: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()

    def at(self, epoch: int) -> Snapshot:
        """The state at an epoch."""
        with self._lock:
            found = self._kept.get(epoch)
            if found is None:
                found = self._kept[epoch] = Snapshot(self._reader, epoch, self._timeout_s, self._blobs)
            self._kept.move_to_end(epoch)
            while len(self._kept) > SNAPSHOTS_MAX:
                self._kept.popitem(last=False)
        return found
