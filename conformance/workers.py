"""Jobs on several processes, each given out when a process is free, so that a long one holds up nobody else.

At most one job per process is under way, and none is taken from its source before a process is free for it.
"""

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar, cast

Job = TypeVar("Job")
Done = TypeVar("Done")

_STOP_S = 5.0


class Workers(Generic[Job, Done]):
    """Processes that run jobs.

    Parameters
    ----------
    run
        What a process does with a job; a function of a module.
    processes
        How many, at most.
    lost
        Called where a process has ended while it ran a job, with the exit code: jobs to run in its place, and what else
        to say of it.
    """

    def __init__(
        self, run: Callable[[Job], Done], processes: int, lost: Callable[[Job, int], tuple[list[Job], list[Done]]],
    ) -> None:
        self._run = run
        self._most = processes
        self._lost = lost
        self._context = multiprocessing.get_context("spawn")
        self._free: list[Connection] = []
        self._busy: dict[Connection, Job] = {}
        self._processes: dict[Connection, SpawnProcess] = {}

    def results(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """What became of the jobs, as they get ready; the processes end with it."""
        source, again = iter(jobs), deque[Job]()
        more = True
        try:
            while more or again or self._busy:
                while len(self._busy) < self._most and (more or again):
                    job = again.popleft() if again else next(source, None)
                    if job is None:
                        more = False
                    else:
                        self._give(job)
                for ready in wait(list(self._busy)) if self._busy else ():
                    yield from self._take(cast("Connection", ready), again)
        finally:
            self._stop()

    def _give(self, job: Job) -> None:
        connection = self._free.pop() if self._free else self._start()
        self._busy[connection] = job
        with contextlib.suppress(BrokenPipeError):  # then it has ended, which is noticed when its answer is waited for
            connection.send(job)

    def _take(self, connection: Connection, again: deque[Job]) -> Iterator[Done]:
        """The answer of a process, or what follows from its end."""
        job = self._busy.pop(connection)
        try:
            done: Done = connection.recv()
        except (EOFError, OSError):
            process = self._processes.pop(connection)
            process.join()
            connection.close()
            jobs, told = self._lost(job, process.exitcode or 0)
            again.extend(jobs)
            yield from told
            return
        self._free.append(connection)
        yield done

    def _start(self) -> Connection:
        mine, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._run), daemon=True)
        process.start()
        theirs.close()
        self._processes[mine] = process
        return mine

    def _stop(self) -> None:
        """End the processes; those that work are stopped in it."""
        for connection, process in self._processes.items():
            if connection in self._busy:
                process.terminate()
            connection.close()
        for process in self._processes.values():
            process.join(_STOP_S)
            if process.is_alive():
                process.kill()
                process.join()
        self._processes.clear()
        self._busy.clear()
        self._free.clear()


def _serve(connection: Connection, run: Callable[[Job], Done]) -> None:
    """A process: one job after the other, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes, and the first one ends the others
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(run(connection.recv()))
