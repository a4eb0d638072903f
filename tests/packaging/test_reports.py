"""The scripts that write the documents' figures, in a small configuration. What they measure is not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "scripts"
pytestmark = pytest.mark.slow


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, SCRIPTS / script, *map(str, arguments)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def rows_of(page: str, title: str) -> dict[str, list[str]]:
    """The cells of the table under a title, by what stands in the first column."""
    lines = page.split(f"**{title}")[1].split("\n\n")[1].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: rest for name, *rest in cells}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "estimators.md"
    path.write_text("# Before\n\n<!-- measured: begin -->\nold\n<!-- measured: end -->\n\nAfter.\n")
    run("estimator_report.py", "--page", path, "--small")
    return path


def test_the_text_around_the_measured_part_is_kept(page: Path) -> None:
    text = page.read_text()
    assert text.startswith("# Before\n\n<!-- measured: begin -->\n")
    assert text.endswith("<!-- measured: end -->\n\nAfter.\n")
    assert "\nold\n" not in text


def test_every_estimator_and_every_hypergradient_is_there(page: Path) -> None:
    text = page.read_text()
    configs = SCRIPTS.parent / "configs"
    bias = rows_of(text, "Bias along the exact gradient")
    assert {path.stem for path in (configs / "estimator").glob("*.yaml")} <= {name.split(",")[0] for name in bias}
    assert {f"reinforce, {kind}" for kind in ("none", "moving_average", "leave_one_out")} <= set(bias)
    assert {f"gumbel, {kind}" for kind in ("soft", "straight_through", "straight_through_pixels")} <= set(bias)
    angles = rows_of(text, "Hypergradients: angle to the true one of T real steps")
    methods = {path.stem for path in (configs / "hypergradient").glob("*.yaml")} - {"none"}
    assert methods == {name.split("(")[0] for name in angles}


def test_the_truth_is_found_by_what_is_exact(page: Path) -> None:
    """Enumeration leaves hardly any error, a sharp mixture a large one; the unrolled steps are the true derivative."""
    text = page.read_text()
    bias = rows_of(text, "Bias along the exact gradient")
    found, standard_error = map(float, bias["enumerate"][1].split(" ± "))
    assert abs(found) < 5 * standard_error + 0.1
    assert float(bias["mixture"][1].split(" ± ")[0]) < -50
    assert all(
        float(angle) < 1e-3 for angle in rows_of(text, "Hypergradients: angle to the true one of T")["unrolled(T)"]
    )
    variance = rows_of(text, "Variance over that of")
    assert all(float(ratio) == 1 for ratio in variance["reinforce, none"])
    assert float(variance["enumerate"][1]) < 0.1


def test_the_figures_are_small_pictures_with_something_on_them(page: Path) -> None:
    figures = sorted((page.parent / "figures").iterdir())
    assert [f"figures/{path.name}" in page.read_text() for path in figures] == [True] * 4
    for path in figures:
        assert path.stat().st_size < 200_000, path.name
        colors = Image.open(path).convert("RGB").getcolors(maxcolors=256)
        assert colors is not None
        assert len(colors) > 20, path.name


def test_the_cost_of_a_search_step_is_written_down(tmp_path: Path) -> None:
    """In a small network: the figures are there, and are numbers."""
    path = tmp_path / "search.json"
    out = run("benchmark_search.py", "--json", path, "--runs", 2, "--depth", 10, "--widen", 1, "--batch", 4, "--parts")
    found = json.loads(path.read_text())
    for key in ("time_ratio", "time_ratio_jvp", "time_ratio_finite_difference", "time_ratio_pathwise", "memory_ratio"):
        assert found[key] > 0, key
    assert found["steps"]["plain"]["time_ratio"] == 1
    assert set(found["steps"]) == {
        "plain",
        "gumbel",
        "gumbel, shared difference",
        "gumbel, finite difference",
        "reinforce",
        "gumbel, pathwise magnitudes",
        "gumbel, soft",
    }
    assert found["finite_difference_error"] < 0.1
    assert "scores, jvp" in found["parts"]
    assert "gumbel, pathwise magnitudes" in out
