"""The scripts: `scripts/bootstrap.sh` for real, on a project of one file and no dependencies, without a network."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci" / "run"]

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "augrad"
version = "0.1.0"
optional-dependencies = {dev = [], sweep = []}
"""

# What a build backend needs for an editable installation, in few lines: setuptools would come from the network.
BACKEND = """
import zipfile

WHEEL = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
METADATA = "Metadata-Version: 2.1\\nName: augrad\\nVersion: 0.1.0\\nProvides-Extra: dev\\nProvides-Extra: sweep\\n"

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "augrad-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        wheel.writestr("augrad.pth", "lib")
        wheel.writestr("augrad-0.1.0.dist-info/METADATA", METADATA)
        wheel.writestr("augrad-0.1.0.dist-info/WHEEL", WHEEL)
        wheel.writestr("augrad-0.1.0.dist-info/RECORD", "")
    return name

build_wheel = build_editable
"""

Start = Callable[..., subprocess.Popen[str]]
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_bash_can_read(script: Path):
    outcome = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_ci_run_can_be_executed():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone"
    for part in ("scripts", "lib/augrad"):
        (folder / part).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "bootstrap.sh", folder / "scripts")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "constraints.txt").write_text("")
    (folder / "backend.py").write_text(BACKEND)
    return folder


@pytest.fixture
def start(project: Path) -> Start:
    def start(**environment: str) -> subprocess.Popen[str]:
        own = {"PYTHON": sys.executable, "PIP_NO_INDEX": "1"}
        return subprocess.Popen(
            ["bash", project / "scripts" / "bootstrap.sh"],
            env=os.environ | own | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def call(start: Start) -> Call:
    def call(**environment: str) -> subprocess.CompletedProcess[str]:
        process = start(**environment)
        stdout, stderr = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return call


def is_installed(project: Path) -> bool:
    program = "import importlib.metadata as m; print(m.version('augrad'))"
    outcome = subprocess.run([project / ".venv" / "bin" / "python", "-c", program], capture_output=True, check=False)
    return outcome.stdout == b"0.1.0\n"


@pytest.mark.slow
def test_the_second_call_does_nothing_and_a_change_is_installed(project: Path, call: Call):
    first = call()
    assert first.returncode == 0, first.stderr
    assert is_installed(project)
    log = project / ".venv" / "augrad-pip.log"  # every call of pip writes it anew
    assert log.stat().st_size > 0
    log.unlink()
    second = call()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert not log.exists()
    assert call(PYTHON="").stderr == ""

    mark = project / ".venv" / "mark"
    mark.touch()
    (project / "constraints.txt").write_text("numpy<100\n")
    third = call()
    assert third.returncode == 0, third.stderr
    assert log.exists()
    assert mark.exists(), "a change of the versions is no reason to make the environment afresh"

    moved = project.rename(project.parent / "moved")
    outcome = subprocess.run(
        ["bash", moved / "scripts" / "bootstrap.sh"],
        env=os.environ | {"PYTHON": sys.executable, "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert not (moved / ".venv" / "mark").exists(), "an environment cannot be moved: it is made afresh"
    assert is_installed(moved)


@pytest.mark.slow
def test_a_failed_installation_is_repaired_by_the_next_call(project: Path, call: Call):
    (project / "backend.py").write_text("def build_editable(*arguments): raise RuntimeError('out of paper')")
    failed = call()
    assert failed.returncode == 1
    assert "bootstrap: error: pip could not install augrad[dev,sweep,interop,tensorboard,docs]" in failed.stderr
    assert "out of paper" in (project / ".venv" / "augrad-pip.log").read_text()
    assert "ready" not in failed.stderr
    (project / "backend.py").write_text(BACKEND)
    (project / ".venv" / "half").touch()
    repaired = call()
    assert repaired.returncode == 0, repaired.stderr
    assert is_installed(project)
    assert not (project / ".venv" / "half").exists()


@pytest.mark.slow
def test_two_at_once(project: Path, start: Start):
    both = [start(), start()]
    errors = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert is_installed(project)
    if shutil.which("flock"):
        assert sum("installing" in text for text in errors) == 1


@pytest.mark.slow
def test_an_environment_of_the_users_is_kept(project: Path, call: Call):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    treasure = project / ".venv" / "treasure"
    treasure.touch()
    refused = call()
    assert refused.returncode == 1
    assert "was not made by this script" in refused.stderr
    assert treasure.exists()
    subprocess.run([sys.executable, "-m", "venv", project / ".venv"], check=True)
    assert call().returncode == 0
    assert treasure.exists()
    assert is_installed(project)


@pytest.mark.parametrize("python", ["/bin/false", "no-such-python"])
def test_no_suitable_python(project: Path, call: Call, python: str):
    outcome = call(PYTHON=python)
    assert outcome.returncode == 1
    assert f"bootstrap: error: PYTHON={python} is no Python 3.11, 3.12 or 3.13" in outcome.stderr
    assert not (project / ".venv" / "bin").exists()


def test_no_python_at_all(project: Path, call: Call):
    tools = project.parent / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "ln", "rmdir", "flock", "mkdir", "touch", "find", "cat", "head"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    outcome = call(PYTHON="", PATH=str(tools))
    assert outcome.returncode == 1
    assert "found no Python 3.11, 3.12 or 3.13" in outcome.stderr
    assert "PYTHON=/path/to/python3.12" in outcome.stderr
