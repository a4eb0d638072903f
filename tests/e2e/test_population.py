"""`experiment=population`, a search over whole trainings: the command, its end by a signal, and a user's own script."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import augrad as library
from augrad.cli.configs import config_directory
from augrad.cli.search_run import SearchRun
from augrad.settings import TrainSettings
from small_runs import SMALL

RECIPE = [item for item in SMALL if not item.startswith(("search.", "choose."))]
POPULATION = [
    *("experiment=population", *RECIPE, "search.steps=2", "compare=null", "hydra.run.dir=out"),
    *("objective.pairs=1", "objective.processes=1", "space=rotation"),
]


def rows(directory: str | Path = "out") -> list[dict]:
    kept = [json.loads(line) for line in (Path(directory) / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "step_seconds"} for row in kept]


@pytest.mark.parametrize("name", ["population", "persistent"])
def test_the_trainings_have_all_settings_of_train(name: str) -> None:
    with initialize_config_dir(config_directory(), version_base="1.3"):
        config = compose("search", [f"experiment={name}", "train.steps=3", "train.optimizer.lr=0.2"])
    assert set(config.objective.train) == {"_target_", *(field.name for field in fields(TrainSettings))}
    assert all(config.objective.train[field.name] == config.train[field.name] for field in fields(TrainSettings))
    assert config.objective.optimizer == config.train.optimizer


def test_from_start_to_report_and_again_after_a_stop(augrad, monkeypatch) -> None:
    """A step that is broken off has not begun: the run that goes on ends as the one that was never stopped."""
    done = augrad("search", *POPULATION)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in Path("out/figures").iterdir()} == {
        "evolution.png",
        "evolution_narrow.png",
        "examples.png",
    }
    assert Path("out/report.html").stat().st_size
    first, second = whole = rows()
    assert {"val_loss", "population_loss", "pair_difference", "selection_loss"} <= set(first)
    assert not {"learning_rate", "gradient_norm"} & set(first)  # of a network that is trained along
    assert first["mass/rotate"] != second["mass/rotate"] or first["strength/rotate"] != second["strength/rotate"]
    learned = library.load_policy("out/policy.json")

    with monkeypatch.context() as patch:
        asked = []
        # In the second step, after its first training: each training asks once, and each step once at its end.
        patch.setattr(SearchRun, "interrupted", lambda run: asked.append(0) or len(asked) > 5)
        patch.setattr(SearchRun, "stopped_by", signal.SIGINT)
        done = augrad("search", *POPULATION[:-3], "hydra.run.dir=other", *POPULATION[-3:])
    assert done.returncode == 130
    assert "stopped after step 1; go on with: augrad search resume=" in done.stderr
    assert rows("other") == whole[:1]
    assert augrad("search", "resume=other").returncode == 0
    assert rows("other") == whole
    again = library.load_policy("other/policy.json")
    assert all(bool((a == b).all()) for a, b in zip(learned.parameters(), again.parameters(), strict=True))


def test_persistent_trainings_from_start_to_report_and_again_after_a_stop(augrad, monkeypatch) -> None:
    given = ["experiment=persistent", *POPULATION[1:-4], "objective.pairs=1", "objective.pieces=2", "train.steps=4"]
    given = [*given, "search.steps=4", "search.checkpoint_every=1", "search.log_every=1", "compare=null"]
    done = augrad("search", *given, "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    whole = rows()
    assert [row["piece"] for row in whole] == [1, 2, 1, 2]
    assert Path("out/report.html").stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr(SearchRun, "interrupted", lambda run: run.state.step >= 3)
        patch.setattr(SearchRun, "stopped_by", signal.SIGINT)
        done = augrad("search", *given, "hydra.run.dir=other")
    assert done.returncode == 130
    assert rows("other") == whole[:3]
    assert augrad("search", "resume=other").returncode == 0
    assert rows("other") == whole


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["experiment=population", "estimator=gumbel"], ["WholeTraining", "Gumbel", "estimator=none"]),
        (["estimator=none"], ["Bilevel", "takes an estimator"]),
        (["experiment=population", "hypergradient=one_step"], ["WholeTraining", "hypergradient=none"]),
        (["experiment=population", "objective.pairs=0"], ["pairs", "at least 1"]),
        (["experiment=persistent", "objective.pieces=0"], ["pieces", "at least 1"]),
        (["experiment=persistent", "train.ema=0.9"], ["PersistentTraining", "ema"]),
        (["experiment=population", "objective.train.epochs=0"], ["epochs"]),
    ],
)
def test_what_does_not_go_together(augrad, arguments: list[str], words: list[str]) -> None:
    done = augrad("search", *RECIPE, *arguments, "hydra.run.dir=out")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert not any(path.is_file() for path in Path("out").rglob("*"))


def test_a_training_with_the_policy_itself_that_diverges_ends_the_search(augrad) -> None:
    done = augrad("search", *POPULATION, "train.optimizer.lr=1e10", "train.epochs=3")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "step 1: the training with the policy itself has diverged; lower the learning rate" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="process groups")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_trainings_side_by_side(tmp_path: Path, number: int, status: int) -> None:
    """As a terminal sends it: to all processes of the run."""
    line = [*POPULATION, "objective.processes=2", "search.steps=3", "train.epochs=1000"]
    run = subprocess.Popen(
        [sys.executable, "-m", "augrad", "search", *line], cwd=tmp_path, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3)  # the processes are starting, or training
    os.killpg(run.pid, number)
    printed = run.communicate(timeout=30)  # all ends of the pipes are closed: no process is left that holds one
    assert run.returncode == status
    said = [line.partition(":")[0] for line in printed[1].strip().splitlines()]
    assert [what for what in said if what != "data"] == ["augrad search"]
    assert "stopped after step 0; go on with" in printed[1]


SCRIPT = """
from functools import partial
import augrad, torch

print("the script runs as", __name__)

class Network(torch.nn.Sequential):
    def __init__(self, in_channels, class_count):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64 * in_channels, class_count))

data = augrad.Splits.from_arrays(torch.rand(90, 1, 8, 8), torch.arange(90) % 3)
objective = augrad.objectives.WholeTraining(
    augrad.TrainSettings(epochs=1), partial(torch.optim.SGD, lr=0.1), pairs=1, processes=2
)
result = augrad.learn(
    data, Network, policy=augrad.Policy.over(["rotate", "invert"]), objective=objective, steps=2, select_every=1
)
print(result.steps, type(result.model).__name__, result.best_step > 0)
"""


@pytest.mark.slow
def test_a_script_without_a_guard_and_with_a_network_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "the script runs as __main__"
    assert done.stdout.count("the script runs") == 1
    assert done.stdout.splitlines()[1].split()[0] == "2"
