"""The state of a shard in RocksDB.

An epoch is one write batch: new values, what they replaced, both tips and the position to read on from. The write-ahead
log isn't synced, because Kafka is what the state rests on: a killed process loses nothing, and a machine that loses
power falls back to an earlier epoch, of which the store is just as complete, and reads on from there.

Readers need no lock and no snapshot of RocksDB. An entry whose version is at most the pinned epoch is the answer
whenever it is read, and for a younger one the history holds, since the very batch that wrote it, what it replaced. So
a reader takes the newest entries in one call, which frees the interpreter, and looks up the few younger ones.
rocksdict's snapshots would not do: they are read key by key with the interpreter held, each sees one column family,
and their iterators read the present.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from schemas.chain import Tip
from schemas.errors import ConfigurationError, Gone, InvariantViolation, Unavailable
from schemas.records import NEVER, Entry, version_epoch
from schemas.rules import Rules

from .database import CACHE_BYTES, Batch, Database, translated
from .layout import (
    ABSENT,
    DURABLE,
    IDENTITY,
    OLDEST,
    Identity,
    first_ancestor,
    hash_key,
    hash_number,
    history_key,
    packed_durable,
    packed_entry,
    packed_tip,
    replaced_epoch,
    replaced_key,
    split_history_keys,
    unpacked_durable,
    unpacked_entry,
)
from .loading import check, clear, load
from .store import Durable

log = logging.getLogger(__name__)

LIST_KEYS = 256
"""History keys in one list: the unit of pruning."""
PRUNED_KEYS = 512
"""An epoch that wrote k keys drops about this and k old ones, so that pruning keeps up and never takes long."""
KEPT_EPOCHS = 2
"""The newest epoch and so many before it can always be read, however short the time for which history is kept."""
HASHES_DROPPED = 512
"""Old block hashes that one batch drops."""
TIPS_REMEMBERED = 64
"""Tips whose bytes are remembered, because the published tip is one that was applied shortly before."""
RETRIES = 64
"""How often a read of the newest epoch starts again because that epoch was pruned meanwhile."""

Due = tuple[bytes, int]
"""The list of history that has to go next: its key, and the timestamp in ms of its epoch."""


class RocksStore:
    """The state of one shard on disk; one process at a time has it open.

    One thread applies, any number read. `create` fills a new store, `open` finds one again.
    """

    def __init__(self, database: Database, rules: Rules, keep_history_ms: int | None) -> None:
        packed = unpacked_durable(_stored(database, DURABLE))
        hashes = _hashes(database)
        self._path = database.path
        self._database: Database | None = database
        self._keep_ms = keep_history_ms
        self._durable = packed.restored(hashes, rules)
        self._oldest = int.from_bytes(_stored(database, OLDEST), "big")
        self._hashes = range(min(hashes, default=0), max(hashes, default=-1) + 1)
        self._packed_tips: dict[int, tuple[Tip, bytes]] = {}
        self._due = _first_due(database, self._oldest)

    @classmethod
    def create(
        cls,
        path: str | Path,
        entries: Iterable[tuple[bytes, bytes]],
        durable: Durable,
        *,
        identity: Identity,
        keep_history_ms: int | None,
        cache_bytes: int = CACHE_BYTES,
    ) -> Self:
        """A new store with these values at version 0.

        What an interrupted load has left is thrown away; a store that is complete never is.

        Parameters
        ----------
        keep_history_ms
            How long replaced values are kept, in time of the manifests; None keeps them for ever.

        Raises
        ------
        ConfigurationError
            The path holds a store already, or something else, or another process has it open.
        """
        path = Path(path)
        clear(path)
        database = Database.open(path, cache_bytes)
        try:
            with translated(path, "load"):
                load(database, entries, durable, identity)
                store = cls(database, durable.tip.rules, keep_history_ms)
        except BaseException:
            database.close()
            raise
        log.info("loaded %s at %s", identity, path)
        return store

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        identity: Identity,
        rules: Rules,
        keep_history_ms: int | None,
        cache_bytes: int = CACHE_BYTES,
    ) -> Self:
        """The store that was left here.

        Raises
        ------
        GenesisRefused
            It holds the state of another shard, genesis, N, M or rules.
        ConfigurationError
            There is none, it isn't complete, or another process has it open.
        """
        path = Path(path)
        if not Database.exists(path):
            raise ConfigurationError(f"there is no store at {path}")
        database = Database.open(path, cache_bytes)
        try:
            with translated(path, "open"):
                check(database, identity)
                store = cls(database, rules, keep_history_ms)
        except BaseException:
            database.close()
            raise
        log.info("opened %s at %s, epoch %d", identity, path, store.durable.applied)
        return store

    @staticmethod
    def loaded(path: str | Path) -> bool:
        """Whether there is a store that was loaded to its end."""
        path = Path(path)
        return Database.exists(path) and Database.peek(path, IDENTITY) is not None

    @property
    def path(self) -> Path:
        """The directory of its files."""
        return self._path

    @property
    def durable(self) -> Durable:
        """What the last batch stored."""
        return self._durable

    @property
    def oldest(self) -> int:
        """The oldest epoch that can be read."""
        return self._oldest

    def entries(self, keys: Sequence[bytes]) -> list[Entry]:
        """The newest applied entries, `NEVER` for a key that isn't there, in the order of the keys."""
        with translated(self._path, "read"):
            return [NEVER if data is None else unpacked_entry(data) for data in self._open_database().values(keys)]

    def apply(self, values: Mapping[bytes, Entry], durable: Durable) -> None:
        """Store what an epoch changed, with what it replaced as history, in one atomic batch.

        Without values and without a new epoch it stores how far publishing has come.

        Raises
        ------
        InvariantViolation
            The epoch or a version doesn't follow on what is applied, or the disk refused the batch.
        """
        before, epoch = self._durable.applied, durable.applied
        if epoch < before:
            raise InvariantViolation(f"epoch {epoch} is to be applied after epoch {before}")
        with translated(self._path, "apply"):
            database = self._open_database()
            batch = Batch(raw_mode=True)
            now_ms = durable.tip.timestamp_ms
            written = _put_values(batch, database, values, range(before + 1, epoch + 1))
            own = _put_lists(batch, written, epoch, now_ms)
            oldest, due = self._prune(batch, database, own, epoch, now_ms, PRUNED_KEYS + len(written))
            hashes = self._put_hashes(batch, durable)
            batch.put(DURABLE, packed_durable(durable, self._packed(durable.tip), self._packed(durable.published)))
            # First, so that a reader under way finds out that what it needs may be gone with this batch.
            self._oldest = oldest
            database.write(batch)
        self._durable, self._due, self._hashes = durable, due, hashes

    def read(self, keys: Sequence[bytes], at: int | None) -> tuple[int, list[Entry]]:
        """Entries of one snapshot, and its epoch; of the newest applied epoch if `at` is None.

        Raises
        ------
        Unavailable
            The epoch isn't applied yet, or the store is closed.
        Gone
            It isn't kept any more.
        """
        for _ in range(RETRIES):
            applied = self._durable.applied
            epoch = applied if at is None else at
            if epoch > applied or applied < 0:
                raise Unavailable(f"epoch {max(epoch, 0)} is not applied yet; the newest is {applied}")
            if epoch >= self._oldest:
                found = self._read(keys, epoch)
                # Only now is it sure that nothing of it was pruned while we read.
                if epoch >= self._oldest:
                    return epoch, self._whole(found, epoch)
            if at is not None:
                raise Gone(epoch, self._oldest)
        raise Unavailable(f"{RETRIES} epochs were applied and pruned while one read of {len(keys)} keys went on")

    def items(self) -> Iterator[tuple[bytes, Entry]]:
        """All newest entries in the order of their keys, as they are when the first one is taken."""
        with translated(self._path, "read"):
            cursor = self._open_database().newest.iter()
            cursor.seek_to_first()
            while cursor.valid():
                yield cursor.key(), unpacked_entry(cursor.value())
                cursor.next()
            cursor.status()

    def checkpoint(self, path: str | Path) -> None:
        """A copy of the store as it is now, as hard links where the file system is the same; `open` takes it.

        The interpreter is held while the newest values are written to files, 0.1 s or so.

        Raises
        ------
        ConfigurationError
            There is something at that path.
        """
        target = Path(path)
        if target.exists():
            raise ConfigurationError(f"a checkpoint cannot be made at {target}: it exists already")
        with translated(self._path, "checkpoint"):
            self._open_database().checkpoint(target)

    def close(self) -> None:
        """Write what is in memory to files and let go of them. A reader that is under way ends first."""
        database, self._database = self._database, None
        if database is not None:
            with translated(self._path, "close"):
                database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_database(self) -> Database:
        database = self._database
        if database is None:
            raise Unavailable(f"the store at {self._path} is closed")
        return database

    def _read(self, keys: Sequence[bytes], epoch: int) -> list[Entry | None]:
        """The entries as of an applied epoch; None where the history that it takes isn't there."""
        with translated(self._path, "read"):
            database = self._open_database()
            found: list[Entry | None] = [
                NEVER if data is None else unpacked_entry(data) for data in database.values(keys)
            ]
            younger = [i for i, entry in enumerate(found) if entry and version_epoch(entry.version) > epoch]
            if younger:
                # Made after the read above, so that it sees the replacement that each of those entries is.
                cursor = database.history.iter()
                for i in younger:
                    # What the first replacement after the epoch took away is what was there in the epoch.
                    place = history_key(keys[i], epoch + 1)
                    cursor.seek(place)
                    here = cursor.valid() and cursor.key()[:-8] == place[:-8]
                    found[i] = unpacked_entry(cursor.value()) if here else None
                cursor.status()
            return found

    def _whole(self, found: list[Entry | None], epoch: int) -> list[Entry]:
        entries = [entry for entry in found if entry is not None]
        if len(entries) < len(found):
            raise InvariantViolation(f"the store at {self._path} lacks history of epoch {epoch}")
        return entries

    def _packed(self, tip: Tip) -> bytes:
        """The tip as bytes, remembered by identity."""
        known = self._packed_tips.get(id(tip))
        if known is None:
            if len(self._packed_tips) >= TIPS_REMEMBERED:
                del self._packed_tips[next(iter(self._packed_tips))]
            known = self._packed_tips[id(tip)] = tip, packed_tip(tip)
        return known[1]

    def _put_hashes(self, batch: Batch, durable: Durable) -> range:
        """Store the hashes of new blocks and drop those that neither tip holds; the numbers that are stored then."""
        start, stop = self._hashes.start, self._hashes.stop
        tips = sorted((durable.published, durable.tip), key=first_ancestor)
        for tip in tips:
            for number in range(max(stop, first_ancestor(tip)), tip.block):
                batch.put(hash_key(number), tip.ancestors[number - tip.block])
            stop = max(stop, tip.block)
        kept_from = min(max(start, first_ancestor(tips[0])), start + HASHES_DROPPED)
        for number in range(start, kept_from):
            batch.delete(hash_key(number))
        return range(kept_from, stop)

    def _prune(
        self, batch: Batch, database: Database, own: Due | None, epoch: int, now_ms: int, budget: int
    ) -> tuple[int, Due | None]:
        """Drop history that is older than it is kept, about `budget` keys.

        Returns
        -------
        The oldest epoch that can be read then, and the list that is next; `own` is the one that this batch writes.
        """
        oldest, due = self._oldest, self._due or own
        if not self._is_due(due, epoch, now_ms):
            return oldest, due
        cursor = database.meta.iter()
        cursor.seek(replaced_key(oldest, 0))
        while due is not None and budget > 0 and self._is_due(due, epoch, now_ms):
            key, value = due[0], cursor.value()
            if cursor.key() != key:
                raise InvariantViolation(f"the store at {self._path} lacks the list of history 0x{key.hex()}")
            for place in split_history_keys(value[8:]):
                batch.delete(place, database.history_family)
                budget -= 1
            batch.delete(key)
            oldest = replaced_epoch(key) or oldest
            cursor.next()
            due = _due_at(cursor.key(), cursor.value()) if cursor.valid() else own
        cursor.status()
        batch.put(OLDEST, oldest.to_bytes(8, "big"))
        return oldest, due

    def _is_due(self, due: Due | None, epoch: int, now_ms: int) -> bool:
        """Whether a list is old enough."""
        if due is None or self._keep_ms is None:
            return False
        return (replaced_epoch(due[0]) or 0) + KEPT_EPOCHS <= epoch and due[1] + self._keep_ms <= now_ms


