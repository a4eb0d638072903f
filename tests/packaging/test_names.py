"""What users may name: augrad's own names, and those of its packages."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import augrad

PACKAGES = ("estimators", "hypergradients", "objectives", "regularizers")
ROOT = Path(__file__).parents[2]


def test_augrad_shows_its_public_names_alone() -> None:
    assert dir(augrad) == sorted(augrad.__all__)
    for name in augrad.__all__:
        assert getattr(augrad, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'lern'"):
        augrad.lern  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_exports_its_parts(package: str) -> None:
    """Every option of the configuration is among them, and everything says what it is."""
    module = getattr(augrad, package)
    for name in module.__all__:
        assert getattr(module, name).__doc__, name
    named = {
        line.rpartition(".")[2].strip()
        for path in (ROOT / "configs").rglob("*.yaml")
        for line in path.read_text().splitlines()
        if line.strip().startswith(f"_target_: augrad.{package}.")
    }
    assert named <= set(module.__all__)
    assert named or package == "regularizers"


def test_who_applies_a_policy_does_not_wait_for_a_search() -> None:
    program = (
        "import sys, augrad\n"
        "later = ('augrad.search', 'augrad.objectives', 'augrad.show', 'matplotlib', 'sklearn', 'rich', 'hydra')\n"
        "assert not [name for name in later if name in sys.modules], [name for name in later if name in sys.modules]\n"
        "assert callable(augrad.learn) and augrad.estimators.Gumbel() and 'hydra' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_submodules_are_found_by_their_names_too() -> None:
    assert importlib.import_module("augrad.estimators") is augrad.estimators
