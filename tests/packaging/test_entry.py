"""How the Hydra commands end: exit status and what stands on standard error, with a real Hydra program.

Each call is a process of its own, forked from one that has imported everything: importing takes most of the time.
"""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.utils import instantiate

from augrad.cli.status import exit_status
from augrad.errors import PolicyFileError, UserError

pytestmark = pytest.mark.slow  # a process for every call

PROGRAM = '''
import json
import os
import signal
import sys
import time
from dataclasses import dataclass

import hydra
import pydantic
from hydra.core.plugins import Plugins
from hydra.utils import instantiate

from augrad.errors import UserError
from augrad.cli.entry import run_entry_point


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


def main():
    sys.exit(run_entry_point(job, "augrad test", resumable="checkpoint.pt"))


def serve():
    """For each request on a line of standard input: a process of its own that runs main; answers with its id."""
    Plugins.instance()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            # As from a terminal: tests that run in the background may have been told to ignore Ctrl-C.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.chdir(request["folder"])
            os.environ.update(request["environment"])
            for stream, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
            sys.argv[1:] = request["arguments"]
            main()
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
'''

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


@dataclass(frozen=True)
class Outcome:
    """How a call of the program ended."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Program:
    """A call runs in `folder`; what it writes to its streams goes to files beside it."""

    server: subprocess.Popen[str]
    folder: Path

    def start(self, *arguments: str, **environment: str) -> int:
        """Starts a call and returns the id of its process."""
        request = {
            "arguments": arguments,
            "environment": environment,
            "folder": str(self.folder),
            "stdout": str(self.folder.parent / "stdout"),
            "stderr": str(self.folder.parent / "stderr"),
        }
        for name in ("stdout", "stderr"):
            (self.folder.parent / name).write_text("")
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return self._answer()

    def finish(self) -> Outcome:
        """Waits for the end of the call that was started last."""
        status = self._answer()
        return Outcome(status, *((self.folder.parent / name).read_text() for name in ("stdout", "stderr")))

    def __call__(self, *arguments: str, **environment: str) -> Outcome:
        self.start(*arguments, **environment)
        return self.finish()

    def _answer(self) -> int:
        assert self.server.stdout is not None
        return int(self.server.stdout.readline())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    folder = tmp_path_factory.mktemp("program")
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / "conf" / "model" / "small.yaml").write_text("width: 1\n")
    (folder / "conf" / "job.yaml").write_text(CONFIG)
    (folder / "program.py").write_text(PROGRAM)
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_FULL_ERROR")}
    with subprocess.Popen(
        [sys.executable, folder / "program.py"],
        env=inherited,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def program(server: subprocess.Popen[str], tmp_path: Path) -> Program:
    folder = tmp_path / "folder"
    folder.mkdir()
    return Program(server, folder)


MISTAKES = {
    "UserError": ("case=user", "error: steps must be at least 1, got 0: set search.steps\n"),
    "unknown override": ("stepz=3", "Key 'stepz' is not in struct"),
    "override that cannot be read": ("case='open", "case='open"),
    "no such choice": ("model=huge", "small"),
    "no config directory": ("--config-dir=nowhere", "nowhere"),
    "no config": ("--config-name=nothing", "nothing"),
    "options that exclude each other": ("--multirun --cfg job", "--multirun"),
    "OmegaConf": ("case=omegaconf", "nothing_here"),
    "pydantic": ("case=document", "version: expected a whole number, got 'old'"),
    "UserError inside": ("case=instantiate optimizer.rate=-1", "optimizer: rate must not be negative, got -1"),
    "unexpected argument": ("case=instantiate +optimizer.speed=1", "unexpected keyword argument 'speed'"),
    "missing argument": ("case=instantiate ~optimizer.rate", "missing 1 required positional argument: 'rate'"),
    "no such target": ("case=instantiate optimizer._target_=__main__.Adam", "__main__.Adam"),
    "resume": ("resume=nowhere", "resume=nowhere: no such directory"),
    "a job of a sweep": ("--multirun case=user", "steps must be at least 1"),
}
# Where Hydra itself calls what `_partial_` made; a plain functools.partial leaves no trace of whose arguments they are.
if type(instantiate({"_target_": "builtins.dict", "_partial_": True})) is not functools.partial:
    MISTAKES["partial"] = ("case=partial +optimizer.speed=1", "unexpected keyword argument 'speed'")


@pytest.mark.parametrize(("arguments", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_message(program: Program, arguments: str, text: str):
    outcome = program(*arguments.split())
    assert outcome.status == 2, outcome.stderr
    assert outcome.stderr.startswith("augrad test: error: ")
    assert outcome.stderr.count("error: ") == 1
    assert text in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert "HYDRA_FULL_ERROR" not in outcome.stderr
    assert "object_type" not in outcome.stderr


def test_a_sweep_says_which_job_failed(program: Program):
    outcome = program("--multirun", "case=fine,user,fine", "seed=3")
    assert outcome.status == 2
    assert "['case=user', 'seed=3']" in outcome.stderr
    assert outcome.stdout.count("running") == 3


@pytest.mark.parametrize("name", ["AUGRAD_FULL_ERROR", "HYDRA_FULL_ERROR"])
def test_a_traceback_for_who_wants_it(program: Program, name: str):
    outcome = program("case=user", **{name: "1"})
    assert outcome.status == 2
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
def test_a_failure_keeps_its_traceback(program: Program, arguments: list[str], text: str):
    outcome = program(*arguments)
    assert outcome.status == 1
    assert "Traceback" in outcome.stderr
    assert "program.py" in outcome.stderr
    assert text in outcome.stderr


@pytest.mark.parametrize("arguments", [["case=interrupt"], ["--multirun", "case=interrupt"]])
def test_interrupted(program: Program, arguments: list[str]):
    outcome = program(*arguments)
    assert outcome.status == 130
    assert outcome.stderr == "augrad test: interrupted\n"


def test_interrupted_by_a_signal(program: Program):
    process = program.start("case=sleep")
    while "asleep" not in (program.folder.parent / "stdout").read_text():
        time.sleep(0.01)
    os.kill(process, signal.SIGINT)
    outcome = program.finish()
    assert outcome.status == 130
    assert outcome.stderr == "augrad test: interrupted\n"


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
def test_hydra_itself(program: Program, arguments: list[str], status: int, text: str):
    outcome = program(*arguments)
    assert outcome.status == status, outcome.stderr
    assert text in outcome.stdout
    assert "Traceback" not in outcome.stderr


def test_a_run_is_taken_up_with_its_overrides(program: Program):
    """The directory has characters that are special to Hydra's grammar."""
    directory = program.folder / "a b,c=d 'e' {f} é [g]"
    escaped = str(directory).replace("'", r"\'")
    first = program("seed=7", "optimizer.rate=0.5", f"hydra.run.dir='{escaped}'")
    assert first.status == 0, first.stderr
    assert directory.is_dir()
    (directory / "checkpoint.pt").write_bytes(b"")
    for _ in range(2):  # the second time it is taken up from the record that the first time wrote
        again = program(f"resume={directory}", "optimizer.rate=0.25")
        assert again.status == 0, again.stderr
        shown = program("--cfg", "job", f"resume={directory}").stdout
        assert "seed: 7" in shown
        assert "rate: 0.25" in shown
    assert [path.name for path in program.folder.iterdir()] == [directory.name]


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