def _put_values(batch: Batch, database: Database, values: Mapping[bytes, Entry], epochs: range) -> list[bytes]:
    """Put new entries and what they replace; the history keys."""
    written = []
    for (key, entry), replaced in zip(values.items(), database.values(list(values)), strict=True):
        epoch = version_epoch(entry.version)
        if epoch not in epochs:
            raise InvariantViolation(f"key 0x{key.hex()} has a version of epoch {epoch}, which is not in {epochs}")
        place = history_key(key, epoch)
        batch.put(key, packed_entry(entry), database.newest_family)
        batch.put(place, ABSENT if replaced is None else replaced, database.history_family)
        written.append(place)
    return written


def _put_lists(batch: Batch, written: list[bytes], epoch: int, now_ms: int) -> Due | None:
    """Put down which history an epoch wrote, so that pruning finds it; the first list.

    Also where all is kept, so that a later start may keep less.
    """
    stamp = now_ms.to_bytes(8, "big")
    for number, start in enumerate(range(0, len(written), LIST_KEYS)):
        batch.put(replaced_key(epoch, number), b"".join((stamp, *written[start : start + LIST_KEYS])))
    return (replaced_key(epoch, 0), now_ms) if written else None


def _stored(database: Database, key: bytes) -> bytes:
    data: bytes | None = database.meta.get(key)
    if data is None:
        raise InvariantViolation(f"the store at {database.path} lacks its record {key.decode()!r}")
    return data


def _hashes(database: Database) -> dict[int, bytes]:
    """All block hashes that are stored, by number."""
    hashes: dict[int, bytes] = {}
    cursor = database.meta.iter()
    cursor.seek(hash_key(0))
    while cursor.valid() and (number := hash_number(cursor.key())) is not None:
        hashes[number] = cursor.value()
        cursor.next()
    cursor.status()
    return hashes


def _first_due(database: Database, oldest: int) -> Due | None:
    cursor = database.meta.iter()
    cursor.seek(replaced_key(oldest, 0))
    return _due_at(cursor.key(), cursor.value()) if cursor.valid() else None


def _due_at(key: bytes, value: bytes) -> Due | None:
    return None if replaced_epoch(key) is None else (key, int.from_bytes(value[:8], "big"))
