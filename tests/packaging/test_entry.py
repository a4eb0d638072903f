"""How the Hydra commands end: exit status and what stands on standard error, with real Hydra programs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from augrad.errors import PolicyFileError, UserError
from augrad.experiments.entry import exit_status

PROGRAM = """
import sys
import time
from dataclasses import dataclass

import hydra
import pydantic
from hydra.utils import instantiate

from augrad.errors import UserError
from augrad.experiments.entry import run_entry_point


class Document(pydantic.BaseModel):
    version: int


class Optimizer:
    def __init__(self, rate):
        if rate < 0:
            raise UserError(f"rate must not be negative, got {rate}")
        if rate == 0:
            raise RuntimeError("broken inside")
        if rate == 1:
            Optimizer(speed=3)


@hydra.main(version_base="1.3", config_path="conf", config_name="job")
def job(config):
    print("running", config.case, flush=True)
    if config.case == "user":
        raise UserError("steps must be at least 1, got 0: set search.steps")
    if config.case == "failure":
        raise RuntimeError("out of paper")
    if config.case == "interrupt":
        raise KeyboardInterrupt
    if config.case == "omegaconf":
        config.optimizer.nothing_here
    if config.case == "document":
        Document(version="old")
    if config.case == "instantiate":
        instantiate(config.optimizer)
    if config.case == "partial":
        instantiate(config.optimizer, _partial_=True)()
    if config.case == "sleep":
        print("asleep", flush=True)
        time.sleep(60)


if __name__ == "__main__":
    sys.exit(run_entry_point(job, "augrad test", resumable=True))
"""

CONFIG = """
defaults:
  - model: small
  - _self_
case: fine
resume: null
seed: 0
optimizer:
  _target_: __main__.Optimizer
  rate: 0.1
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / "conf" / "model" / "small.yaml").write_text("width: 1\n")
    (folder / "conf" / "job.yaml").write_text(CONFIG)
    (folder / "program.py").write_text(PROGRAM)
    return folder / "program.py"


