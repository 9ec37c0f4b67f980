"""A child process that cannot outlive us.

``python -m cluster.guardian -- COMMAND...`` runs the command and ends it when the process that started the
guardian is gone, however it went: the guardian's standard input is a pipe from that process, and the operating
system closes the pipe even after a SIGKILL.

::

    parent ──pipe──► guardian ──SIGTERM, SIGKILL──► command
           end of file, or a byte:
             T   SIGTERM to the command
             K   SIGKILL to the command
           end of file: SIGTERM, and SIGKILL when the grace is over

Both run in sessions of their own, so that Ctrl-C reaches the parent alone, which then stops its children in its own
order. On Linux the kernel also ends the command when the guardian itself is killed (``PR_SET_PDEATHSIG``); elsewhere a
SIGKILL of the guardian is the one case that leaves the command running. Two further limits: the pipe stays
open as long as a *forked* copy of the parent holds it (on POSIX the guardian also looks who its parent is, once a
second), and on Windows SIGTERM is a hard end of the command.

This file needs nothing but the standard library and is started by its path, isolated, so that a guardian is there
in 20 ms and stays at about 10 MB.
"""

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Final, Self

__all__ = ["GRACE_S", "Guarded", "command", "main"]

GRACE_S: Final = 10.0
"""Seconds between SIGTERM and SIGKILL after the parent is gone."""

_TERMINATE: Final = b"T"
_KILL: Final = b"K"
_PR_SET_PDEATHSIG: Final = 1
_PARENT_CHECK_S: Final = 1.0
_POSIX: Final = os.name == "posix"
_NOT_FOUND: Final = 127
_SIGNALLED: Final = 128


def command(argv: Sequence[str], *, grace_s: float = GRACE_S, pid_file: Path | None = None) -> list[str]:
    """The command line that runs `argv` under a guardian.

    Its standard input has to be a pipe whose other end the parent keeps open as long as the command may run.
    """
    options = ["--grace-s", str(grace_s)]
    if pid_file is not None:
        options += ["--pid-file", str(pid_file)]
    # -I and -S: no site packages, no current directory; modules of this package must not shadow the standard library
    return [sys.executable, "-I", "-S", __file__, *options, "--", *argv]


