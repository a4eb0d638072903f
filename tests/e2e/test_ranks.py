"""`torchrun ... -m augrad search`: one run, in two processes; one of them lost, and what goes on then."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SEARCH = (
    *("-m", "augrad", "search", "search.steps=30", "search.log_every=5", "search.checkpoint_every=10"),
    *("search.warmup_steps=5", "data.train_size=200", "choose=null", "compare=null"),
)


def started(place: Path, *more: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *launcher)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "lib")}
    return subprocess.Popen(
        [*torchrun, *SEARCH, *more],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def process_of_rank(launcher: int, rank: int) -> int:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == launcher and f"RANK={rank}".encode() in (stat.parent / "environ").read_bytes().split(b"\0"):
                return int(stat.parent.name)
        except OSError:
            continue
    raise AssertionError(f"no process of rank {rank}")


def lost_after(place: Path, rows: int, running: subprocess.Popen[str]) -> None:
    """Kills the second process once there are so many rows."""
    end = time.monotonic() + 180
    while not (place.exists() and len(place.read_text().splitlines()) >= rows):
        assert time.monotonic() < end
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)
    os.kill(process_of_rank(running.pid, 1), signal.SIGKILL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    place = tmp_path_factory.mktemp("whole")
    running = started(place, "hydra.run.dir=run")
    output, errors = running.communicate()
    assert running.returncode == 0, errors
    return place / "run", output + errors


def numbers_of(run: Path) -> list[tuple[float, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(row["train_loss"], row["val_loss"]) for row in rows]


def subpolicies_of(run: Path) -> object:
    return json.loads((run / "policy.json").read_text())["subpolicies"]


def test_it_is_one_run(whole: tuple[Path, str], tmp_path: Path) -> None:
    run, said = whole
    assert said.count("results in") == 1
    assert said.count("data: digits") == 1
    assert [path.name for path in run.parent.iterdir()] == ["run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "lib")}
    command = [sys.executable, *SEARCH, "hydra.run.dir=alone"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    for mine, other in zip(numbers_of(run), numbers_of(tmp_path / "alone"), strict=True):
        assert mine == pytest.approx(other, abs=1e-4)


def test_a_process_that_is_lost_ends_the_run_and_the_run_can_go_on(whole: tuple[Path, str], tmp_path: Path) -> None:
    running = started(tmp_path, "hydra.run.dir=run")
    lost_after(tmp_path / "run" / "metrics.jsonl", 15, running)
    begin = time.monotonic()
    _, errors = running.communicate(timeout=60)
    assert time.monotonic() - begin < 30
    assert running.returncode != 0
    assert "another process of this run is not heard of any more" in errors
    assert "resume=" in errors
    taken_up = started(tmp_path, "resume=run")
    _, errors = taken_up.communicate()
    assert taken_up.returncode == 0, errors
    assert numbers_of(tmp_path / "run") == numbers_of(whole[0])
    assert subpolicies_of(tmp_path / "run") == subpolicies_of(whole[0])


def test_processes_that_are_started_again_take_up_the_run(whole: tuple[Path, str], tmp_path: Path) -> None:
    running = started(tmp_path, "hydra.run.dir=run", launcher=("--max-restarts=1",))
    lost_after(tmp_path / "run" / "metrics.jsonl", 15, running)
    output, errors = running.communicate()
    assert running.returncode == 0, errors
    assert output.count("results in") == 1
    assert numbers_of(tmp_path / "run") == numbers_of(whole[0])
    assert subpolicies_of(tmp_path / "run") == subpolicies_of(whole[0])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--multirun", "seed=1,2"), "a sweep starts processes of its own"),
        (("experiment=faster_autoaugment",), "DensityMatching is computed by one"),
    ],
)
def test_what_is_for_one_process_is_refused(tmp_path: Path, more: tuple[str, ...], message: str) -> None:
    running = started(tmp_path, *more)
    _, errors = running.communicate()
    assert running.returncode != 0
    assert message in errors
    assert not list(tmp_path.iterdir())
