"""Tables for the terminal: of policies that are compared, and of operations, with as many columns as fit."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table

from augrad.comparison.differences import Difference
from augrad.comparison.rows import TrainingRow
from augrad.comparison.statistics import percent, points, without_interval
from augrad.comparison.summary import lines_of
from augrad.show.words import shortened
from augrad.terminal.console import Words

_LONGEST_NAME = 22
"""Characters of a policy's name in a table."""
_LONGEST_HEAD = 12
"""The same in the head of a column: a longer one is that of the last line."""


def comparison_table(rows: Sequence[TrainingRow], reference: str = "learned") -> Table:
    """Policies judged on the same seeds: mean accuracy with its 95% t interval, mean loss, and how much `reference` is
    better.

    The last column is the paired difference in percentage points (reference minus this row) with its 95% t interval; it
    is left out without a row called `reference`. Raises `UserError` for a row without a finite accuracy.
    """
    lines = lines_of(rows, reference)
    names = shortened([line.name for line in lines], _LONGEST_NAME)
    paired = any(line.name == reference for line in lines)
    table = Table(title="Test accuracy, mean and 95% t interval", title_justify="left")
    table.add_column("policy", overflow="fold")
    table.add_column("accuracy", overflow="fold")
    table.add_column("loss", justify="right", overflow="fold")
    if paired:
        own = names.get(reference, reference)
        own = own if len(own) <= _LONGEST_HEAD else "the last"
        table.add_column(Words(f"{own} minus this, points"), overflow="fold")
    for line in lines:
        style = "bold" if line.name == reference else ""
        cells = [
            Words(names[line.name], style),
            Words(percent(line.accuracy), style),
            Words(f"{line.loss.mean:.3f}", style),
        ]
        if paired:
            cells.append(Words("") if line.name == reference else _difference(line.ahead))
        table.add_row(*cells)
    return table


def _difference(found: Difference | None) -> Words:
    if found is None:
        return Words("no seed in common", "dim")
    if without_interval(found.interval):
        return Words(points(found.interval), "dim")
    return Words(points(found.interval), {1: "green", 0: "", -1: "red"}[found.clear])


@dataclass(frozen=True)
class Fitting:
    """A table of which the columns are shown that the terminal has room for; a name stands in the first.

    head: of the columns. lines: their cells. choices: which columns, the most first; the last choice is taken where
    none fits, with names in several lines. caption: below the table. texts: the columns that are
    no numbers.
    """

    head: tuple[str, ...]
    lines: Sequence[tuple[str, ...]]
    choices: Sequence[tuple[int, ...]]
    caption: str | None = None
    texts: tuple[int, ...] = (0,)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._table(self.choices[0]))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        tables = [self._table(columns) for columns in self.choices]
        unbounded = options.update(max_width=10_000)
        fits = (table for table in tables if Measurement.get(console, unbounded, table).maximum <= options.max_width)
        yield next(fits, tables[-1])

    def _table(self, columns: Sequence[int]) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=self.caption, caption_justify="left")
        for column in columns:
            table.add_column(self.head[column], justify="left" if column in self.texts else "right", overflow="fold")
        for line in self.lines:
            table.add_row(*(Words(line[column]) for column in columns))
        return table
