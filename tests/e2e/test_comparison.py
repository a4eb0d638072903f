"""The comparison after a search: no training is done twice, and the files of a directory say the same."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import augrad as library
import augrad.train.comparison
from augrad.cli.comparison import Recorder
from small_runs import SMALL


@pytest.fixture(autouse=True)
def _control_c_as_from_a_terminal() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], list[int]]:
    """Sends Ctrl-C in place of the training after so many (None: never); returns the seeds of those that are done."""
    train = augrad.train.comparison.train_classifier

    def set_limit(limit: int | None) -> list[int]:
        done: list[int] = []

        def counted(*given: Any, **named: Any) -> Any:
            if limit is not None and len(done) == limit:
                signal.raise_signal(signal.SIGINT)
            done.append(given[5])
            return train(*given, **named)

        monkeypatch.setattr("augrad.train.comparison.train_classifier", counted)
        return done

    return set_limit


def comparison(directory: Path) -> dict[str, dict[str, float]] | None:
    """What all four say: comparison.json, the figure, policy.json and the report; None where none says anything."""
    path = directory / "comparison.json"
    content = json.loads(path.read_text()) if path.exists() else None
    metrics = library.load_policy(directory / "policy.json").provenance["metrics"]
    means = {key.removeprefix("test_accuracy/"): value for key, value in metrics.items() if "test_accuracy/" in key}
    html = (directory / "report.html").read_text()
    expected = {name: sum(seeds.values()) / len(seeds) for name, seeds in (content or {}).items()}
    assert means == pytest.approx(expected, abs=1e-9)
    assert [f"{100 * mean:.1f}%" in html for mean in means.values()] == [True] * len(means)
    assert ("minus this" in html) == (directory / "figures" / "comparison.png").exists() == (content is not None)
    return content


def files(directory: Path) -> dict[str, bytes]:
    """The results in the directory."""
    names = ["comparison.json", "policy.json", "report.html", "figures/comparison.png", "figures/examples.png"]
    return {name: (directory / name).read_bytes() for name in names}


def test_trainings_that_were_done_are_kept(augrad, stop_after, tmp_path: Path) -> None:
    line = ["search", *SMALL, "compare.seeds=2", "hydra.run.dir=out"]
    stop_after(3)
    assert augrad(*line).returncode == 130
    partly = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert {name: list(seeds) for name, seeds in partly.items()} == {
        "none": ["1000"],
        "random": ["1000"],
        "learned": ["1000"],
    }
    left = stop_after(1)
    assert augrad("search", "resume=out").returncode == 130
    assert left == [1001]
    left = stop_after(None)
    assert augrad("search", "resume=out").returncode == 0
    assert left == [1001, 1001]
    whole = comparison(tmp_path / "out")
    assert whole is not None
    assert all(whole[name]["1000"] == seeds["1000"] for name, seeds in partly.items())
    assert augrad("search", "resume=out", "compare=null").returncode == 0  # the run has its comparison already
    assert comparison(tmp_path / "out") == whole
    before = files(tmp_path / "out")

    # Another recipe: what is there stays until the new comparison is whole.
    left = stop_after(2)
    assert augrad("search", "resume=out", "compare=2", "train.epochs=2").returncode == 130
    assert len(left) == 2
    assert files(tmp_path / "out") == before
    stop_after(None)
    assert augrad("search", "resume=out", "compare=2", "train.epochs=3", "train.optimizer.lr=1e10").returncode == 1
    assert files(tmp_path / "out") == before
    left = stop_after(None)
    assert augrad("search", "resume=out", "compare=2", "train.epochs=2", "train.optimizer.lr=0.1").returncode == 0
    assert len(left) == 4
    comparison(tmp_path / "out")

    # Back to the first one: nothing is done again. More seeds: only they are.
    none = stop_after(0)
    assert augrad("search", "resume=out", "compare=2", "train.epochs=1").returncode == 0
    assert none == []
    assert comparison(tmp_path / "out") == whole
    more = stop_after(None)
    assert augrad("search", "resume=out", "compare=3", "train.epochs=1").returncode == 0
    assert more == [1002] * 3


def test_a_policy_that_was_not_compared_has_no_comparison(augrad, tmp_path: Path) -> None:
    line = ["search", *SMALL, "policy.subpolicies=2", "compare.seeds=1", "hydra.run.dir=out"]
    assert augrad(*line).returncode == 0
    whole = comparison(tmp_path / "out")
    assert whole is not None
    assert augrad("search", "resume=out", "export.subpolicies=1", "compare=null").returncode == 0
    assert comparison(tmp_path / "out") is None
    assert len(json.loads((tmp_path / "out" / "trainings.json").read_text())) == 3
    assert augrad("search", "resume=out", "export.subpolicies=null", "++compare.seeds=1").returncode == 0
    assert comparison(tmp_path / "out") == whole


def test_a_comparison_of_an_older_version_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text('{"none": {"0": 0.5}}')
    record = Recorder(tmp_path, {("none", 0): "the key of this recipe"})
    assert record.known == {}
    record("none", 0, 0.75)
    assert json.loads((tmp_path / "comparison.json").read_text()) == {"none": {"0": 0.5}}
    record.publish()
    assert json.loads((tmp_path / "comparison.json").read_text()) == {"none": {"0": 0.75}}
    kept = json.loads((tmp_path / "trainings.json").read_text())
    assert [(row["accuracy"], row["key"]) for row in kept] == [(0.5, None), (0.75, "the key of this recipe")]
    assert Recorder(tmp_path, {("none", 0): "the key of this recipe"}).known == {("none", 0): 0.75}


def test_the_start_belongs_to_the_run(augrad, stop_after, tmp_path: Path) -> None:
    """A policy file that is another one at the resume changes neither the search nor its random control."""
    assert augrad("search", *SMALL, "compare=null", "hydra.run.dir=first").returncode == 0
    text = (tmp_path / "first" / "policy.json").read_text()
    (tmp_path / "start.json").write_text(text)
    line = ["search", *SMALL, "policy=file", "policy.file=start.json", "compare.seeds=1"]
    assert augrad(*line, "hydra.run.dir=whole").returncode == 0
    stop_after(0)
    assert augrad(*line, "hydra.run.dir=cut").returncode == 130
    other = json.loads(text)
    for entry in other["subpolicies"][0]["stages"][0]:
        entry["probability"] = 1.0
    (tmp_path / "start.json").write_text(json.dumps(other))
    stop_after(None)
    assert augrad("search", "resume=cut").returncode == 0
    assert comparison(tmp_path / "cut") == comparison(tmp_path / "whole")
    assert "it goes on from those that it began with" in (tmp_path / "cut" / "search.log").read_text()
