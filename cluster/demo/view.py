"""What is to be seen while the demonstration runs: a table that moves on a terminal, lines anywhere else."""

import time
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

REFRESH_S: Final = 0.25
LINE_S: Final = 3.0
"""Without a terminal there is a line so often."""


class Progress(Protocol):
    """A moment of a round."""

    @property
    def cells(self) -> dict[str, str]:
        """What to show, by heading."""


class View:
    """Shows progress and says what happens. Both go to one stream.

    Parameters
    ----------
    stream
        Standard output, or standard error where the output is for a machine.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._live: Live | None = None
        self._shown_s = 0.0

    def say(self, text: str) -> None:
        """Write a line; a moving table stays below it."""
        self._console.print(text, markup=False, soft_wrap=True)

    def show(self, table: Table) -> None:
        """Write a table."""
        self._console.print(table)

    def update(self, progress: Progress) -> None:
        """Show a moment of a round, if it is time for that."""
        now = time.monotonic()
        if now - self._shown_s < (REFRESH_S if self._console.is_terminal else LINE_S):
            return
        self._shown_s = now
        if not self._console.is_terminal:
            self.say("  ".join(f"{name} {value}".strip() for name, value in progress.cells.items()))
            return
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=1 / REFRESH_S, transient=True)
            self._live.start()
        table = Table(*progress.cells)
        table.add_row(*progress.cells.values())
        self._live.update(table)

    def settle(self) -> None:
        """End the moving table."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._shown_s = time.monotonic()

    def __enter__(self) -> Self:
        """The view."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self.settle()
