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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is written into the repository and nothing stale in it gets into the wheel."""
    source = tmp_path_factory.mktemp("source")
    for part in ("configs", "experiments", "lib"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / part, source / part, symlinks=True, ignore=ignored)
    for part in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / part).exists():
            shutil.copy(ROOT / part, source)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", source / "dist", source, folder=source)
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
    origins = {ROOT / "lib" / "augrad": "augrad", ROOT / "configs": "augrad/configs"}
    origins[ROOT / "experiments"] = "augrad/experiments"
    expected = {
        f"{target}/{file.relative_to(origin).as_posix()}"
        for origin, target in origins.items()
        for file in origin.rglob("*")
        if file.suffix in SHIPPED
    }
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
        texts = {name.partition("/")[2] for name in archive.namelist() if ".dist-info/" in name}
    assert shipped == expected
    assert "licenses/LICENSE" in texts


def test_a_search_in_an_empty_folder(installed: Path, tmp_path: Path):
    augrad = installed / "bin" / "augrad"
    assert run(augrad, "--version", folder=tmp_path).stdout == f"augrad {version('augrad')}\n"
    program = "import augrad, augrad.configs; print(augrad.__file__); print(augrad.configs.__file__)"
    for line in run(installed / "bin" / "python", "-c", program, folder=tmp_path).stdout.splitlines():
        assert Path(line).is_relative_to(installed)
    run(augrad, "search", "search.steps=5", "compare=null", "hydra.run.dir=out", folder=tmp_path)
    out = tmp_path / "out"
    assert (out / "policy.json").stat().st_size > 0
    assert (out / "metrics.jsonl").stat().st_size > 0
    assert (out / ".hydra" / "overrides.yaml").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
