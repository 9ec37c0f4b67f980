"""The lock between processes."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cluster.kafka.lock import FileLock, LockHeld

_HOLD = """
import sys, time
from pathlib import Path
from cluster.kafka.lock import FileLock
lock = FileLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "lock"


def test_one_holder(path: Path) -> None:
    first, second = FileLock(path), FileLock(path)
    first.acquire()
    with pytest.raises(LockHeld) as refused:
        second.acquire()
    assert refused.value.owner == os.getpid()
    assert path.read_text() == f"{os.getpid()}\n"
    first.release()
    second.acquire()
    second.release()


def test_waits(path: Path) -> None:
    first, second = FileLock(path), FileLock(path)
    first.acquire()
    timer = threading.Timer(0.2, first.release)
    timer.start()
    begun = time.monotonic()
    with second:
        second.acquire(10)
        assert time.monotonic() - begun >= 0.2
    timer.join()


def test_goes_with_its_holder(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        lock = FileLock(path)
        begun = time.monotonic()
        with pytest.raises(LockHeld) as refused:
            lock.acquire(10, outwait_living=False)
        assert time.monotonic() - begun < 5  # at once: the owner lives
        assert refused.value.owner == holder.pid
        holder.kill()
        holder.wait()
        lock.acquire()
        lock.release()


@pytest.mark.skipif(sys.platform == "win32", reason="locks are inherited on POSIX alone")
def test_a_child_holds_it_on(path: Path) -> None:
    lock, other = FileLock(path), FileLock(path)
    lock.acquire()
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(sleep, pass_fds=(lock.fileno,)) as child:
        lock.release()
        with pytest.raises(LockHeld):
            other.acquire()
        child.kill()
    other.acquire(5)
    other.release()


def test_not_held(path: Path) -> None:
    with pytest.raises(ValueError, match="is not locked by this process"):
        _ = FileLock(path).fileno
