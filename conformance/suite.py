"""Many state tests: found in files, run by several processes, judged in the order in which they stand there."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from .cases import Fault, cases, files
from .statetest import Subtest, Verdict, judge, subtests
from .workers import Workers

CHUNK: Final = 16
"""So many expected results of one case are given out at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which state tests are run, and by what."""

    paths: tuple[Path, ...]
    """Files and directories."""
    engine: str
    fork: str | None = None
    """None for all that are known."""
    pattern: re.Pattern[str] | None = None
    """Only cases in whose name it is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some expected results of one case."""

    number: int
    """Of the first one in the order of all."""
    subtests: tuple[Subtest, ...]


Judged = list[tuple[int, Verdict]]
"""Verdicts with their numbers."""


def judge_chunk(engine: str, chunk: Chunk) -> Judged:
    """Run some expected results."""
    return [(chunk.number + index, judge(subtest, engine)) for index, subtest in enumerate(chunk.subtests)]


def ended(chunk: Chunk, status: int) -> tuple[list[Chunk], list[Judged]]:
    """What follows when a process has ended while it ran a chunk: each alone, and who is alone has failed."""
    if len(chunk.subtests) > 1:
        return [
            Chunk(number=chunk.number + index, subtests=(each,)) for index, each in enumerate(chunk.subtests)], []
    (only,) = chunk.subtests
    verdict = Verdict(
        file=only.case.file, name=only.case.name, fork=only.fork,
        error=f"the process that ran it has ended with status {status}")
    return [], [[(chunk.number, verdict)]]


class Suite:
    """One run over all that is selected.

    Parameters
    ----------
    selection
        What to run.
    processes
        How many at a time; with one, this process runs them.
    reading
        Is told of each file when it is opened.
    """

    def __init__(
        self, selection: Selection, processes: int, reading: Callable[[Path], None] = lambda _: None,
    ) -> None:
        self._selection = selection
        self._processes = processes
        self._reading = reading
        self._ready: dict[int, Verdict] = {}
        """Verdicts that have come before others that stand ahead of them."""
        self._numbered = 0

    def verdicts(self) -> Iterator[Verdict]:
        """All verdicts in order."""
        work = partial(judge_chunk, self._selection.engine)
        judged: Iterator[Judged]
        if self._processes == 1:
            judged = map(work, self._chunks())
        else:
            judged = Workers(work, self._processes, ended).results(self._chunks())
        following = 0
        for group in judged:
            self._ready.update(group)
            while following in self._ready:
                yield self._ready.pop(following)
                following += 1
        for number in sorted(self._ready):  # those without a chunk after them
            yield self._ready[number]

    def _chunks(self) -> Iterator[Chunk]:
        """What to run. Verdicts that need no run are ready at once."""
        for found in self._found():
            group: list[Subtest] = []
            for each in found:
                if isinstance(each, Subtest):
                    group.append(each)
                else:
                    self._ready[self._numbered] = each
                    self._numbered += 1
            for start in range(0, len(group), CHUNK):
                part = tuple(group[start:start + CHUNK])
                yield Chunk(number=self._numbered, subtests=part)
                self._numbered += len(part)

    def _found(self) -> Iterator[list[Subtest | Verdict]]:
        """What each case expects, and what can't be read."""
        pattern = self._selection.pattern
        for path in files(self._selection.paths):
            if isinstance(path, Fault):
                yield [_faulty(path)]
                continue
            self._reading(path)
            for case in cases(path):
                if isinstance(case, Fault):
                    yield [_faulty(case)]
                elif pattern is None or pattern.search(case.name):
                    yield list(subtests(case, self._selection.fork))


def _faulty(fault: Fault) -> Verdict:
    return Verdict(file=fault.file, name=fault.name, error=fault.error)
