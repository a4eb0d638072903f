"""A policy as a table for the terminal: an operation a line, as wide as the terminal allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table

from augrad.policy_file import PolicyDocument
from augrad.show.about import describe_origin, describe_shape
from augrad.show.words import Row, heaviest_rows, policy_rows, share, short_names
from augrad.terminal.console import Words
from augrad.terminal.output import visible, writable

_GAPS = (2, 1)
"""Columns between two cells: usually, and where it would not fit otherwise."""
_LEGEND = {"chosen": "in its stage", "applied": "once chosen", "share": "of all images"}


@dataclass(frozen=True)
class _Column:
    """Its cells from top to bottom; each has its text in several wordings, the longest first."""

    name: str
    cells: tuple[tuple[str, ...], ...]
    is_number: bool = True

    @property
    def header(self) -> str:
        """The name, in two lines where it has two parts."""
        return self.name.replace("-", "-\n")

    def within(self, room: int, size: Callable[[str], int]) -> "_Column":
        """Of each cell the longest wording that fits into `room`; where one has none but the shortest, so have all.

        The shortest one says less than the others, which a reader cannot know of a cell alone.
        """
        fitting = [[words for words in cell[:-1] or cell if size(words) <= room] for cell in self.cells]
        if not all(fitting):
            fitting = [cell[-1:] for cell in self.cells]
        return replace(self, cells=tuple((words[0],) for words in fitting))


@dataclass(frozen=True)
class PolicyTable:
    """What rich prints, see `policy_table`: lines, columns, and lines that say what is in the columns.

    In less than the columns need, magnitudes are told in fewer words; in much less `stage`, `chosen` and `applied` are
    left out, and an operation takes more lines where it must.
    """

    head: tuple[str, ...]
    columns: tuple[_Column, ...]
    masses: tuple[float, ...]
    notes: tuple[str, ...]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        size = _size_in(options.encoding)
        lines = [*self.head, _legend(self.columns), *self.notes]
        return Measurement(1, max([_width(self.columns, size), *map(size, lines)]))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns, gap = _fitted(self.columns, options.max_width, _size_in(options.encoding))
        yield from map(Words, self.head)
        yield ""
        table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
        for column in columns:
            table.add_column(column.header, justify="right" if column.is_number else "left", overflow="fold")
        for place, mass in enumerate(self.masses):
            style = "bold" if mass >= 0.05 else "dim" if mass < 0.01 else ""
            texts = ((column.name, column.cells[place][0]) for column in columns)
            table.add_row(*(Words(text, style if name == "share" else "") for name, text in texts))
        yield table
        for line in (_legend(columns), *self.notes):
            yield Words(line, "dim")


def policy_table(document: PolicyDocument, limit: int | None = None, name: str = "", advice: str = "") -> PolicyTable:
    """The policy, the heaviest sub-policies first, one operation a line, in at least 80 columns.

    limit: how many operations at most, the heaviest; None for all. name: of the policy; with it the first line says
    where it comes from. advice: how those can be seen that are left out. Dotted names are shortened; below the table
    stands what they are short for. A column that says nothing is left out: that all are chosen, or the only stage.
    """
    rows, left_out = heaviest_rows(policy_rows(document), limit)
    names = short_names(row.op for row in [*rows, *left_out])

    def column(name: str, text: Callable[[Row], str]) -> _Column:
        return _Column(name, tuple((text(row),) for row in rows))

    weights = [
        share(row.subpolicy_weight) if place == 0 or rows[place - 1].subpolicy != row.subpolicy else ""
        for place, row in enumerate(rows)
    ]
    shares = column("share", lambda row: share(row.mass))
    columns = {
        "sub-policy": _Column("sub-policy", tuple((weight,) for weight in weights)),
        "stage": column("stage", lambda row: str(row.stage + 1)),
        "operation": replace(column("operation", lambda row: names[row.op]), is_number=False),
        "magnitude": _Column("magnitude", tuple((row.magnitude, *row.shorter) for row in rows), is_number=False),
        "chosen": column("chosen", lambda row: share(row.weight)),
        "applied": column("applied", lambda row: share(row.probability)),
        "share": shares,
    }
    say_nothing = {
        "sub-policy": len(document.subpolicies) == 1,
        "stage": all(len(subpolicy.stages) == 1 for subpolicy in document.subpolicies),
        "magnitude": not any(row.magnitude for row in rows),
    }
    for number in ("chosen", "applied"):
        cells = columns[number].cells
        say_nothing[number] = cells == shares.cells or all(cell == ("100%",) for cell in cells)
    notes = [] if any(row.mass for row in rows) else ["every image stays as it is"]
    notes += [f"{names[op]}: {op}" for op in dict.fromkeys(row.op for row in rows) if names[op] != op]
    if left_out:
        largest = max(row.mass for row in left_out)
        more = f"{len(left_out)} more left out" + (f", the largest share {share(largest)}" if largest else "")
        notes.append(f"{more}; {advice}" if advice else more)
    origin = ": ".join(part for part in (name, describe_origin(document.provenance)) if part) if name else ""
    return PolicyTable(
        head=tuple(line for line in (origin, describe_shape(document)) if line),
        columns=tuple(column for name, column in columns.items() if not say_nothing.get(name)),
        masses=tuple(row.mass for row in rows),
        notes=tuple(notes),
    )


def _size_in(encoding: str) -> Callable[[str], int]:
    """How many columns a text takes where it is written in `encoding`."""
    return lambda text: cell_len(writable(visible(text), encoding))


def _legend(columns: Sequence[_Column]) -> str:
    """What stands in the columns."""
    said = [f"{column.name}: {_LEGEND[column.name]}" for column in columns if column.name in _LEGEND]
    if any("(" in text and "80%" not in text for column in columns for text, *_ in column.cells):
        said.append("in brackets: four draws in five")
    return "; ".join(said)


def _width(columns: Sequence[_Column], size: Callable[[str], int], gap: int = _GAPS[0]) -> int:
    """Of the columns side by side, in the longest wording."""
    return sum(_widest(column, size) for column in columns) + gap * (len(columns) - 1)


def _widest(column: _Column, size: Callable[[str], int]) -> int:
    return max([*map(size, column.header.split("\n")), *(size(cell[0]) for cell in column.cells)])


def _fitted(columns: Sequence[_Column], width: int, size: Callable[[str], int]) -> tuple[list[_Column], int]:
    """The columns in the wording in which they fit into `width`, or else those that matter most; and their gap."""
    if _width(columns, size) <= width:
        return list(columns), _GAPS[0]
    for gap in _GAPS:
        others = _width([column for column in columns if column.name != "magnitude"], size, gap)
        for place, column in enumerate(columns):
            room = width - others - gap
            if column.name == "magnitude" and room >= max(size(cell[-1]) for cell in column.cells):
                return [*columns[:place], column.within(room, size), *columns[place + 1 :]], gap
    named = {column.name: column for column in columns}
    operation, magnitude = named["operation"], named.get("magnitude", named["operation"])
    joined = tuple(
        (name,) if magnitude is operation else tuple(f"{name} {words}".rstrip() for words in cell)
        for (name,), cell in zip(operation.cells, magnitude.cells, strict=True)
    )
    beside = [named[name] for name in ("sub-policy", "share") if name in named]
    room = width - _width(beside, size) - _GAPS[0]
    return [*beside[:-1], replace(operation, cells=joined).within(room, size), beside[-1]], _GAPS[0]
