"""Tables for the terminal: a policy, and policies compared."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from augrad.comparison.differences import Difference
from augrad.comparison.rows import TrainingRow
from augrad.comparison.statistics import percent, points, without_interval
from augrad.comparison.summary import lines_of
from augrad.policy_file import PolicyDocument
from augrad.show.words import policy_rows, share, short_names
from augrad.terminal.console import Words


def policy_table(document: PolicyDocument, limit: int | None = 40) -> Table:
    """The policy, heaviest first, one operation a line. limit: how many lines at most; None for all.

    Dotted names are shortened; below the table stands what they are short for.
    """
    every = policy_rows(document)
    rows = every if limit is None else every[:limit]
    left_out = every[len(rows) :]
    names = short_names(row.op for row in every)
    notes = [f"{names[op]}: {op}" for op in dict.fromkeys(row.op for row in rows) if names[op] != op]
    if left_out:
        notes.append(f"{len(left_out)} more left out, the largest share {share(max(row.mass for row in left_out))}")
    caption = Text("\n".join(notes)) if notes else None
    table = Table(title="Policy", caption=caption, title_justify="left", caption_justify="left")
    for name in ("sub-policy", "stage", "operation", "magnitude", "chosen", "applied", "share"):
        side = "left" if name in ("operation", "magnitude") else "right"
        table.add_column(name, justify=side, overflow="fold")
    for index, row in enumerate(rows):
        first = index == 0 or rows[index - 1].subpolicy != row.subpolicy
        last = index + 1 == len(rows) or rows[index + 1].subpolicy != row.subpolicy
        table.add_row(
            share(row.subpolicy_weight) if first else "",
            str(row.stage + 1),
            Words(names[row.op]),
            Words(row.magnitude or "–"),
            share(row.weight),
            share(row.probability),
            Text(share(row.mass), style="bold" if row.mass >= 0.05 else "dim" if row.mass < 0.01 else ""),
            end_section=last,
        )
    return table


def comparison_table(rows: Sequence[TrainingRow], reference: str = "learned") -> Table:
    """Policies judged on the same seeds: mean accuracy with its 95% t interval, mean loss, and how much `reference` is
    better.

    The last column is the paired difference in percentage points (reference minus this row) with its 95% t interval; it
    is left out without a row called `reference`. Raises `UserError` for a row without a finite accuracy.
    """
    lines = lines_of(rows, reference)
    paired = any(line.name == reference for line in lines)
    table = Table(title="Test accuracy, mean and 95% t interval", title_justify="left")
    table.add_column("policy", overflow="fold")
    table.add_column("accuracy", overflow="fold")
    table.add_column("loss", justify="right", overflow="fold")
    if paired:
        table.add_column(Words(f"{reference} minus this, points"), overflow="fold")
    for line in lines:
        style = "bold" if line.name == reference else ""
        cells = [Words(line.name, style), Words(percent(line.accuracy), style), Words(f"{line.loss.mean:.3f}", style)]
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
