"""How a command ends when something fails, or somebody stops it: one message, its status, what is done kept."""

import logging
import resource
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import augrad as library
from augrad.atomic import write_bytes
from augrad.cli.comparison import Recorder, read_comparison
from augrad.cli.search_run import SearchRun
from augrad.cli.signals import sigterm_raised
from augrad.errors import AugradWarning, UserError
from small_runs import COMPARED, SMALL
from trainings import training

RECIPE = [item for item in SMALL if not item.startswith(("search.", "choose."))]
DIVERGING = ["train.optimizer.lr=1e10", "train.epochs=3"]
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.fixture(autouse=True)
def _control_c_as_from_a_terminal() -> Iterator[None]:
    """Tests that run in the background may have been told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def told(done, status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


# --- a training that diverges -----------------------------------------------------------------------------------------


def test_a_training_that_diverges_is_told_in_one_message(augrad) -> None:
    told(augrad("train", *RECIPE, *DIVERGING), 1, "the training loss is nan; lower the learning rate")
    told(
        augrad("compare", *RECIPE, *DIVERGING, "seeds=1", "processes=1", "policies=[none]"),
        1,
        "the training loss is nan; lower the learning rate",
    )


def test_a_comparison_that_diverges_leaves_policy_report_and_figures(augrad, small, tmp_path: Path) -> None:
    done = augrad("search", *small, *DIVERGING, *COMPARED, "compare.seeds=1", "hydra.run.dir=out")
    told(
        done,
        1,
        "  the choice: choose: every training",
        "its results are kept",
        "  the comparison: none, seed 1000: epoch ",
        "the training loss is nan; lower",
    )
    library.load_policy(tmp_path / "out" / "policy.json")
    assert (tmp_path / "out" / "report.html").stat().st_size
    assert {path.name for path in (tmp_path / "out" / "figures").iterdir()} == {
        "evolution.png",
        "evolution_narrow.png",
        "examples.png",
    }
    assert "report:" in done.stdout
    done = augrad("search", "resume=out", "train.optimizer.lr=0.1", "train.epochs=1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "comparison.json").exists()


# --- what cannot be written -------------------------------------------------------------------------------------------


def test_the_result_of_a_training_is_told_where_its_model_cannot_be_kept(augrad, tmp_path: Path) -> None:
    (tmp_path / "out" / "model.pt").mkdir(parents=True)
    done = augrad("train", *RECIPE, "hydra.run.dir=out")
    assert "test accuracy 0." in done.stdout
    told(
        done, 1, "its results are kept; what could not be made:\n  the classifier: ", "model.pt: cannot write this file"
    )
    assert len(done.stderr.split("augrad train:")[1].strip().splitlines()) == 2


def test_a_search_goes_on_where_its_model_or_its_comparison_cannot_be_kept(augrad, small, tmp_path: Path) -> None:
    for name in ("model.pt", "comparison.json"):
        (tmp_path / "out" / name).mkdir(parents=True)
    done = augrad("search", *small, "search.keep_model=true", *COMPARED, "compare.seeds=1", "hydra.run.dir=out")
    told(done, 1, "  the classifier: ", "  comparison.json: ", "seed 1000: ")
    assert "classifier trained along: test accuracy 0." in done.stdout
    assert (tmp_path / "out" / "report.html").stat().st_size
    assert (tmp_path / "out" / "figures" / "comparison.png").exists()


def test_a_comparison_goes_on_where_its_file_cannot_be_written(augrad, tmp_path: Path) -> None:
    (tmp_path / "out" / "comparison.json").mkdir(parents=True)
    done = augrad("compare", *RECIPE, "policies=[none,identity]", "seeds=1", "processes=1", "hydra.run.dir=out")
    told(done, 1, "none     seed 1000: ", "identity seed 1000: ", "  comparison.json: ", "cannot write this file")
    assert "identity" in done.stdout


def test_a_comparison_is_whole_once_there_is_room_again(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").mkdir()
    rows = [training("none", 0.5, 0), training("none", 0.75, 1)]
    record = Recorder(tmp_path, {rows[0].place: "a", rows[1].place: "b"}, "none")
    record(rows[0])
    with pytest.raises(UserError, match="cannot write this file"):
        record.require_written()
    (tmp_path / "comparison.json").rmdir()
    record(rows[1])
    record.publish()
    record.require_written()
    assert read_comparison(tmp_path) == rows


# --- Ctrl-C and SIGTERM -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), SIGNALS)
@pytest.mark.parametrize("command", ["train", "compare", "search"])
def test_a_signal_before_the_first_step(augrad, monkeypatch, command: str, number: int, status: int) -> None:
    monkeypatch.setattr(f"augrad.cli.{command}.check_recipe", lambda *given: signal.raise_signal(number))
    done = augrad(command, *(SMALL if command == "search" else RECIPE), "hydra.run.dir=out")
    told(done, status, f"augrad {command}: interrupted\n")
    assert not any(path for path in Path("out").rglob("*") if path.is_file())
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(("number", "status"), SIGNALS)
@pytest.mark.parametrize("times", [1, 2])
def test_a_stopped_search_says_how_it_goes_on(augrad, monkeypatch, times: int, number: int, status: int) -> None:
    rows = SearchRun.rows

    def stopping(self: SearchRun, given: list) -> None:
        rows(self, given)
        for _ in range(times if given[-1]["step"] == 1 else 0):  # the second one ends it at once
            signal.raise_signal(number)

    settings = ["search.steps=4", "search.log_every=1", "search.checkpoint_every=100", "compare=null"]
    with monkeypatch.context() as patch:
        patch.setattr(SearchRun, "rows", stopping)
        done = augrad("search", *SMALL, *settings, "hydra.run.dir=out")
    kept = {1: 2, 2: 0}[times]
    told(done, status, f"augrad search: stopped after step {kept}; go on with: augrad search resume=")
    assert augrad("search", "resume=out").returncode == 0


def test_a_signal_while_a_search_is_compared(augrad, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("augrad.cli.search.compare_policies", lambda *given: signal.raise_signal(signal.SIGTERM))
        done = augrad("search", *SMALL, *COMPARED, "compare.seeds=1", "hydra.run.dir=out")
    told(done, 143, "stopped after step 6; go on with: augrad search resume=")


def test_a_signal_while_a_command_is_loaded(capsys, monkeypatch) -> None:
    from augrad import cli

    monkeypatch.setattr(cli, "import_module", lambda name: signal.raise_signal(signal.SIGTERM))
    assert cli.main(["train"]) == 143
    assert capsys.readouterr().err == "augrad train: interrupted\n"


def test_a_handler_of_somebody_else_stays() -> None:
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with sigterm_raised():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


# --- numbers that are too large ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "overrides"),
    [
        ("search", ["model.width=100000000000000000000"]),
        ("search", ["model.width=10000000"]),
        ("search", ["data.size=100000"]),
        ("search", ["estimator=relax", "estimator.hidden=100000000000000000000"]),
        ("train", ["model.width=10000000"]),
        ("compare", ["model.width=100000000000000000000", "seeds=1"]),
    ],
)
def test_numbers_that_this_machine_cannot_hold(augrad, command: str, overrides: list[str]) -> None:
    given = SMALL if command == "search" else RECIPE
    done = augrad(command, *given, *overrides, "hydra.run.dir=out")
    told(done, 2, "data.size: 1,797 images of" if "data" in overrides[0] else overrides[-1 - ("seeds=1" in overrides)])
    assert len(done.stderr.strip().splitlines()) == 1
    assert not any(path for path in Path("out").rglob("*") if path.is_file())


@pytest.mark.parametrize("words", ["overflow/x.pt: cannot be read", "a row of C:\\too large\\Overflow.py"])
def test_words_of_a_path_are_no_number_that_is_too_large(augrad, monkeypatch, words: str) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr("augrad.cli.train.train_classifier", fail)
    done = augrad("train", *RECIPE, "hydra.run.dir=overflow")
    assert done.returncode == 1
    assert f"RuntimeError: {words}" in done.stderr


def test_a_file_that_becomes_too_large_is_named(augrad, tmp_path: Path, monkeypatch) -> None:
    """EFBIG says "File too large", and folders may be called anything: neither is a number in the configuration."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr("augrad.cli.train.save_model", lambda model, path: limited(path))

    def limited(path: Path) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            write_bytes(path, bytes(2000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    done = augrad("train", *RECIPE, "hydra.run.dir=overflow")
    told(done, 1, "its results are kept", "overflow/model.pt: cannot write this file (File too large)")


def test_memory_that_does_not_suffice_in_a_run_is_a_failure(augrad, monkeypatch) -> None:
    import torch

    monkeypatch.setattr("augrad.cli.train.train_classifier", lambda *given: torch.empty(2**60))
    done = augrad("train", *RECIPE)
    told(done, 1, "augrad train: the memory of this machine does not suffice: ", "lower what is large: ")


# --- warnings ---------------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_one_line_and_stays_in_the_log(augrad, tmp_path: Path) -> None:
    """Also where warnings are errors, as in these tests."""
    images = np.random.default_rng(0).integers(0, 256, (60, 12, 12), dtype=np.uint8)
    classes = np.arange(60) % 3
    given = {"test_images": np.concatenate([images[:5], 255 - images[:9]]), "test_labels": np.arange(14) % 3}
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=classes, **given)
    done = augrad("train", "train.epochs=1", "model.width=16", "data=arrays", "data.path=x.npz", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    words = "x.npz: left out 5 pictures that another split has too: test_images[0] (the same as train_images[0]), "
    assert f"augrad train: {words}" in done.stderr
    assert "warn" not in done.stderr.lower()
    assert words in (tmp_path / "out" / "train.log").read_text()
    assert not logging.getLogger().handlers or words not in done.stdout


def test_other_warnings_are_shown_as_ever(augrad, monkeypatch) -> None:
    def warn(*given: object) -> None:
        warnings.warn("of somebody else", UserWarning, stacklevel=1)
        warnings.warn("of ours", AugradWarning, stacklevel=1)
        raise UserError("enough")

    monkeypatch.setattr("augrad.cli.train.check_recipe", warn)
    with pytest.warns(UserWarning, match="of somebody else") as shown:
        done = augrad("train", *RECIPE)
    assert len(shown) == 1
    told(done, 2, "augrad train: of ours\n", "error: enough")
