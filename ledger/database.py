"""The adapter of RocksDB for the index: ordered bytes, atomic batches, scans.

RocksDB is rebuilt from the topics where it is lost, so a batch isn't synced to disk: after a power failure the index is
as of an earlier batch, and the positions in that batch tell where to read on.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rocksdict import DbClosedError, Options, Rdict, WriteBatch

from schemas.errors import ConfigurationError, InvariantViolation, Unavailable

WRITE_BUFFER_BYTES = 32 * 1024 * 1024
WAL_BYTES_MAX = 128 * 1024 * 1024


class Database:
    """Keys and values as bytes, in the order of the keys. Any thread may use it; batches are atomic."""

    def __init__(self, path: Path) -> None:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        options.set_max_total_wal_size(WAL_BYTES_MAX)
        options.set_keep_log_file_num(2)
        options.set_max_open_files(256)
        path.mkdir(parents=True, exist_ok=True)
        try:
            self._db: Any = Rdict(str(path), options)
        except Exception as exc:  # rocksdict raises plain exceptions
            raise ConfigurationError(f"cannot open the index in {path}: {exc}") from exc

    def value(self, key: bytes) -> bytes | None:
        """The value of a key."""
        try:
            found: bytes | None = self._db.get(key)
        except Exception as exc:
            raise Unavailable(f"the index cannot be read: {exc}") from exc
        return found

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of several keys, in their order."""
        if not keys:
            return []
        try:
            found: list[bytes | None] = self._db.get(list(keys))
        except Exception as exc:
            raise Unavailable(f"the index cannot be read: {exc}") from exc
        return found

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Entries with ``low <= key < high``, of one point in time."""
        try:
            for key, value in self._db.items(from_key=low):
                if key >= high:
                    return
                yield key, value
        except GeneratorExit:
            raise
        except Exception as exc:
            raise Unavailable(f"the index cannot be read: {exc}") from exc

    def write(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Store entries in one atomic batch.

        Raises
        ------
        InvariantViolation
            They aren't stored; what follows them must not be either.
        """
        batch = WriteBatch(raw_mode=True)
        for key, value in entries:
            batch.put(key, value)
        try:
            self._db.write(batch)
        except Exception as exc:
            raise InvariantViolation(f"the index cannot be written: {exc}") from exc

    def close(self) -> None:
        """Flush and close, if it isn't closed already; reads fail from then on."""
        with suppress(DbClosedError):
            self._db.close()
