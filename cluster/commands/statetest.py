"""``parsec statetest``: public state tests of Ethereum, run by the product's own engine."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from cluster.cli import NO
from conformance.engines import DEFAULT, ENGINES, check_engine
from conformance.statetest import Verdict
from conformance.suite import Selection, Suite
from schemas.errors import ConfigurationError

from .options import json_option
from .printing import print_json

_REFRESHES: Final = 4
"""Of the progress bar, per second."""


class Pattern(click.ParamType[re.Pattern[str]]):
    """A regular expression."""

    name = "regex"

    def convert(
        self, value: str | re.Pattern[str], param: click.Parameter | None, ctx: click.Context | None,
    ) -> re.Pattern[str]:
        """Compile it."""
        try:
            return re.compile(value)
        except re.error as exc:
            self.fail(f"{value!r} is no regular expression: {exc}", param, ctx)


@click.command
@click.argument(
    "paths", metavar="FILE|DIR…", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--fork", help="Only results of this fork; by default those of all forks that there are.")
@click.option(
    "--engine", default=DEFAULT, show_default=True, help=f"What runs the transactions: {', '.join(sorted(ENGINES))}.")
@click.option(
    "--jobs", type=click.IntRange(1), default=lambda: os.cpu_count() or 1, show_default="number of processors",
    help="Processes that run at the same time.")
@click.option("--run", "pattern", type=Pattern(), help="Only cases in whose name this regular expression is found.")
@json_option
def statetest(
    paths: tuple[Path, ...], fork: str | None, engine: str, jobs: int, pattern: re.Pattern[str] | None, as_json: bool,
) -> None:
    """Run Ethereum state tests and compare every account.

    A FILE is JSON, or has a case in each line (.jsonl); it may be compressed (.gz). Of a DIR all of its files are run.
    Each transaction goes through the decoding, the admission, the state view and the engine of the pipeline; balance,
    nonce, code and storage of every account are compared, the logs, and the state root. What isn't a state test, or
    can't be read, is a failure; results of unknown forks are skipped.
    """
    check_engine(engine)
    selection = Selection(paths=paths, engine=engine, fork=fork, pattern=pattern)
    passed = failed = skipped = 0
    with _progress(selection, jobs, hidden=not sys.stderr.isatty()) as (suite, advance):
        for verdict in suite.verdicts():
            passed += verdict.passed
            skipped += bool(verdict.skipped)
            failed += not verdict.passed and not verdict.skipped
            advance(verdict)
            if as_json:
                print_json(verdict.document())
            elif not verdict.passed:
                _tell(verdict)
    if not passed + failed + skipped:
        raise ConfigurationError("nothing to run: no case is selected by --fork and --run")
    summary = f"{passed} passed, {failed} failed, {skipped} skipped"
    click.echo(click.style(summary, fg="red" if failed else "green"), err=as_json)
    sys.exit(NO if failed else 0)


def _tell(verdict: Verdict) -> None:
    """A failure, or what was skipped, for people."""
    kind = click.style("skipped", fg="yellow") if verdict.skipped else click.style("failed", fg="red")
    named = f"{verdict.file}: {verdict.title}" if verdict.title else verdict.file
    click.echo(f"{kind} {named}: {verdict.skipped or verdict.error}")


@contextmanager
def _progress(selection: Selection, jobs: int, *, hidden: bool) -> Iterator[tuple[Suite, Callable[[Verdict], None]]]:
    """The run, and a bar on the terminal that tells how far it is."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    counts = {"run": 0, "failed": 0}
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.fields[counts]}"), BarColumn(bar_width=20), TimeElapsedColumn(),
        TextColumn("{task.description}"), console=Console(stderr=True), transient=True, disable=hidden,
        refresh_per_second=_REFRESHES, redirect_stdout=sys.stdout.isatty())
    with bar:
        task = bar.add_task("", total=None, counts="")

        def advance(verdict: Verdict) -> None:
            counts["run"] += 1
            counts["failed"] += not verdict.passed and not verdict.skipped
            bar.update(task, counts=f"{counts['run']} run, {counts['failed']} failed")

        yield Suite(selection, jobs, lambda path: bar.update(task, description=path.name)), advance
