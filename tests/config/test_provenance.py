"""The revision in a policy file is that of augrad's own repository, or there is none."""

import subprocess
from pathlib import Path

import pytest

from augrad.search.provenance import own_revision


def repository(place: Path, project: str) -> str:
    """A repository with one commit, of a project of this name; its revision."""
    place.mkdir(parents=True)
    (place / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(place)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True)
    told = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def package(place: Path) -> Path:
    place.mkdir(parents=True)
    return place.resolve()


def test_a_checkout_has_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    revision, other = repository(tmp_path / "own", "augrad"), repository(tmp_path / "other", "other")
    own = package(tmp_path / "own" / "lib" / "augrad")
    assert own_revision(own) == revision != other
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))  # as in a hook of another repository
    assert own_revision(own) == revision


@pytest.mark.parametrize("place", [".venv/lib/python3.12/site-packages/augrad", "lib/augrad", "vendored/lib/augrad"])
def test_a_copy_inside_of_another_repository_has_none(tmp_path: Path, place: str) -> None:
    repository(tmp_path / "other", "other")
    assert own_revision(package(tmp_path / "other" / place)) is None


def test_a_copy_of_the_sources_or_of_the_package_has_none(tmp_path: Path) -> None:
    assert own_revision(package(tmp_path / "site-packages" / "augrad")) is None
    repository(tmp_path / "other", "other")
    copy = package(tmp_path / "other" / "augrad" / "lib" / "augrad")
    (copy.parents[1] / "pyproject.toml").write_text('[project]\nname = "augrad"\n')
    assert own_revision(copy) is None
