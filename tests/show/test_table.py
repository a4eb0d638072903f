"""The table of policies that are compared, as a terminal shows it."""

import io
import math

import pytest
from rich.console import Console
from rich.table import Table

from augrad.errors import UserError
from augrad.show.table import comparison_table
from augrad.show.words import shortened
from trainings import trainings


def _lines(table: Table) -> list[str]:
    console = Console(file=io.StringIO(), width=140, color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def _cells(table: Table) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in _lines(table) if line.startswith("│")]


_ROWS = trainings({"none": (0.90, 0.92, 0.91), "[bold]odd[/bold]": (0.94,), "learned": (0.95, 0.96, 0.955)})


def test_comparison():
    assert _cells(comparison_table(_ROWS)) == [
        ["none", "91.0% (88.2 to 93.2, n = 3)", "0.090", "+4.5 (+4.4 to +4.6)"],
        ["[bold]odd[/bold]", "94.0% (one seed, no interval)", "0.060", "+1.0 (one seed, no interval)"],
        ["learned", "95.5% (94.1 to 96.6, n = 3)", "0.045", ""],
    ]
    assert any("learned minus this, points" in line for line in _lines(comparison_table(_ROWS)))


def test_without_the_reference_there_is_no_difference():
    table = comparison_table(_ROWS[:4])
    assert [len(cells) for cells in _cells(table)] == [3, 3]
    assert "minus this" not in "".join(_lines(table))


def test_a_row_without_results():
    with pytest.raises(UserError, match="at least one finite value"):
        comparison_table(trainings({"none": (math.nan,)}))


def test_a_long_name_loses_its_middle_as_long_as_it_tells_policies_apart():
    first, second = (f"runs/search/2026-01-0{day}/12-00-00-000000/policy.json" for day in (1, 2))
    alike = f"runs/search/{'x' * 40}/policy.json", f"runs/search/{'x' * 39}y{'x' * 9}/policy.json"
    names = shortened([first, second, *alike, "none"], 32)
    assert names == {name: name for name in names}  # each pair would be the same
    assert shortened([first, "none"], 32) == {first: "runs/search…0-000000/policy.json", "none": "none"}
    rows = trainings({first: (0.9, 0.92), "none": (0.9, 0.91)})
    assert all(len(cells[0]) <= 32 for cells in _cells(comparison_table(rows)))