def call(program: Path, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_FULL_ERROR")}
    return subprocess.run(
        [sys.executable, program, *arguments],
        cwd=folder,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


MISTAKES = {
    "UserError": ("case=user", "error: steps must be at least 1, got 0: set search.steps\n"),
    "unknown override": ("stepz=3", "Key 'stepz' is not in struct"),
    "override that cannot be read": ("case='open", "case='open"),
    "no such choice": ("model=huge", "small"),
    "no config directory": ("--config-dir=nowhere", "nowhere"),
    "no config": ("--config-name=nothing", "nothing"),
    "options that exclude each other": ("--multirun --cfg job", "--multirun"),
    "OmegaConf": ("case=omegaconf", "nothing_here"),
    "pydantic": ("case=document", "version: Input should be a valid integer"),
    "UserError inside": ("case=instantiate optimizer.rate=-1", "optimizer: rate must not be negative, got -1"),
    "unexpected argument": ("case=instantiate +optimizer.speed=1", "unexpected keyword argument 'speed'"),
    "missing argument": ("case=instantiate ~optimizer.rate", "missing 1 required positional argument: 'rate'"),
    "no such target": ("case=instantiate optimizer._target_=__main__.Adam", "__main__.Adam"),
    "partial": ("case=partial +optimizer.speed=1", "unexpected keyword argument 'speed'"),
    "resume": ("resume=nowhere", "resume=nowhere: no such directory"),
    "a job of a sweep": ("--multirun case=user", "steps must be at least 1"),
}


@pytest.mark.parametrize(("arguments", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_message(program: Path, tmp_path: Path, arguments: str, text: str):
    outcome = call(program, tmp_path, *arguments.split())
    assert outcome.returncode == 2, outcome.stderr
    assert outcome.stderr.startswith("augrad test: error: ")
    assert outcome.stderr.count("error: ") == 1
    assert text in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert "HYDRA_FULL_ERROR" not in outcome.stderr
    assert "object_type" not in outcome.stderr


def test_a_sweep_says_which_job_failed(program: Path, tmp_path: Path):
    outcome = call(program, tmp_path, "--multirun", "case=fine,user,fine", "seed=3")
    assert outcome.returncode == 2
    assert "['case=user', 'seed=3']" in outcome.stderr
    assert outcome.stdout.count("running") == 3


@pytest.mark.parametrize("name", ["AUGRAD_FULL_ERROR", "HYDRA_FULL_ERROR"])
def test_a_traceback_for_who_wants_it(program: Path, tmp_path: Path, name: str):
    outcome = call(program, tmp_path, "case=user", **{name: "1"})
    assert outcome.returncode == 2
    assert "Traceback" in outcome.stderr
    assert "program.py" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["case=failure"], "RuntimeError: out of paper"),
        (["--multirun", "case=fine,failure"], "(in the job with the overrides ['case=failure'])"),
        (["case=instantiate", "optimizer.rate=0"], "RuntimeError: broken inside"),
        # a call inside the target's own code that does not fit is a defect of that code
        (["case=instantiate", "optimizer.rate=1"], "unexpected keyword argument 'speed'"),
    ],
)
def test_a_failure_keeps_its_traceback(program: Path, tmp_path: Path, arguments: list[str], text: str):
    outcome = call(program, tmp_path, *arguments)
    assert outcome.returncode == 1
    assert "Traceback" in outcome.stderr
    assert "program.py" in outcome.stderr
    assert text in outcome.stderr


@pytest.mark.parametrize("arguments", [["case=interrupt"], ["--multirun", "case=interrupt"]])
def test_interrupted(program: Path, tmp_path: Path, arguments: list[str]):
    outcome = call(program, tmp_path, *arguments)
    assert outcome.returncode == 130
    assert outcome.stderr == "augrad test: interrupted\n"


def test_interrupted_by_a_signal(program: Path, tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, program, "case=sleep"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "asleep" not in (line := process.stdout.readline()):
            assert line, "it ended before it slept"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["seed=1"], 0, "running fine"),
        (["--multirun", "seed=1,2"], 0, "running fine"),
        (["--help"], 0, "program is powered by Hydra"),
        (["--cfg", "job"], 0, "case: fine"),
        (["--no-such-option"], 2, ""),
    ],
)
def test_hydra_itself(program: Path, tmp_path: Path, arguments: list[str], status: int, text: str):
    outcome = call(program, tmp_path, *arguments)
    assert outcome.returncode == status, outcome.stderr
    assert text in outcome.stdout
    assert "Traceback" not in outcome.stderr


def test_a_run_is_taken_up_with_its_overrides(program: Path, tmp_path: Path):
    """The directory has characters that are special to Hydra's grammar."""
    directory = tmp_path / "a b,c=d 'e' {f} é [g]"
    escaped = str(directory).replace("'", r"\'")
    first = call(program, tmp_path, "seed=7", "optimizer.rate=0.5", f"hydra.run.dir='{escaped}'")
    assert first.returncode == 0, first.stderr
    assert directory.is_dir()
    (directory / "checkpoint.pt").write_bytes(b"")
    for _ in range(2):  # the second time it is taken up from the record that the first time wrote
        again = call(program, tmp_path, f"resume={directory}", "optimizer.rate=0.25")
        assert again.returncode == 0, again.stderr
        shown = call(program, tmp_path, "--cfg", "job", f"resume={directory}").stdout
        assert "seed: 7" in shown
        assert "rate: 0.25" in shown
    assert [path.name for path in tmp_path.iterdir()] == [directory.name]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("wrong"), 2),
        (PolicyFileError("subpolicies[3]: wrong"), 2),
        (ValueError("ours"), 1),
        (TypeError("f() got an unexpected keyword argument 'x'"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_status(capsys: pytest.CaptureFixture[str], error: BaseException, status: int):
    def run() -> None:
        raise error

    assert exit_status(run, "augrad policy") == status
    assert ("Traceback" in capsys.readouterr().err) == (status == 1)


def test_exit_status_of_success(capsys: pytest.CaptureFixture[str]):
    assert exit_status(lambda: None, "augrad policy") == 0
    assert capsys.readouterr().err == ""
