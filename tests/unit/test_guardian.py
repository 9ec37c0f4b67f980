"""The guardian: a command ends with the process that wanted it, however that ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster import guardian
from cluster.guardian import Guarded

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and sessions of POSIX")

_SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
_STUBBORN = [
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]


def _gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be collected has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def _eventually(holds: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with Guarded(_SLEEP, pid_file=tmp_path / "pid") as child:
        _eventually(lambda: child.pid)
        yield child


def test_stop_ends_the_command(guarded: Guarded, tmp_path: Path) -> None:
    assert guarded.alive
    assert guarded.pid is not None
    assert guarded.stop(10) == 128 + signal.SIGTERM
    assert _gone(guarded.pid)
    assert not guarded.alive
    assert not (tmp_path / "pid").exists()


def test_a_deaf_command_is_killed(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        child = Guarded(_STUBBORN, pid_file=tmp_path / "pid", output=out)
    _eventually(lambda: b"deaf" in (tmp_path / "out").read_bytes())
    begun = time.monotonic()
    assert child.stop(0.2) == 128 + signal.SIGKILL
    assert 0.2 <= time.monotonic() - begun < 5


def test_a_killed_command_is_seen(guarded: Guarded) -> None:
    assert guarded.pid is not None
    os.kill(guarded.pid, signal.SIGKILL)
    _eventually(lambda: not guarded.alive)
    assert guarded.returncode == 128 + signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_a_killed_guardian_takes_the_command_along(guarded: Guarded) -> None:
    assert guarded.pid is not None
    os.kill(guarded.guardian_pid, signal.SIGKILL)
    _eventually(lambda: guarded.pid is not None and _gone(guarded.pid))
    _eventually(lambda: not guarded.alive)  # the kernel ends the child a moment before its parent can be waited for


def test_sigterm_is_forwarded(guarded: Guarded) -> None:
    os.kill(guarded.guardian_pid, signal.SIGTERM)
    assert guarded.wait(10)
    assert guarded.returncode == 128 + signal.SIGTERM


def test_exit_status_is_passed_on(tmp_path: Path) -> None:
    child = Guarded([sys.executable, "-c", "raise SystemExit(7)"], pid_file=tmp_path / "pid")
    assert child.wait(10)
    assert child.stop() == 7


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        child = Guarded([str(tmp_path / "nothing")], pid_file=tmp_path / "pid", output=out)
    assert child.wait(10)
    assert child.stop() == 127
    assert b"nothing" in (tmp_path / "out").read_bytes()


def test_command_line(tmp_path: Path) -> None:
    """``python -m cluster.guardian -- CMD`` until its standard input ends."""
    line = [sys.executable, "-m", "cluster.guardian", "--pid-file", str(tmp_path / "pid"), "--", *_SLEEP]
    with subprocess.Popen(line, stdin=subprocess.PIPE) as process:
        _eventually((tmp_path / "pid").exists)
        pid = int((tmp_path / "pid").read_text())
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 128 + signal.SIGTERM
    assert _gone(pid)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_orphan(tmp_path: Path, ending: signal.Signals) -> None:
    """The parent ends without a word; so do the guardian, the command, and what the command started."""
    started = "import subprocess, sys; print(subprocess.Popen({!r}).pid, flush=True); __import__('time').sleep(60)"
    parent = textwrap.dedent(f"""
        import signal, sys, time
        from pathlib import Path
        from cluster.guardian import Guarded
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        argv = [sys.executable, "-c", {started.format(_SLEEP)!r}]
        with open({str(tmp_path / "out")!r}, "wb") as out:
            child = Guarded(argv, pid_file=Path({str(tmp_path / "pid")!r}), output=out, grace_s=1)
        while child.pid is None:
            time.sleep(0.01)
        print(child.guardian_pid, child.pid, flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        _eventually(lambda: (tmp_path / "out").read_bytes().endswith(b"\n"))
        pids.append(int((tmp_path / "out").read_bytes()))
        assert len(pids) == 3
        assert not any(_gone(pid) for pid in pids)
        process.send_signal(ending)
    for pid in pids:
        _eventually(lambda pid=pid: _gone(pid))  # type: ignore[misc]  # a default of a lambda has no type


def test_a_forked_copy_of_the_parent_does_not_keep_it_alive(tmp_path: Path) -> None:
    """The copy holds the pipe open; the guardian sees that its parent has changed."""
    parent = textwrap.dedent(f"""
        import os, sys, time
        from pathlib import Path
        from cluster.guardian import Guarded
        child = Guarded({_SLEEP!r}, pid_file=Path({str(tmp_path / "pid")!r}), grace_s=1)
        while child.pid is None:
            time.sleep(0.01)
        if (copy := os.fork()) == 0:
            os.close(1)
            time.sleep(60)
            os._exit(0)
        print(copy, child.pid, flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        copy, pid = (int(word) for word in process.stdout.readline().split())
        try:
            process.kill()
            process.wait()
            assert not _gone(copy)
            _eventually(lambda: _gone(pid))
        finally:
            os.kill(copy, signal.SIGKILL)


def test_ctrl_c_of_the_terminal_is_for_the_parent_alone(guarded: Guarded) -> None:
    assert guarded.pid is not None
    own = os.getpgid(0)
    assert os.getpgid(guarded.guardian_pid) != own
    assert os.getpgid(guarded.pid) not in {own, os.getpgid(guarded.guardian_pid)}
    assert os.getsid(guarded.pid) != os.getsid(0)


def test_inherited_descriptors_reach_the_command(tmp_path: Path) -> None:
    read, write = os.pipe()
    try:
        script = f"import os; os.write({write}, b'here')"
        child = Guarded([sys.executable, "-c", script], pid_file=tmp_path / "pid", pass_fds=(write,))
        os.close(write)
        assert os.read(read, 16) == b"here"
        assert os.read(read, 16) == b""
        assert child.stop() == 0
    finally:
        os.close(read)


def test_stands_alone() -> None:
    """It is started by its path, without site packages, and loads next to nothing."""
    line = guardian.command([sys.executable, "-I", "-S", "-c", "raise SystemExit(3)"])
    with subprocess.Popen(line, stdin=subprocess.PIPE, cwd="/") as process:
        assert process.wait(10) == 3
