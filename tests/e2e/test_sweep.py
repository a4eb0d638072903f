"""A sweep from the command line: a line for each run, and at its end which is the best."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest


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
    told = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "all").glob("*/result.json")}
    policies = {name: json.loads((tmp_path / "all" / name / "policy.json").read_text()) for name in told}
    left = {name: policy["provenance"]["metrics"]["chosen"] for name, policy in policies.items()}
    assert {name: one["chosen"] for name, one in told.items()} == left
    page = (tmp_path / "all" / "report.html").read_text()
    for words in ("search.steps=2", "<th>policy</th>", *left.values()):
        assert words in page


def test_a_single_run_leaves_no_result_to_be_ranked(augrad, small, tmp_path: Path) -> None:
    assert augrad("search", *small, "compare=null", "hydra.run.dir=one").returncode == 0
    assert not (tmp_path / "one" / "result.json").exists()


@pytest.mark.parametrize("where", [["hydra.sweep.dir=all"], ["hydra.sweep.dir=all", "hydra.sweep.subdir=0"]])
def test_a_run_that_is_refused_changes_nothing_of_the_run_that_it_is_refused_for(
    augrad, small, tmp_path: Path, where: list[str]
) -> None:
    """Neither its result nor what the earlier sweep was asked for."""
    sweep = ["search", "--multirun", *small, "compare=null"]
    assert augrad(*sweep, "hydra.sweep.dir=all", "seed=0").returncode == 0
    result, asked = tmp_path / "all" / "0" / "result.json", tmp_path / "all" / "multirun.yaml"
    before, first = result.read_bytes(), asked.read_bytes()
    assert json.loads(before)["finished"]
    refused = augrad(*sweep, *where, "seed=1,2")
    assert refused.returncode == 2
    assert "holds a run already" in refused.stderr
    assert result.read_bytes() == before
    assert asked.with_name("multirun-1.yaml").read_bytes() == first
    assert asked.read_bytes() != first


def test_the_second_run_of_a_sweep_is_refused_the_directory_of_the_first(augrad, small, tmp_path: Path) -> None:
    sweep = [*small, "compare=null", "hydra.sweep.dir=all", "hydra.sweep.subdir=same"]
    assert augrad("search", "--multirun", *sweep, "seed=0,1").returncode == 2
    result = json.loads((tmp_path / "all" / "same" / "result.json").read_text())
    assert result["finished"]
    assert "seed=0" in result["overrides"]


def test_a_failed_run_takes_nothing_away_from_the_others(augrad, small, tmp_path: Path) -> None:
    """They are ranked before its error is told; a failed one stands last."""
    swept = ["search.batch_size=32,0,16", "hydra.sweep.dir=all"]
    done = augrad("search", "--multirun", *small, "compare=null", *swept)
    assert done.returncode == 2
    assert "batch_size" in done.stderr
    assert "sweep: 3 runs, the lowest objective first" in done.stdout
    assert "1 (1 failed)" in done.stdout
    assert (tmp_path / "all" / "report.html").is_file()


def test_a_run_of_a_sweep_that_is_taken_up_leaves_its_result(augrad, small, tmp_path: Path) -> None:
    assert augrad("search", "--multirun", *small, "compare=null", "hydra.sweep.dir=all", "seed=0").returncode == 0
    result = tmp_path / "all" / "0" / "result.json"
    before = json.loads(result.read_text())
    result.unlink()
    assert augrad("search", "resume=all/0").returncode == 0
    after = json.loads(result.read_text())
    assert (after["objective"], after["finished"]) == (before["objective"], True)


@pytest.mark.slow
def test_a_study_goes_on_and_marks_what_failed(small, tmp_path: Path) -> None:
    study = [
        *("hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1"),
        *(
            "hydra.sweeper.direction=minimize",
            "hydra.sweeper.sampler.seed=1",
            "hydra.sweeper.storage=sqlite:///study.db",
        ),
        *("hydra.sweeper.study_name=rates", "hydra.sweeper.max_failure_rate=1"),
        "search.policy_optimizer.lr=choice(0.1,0.05,-1)",
    ]
    line = [sys.executable, "-m", "augrad", "search", "--multirun", *small, "compare=null", "choose=null", *study]
    line = [item for item in line if not item.startswith("choose.")]
    for count in (3, 6):
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as study_file:
            query = "select state, param_value from trials join trial_params using (trial_id)"
            trials = study_file.execute(query).fetchall()
        assert len(trials) == count
        assert all(
            state == ("FAIL" if place == 2 else "COMPLETE") for state, place in trials
        )  # the choice, by its index


@pytest.mark.slow
@pytest.mark.parametrize("kept", [False, True])
def test_a_study_of_which_every_trial_fails_says_so(tmp_path: Path, kept: bool) -> None:
    study = [
        *(
            "hydra/sweeper=optuna",
            "hydra.sweeper.n_trials=2",
            "hydra.sweeper.n_jobs=1",
            "hydra.sweeper.direction=minimize",
        ),
        *("hydra.sweeper.max_failure_rate=1", "search.policy_optimizer.lr=choice(-1,-2)"),
        *(["hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=a"] if kept else []),
    ]
    line = [sys.executable, "-m", "augrad", "search", "--multirun", "compare=null", "choose=null", *study]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2
    assert "Invalid learning rate" in done.stdout
    assert "augrad search: error: no trial of this sweep has come to its end" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1"],
        ["hydra/launcher=submitit_local", "seed=0,1"],
        ["hydra/launcher=ray", "seed=0,1"],
        ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", "seed=choice(0,1)"],
    ],
    ids=["joblib", "submitit", "ray", "optuna"],
)
def test_a_sweep_in_processes_of_others_ends_with_its_answer(small, tmp_path: Path, how: list[str]) -> None:
    """In a process of its own: these bring processes, loggers and signals of theirs."""
    pytest.importorskip("hydra_plugins")
    line = [*small, *how, "compare=null", "search.steps=2", "hydra.sweep.dir=all"]
    done = subprocess.run(
        [sys.executable, "-m", "augrad", "search", "--multirun", *line],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "sweep: 2 runs, the lowest objective first" in done.stdout
    told = [json.loads((tmp_path / "all" / number / "result.json").read_text()) for number in ("0", "1")]
    assert all(isinstance(one["objective"], float) for one in told)
    assert (tmp_path / "all" / "report.html").is_file()
