"""resume= of a finished search with another number of steps: what it has learned is where a new run begins."""

from pathlib import Path

import pytest
import yaml

import augrad as library

QUIET = ["choose=null", "compare=null"]


def numbers(path: Path) -> list[float]:
    policy = library.load_policy(path)
    return [value for tensor in policy.params.tensors() for value in tensor.detach().flatten().tolist()]


@pytest.mark.parametrize("start", [[], ["policy.stages=1", "space=gray", "seed=4"]], ids=["default", "others"])
def test_more_steps_are_a_new_run_from_what_was_learned(augrad, small, tmp_path: Path, start: list[str]) -> None:
    assert augrad("search", *small, *QUIET, *start, "hydra.run.dir=first run").returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "first run").rglob("*") if path.is_file()}
    done = augrad("search", "resume=first run", "search.steps=4", "hydra.run.dir=second")
    assert done.returncode == 0, done.stderr
    assert "the run has all its 6 steps" in done.stderr
    assert {path: path.read_bytes() for path in before} == before
    second = tmp_path / "second"
    assert numbers(second / "initial.json") == pytest.approx(numbers(tmp_path / "first run" / "policy.json"), abs=1e-6)
    config = yaml.safe_load((second / ".hydra/config.yaml").read_text())
    assert (config["search"]["steps"], config["model"]["width"]) == (4, 16)
    assert config["seed"] == (4 if start else 0)
    again = augrad("search", "resume=second")
    assert again.returncode == 0, again.stderr


def test_a_run_that_is_not_finished_keeps_its_number_of_steps(augrad, small, tmp_path: Path) -> None:
    assert augrad("search", *small, *QUIET, "hydra.run.dir=out").returncode == 0
    (tmp_path / "out/report.html").unlink()
    refused = augrad("search", "resume=out", "search.steps=9")
    assert refused.returncode == 2
    assert "was started with search.steps=6, got 9" in refused.stderr
    same = augrad("search", "resume=out", "search.steps=6")
    assert same.returncode == 0, same.stderr
    assert (tmp_path / "out/report.html").exists()


@pytest.mark.parametrize("command", ["search", "train"])
def test_a_run_of_somebody_else_runs_no_code_of_its_own(
    augrad, small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Also in a part that is not built: with policy=file no space is."""
    given = ["policy=file", "policy.file=randaugment", "choose=null", "compare=null"]
    line = [*small, *given] if command == "search" else [item for item in small if item.startswith(("data", "model"))]
    assert augrad(command, *line, "hydra.run.dir=gift").returncode == 0
    place = tmp_path / "gift"
    (place / "evil.py").write_text("open('owned', 'w').close()\ndef f(): ...\n")
    overrides = place / ".hydra" / "overrides.yaml"
    key = "space" if command == "search" else "+standard.more"
    overrides.write_text(overrides.read_text() + f"- {key}._target_=gift.evil.f\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    done = augrad(command, "resume=gift")
    assert done.returncode == 2
    assert "gift.evil.f is code that does not come with augrad" in done.stderr
    assert not (tmp_path / "owned").exists()
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
