"""The worked example of CONTRIBUTING.md, done as it stands there, in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("configs", "lib", "tests")
SMALL = (
    *("search.steps=3", "search.select_every=3", "search.warmup_steps=0", "compare=null", "data.train_size=200"),
    *("data.validation_size=60", "data.selection_size=60", "model.width=16", "hydra.run.dir=run"),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with the example's files where their first lines say."""
    place = tmp_path_factory.mktemp("copy")
    for part in PARTS:
        shutil.copytree(ROOT / part, place / part, symlinks=True)  # with __pycache__: compiled code is not made again
    shutil.copy(ROOT / "pyproject.toml", place)
    text = (ROOT / "CONTRIBUTING.md").read_text()
    files = re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert [Path(name).parent.as_posix() for name, _ in files] == [
        "lib/augrad/estimators",
        "configs/estimator",
        "tests/numerics",
    ]
    for name, content in files:
        assert not (place / name).exists(), name
        (place / name).write_text(content)
    return place


def run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(copy / "lib"), "PATH": f"{Path(sys.executable).parent}:/usr/bin"}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


def prove(copy: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(
        copy, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/numerics/test_paired.py", *options
    )


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "augrad", *arguments]


def test_it_passes_its_proof(copy: Path) -> None:
    outcome = prove(copy)
    assert outcome.returncode == 0, outcome.stdout[-3000:] + outcome.stderr[-2000:]
    assert "4 passed" in outcome.stdout


def test_the_proof_fails_for_the_mistake_that_it_names(copy: Path) -> None:
    source = copy / "lib/augrad/estimators/paired.py"
    right = source.read_text()
    source.write_text(right.replace("in (one, other))", "in (other, one))"))
    try:
        assert source.read_text() != right
        outcome = prove(copy, "-k", "unbiased")
    finally:
        source.write_text(right)
    assert outcome.returncode == 1, outcome.stdout[-3000:]
    assert "2 failed" in outcome.stdout


def test_it_searches_with_nothing_registered(copy: Path) -> None:
    assert "paired" in run(copy, *command(["search", "--help"])).stdout
    outcome = run(copy, *command(["search", "estimator=paired", *SMALL]))
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    assert (copy / "run" / "policy.json").exists()


def test_it_has_the_style_of_the_rest_and_its_place_in_the_layers(copy: Path) -> None:
    scripts = Path(sys.executable).parent
    for check in (("ruff", "check", "--no-cache"), ("ruff", "format", "--no-cache", "--check")):
        outcome = run(
            copy, str(scripts / check[0]), *check[1:], "lib/augrad/estimators", "tests/numerics/test_paired.py"
        )
        assert outcome.returncode == 0, outcome.stdout
    outcome = run(copy, str(scripts / "lint-imports"), "--no-cache")
    assert outcome.returncode == 0, outcome.stdout
