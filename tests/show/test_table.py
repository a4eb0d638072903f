"""Tables as a terminal shows them."""

import io
import math

import pytest
from rich.console import Console
from rich.table import Table

from augrad.errors import UserError
from augrad.ops.definition import Definition
from augrad.policy_file import Entry, PolicyDocument, SubPolicy
from augrad.show.table import comparison_table, policy_table
from trainings import trainings


def _lines(table: Table) -> list[str]:
    console = Console(file=io.StringIO(), width=140, color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def _cells(table: Table) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in _lines(table) if line.startswith("│")]


def test_policy_heaviest_first(document: PolicyDocument):
    assert _cells(policy_table(document)) == [
        ["75%", "1", "shear_x", "factor 0 to ±0.11 (end: 80% between 0.1 and 0.13)", "80%", "90%", "54%"],
        ["", "1", "solarize", "threshold 0.71", "20%", "100%", "15%"],
        ["25%", "1", "identity", "–", "40%", "100%", "10%"],
        ["", "1", "rotate", "±18° (80% between 15.1° and 20.6°)", "60%", "50%", "7.5%"],
        ["", "2", "invert", "–", "100%", "10%", "2.5%"],
    ]


def test_a_limit_says_what_it_leaves_out(document: PolicyDocument):
    table = policy_table(document, limit=3)
    assert len(_cells(table)) == 3
    assert "2 more left out, the largest share 7.5%" in _lines(table)[-1]
    assert "left out" not in "".join(_lines(policy_table(document, limit=5)))


_ROWS = trainings({"none": (0.90, 0.92, 0.91), "[bold]odd[/bold]": (0.94,), "learned": (0.95, 0.96, 0.955)})


def test_dotted_names_are_short_and_explained_below():
    names = ("mypackage.ops.gamma", "mypackage.ops.invert", "kornia.augmentation.RandomGaussianBlur", "invert")
    stage = tuple(Entry(op=name, weight=0.25) for name in names)
    definitions = {name: Definition() for name in names[:3]}
    document = PolicyDocument(
        interpolation="bilinear",
        fill=0.0,
        definitions=definitions,
        subpolicies=(SubPolicy(weight=1.0, stages=(stage,)),),
    )
    table = policy_table(document)
    assert [row[2] for row in _cells(table)] == ["gamma", "ops.invert", "RandomGaussianBlur", "invert"]
    assert [line.strip() for line in _lines(table)[-3:]] == [
        "gamma: mypackage.ops.gamma",
        "ops.invert: mypackage.ops.invert",
        "RandomGaussianBlur: kornia.augmentation.RandomGaussianBlur",
    ]
    assert [line.strip() for line in _lines(policy_table(document, limit=1))[-2:]] == [
        "gamma: mypackage.ops.gamma",
        "3 more left out, the largest share 25%",
    ]


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
