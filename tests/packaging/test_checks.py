"""The checks that the other tests rely on are in force: annotations are checked, warnings are errors, floors hold."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

ROOT = Path(__file__).parents[2]


def test_annotations_are_checked():
    from augrad.cli.resume import resolve_resume

    with pytest.raises(TypeCheckError):
        resolve_resume("resume=run")  # pyright: ignore[reportArgumentType]


def test_augrad_is_the_one_of_this_tree():
    import augrad
    from augrad.cli.configs import config_directory

    assert Path(augrad.__file__).resolve().parent == ROOT / "lib" / "augrad"
    assert Path(config_directory()) == ROOT / "configs"


def test_the_repository_holds_no_symbolic_link():
    """Where git can make none, it writes text files in their place, and what they lead to is missing."""
    if not (ROOT / ".git").exists():
        pytest.skip("no repository")
    listed = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "100644" in listed
    assert [line for line in listed.splitlines() if line.startswith("120000")] == []


def test_warnings_are_errors():
    with pytest.raises(DeprecationWarning):
        warnings.warn("old", DeprecationWarning, stacklevel=1)


def test_one_thread():
    assert torch.get_num_threads() == 1
    assert os.environ["OMP_NUM_THREADS"]


@pytest.mark.parametrize(
    ("place", "line", "contract"),
    [
        ("errors.py", "import augrad.types", "An import points down only"),
        ("types.py", "import omegaconf", "Only the entry points know Hydra"),
        ("nowhere.py", "", "An import points down only"),
    ],
)
def test_import_linter_finds(tmp_path: Path, place: str, line: str, contract: str):
    """A package of the same name with one forbidden line breaks the contract that the line is about."""
    package = tmp_path / "augrad"
    for module in ("cli/__init__.py", "types.py", "errors.py", "__init__.py", place):
        (package / module).parent.mkdir(parents=True, exist_ok=True)
        (package / module).write_text(line if module == place else "")
    outcome = subprocess.run(
        [
            Path(sys.executable).parent / "lint-imports",
            "--config",
            ROOT / "pyproject.toml",
            "--no-cache",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    broken = [text for text in outcome.stdout.splitlines() if text.endswith("BROKEN")]
    assert len(broken) == 1, outcome.stdout
    assert broken[0].startswith(contract)
