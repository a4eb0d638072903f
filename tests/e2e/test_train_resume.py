"""A training that is stopped goes on to the same end, bit for bit; what is not the same training is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from augrad import load_policy, save_policy
from augrad.runs.checkpoint import load_checkpoint, save_checkpoint
from augrad.search import SearchState, loop
from augrad.train.loop import Training
from page_blocks import ROOT
from small_runs import SMALL

RECIPE = [item for item in SMALL if not item.startswith(("search.", "choose.", "train."))]
TRAIN = [
    *("train", *RECIPE, "train.batch_size=32", "train.epochs=3", "train.ema=0.9", "train.clip_norm=1.0"),
    *("train.label_smoothing=0.1", "train.schedule=cosine", "standard.flip=true", "policy.file=randaugment"),
]
FILES = "metrics.jsonl", "model.pt"


def stopped_in(monkeypatch: pytest.MonkeyPatch, step: int, number: signal.Signals) -> None:
    """A signal comes while that step is made."""
    advance = Training.advance

    def signalled(training: Training) -> None:
        if training.step == step:
            os.kill(os.getpid(), number)
        advance(training)

    monkeypatch.setattr(Training, "advance", signalled)


def search_stopped_in(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """SIGTERM comes while a search makes that step."""
    original = loop.search_step

    def signalled(state: SearchState, *arguments: Any) -> Any:
        if state.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(state, *arguments)

    monkeypatch.setattr(loop, "search_step", signalled)


@pytest.fixture
def cut(augrad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training that was stopped in the middle of its second epoch, of seven steps."""
    with monkeypatch.context() as patch:
        stopped_in(patch, 9, signal.SIGTERM)
        done = augrad(*TRAIN, "hydra.run.dir=cut")
    assert done.returncode == 143
    assert "stopped after step 10; go on with: augrad train resume=" in done.stderr
    return tmp_path / "cut"