class Guarded:
    """A command under a guardian, seen from the parent.

    Parameters
    ----------
    argv
        Command and arguments.
    pid_file
        Where the guardian writes the command's process id; overwritten, and removed when the command has ended.
    grace_s
        Seconds between SIGTERM and SIGKILL when this process is gone.
    output
        Takes the command's standard output and error; the null device where it is None.
    env, cwd
        As in :class:`subprocess.Popen`.
    pass_fds
        File descriptors that guardian and command inherit (POSIX), for example locks that have to be held until the
        command has really ended.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        pid_file: Path,
        grace_s: float = GRACE_S,
        output: IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._pid_file = pid_file.absolute()
        self._pid_file.unlink(missing_ok=True)
        self._pid: int | None = None
        sink: IO[bytes] | int = subprocess.DEVNULL if output is None else output
        # Windows has no sessions; a process group of its own keeps Ctrl-C away there.
        group = 0 if _POSIX else getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        self._guardian = subprocess.Popen(
            command(argv, grace_s=grace_s, pid_file=self._pid_file),
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=sink,
            env=None if env is None else dict(env),
            cwd=cwd,
            bufsize=0,
            pass_fds=tuple(pass_fds) if _POSIX else (),
            start_new_session=_POSIX,
            creationflags=group,
        )

    @property
    def pid(self) -> int | None:
        """Process id of the command; None until it runs."""
        if self._pid is None:
            with contextlib.suppress(OSError, ValueError):
                self._pid = int(self._pid_file.read_text(encoding="ascii"))
        return self._pid

    @property
    def guardian_pid(self) -> int:
        """Process id of the guardian."""
        return self._guardian.pid

    @property
    def alive(self) -> bool:
        """Whether the command still runs."""
        return self._guardian.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit status of the command, 128 + n where signal n ended it; None while it runs."""
        return self._guardian.poll()

    def terminate(self) -> None:
        """Ask the command to end (SIGTERM)."""
        self._send(_TERMINATE)

    def kill(self) -> None:
        """End the command at once (SIGKILL)."""
        self._send(_KILL)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the command has ended within `timeout_s` seconds."""
        try:
            self._guardian.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, timeout_s: float = GRACE_S) -> int:
        """End the command: SIGTERM, after `timeout_s` seconds SIGKILL. Returns its exit status."""
        self.terminate()
        if not self.wait(timeout_s):
            self.kill()
        status = self._guardian.wait()
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        return status

    def __enter__(self) -> Self:
        """Nothing to do: the command runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the command."""
        self.stop()

    def _send(self, byte: bytes) -> None:
        if self._guardian.stdin is not None and not self._guardian.stdin.closed:
            with contextlib.suppress(OSError):  # a guardian that has just ended
                self._guardian.stdin.write(byte)


class _Watch:
    """The guardian's side: one command, a thread that reads the pipe, and one that looks after the parent."""

    def __init__(self, argv: Sequence[str], grace_s: float) -> None:
        self._grace_s = grace_s
        self._parent = os.getppid()
        self._ending = threading.Lock()
        self._child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            # What the parent handed over for the command is inheritable, nothing else of ours is.
            close_fds=False,
            start_new_session=_POSIX,
            # The kernel binds the request to the thread that forks: the main one, which lives as long as the guardian.
            preexec_fn=_end_with_parent(os.getpid()) if sys.platform == "linux" else None,  # noqa: PLW1509 (no threads)
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    def run(self) -> int:
        """Wait for the command; its exit status."""
        watchers: list[Callable[[], None]] = [self._read_pipe]
        if _POSIX:
            watchers.append(self._watch_parent)
        for watcher in watchers:
            threading.Thread(target=watcher, daemon=True).start()
        status = self._child.wait()
        self._kill()  # what the command left behind in its group ends with it
        return status if status >= 0 else _SIGNALLED - status

    def forward(self, number: int, _frame: FrameType | None) -> None:
        """Pass a signal on to the command."""
        with contextlib.suppress(OSError):
            self._child.send_signal(number)

    def _read_pipe(self) -> None:
        with contextlib.suppress(OSError):  # a terminal that hung up is an end of file as well
            while byte := os.read(0, 1):
                if byte == _TERMINATE:
                    self._child.terminate()
                elif byte == _KILL:
                    self._kill()
        self._end()

    def _watch_parent(self) -> None:
        while os.getppid() == self._parent:
            time.sleep(_PARENT_CHECK_S)
        self._end()

    def _end(self) -> None:
        """SIGTERM, then SIGKILL when the grace is over; the main thread sees the end and leaves."""
        with self._ending:
            self._child.terminate()
            time.sleep(self._grace_s)
            self._kill()

    def _kill(self) -> None:
        """SIGKILL to the command and to what it started in its process group."""
        if sys.platform == "win32":
            self._child.kill()
            return
        with contextlib.suppress(OSError):
            os.killpg(self._child.pid, signal.SIGKILL)


def _end_with_parent(guardian: int) -> Callable[[], None]:
    """What the command's process does before it becomes the command: ask the kernel to be killed with its parent."""
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guardian:  # it was killed before the request
            os._exit(_SIGNALLED + signal.SIGKILL)

    return ask


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command under this process as its guardian; the command's exit status."""
    parser = argparse.ArgumentParser(prog="python -m cluster.guardian", description="Runs a command until stdin ends.")
    parser.add_argument("--grace-s", type=float, default=GRACE_S, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--pid-file", type=Path, help="file that takes the command's process id")
    parser.add_argument("command", nargs="+", help="command and arguments, after --")
    options = parser.parse_args(arguments)
    if _POSIX:
        with contextlib.suppress(PermissionError):  # it leads a session already
            os.setsid()
    try:
        watch = _Watch(options.command, options.grace_s)
    except OSError as error:
        sys.stderr.write(f"{options.command[0]}: {error}\n")
        return _NOT_FOUND
    signal.signal(signal.SIGTERM, watch.forward)
    signal.signal(signal.SIGINT, watch.forward)
    if options.pid_file is not None:
        fresh = options.pid_file.with_name(f"{options.pid_file.name}.new")
        fresh.write_text(str(watch.pid), encoding="ascii")
        fresh.replace(options.pid_file)
    status = watch.run()
    if options.pid_file is not None:
        options.pid_file.unlink(missing_ok=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
