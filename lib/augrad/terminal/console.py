"""The one way to the terminal: what is printed is text, never markup, and printing never fails."""

import os
import sys
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from augrad.terminal.output import guarded, visible, writable

_USUAL, _NARROWEST, _WIDEST = 80, 60, 10_000
"""Columns: of a terminal without a size; the fewest and the most that a table is laid out for."""


def say(what: str | ConsoleRenderable, stderr: bool = False) -> None:
    """Print a text as it is, however long its lines, or a table; to standard error if `stderr`.

    A table of rich's is laid out for at least 60 columns; what else rich prints is for as many as there are.

    Nothing in it is markup, nothing is cut, and a stream that cannot take it does no harm (`augrad.terminal.output`).
    """
    if isinstance(what, str):
        print(visible(what), file=guarded(sys.stderr if stderr else sys.stdout), flush=True)
        return
    where = terminal(stderr)
    if where.is_terminal or "COLUMNS" in os.environ:
        where.width = max(where.width, _NARROWEST if isinstance(what, Table) else 1)
    else:  # a file has no width: a line for a row
        where.width = Measurement.get(where, where.options.update(max_width=_WIDEST), what).maximum
    where.print(what)


def terminal(stderr: bool = False) -> Console:
    """Standard output, or standard error, for a bar that moves; whatever it is given is text, never markup."""
    stream = guarded(sys.stderr if stderr else sys.stdout)
    # Colours may be asked for without a terminal (FORCE_COLOR), a bar that moves not.
    interactive = None if stream.isatty() else False
    made = Console(file=stream, markup=False, emoji=False, highlight=False, force_interactive=interactive)
    if made.width < 1:
        made.width = _USUAL
    return made


@dataclass(frozen=True)
class Words:
    """A text in a table, measured as the stream writes it: columns stay straight. style: rich's, e.g. "bold"."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._written(options)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._written(options))

    def _written(self, options: ConsoleOptions) -> Text:
        return Text(writable(visible(self.text), options.encoding), self.style)
