"""The adapter of rocksdict: files, options and errors of a RocksDB database with a shard's three families of keys."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    ColumnFamily,
    DataBlockIndexType,
    DbClosedError,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from schemas.errors import ConfigurationError, InvariantViolation, Unavailable

CACHE_BYTES = 64 * 1024 * 1024
"""Blocks of files in memory, with their indexes and filters."""
MEMTABLE_BYTES = 16 * 1024 * 1024
"""Newest writes in memory; there are up to two of them for values and two for history."""
WAL_BYTES = 64 * 1024 * 1024
"""So much has to be read again at most when a process was killed."""
CLOSE_SECONDS = 5.0
"""How long closing waits for readers."""

Batch = WriteBatch
Family = ColumnFamily


@dataclass(frozen=True, slots=True)
class Database:
    """An open database. RocksDB lets go of its files when the last reference to one of these parts is gone."""

    path: Path
    meta: Rdict
    newest: Rdict
    history: Rdict
    newest_family: Family
    history_family: Family

    @classmethod
    def open(cls, path: Path, cache_bytes: int) -> Self:
        """Open or create the files.

        Raises
        ------
        ConfigurationError
            Another process has them open, or the path cannot be used.
        """
        with translated(path, "open"):
            cache = Cache(cache_bytes)
            families = {"newest": _family(cache, points=True), "history": _family(cache, points=False)}
            db = Rdict(str(path), _database(cache), families)
            return cls(
                path,
                db,
                db.get_column_family("newest"),
                db.get_column_family("history"),
                db.get_column_family_handle("newest"),
                db.get_column_family_handle("history"),
            )

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether there is a database."""
        return (path / "CURRENT").exists()

    @staticmethod
    def peek(path: Path, key: bytes) -> bytes | None:
        """A record of the default family, also while another process has the database open."""
        with translated(path, "open"):
            db = Rdict(str(path), Options(raw_mode=True), {}, AccessType.read_only(error_if_log_file_exist=False))
            found: bytes | None = db.get(key)
            db.close()
        return found

    @staticmethod
    def unused(path: Path) -> bool:
        """Whether nothing was ever written to the database."""
        with translated(path, "open"):
            families = {name: Options(raw_mode=True) for name in Rdict.list_cf(str(path), Options(raw_mode=True))}
            readonly = AccessType.read_only(error_if_log_file_exist=False)
            db = Rdict(str(path), Options(raw_mode=True), families, readonly)
            writes = db.latest_sequence_number()
            db.close()
        return writes == 0

    @staticmethod
    def destroy(path: Path) -> None:
        """Remove all files."""
        with translated(path, "clear"):
            Rdict.destroy(str(path), Options(raw_mode=True))

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What the newest family has under these keys; the interpreter is free meanwhile."""
        # Only a list makes it one call, and one of another type than the keys' would do as well.
        found = self.newest.get(cast("list[str | int | float | bytes | bool]", list(keys)))
        return cast("list[bytes | None]", found)

    def write(self, batch: Batch, *, logged: bool = True, synced: bool = False) -> None:
        """Write a batch, through the write-ahead log and to the disk or not."""
        if logged and not synced:
            self.meta.write(batch)
            return
        options = WriteOptions()
        options.disable_wal = not logged  # type: ignore[method-assign,assignment]  # its stub takes it for a method
        options.sync = synced
        self.meta.write(batch, options)

    def checkpoint(self, path: Path) -> None:
        """A copy of all files as they are now."""
        Checkpoint(self.meta).create_checkpoint(str(path))

    def close(self) -> None:
        """Flush and close, once no other thread is inside one of them."""
        until = time.monotonic() + CLOSE_SECONDS
        for part in (self.newest, self.history, self.meta):
            while True:
                try:
                    part.close()
                    break
                except RuntimeError:  # "Already borrowed": another thread reads right now
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.001)


def _database(cache: Cache) -> Options:
    """Options of the database and of its default family, which holds the meta."""
    options = _family(cache, points=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    # A torn last batch is dropped and nothing after it is read: the store comes back as of one epoch.
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_max_total_wal_size(WAL_BYTES)
    options.set_max_background_jobs(2)
    options.set_skip_stats_update_on_db_open(True)  # it reads every file once
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1024 * 1024)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options


def _family(cache: Cache, *, points: bool) -> Options:
    """Options of a column family, for keys that are asked for as they are, or found by order."""
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    # Indexes and filters count against the cache, or memory would grow with the state.
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
    blocks.set_format_version(5)
    if points:
        blocks.set_bloom_filter(10, False)
        blocks.set_data_block_index_type(DataBlockIndexType.binary_and_hash())
    options = Options(raw_mode=True)
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_size(MEMTABLE_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_compression_type(DBCompressionType.lz4())
    return options


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Turn rocksdict's errors into ours."""
    try:
        yield
    except DbClosedError as exc:
        raise Unavailable(f"the store at {path} is closed") from exc
    except RuntimeError as exc:
        if "borrowed" not in str(exc):
            raise
        raise Unavailable(f"the store at {path} is being closed") from exc
    except Exception as exc:
        if type(exc) is not Exception:  # rocksdict raises that one itself, with RocksDB's words
            raise
        text = str(exc)
        if "/LOCK" in text:
            raise ConfigurationError(f"the store at {path} is in use by another process: {text}") from exc
        if doing == "open" and not text.startswith("Corruption"):
            raise ConfigurationError(f"the store at {path} cannot be opened: {text}") from exc
        raise InvariantViolation(f"the store at {path} failed to {doing}: {text}") from exc
