"""A lock between processes, held on a file that names its owner."""

import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["FileLock", "LockHeld", "process_exists"]

_POLL_S: Final = 0.05
_BUSY: Final = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_OWNER_BYTES: Final = 32
_WINDOWS_LOCK_AT: Final = 1 << 20
"""Windows locks bytes against reading too: far behind the ones that name the owner."""


class LockHeld(Exception):
    """Another process holds the lock; callers put it into their own words."""

    owner: Final[int | None]
    """Its process id, where the file says so."""

    def __init__(self, path: Path, owner: int | None) -> None:
        super().__init__(f"{path} is locked by process {owner if owner is not None else 'unknown'}")
        self.owner = owner


class FileLock:
    """An exclusive lock of the operating system, which goes with its last holder however that ends.

    On POSIX a child that inherits `fileno` holds the lock too, until it ends. The file stays: removing it
    would let two processes lock two files of the same name.

    Parameters
    ----------
    path
        The file; made where it is missing, its folder as well.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    @property
    def fileno(self) -> int:
        """File descriptor of the held lock, for a child to inherit."""
        if self._fd is None:
            raise ValueError(f"{self._path} is not locked by this process")
        return self._fd

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def acquire(self, timeout_s: float = 0.0, *, outwait_living: bool = True) -> None:
        """Take the lock, waiting for at most `timeout_s` seconds.

        Parameters
        ----------
        timeout_s
            How long to wait for another holder.
        outwait_living
            False: wait only where the owner named in the file is gone (its children are still on their way out).

        Raises
        ------
        LockHeld
            Somebody else has it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout_s
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _try_lock(fd):
                owner = _owner(fd)
                patient = outwait_living or owner is None or not process_exists(owner)
                if not patient or time.monotonic() >= deadline:
                    raise LockHeld(self._path, owner)
                time.sleep(_POLL_S)
        except BaseException:
            os.close(fd)
            raise
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, f"{os.getpid()}\n".encode("ascii"))
        self._fd = fd

    def release(self) -> None:
        """Give the lock back; a child that inherited it goes on holding it."""
        if self._fd is not None:
            os.close(self._fd)  # closing unlocks, and only for this holder
            self._fd = None

    def __enter__(self) -> Self:
        """Hold the lock that :meth:`acquire` took."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        self.release()


def process_exists(pid: int) -> bool:
    """Whether a process of this id runs, as far as this one may know."""
    if sys.platform == "win32":
        return True  # signal 0 would end it there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _owner(fd: int) -> int | None:
    with contextlib.suppress(ValueError, OSError):
        os.lseek(fd, 0, os.SEEK_SET)
        return int(os.read(fd, _OWNER_BYTES))
    return None


def _try_lock(fd: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(fd, _WINDOWS_LOCK_AT, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True
