"""Compiled code on disk: found again only where all of its sources are the same, and never a reason to fail."""

import itertools
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

import augrad

numba = pytest.importorskip("numba")
from augrad.engines.numba import disk  # noqa: E402
from augrad.engines.numba.disk import OnDisk, folders, source_hash  # noqa: E402
from augrad.errors import AugradWarning  # noqa: E402

ROOT = Path(augrad.__file__).parent


@pytest.fixture(autouse=True)
def _one_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(disk, "folders", lambda: (tmp_path / "first", tmp_path / "second"))
    disk._warn.cache_clear()


def compiled(name: str = "twice"):
    """A new function as another process would have it."""

    @numba.njit
    def twice(value):
        return 2 * value

    twice._cache = OnDisk(name)
    return twice


def is_found() -> bool:
    again = compiled()
    assert again(4) == 8
    return not again.stats.cache_misses


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.nbc"))


def test_another_process_finds_it(tmp_path: Path) -> None:
    assert not is_found()
    assert len(files(tmp_path / "first")) == 1
    assert is_found()
    assert compiled()(1.5) == 3.0  # other types, another file
    assert len(files(tmp_path / "first")) == 2


@pytest.mark.parametrize(
    "module", ["ops/color.py", "ops/filters.py", "ops/levels.py", "engines/contract.py", "engines/numba/stage.py"]
)
def test_a_constant_of_a_definition_decides(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "augrad"
    for part in ("ops", "engines"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    assert source_hash(copy) == source_hash(ROOT) == disk.SOURCES
    assert not is_found()
    source = copy / module
    source.write_text(source.read_text().replace("0", "1", 1))
    monkeypatch.setattr(disk, "SOURCES", source_hash(copy))
    assert not is_found()
    assert len(files(tmp_path / "first")) == 1  # what came of other sources is gone


def test_what_is_not_whole_is_compiled_again(tmp_path: Path) -> None:
    assert not is_found()
    (file,) = files(tmp_path / "first")
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), pickle.dumps("other")):
        file.write_bytes(damaged)
        assert not is_found()
        assert is_found()  # it was mended


def test_a_folder_that_cannot_be_made_or_is_full_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "first").write_text("a file, not a folder")
    assert not is_found()
    assert files(tmp_path / "second")  # the next choice
    shutil.rmtree(tmp_path / "second")
    monkeypatch.setattr(disk, "folders", lambda: (tmp_path / "first", Path("/dev/full/folder")))
    with pytest.warns(AugradWarning, match="set NUMBA_CACHE_DIR to a folder"):
        assert not is_found()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not is_found()


def test_the_folder_that_numba_was_told_of_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    first, beside, *_ = folders()
    assert first.parent == tmp_path
    assert beside == ROOT / "engines" / "numba" / "__pycache__"
    monkeypatch.setattr("numba.misc.appdirs.AppDirs", lambda *_, **__: SimpleNamespace(user_cache_dir="~/.cache"))
    assert all(folder.is_absolute() for folder in folders())  # nobody's home


PROCESS = """
import sys, numba
from pathlib import Path
from augrad.engines.numba import disk
disk.folders = lambda: (Path(sys.argv[1]),)

@numba.njit
def twice(value):
    return 2 * value

twice._cache = disk.OnDisk("twice")
for value in (1, 1.5, True, 2j):
    assert twice(value) == 2 * value
print(sum(twice.stats.cache_misses.values()))
"""


@pytest.mark.slow
def test_two_processes_at_once_and_a_disk_that_takes_little(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "always", "-c", PROCESS, str(tmp_path / "shared")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    third = subprocess.run(command, capture_output=True, text=True, check=True)
    assert third.stdout.strip() == "0"
    if os.name == "posix":
        command[-1] = str(tmp_path / "little")
        limited = ["bash", "-c", 'ulimit -f 1 && exec "$@"', "bash", *command]
        found = subprocess.run(limited, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        assert found.stderr.count("cannot be kept on disk") == 1
        assert not files(tmp_path / "little")


def test_where_nothing_is_compiled_policies_take_another_engine() -> None:
    """Numba's own switch, for debuggers and coverage."""
    code = """import augrad, torch
policy = augrad.Policy.over(["color", "cutout", "hue"], stages=2, probability=1.0)
print(policy(torch.rand(4, 3, 8, 8)).numel(), policy.to_torchvision()(torch.zeros(3, 8, 8, dtype=torch.uint8)).numel())
"""
    switched_off = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT.parent)}
    found = subprocess.run([sys.executable, "-c", code], env=switched_off, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["768", "192"]
    refused = code.replace("print(", "with augrad.engine('numba'): print(")
    found = subprocess.run(
        [sys.executable, "-c", refused], env=switched_off, capture_output=True, text=True, check=False
    )
    assert "NUMBA_DISABLE_JIT switches off; take auto, or grouped" in found.stderr


APPLIED = """
import sys, torch, augrad
from augrad.engines.choice import engine
images = torch.arange(17 * 64).view(17, 1, 8, 8) / (17 * 64)
policy = augrad.Policy.over(["posterize"], stages=2, probability=1.0)
with torch.no_grad():
    for size in map(int, sys.argv[1:]):
        found, drawn = policy(images[:size], return_params=True)
        with engine("reference"):
            expected = policy(images[:size], params=drawn)
        torch.testing.assert_close(found, expected)
"""


@pytest.mark.slow
def test_what_two_processes_compiled_does_not_meet_in_a_third(tmp_path: Path) -> None:
    """Functions of one name, which call others: of a batch and of a single image, compiled with and without a draw."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    for sizes in (["17"], ["17", "17", "1"], ["17", "1"], ["1", "17"]):
        line = [sys.executable, "-c", APPLIED, *sizes]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_functions_are_counted_apart_in_every_process() -> None:
    """Also in one that is forked: Numba's numbers are in the names by which compiled code calls functions."""
    code = """
import os
from augrad.engines.numba.disk import count_apart
from numba.core.bytecode import FunctionIdentity
assert count_apart()
print(next(FunctionIdentity._unique_ids), flush=True)
if os.fork() == 0:
    print(next(FunctionIdentity._unique_ids), flush=True)
else:
    os.wait()
"""
    line = [sys.executable, "-W", "ignore", "-c", code]
    outputs = [subprocess.run(line, capture_output=True, text=True, check=True).stdout.split() for _ in range(2)]
    numbers = sorted(int(number) for output in outputs for number in output)
    assert len(numbers) == 4
    assert min(high - low for low, high in itertools.pairwise(numbers)) > 1_000_000
