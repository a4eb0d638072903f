"""What a sweep says at its end."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from augrad import UserError
from augrad.cli.sweep import Group, Job, doubt_of, ranked, read_jobs, table_of, write_page


def write(folder: Path, number: int, overrides: list[str], objective: float | None) -> None:
    (folder / str(number)).mkdir()
    told = {"overrides": overrides, "objective": objective, "finished": objective is not None}
    (folder / str(number) / "result.json").write_text(json.dumps(told))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two settings with two seeds each, of which one run failed, and one that never succeeded."""
    for number, (steps, seed, objective) in enumerate(
        [(10, 0, 0.5), (10, 1, 0.7), (20, 0, 0.4), (20, 1, None), (30, 0, None)]
    ):
        overrides = [f"search.steps={steps}", f"++seed={seed}", "tracker.name=mine", "compare=null"]
        write(tmp_path, number, overrides, objective)
    (tmp_path / "10").mkdir()  # a run that left nothing
    return tmp_path


def test_runs_are_ranked_by_their_settings_over_seeds(sweep: Path) -> None:
    groups = ranked(read_jobs(sweep))
    assert [dict(group.settings) for group in groups] == [{"search.steps": str(n)} for n in (20, 10, 30)]
    first, second, third = (group.interval for group in groups)
    assert (first and first.mean, second and second.mean, third) == (0.4, pytest.approx(0.6), None)
    assert second is not None
    # t with one degree of freedom at 97.5%: 12.706; the standard error is 0.1.
    assert (second.low, second.high) == (pytest.approx(0.6 - 1.2706, abs=1e-4), pytest.approx(0.6 + 1.2706, abs=1e-4))
    assert [group.best.directory for group in groups] == ["2", "0", "4"]
    assert table_of(groups).lines[0] == ("1", "search.steps=20", "0.4", "", "2 (1 failed)", "", "2")
    assert table_of(groups).lines[2] == ("3", "search.steps=30", "–", "", "1 (1 failed)", "", "4")


def test_the_page_says_the_same_and_escapes_what_was_typed(sweep: Path) -> None:
    write(sweep, 5, ["search.steps=<b>", "seed=0"], 0.1)
    write_page(sweep / "report.html", "mine", ranked(read_jobs(sweep)))
    text = (sweep / "report.html").read_text()
    assert "search.steps=&lt;b&gt;" in text
    assert "<b>" not in text
    assert text.index("search.steps=&lt;b&gt;") < text.index("search.steps=20") < text.index("search.steps=10")
    assert "2 (1 failed)" in text


def test_a_result_that_is_none_is_told(sweep: Path) -> None:
    (sweep / "0" / "result.json").write_text("[]")
    with pytest.raises(UserError, match=r"0/result\.json: expected the result of a run"):
        read_jobs(sweep)


@pytest.mark.parametrize(
    ("objectives", "said"),
    [
        (([0.4], [0.5]), "one run of each cannot tell"),
        (([0.40, 0.41], [0.42, 0.43]), "the intervals of the first two overlap"),
        (([0.40, 0.4001], [0.9, 0.9001]), ""),
        (([0.4], []), ""),
    ],
)
def test_an_order_that_may_be_chance_is_told(tmp_path: Path, objectives: tuple[list[float], ...], said: str) -> None:
    runs = [(steps, seed, value) for steps, own in enumerate(objectives) for seed, value in enumerate(own)]
    for number, (steps, seed, value) in enumerate(runs):
        write(tmp_path, number, [f"search.steps={steps}", f"seed={seed}"], value)
    words = doubt_of(ranked(read_jobs(tmp_path)))
    assert words.startswith(said)
    assert bool(words) == bool(said)
    write_page(tmp_path / "report.html", "mine", ranked(read_jobs(tmp_path)))
    assert (said[1:] in (tmp_path / "report.html").read_text()) or not said


def test_which_policies_the_searches_of_a_line_have_left() -> None:
    """A lower objective of one that left no augmentation is not what a learned policy reached."""
    jobs = [Job(str(n), {"seed": str(n)}, 0.1 * n, name) for n, name in enumerate(["none", "learned", "none", ""])]
    assert Group({}, jobs, None).chosen == "2 none, 1 learned"
    assert Group({}, jobs[::2], None).chosen == "none"
    shown = StringIO()
    Console(file=shown, width=120).print(table_of(ranked(jobs)))
    assert "policy" in shown.getvalue()
    assert "2 none, 1 learned" in shown.getvalue()
    shown = StringIO()
    Console(file=shown, width=120).print(table_of(ranked(jobs[3:])))
    assert "policy" not in shown.getvalue()
