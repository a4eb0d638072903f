"""A search from the command line: what it leaves, how it goes on, how it stops."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import augrad as library
import augrad.cli.search as augrad_search
from augrad.cli.comparison import read_comparison
from augrad.comparison.rows import names_of
from small_runs import COMPARED

ESTIMATORS = ["gumbel", "reinforce"]
HYPERGRADIENTS = {"unrolled": 14, "neumann": 14, "cg": 16, "t1t2": 2}  # with their passes; one_step is the default


def rows(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def without_clock(directory: Path) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "step_seconds"} for row in rows(directory)]


def test_a_search_leaves_everything_a_person_needs(augrad, small, tmp_path: Path) -> None:
    done = augrad("search", *small, *COMPARED, "hydra.run.dir=out", "compare.seeds=2")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} >= {
        "policy.json",
        "metrics.jsonl",
        "checkpoint.pt",
        "report.html",
        ".hydra",
    }
    assert {path.name for path in (out / "figures").iterdir()} == {
        *("evolution.png", "evolution_narrow.png", "examples.png"),
        *("comparison.png", "comparison_narrow.png"),
    }
    assert [row["step"] for row in rows(out)] == [1, 2, 3, 4, 5, 6]
    for key in ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "selection_entropy", "identity_mass",
                "gradient_norm", "step_seconds"):  # fmt: skip
        assert all(isinstance(row[key], float) for row in rows(out)), key
    for key in ("mass/rotate", "strength/rotate", "probability/rotate"):
        assert [row["step"] for row in rows(out) if isinstance(row.get(key), float)] == [1, 2, 4, 6], key
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert len(lines[3]) + 9 * len(lines[4]) < 10_000  # of ten steps, of which by default one has all operations
    assert "selection_loss" in rows(out)[1]
    policy = library.load_policy(out / "policy.json")
    images = torch.rand(4, 1, 16, 16)
    assert policy(images).shape == images.shape
    metrics = policy.provenance["metrics"]
    assert {"test_accuracy/none", "test_accuracy/random", "test_accuracy/learned"} <= set(metrics)
    assert policy.provenance["data"]["name"] == "digits"
    assert str(out) in done.stdout
    # Trainings of four steps decide nothing: what to type next stands in the terminal and on the page.
    command = f"augrad search resume={out} train.steps=16"
    assert f"the same search, judged by longer trainings: {command}" in " ".join(done.stdout.split())
    assert f"The same search, judged by longer trainings: <code>{command}</code>" in (out / "report.html").read_text()
    for word in ("rotate", "none", "random", "learned", "report"):
        assert word in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("hypergradient", HYPERGRADIENTS)
def test_every_hypergradient_searches(augrad, small, tmp_path: Path, hypergradient: str) -> None:
    done = augrad("search", *small, f"hypergradient={hypergradient}", "compare=null", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    logged = rows(tmp_path / "out")
    assert [row["step"] for row in logged] == [1, 2, 3, 4, 5, 6]
    assert all(row["policy_gradient_norm/op_logits"] > 0 for row in logged)
    assert {row["hypergradient_passes"] for row in logged} == {HYPERGRADIENTS[hypergradient]}
    assert all((("hypergradient_residual" in row) == (hypergradient in ("neumann", "cg"))) for row in logged)


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    [
        *[f"estimator={name}" for name in ESTIMATORS],
        "hypergradient=cg",  # starts from its last solution
        "hypergradient=unrolled",  # draws for the steps that it looks ahead
        "objective=density_matching",  # trains a critic
        "objective=adversarial",  # keeps a teacher
        "standard={smallest_area: 0.5, crop_padding: 2, flip: true, cutout: 5}",
    ],
)
def test_a_resumed_run_is_bit_identical_to_an_uninterrupted_one(augrad, small, tmp_path: Path, part: str) -> None:
    common = [*small, part, "compare=null"]
    assert augrad("search", *common, "hydra.run.dir=whole").returncode == 0
    # The same run, its process ended for good after the first checkpoint.
    script = (
        "import augrad.cli.search_run as r, os\n"
        "keep = r.SearchRun.checkpoint\n"
        "def once(self, state):\n    keep(self, state)\n    os._exit(9)\n"
        "r.SearchRun.checkpoint = once\n"
        "import sys\nfrom augrad.cli.search import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, *common, "hydra.run.dir=cut"], cwd=tmp_path, capture_output=True, check=False
    )
    assert killed.returncode == 9, killed.stderr
    assert library.load_policy(tmp_path / "cut" / "policy.json") is not None
    resumed = augrad("search", "resume=cut")
    assert resumed.returncode == 0, resumed.stderr
    assert without_clock(tmp_path / "cut") == without_clock(tmp_path / "whole")
    first, second = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["state"]["state"] for name in ("cut", "whole")
    )
    assert bool(second["hypergradient_memory"]) == (part == "hypergradient=cg")
    assert bool(second["companion"]) == (part == "objective=adversarial")
    leaves_first, leaves_second = (torch.utils._pytree.tree_flatten(state)[0] for state in (first, second))
    for one, other in zip(leaves_first, leaves_second, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.slow
def test_control_c_keeps_the_step_in_hand(small, tmp_path: Path) -> None:
    arguments = [*small, "search.steps=100000", "search.checkpoint_every=50000", "compare=null", "hydra.run.dir=out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "augrad", "search", *arguments],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    metrics = tmp_path / "out" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "augrad search resume=" in errors
    step = rows(tmp_path / "out")[-1]["step"]
    saved = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["state"]["state"]
    assert saved["step"] == step
    library.load_policy(tmp_path / "out" / "policy.json")


@pytest.mark.slow
def test_a_resumed_run_refuses_other_settings(augrad, small, tmp_path: Path) -> None:
    assert augrad("search", *small, "compare=null", "hydra.run.dir=out").returncode == 0
    refused = augrad("search", "resume=out", "search.batch_size=64")
    assert refused.returncode == 2
    assert "search.batch_size=32, got 64" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_loss_that_explodes_stops_the_run_and_keeps_the_last_good_policy(augrad, small, tmp_path: Path) -> None:
    done = augrad("search", *small, "search.steps=40", "search.optimizer.lr=1e30", "compare=null", "hydra.run.dir=out")
    assert done.returncode == 1
    assert "step " in done.stderr
    assert (
        "train_loss is" in done.stderr
        or "val_loss is" in done.stderr
        or "norm is" in done.stderr
        or "spread is" in done.stderr
    )
    library.load_policy(tmp_path / "out" / "policy.json")


@pytest.mark.slow
def test_multirun_over_seeds_and_an_optuna_sweep(augrad, small, tmp_path: Path) -> None:
    done = augrad("search", "--multirun", *small, "compare=null", "seed=0,1", "hydra.sweep.dir=seeds")
    assert done.returncode == 0, done.stderr
    policies = [(tmp_path / "seeds" / str(job) / "policy.json").read_bytes() for job in range(2)]
    assert policies[0] != policies[1]
    sweep = [
        "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.direction=minimize",
        "hydra.sweep.dir=optuna",
        "search.policy_optimizer.lr=tag(log,interval(0.001,0.3))",
    ]  # fmt: skip
    # In a process of its own: Optuna's libraries warn of each other, and warnings are errors here.
    command = [sys.executable, "-m", "augrad", "search", "--multirun", *small, "compare=null", *sweep]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    best = (tmp_path / "optuna" / "optimization_results.yaml").read_text()
    assert "search.policy_optimizer.lr" in best
    assert (tmp_path / "optuna" / "1" / "policy.json").exists()


@pytest.mark.slow
def test_wandb_offline_gets_the_run_and_the_policy(augrad, small, tmp_path: Path) -> None:
    done = augrad("search", *small, "compare=null", "tracker=wandb", "tracker.mode=offline", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").rglob("*.wandb"))


def test_train_with_the_learned_policy(augrad, small, tmp_path: Path) -> None:
    recipe = [item for item in small if not item.startswith(("search.", "choose."))]
    done = augrad("train", *recipe, "policy.file=identity", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    assert "test accuracy 0." in done.stdout
    assert rows(tmp_path / "out")[-1]["epoch"] == 1
    assert (tmp_path / "out" / "model.pt").exists()


def test_compare_prints_paired_intervals(augrad, small, tmp_path: Path) -> None:
    recipe = [item for item in small if not item.startswith(("search.", "choose."))]
    done = augrad(
        "compare",
        *recipe,
        "policies=[none,random,identity]",
        *["standard.flip=true", "seeds=2", "processes=1", "hydra.run.dir=out"],
    )
    assert done.returncode == 0, done.stderr
    rows = read_comparison(tmp_path / "out")
    by_policy = {name: [(r.seed, r.accuracy, r.loss) for r in rows if r.policy == name] for name in names_of(rows)}
    assert by_policy["none"] == by_policy["identity"]  # the same seeds, and a policy that does nothing
    assert len(by_policy["random"]) == 2
    assert {name.name for name in (tmp_path / "out").iterdir()} >= {
        "comparison.csv",
        "comparison.md",
        "comparison.png",
        "report.html",
    }


def test_compare_judges_policy_file_too_and_tells_the_tracker(augrad, small, tmp_path: Path) -> None:
    recipe = [item for item in small if not item.startswith(("search.", "choose."))]
    tracked = ["tracker=wandb", "tracker.mode=offline", "hydra.run.dir=out"]
    done = augrad("compare", *recipe, "policies=[none]", "policy.file=identity", "seeds=1", "processes=1", *tracked)
    assert done.returncode == 0, done.stderr
    assert names_of(read_comparison(tmp_path / "out")) == ["none", "identity"]
    assert list((tmp_path / "out").rglob("*.wandb"))


SLOW_PARTS = ["estimator=relax", "estimator=rebar", "objective=density_matching", "objective=adversarial"]


@pytest.mark.parametrize("part", ["estimator=gumbel", *(pytest.param(p, marks=pytest.mark.slow) for p in SLOW_PARTS)])
def test_a_search_leaves_the_global_generator_alone(augrad, small, part: str) -> None:
    """Whatever is drawn in a run comes from its seed: nothing of it can depend on what else drew before."""
    before = torch.get_rng_state()
    comparing = [*COMPARED, "compare.seeds=1"] if part == "estimator=gumbel" else ["compare=null"]
    done = augrad("search", *small, part, *comparing, "standard={crop_padding: 2, flip: true, cutout: 5}")
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("select", ["best", "last"])
def test_a_sweeper_gets_the_loss_of_the_policy_that_is_exported(
    augrad, small, tmp_path: Path, monkeypatch, select
) -> None:
    returned: list[float] = []
    search = augrad_search._search_in
    monkeypatch.setattr(augrad_search, "_search_in", lambda *given: returned.append(search(*given)) or returned[-1])
    # Learning falls apart, so that the last look is not the lowest.
    settings = [f"search.select={select}", "search.steps=8", "search.optimizer.lr=1.0", "search.schedule=constant"]
    settings += ["space=gray", "policy.stages=1", "policy.probability=0.75", "policy.level=0.5"]
    done = augrad("search", *small, *settings, "compare=null", "choose=null", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    losses = [row["selection_loss"] for row in rows(tmp_path / "out") if row.get("selection_loss") is not None]
    assert min(losses) < losses[-1]
    expected = min(losses) if select == "best" else losses[-1]
    assert returned == [pytest.approx(expected, rel=1e-6)]  # the file has seven digits
