"""What each library can carry: the page says what the converters say."""

from pathlib import Path

from augrad import ops
from augrad.interop.coverage import COLUMNS, coverage

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "libraries.md"
BEGIN, END = "<!-- coverage: begin -->\n", "<!-- coverage: end -->\n"


def test_the_page_says_what_the_converters_say() -> None:
    found = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert found == f"\n{coverage()}\n", "write it anew, between its marks, with: python -m augrad.interop"


def test_every_operation_has_a_row_and_every_letter_a_note() -> None:
    lines = coverage().splitlines()
    assert [line.split("`")[1] for line in lines if line.startswith("| `")] == list(ops.names())
    assert all(line.count("|") == len(COLUMNS) + 2 for line in lines if line.startswith("|"))
    letters = {part.partition("]")[0] for line in lines if line.startswith("|") for part in line.split("[")[1:]}
    assert letters == {line[3:].partition("]")[0] for line in lines if line.startswith("- [")}