def test_it_goes_on_in_the_middle_of_an_epoch(augrad, tmp_path: Path, cut: Path) -> None:
    assert augrad(*TRAIN, "hydra.run.dir=whole").returncode == 0
    assert not (cut / "model.pt").exists()
    done = augrad("train", "resume=cut")
    assert done.returncode == 0, done.stderr
    assert "missing" not in done.stderr  # no row of the metrics is
    for name in FILES:
        assert (cut / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    again = augrad("train", "resume=cut")  # from a checkpoint before its end: the end is the same
    assert again.returncode == 0, again.stderr
    for name in FILES:
        assert (cut / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_ctrl_c_is_another_status(augrad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_in(monkeypatch, 2, signal.SIGINT)
    assert augrad(*TRAIN, "hydra.run.dir=cut").returncode == 130
    assert load_checkpoint(tmp_path / "cut" / "checkpoint.pt")["state"]["step"] == 3


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(augrad, tmp_path: Path, cut: Path) -> None:
    assert augrad(*TRAIN, "hydra.run.dir=whole").returncode == 0
    newest = cut / "checkpoint.pt"
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) // 2])
    done = augrad("train", "resume=cut")
    assert done.returncode == 0, done.stderr
    assert "this checkpoint is damaged" in done.stderr
    assert "the run goes on from the one before it, checkpoint.previous.pt" in done.stderr
    for name in FILES:
        assert (cut / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_whole_one(
    augrad, cut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is stopped again as soon as it has gone on."""
    newest, previous = cut / "checkpoint.pt", cut / "checkpoint.previous.pt"
    newest.write_bytes(newest.read_bytes()[:5000])
    before = previous.read_bytes()
    with monkeypatch.context() as patch:
        stopped_in(patch, 3, signal.SIGTERM)
        assert augrad("train", "resume=cut").returncode == 143
    assert load_checkpoint(newest)["state"]["step"] == 4
    assert previous.read_bytes() == before


COUNTING = """
import torch

class Counting(torch.nn.Module):
    def __init__(self, pixels, class_count):
        super().__init__()
        self.layer = torch.nn.Linear(pixels, class_count)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, images):
        if self.training:
            self.seen += 0.01
        return self.layer(images.flatten(1)) * (1 + self.seen)

def build(in_channels, class_count):
    return Counting(in_channels * 16 * 16, class_count)
"""


@pytest.mark.parametrize("command", ["train", "search"])
def test_buffers_that_no_state_dict_has_go_on_too(
    augrad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "net.py").write_text(COUNTING)
    network = ["model=torch", "model.path=net.py:build"]
    line = [item for item in TRAIN if item != "model.width=16"]
    if command == "search":
        line = ["search", *(item for item in SMALL if item != "model.width=16"), "choose=null", "compare=null"]
        line = [item for item in line if not item.startswith("choose.")]
    line += network
    assert augrad(*line, "hydra.run.dir=whole").returncode == 0
    with monkeypatch.context() as patch:
        if command == "train":
            stopped_in(patch, 9, signal.SIGTERM)
        else:
            search_stopped_in(patch, 4)
        assert augrad(*line, "hydra.run.dir=cut").returncode == 143
    assert augrad(command, "resume=cut").returncode == 0
    states = [load_checkpoint(tmp_path / run / "checkpoint.pt")["state"] for run in ("whole", "cut")]
    if command == "train":
        for name in FILES:
            assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    else:
        assert all(torch.equal(states[0]["model"][name], value) for name, value in states[1]["model"].items())
        assert all(torch.equal(states[0]["policy"][name], value) for name, value in states[1]["policy"].items()
                   if isinstance(value, torch.Tensor))  # fmt: skip


def test_begun_and_killed_before_its_first_checkpoint(augrad, tmp_path: Path, cut: Path) -> None:
    for name in ("checkpoint.pt", "checkpoint.previous.pt", "metrics.jsonl"):
        (cut / name).unlink()
    assert augrad("train", "resume=cut").returncode == 0
    assert (cut / "model.pt").exists()


@pytest.mark.slow
def test_the_check_by_kills_passes_where_nothing_is_lost(tmp_path: Path) -> None:
    """Real kills of real processes, at moments that the seed draws."""
    script, figures = ROOT / "scripts" / "kill_check.py", tmp_path / "kills.json"
    line = [sys.executable, str(script), "compare", "--kills", "2", "--out", str(tmp_path), "--json", str(figures)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (case,) = json.loads(figures.read_text())
    assert (case["case"], case["kills"], case["same"], case["not"]) == ("compare", 2, 2, [])


def _without_checkpoint(run: Path) -> None:
    (run / "checkpoint.pt").unlink()


def _of_a_search(run: Path) -> None:
    save_checkpoint(run / "checkpoint.pt", {"config": {}, "state": {}})


def _of_other_data(run: Path) -> None:
    saved = load_checkpoint(run / "checkpoint.pt")
    save_checkpoint(run / "checkpoint.pt", {**saved, "origin": {**saved["origin"], "data": "0"}})


def _of_another_network(run: Path) -> None:
    saved = load_checkpoint(run / "checkpoint.pt")
    save_checkpoint(run / "checkpoint.pt", {**saved, "origin": {**saved["origin"], "network": "0"}})


def _with_a_part_missing(run: Path) -> None:
    saved = load_checkpoint(run / "checkpoint.pt")
    saved["state"].pop("generators")
    save_checkpoint(run / "checkpoint.pt", saved)


@pytest.mark.parametrize(
    ("change", "given", "words"),
    [
        (None, ["seed=3"], "was started with seed=0, got 3"),
        (None, ["train.epochs=9"], "was started with train.epochs=3, got 9"),
        (None, ["policy.file=identity"], "was started with policy.file=randaugment, got identity"),
        (_without_checkpoint, [], "checkpoint.pt"),
        (_of_a_search, [], "expected the checkpoint.pt of augrad train"),
        (_of_other_data, [], "other content of its data"),
        (_of_another_network, [], "another network"),
        (_with_a_part_missing, [], "does not fit the run"),
    ],
)
def test_what_is_not_the_same_training_is_refused(
    augrad, cut: Path, change: Callable[[Path], None] | None, given: list[str], words: str
) -> None:
    if change is not None:
        change(cut)
    before = {path: path.read_bytes() for path in sorted(cut.rglob("*")) if path.is_file()}
    done = augrad("train", "resume=cut", *given)
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in sorted(cut.rglob("*")) if path.is_file()} == before


def test_the_policy_belongs_to_the_training(augrad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file under the same name is another policy."""
    save_policy(load_policy("randaugment"), tmp_path / "p.json")
    line = [item for item in TRAIN if not item.startswith("policy.")]
    with monkeypatch.context() as patch:
        stopped_in(patch, 4, signal.SIGTERM)
        assert augrad(*line, "policy.file=p.json", "hydra.run.dir=cut").returncode == 143
    save_policy(load_policy("trivialaugment_wide"), tmp_path / "p.json")
    refused = augrad("train", "resume=cut")
    assert refused.returncode == 2
    assert "other content of its policy" in refused.stderr


def test_a_training_of_an_earlier_version_goes_on(augrad, cut: Path) -> None:
    """It knows less settings; their defaults are what it was trained with."""
    saved = load_checkpoint(cut / "checkpoint.pt")
    del saved["config"]["train"]["accumulation_steps"]
    save_checkpoint(cut / "checkpoint.pt", saved)
    refused = augrad("train", "resume=cut", "train.accumulation_steps=2")
    assert refused.returncode == 2
    assert "was started with train.accumulation_steps=1, got 2" in refused.stderr
    assert augrad("train", "resume=cut").returncode == 0


def test_a_search_does_not_take_up_a_training_nor_the_other_way_round(augrad, tmp_path: Path, cut: Path) -> None:
    shutil.copytree(cut, tmp_path / "copy")
    done = augrad("search", "resume=copy")
    assert done.returncode == 2
    assert "that is the directory of augrad train, not of augrad search" in done.stderr
