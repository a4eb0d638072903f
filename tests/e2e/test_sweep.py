"""A sweep from the command line: a line for each run, and at its end which is the best."""

from pathlib import Path


def test_a_sweep_ends_with_its_answer(augrad, small, tmp_path: Path) -> None:
    done = augrad("search", "--multirun", *small, "compare=null", "seed=0,1", "search.steps=2,4", "hydra.sweep.dir=all")
    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("search: objective ") for line in done.stdout.splitlines()) == 4
    assert "sub-policy" not in done.stdout  # no tables of policies
    assert done.stderr == ""
    assert "sweep: 4 runs, the lowest objective first" in done.stdout
    ranks = [line.split() for line in done.stdout.splitlines() if "search.steps=" in line and line.startswith(" ")]
    assert [line[0] for line in ranks] == ["1", "2"]
    assert sorted(line[1] for line in ranks) == ["search.steps=2", "search.steps=4"]
    best = tmp_path / "all" / ranks[0][-1]
    assert (best / "policy.json").is_file()
    assert f"its policy: all/{best.name}/policy.json" in done.stdout
    page = (tmp_path / "all" / "report.html").read_text()
    assert "search.steps=2" in page


def test_a_single_run_leaves_no_result_to_be_ranked(augrad, small, tmp_path: Path) -> None:
    assert augrad("search", *small, "compare=null", "hydra.run.dir=one").returncode == 0
    assert not (tmp_path / "one" / "result.json").exists()
