"""The wheel is whole: installed alone, away from the repository, it searches."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = (".py", ".yaml", ".json", ".jinja", ".html", ".css", ".typed")

pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """As a user would in that folder: nothing of the surroundings leads back to the repository."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    outcome = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome


def checkout(place: Path) -> Path:
    """A copy of the repository as git makes it where it can make no symbolic links: small text files in their place."""
    for part in ("configs", "experiments", "lib"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / part, place / part, symlinks=True, ignore=ignored)
    for part in ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "README.md"):
        shutil.copy(ROOT / part, place)
    for link in [path for path in place.rglob("*") if path.is_symlink()]:
        target = os.readlink(link)
        link.unlink()
        link.write_text(target)
    return place


def build(source: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", source / "dist", source]
    return subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)


def files_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that nothing is written into the repository and nothing stale in it gets into the wheel."""
    return checkout(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """Built from the source distribution, which is built from the checkout."""
    outcome = build(source)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, which takes the libraries from the running one but not the augrad there."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, with_pip=False, symlinks=os.name != "nt")
    python = place / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel),
        folder=place,
    )
    # A folder named in a .pth file is put on the path, but its own .pth files, with the editable augrad, are not read.
    libraries = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    (own,) = (place / "lib").glob("python*/site-packages")
    (own / "libraries.pth").write_text("\n".join(libraries))
    return place


def test_everything_is_in_the_wheel(wheel: Path):
    expected = {
        f"{target}/{file.relative_to(origin).as_posix()}"
        for origin, target in {ROOT / "lib" / "augrad": "augrad", ROOT / "configs": "augrad/configs"}.items()
        for file in origin.rglob("*")
        if file.suffix in SHIPPED
    }
    assert files_in(wheel) == expected
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())


def test_a_wheel_straight_from_the_checkout_is_the_same(source: Path, wheel: Path):
    before = wheel.read_bytes()
    stale = source / "build" / "lib" / "augrad" / "configs" / "policy" / "of_an_earlier_build.yaml"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_text("")
    outcome = build(source, "--wheel")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    again = files_in(wheel)  # under the same name
    wheel.write_bytes(before)
    assert again == files_in(wheel)


@pytest.mark.parametrize("lost", ["configs", "configs/train.yaml", "lib/augrad/cli"])
def test_without_commands_or_configs_nothing_is_built(source: Path, tmp_path: Path, lost: str):
    shutil.copytree(source, tmp_path / "copy", ignore=shutil.ignore_patterns("dist", "build"))
    (tmp_path / "copy" / lost).rename(tmp_path / "lost")
    outcome = build(tmp_path / "copy", "--wheel")
    assert outcome.returncode != 0
    assert "this copy of the repository is not whole: it lacks" in outcome.stdout + outcome.stderr
    assert not list((tmp_path / "copy").glob("dist/*"))


def test_a_search_in_an_empty_folder(installed: Path, tmp_path: Path):
    augrad = installed / "bin" / "augrad"
    assert run(augrad, "--version", folder=tmp_path).stdout == f"augrad {version('augrad')}\n"
    program = "import augrad, augrad.cli.configs as c; print(augrad.__file__); print(c.config_directory())"
    for line in run(installed / "bin" / "python", "-c", program, folder=tmp_path).stdout.splitlines():
        assert Path(line).is_relative_to(installed)
    run(augrad, "search", "search.steps=5", "compare=null", "hydra.run.dir=out", folder=tmp_path)
    out = tmp_path / "out"
    assert (out / "policy.json").stat().st_size > 0
    assert (out / "metrics.jsonl").stat().st_size > 0
    assert (out / ".hydra" / "overrides.yaml").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
