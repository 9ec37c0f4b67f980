"""Filling a new store, and telling one that is complete and ours from any other.

A load marks the database before its first value and after its last, so that one that was interrupted is found out and
done again. Values bypass the write-ahead log: they are in files before the last mark is written.
"""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from schemas.errors import ConfigurationError, GenesisRefused

from .database import Batch, Database, Family
from .layout import (
    ABSENT,
    DURABLE,
    FORMAT,
    IDENTITY,
    LOADING,
    OLDEST,
    Identity,
    first_ancestor,
    hash_key,
    packed_durable,
    packed_identity,
    packed_tip,
    unpacked_identity,
)
from .store import Durable

log = logging.getLogger(__name__)

LOAD_KEYS = 10_000
"""Keys in one batch."""


def clear(path: Path) -> None:
    """Remove what an interrupted load has left, and nothing else.

    Raises
    ------
    ConfigurationError
        There is something else.
    """
    if not Database.exists(path):
        return
    found, loading = Database.peek(path, IDENTITY), Database.peek(path, LOADING)
    if found is not None:
        raise ConfigurationError(f"the store at {path} exists already; it holds {unpacked_identity(found)[1]}")
    if loading is None and not Database.unused(path):
        raise ConfigurationError(f"there is a database at {path}, and it is no store of a shard")
    log.warning("the load of the store at %s was interrupted; it starts again", path)
    Database.destroy(path)


def load(database: Database, entries: Iterable[tuple[bytes, bytes]], durable: Durable, identity: Identity) -> None:
    """Fill a database that is empty: the values at version 0, and all that a start needs."""
    first = Batch(raw_mode=True)
    first.put(LOADING, b"")
    database.write(first)
    for batch in _batches(entries, database.newest_family):
        database.write(batch, logged=False)
    database.newest.flush()  # what no log holds has to be in files before the store counts as complete
    last = Batch(raw_mode=True)
    for tip in (durable.published, durable.tip):
        for number, block_hash in enumerate(tip.ancestors, first_ancestor(tip)):
            last.put(hash_key(number), block_hash)
    last.put(DURABLE, packed_durable(durable, packed_tip(durable.tip), packed_tip(durable.published)))
    last.put(OLDEST, max(durable.applied, 0).to_bytes(8, "big"))
    last.put(IDENTITY, packed_identity(identity))
    database.write(last, synced=True)


def _batches(entries: Iterable[tuple[bytes, bytes]], family: Family) -> Iterator[Batch]:
    batch = Batch(raw_mode=True)
    for key, value in entries:
        if value:  # an empty value and a key that was never written are the same
            batch.put(key, ABSENT + value, family)
            if len(batch) >= LOAD_KEYS:
                yield batch
                batch = Batch(raw_mode=True)
    if len(batch):
        yield batch


def check(database: Database, identity: Identity) -> None:
    """Refuse a store that isn't complete or isn't ours.

    Raises
    ------
    ConfigurationError
        It isn't complete, or of another format.
    GenesisRefused
        It holds the state of another shard, genesis, N, M or rules.
    """
    found: bytes | None = database.meta.get(IDENTITY)
    if found is None:
        raise ConfigurationError(f"the store at {database.path} was not loaded to its end; it has to be created again")
    version, stored = unpacked_identity(found)
    if version != FORMAT:
        raise ConfigurationError(f"the store at {database.path} has format {version}; this program reads {FORMAT}")
    if stored != identity:
        raise GenesisRefused(f"the store at {database.path} holds {stored}; this process is {identity}")
