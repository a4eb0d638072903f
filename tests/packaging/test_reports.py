"""The scripts that write the documents' figures, in a small configuration. What they measure is not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def run(*command: object) -> str:
    """What it printed; the command as the pages show it: from the top of the repository, after `python`."""
    outcome = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
    )
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
    run("-m", "experiments.estimators.report", "--page", path, "--small")
    return path


def test_the_text_around_the_measured_part_is_kept(page: Path) -> None:
    text = page.read_text()
    assert text.startswith("# Before\n\n<!-- measured: begin -->\n")
    assert text.endswith("<!-- measured: end -->\n\nAfter.\n")
    assert "\nold\n" not in text


def test_every_estimator_and_every_hypergradient_is_there(page: Path) -> None:
    text = page.read_text()
    configs = ROOT / "configs"
    bias = rows_of(text, "Bias along the exact gradient")
    options = {path.stem for path in (configs / "estimator").glob("*.yaml")} - {"none"}
    assert options <= {name.split(",")[0] for name in bias}
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
    out = run(
        "scripts/benchmark_search.py", "--json", path, "--runs", 2, "--depth", 10, "--widen", 1, "--batch", 4, "--parts"
    )
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


def test_what_a_step_costs_by_size_is_written_down(tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    out = run("scripts/benchmark_sizes.py", "--json", path, "--runs", 1, "--largest", 32)
    rows = json.loads(path.read_text())["rows"]
    assert [row[:2] for row in rows] == [["small_conv", "16 x 16"], ["small_conv", "32 x 32"], ["wrn_16_2", "32 x 32"]]
    assert rows[1][3] == 1
    assert all(value > 0 for row in rows for value in row[2:])
    assert "| small_conv | 32 x 32 |" in out


def test_what_a_policy_costs_in_training_is_written_down(tmp_path: Path) -> None:
    """By a few steps: the figures are there, and are numbers."""
    path = tmp_path / "training.json"
    out = run("scripts/benchmark_training.py", "--json", path, "--runs", 1, "--steps", 1, "--workers", 1, "--stack", 2)
    networks = json.loads(path.read_text())["networks"]
    assert set(networks) == {"WRN-16-2", "small_conv"}
    for figures in networks.values():
        assert figures["loader over policy"] > 0
        assert all(value > 0 for value in figures.values())
    assert "policy over no augmentation" in out
    assert set(json.loads(path.read_text())["stack"]) == {"small_conv"}
    assert "as one, over one network" in out


def test_the_strength_report_in_a_small_configuration(tmp_path: Path) -> None:
    """Both networks and every way are there; what should agree agrees, and the text around the marks is kept."""
    path = tmp_path / "strength.md"
    path.write_text("# Before\n\n<!-- measured: begin -->\nold\n<!-- measured: end -->\n\nAfter.\n")
    run("-m", "experiments.strength.report", "--page", path, "--small", "--processes", 1)
    text = path.read_text()
    assert text.startswith("# Before\n\n<!-- measured: begin -->\n")
    assert text.endswith("<!-- measured: end -->\n\nAfter.\n")
    assert "python -m experiments.strength.report" in text
    networks = ("ReLU, max pooling", "SiLU, average pooling")
    truth, bias = rows_of(text, "The truth"), rows_of(text, "Bias")
    assert [any(network in name for name in truth) for network in networks] == [True, True]
    for name, cells in truth.items():
        fixed = float(cells[1].split()[0])
        mean, error = map(float, cells[2].split(" ± "))
        assert abs(mean - fixed) < 5 * error + 1e-3, name
        assert float(bias[name][0]) == fixed
    assert len(rows_of(text, "A point magnitude")) == len(truth)
    figures = sorted((tmp_path / "figures").iterdir())
    assert [path.name for path in figures] == ["strength_bias.png", "strength_error.png", "strength_jumps.png"]
    assert all(f"figures/{path.name}" in text for path in figures)
    for figure in figures:
        colors = Image.open(figure).convert("RGB").getcolors(maxcolors=256)
        assert colors is not None
        assert len(colors) > 20, figure.name


def test_the_rotation_range_of_a_way_and_a_network(tmp_path: Path) -> None:
    """Settings of the estimator and the network reach the searches; a best angle that is given needs no grid."""
    table = tmp_path / "table.md"
    run(
        *("-m", "experiments.recovery.rotation_range", "--out", tmp_path / "runs", "--table", table),
        *("--seeds", 1, "--minimum", 45, "--estimators", "gumbel,magnitude=pathwise"),
        *("--overrides", "model.activation=relu", "model.pool=max"),
        *("search.steps=3", "search.warmup_steps=0", "data.train_size=200"),
    )
    (directory,) = (tmp_path / "runs").iterdir()
    config = (directory / ".hydra" / "config.yaml").read_text()
    for setting in ("magnitude: pathwise", "activation: relu", "pool: max"):
        assert setting in config
    text = table.read_text()
    assert "validation loss" not in text
    row = next(line for line in text.splitlines() if line.startswith("| gumbel,magnitude=pathwise"))
    angle, last = (float(cell.strip().rstrip("°")) for cell in (row.split("|")[2], row.split("|")[5]))
    assert 0 < angle < 90
    assert 0 < last < 90


def test_the_table_of_what_becomes_of_the_recipes(tmp_path: Path) -> None:
    """A few steps of two recipes: one whose classifier is a result, and one whose policy is judged by a fresh one."""
    table = tmp_path / "table.md"
    arguments = (
        *(
            "-m",
            "experiments.stability.stability",
            "--out",
            tmp_path / "runs",
            "--table",
            table,
            "--seeds",
            1,
            "--jobs",
            1,
            "--epochs",
            1,
        ),
        *("--plants", "invert", "--recipes", "faster_autoaugment", "online_unguarded"),
        *("--overrides", "search.steps=3", "search.batch_size=32", "search.warmup_steps=0", "data.train_size=200"),
    )
    run(*arguments)
    rows = {line.split("|")[2].strip(): line.split("|")[3:] for line in table.read_text().splitlines()[4:]}
    assert list(rows) == [
        "*no augmentation*",
        "*the true transformation*",
        "`faster_autoaugment`",
        "`online_unguarded`",
    ]
    config = (tmp_path / "runs" / "invert-online_unguarded-0" / ".hydra" / "config.yaml").read_text()
    assert "op: invert" in config
    assert "signal_floor: 0" in config
    for recipe in ("`faster_autoaugment`", "`online_unguarded`"):
        found, share, other, collapsed, accuracy, seconds, _ = (cell.strip() for cell in rows[recipe])
        assert found == f"{int(float(share) > float(other))} of 1"
        assert collapsed == "0 of 1"
        assert accuracy.endswith("(one seed, no interval)")
        assert 1 < float(seconds) < 600
    kept = sorted(path.name for path in (tmp_path / "runs").glob("*.accuracy"))
    assert [name.split("-")[1] for name in kept] == ["faster_autoaugment", "no augmentation", "the true transformation"]
    before = table.read_text()
    run(*arguments)  # nothing is done twice: the table is the same to the processor second
    assert table.read_text() == before
