"""A run's directory: free or refused, one writer at a time, its record whole or not there."""

import errno
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from augrad.errors import UserError
from augrad.runs import directory as module
from augrad.runs.directory import LOCK, RECORD, only_writer, put_record, read_record, require_free, withdraw

NAMES = ("metrics.jsonl", "figures", "checkpoint.pt")


def test_a_free_directory(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "metrics.jsonl").touch()  # nothing in it could be lost
    (tmp_path / "figures").mkdir()
    require_free(tmp_path, NAMES)


@pytest.mark.parametrize("taken", ["metrics.jsonl", "figures/mine.png", f"{RECORD}/config.yaml", "checkpoint.pt"])
def test_what_is_there_is_named(tmp_path: Path, taken: str):
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("mine")
    with pytest.raises(UserError, match=taken.split("/")[0]) as refusal:
        require_free(tmp_path, NAMES)
    assert "hydra.run.dir=..." in str(refusal.value)
    assert "resume=" not in str(refusal.value)


def test_a_search_can_be_taken_up(tmp_path: Path):
    put_record(tmp_path, {"config.yaml": "seed: 0\nsearch:\n  steps: 3\n"})
    with pytest.raises(UserError, match=r"holds a run already .*resume="):
        require_free(tmp_path, NAMES)


def test_a_link_that_leads_nowhere_is_somebodys(tmp_path: Path):
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "unmounted" / "metrics.jsonl")
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        require_free(tmp_path, NAMES)


def test_two_writers_of_one_process(tmp_path: Path):
    with only_writer(tmp_path):
        with pytest.raises(UserError, match=f"process {os.getpid()} on .* is writing in this run directory"), \
                only_writer(tmp_path):  # fmt: skip
            pass
        assert (tmp_path / LOCK).exists()
    assert list(tmp_path.iterdir()) == []
    with only_writer(tmp_path):
        pass


def test_the_lock_of_a_killed_process_blocks_nobody(tmp_path: Path):
    child = os.fork()
    if child == 0:
        try:
            with only_writer(tmp_path):
                (tmp_path / "holds").touch()
                time.sleep(60)
        finally:
            os._exit(1)
    while not (tmp_path / "holds").exists():
        time.sleep(0.01)
    with pytest.raises(UserError, match=f"process {child} on"), only_writer(tmp_path):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / LOCK).exists()
    with only_writer(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_never_two_of_many(tmp_path: Path):
    """Threads that take and give back the lock, which takes its file away each time: never two hold it."""
    inside, most, times = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, times
        for _ in range(200):
            try:
                with only_writer(tmp_path):
                    inside += 1
                    most, times = max(most, inside), times + 1
                    time.sleep(0)
                    inside -= 1
            except UserError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert times > 4


@pytest.mark.parametrize("missing", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, None])
def test_where_there_are_no_locks_a_warning_says_so(
    tmp_path: Path, missing: int | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(missing, "no locks")

    if missing is None:
        monkeypatch.setattr(module, "fcntl", None)
    else:
        monkeypatch.setattr(module.fcntl, "flock", flock)
    with only_writer(tmp_path):
        put_record(tmp_path, {"config.yaml": "a: 1\n"})
    assert "has no locks" in caplog.text
    with pytest.raises(UserError, match=RECORD):  # new runs are kept apart there, too
        put_record(tmp_path, {"config.yaml": "a: 2\n"})
    assert read_record(tmp_path) == {"config.yaml": "a: 1\n"}


def test_a_record_appears_whole_or_not_at_all(tmp_path: Path):
    with pytest.raises(TypeError):
        put_record(tmp_path, {"config.yaml": "a: 1\n", "hydra.yaml": 3})  # pyright: ignore[reportArgumentType]
    assert list(tmp_path.iterdir()) == []
    put_record(tmp_path, {"config.yaml": "a: 1\n", "hydra.yaml": "b: 2\n"})
    assert read_record(tmp_path) == {"config.yaml": "a: 1\n", "hydra.yaml": "b: 2\n"}
    with pytest.raises(UserError, match="choose another run directory"):
        put_record(tmp_path, {"config.yaml": "a: 2\n"})
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_withdrawn_means_gone(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    put_record(tmp_path, {"config.yaml": "a: 1\n"})
    (tmp_path / "metrics.jsonl").touch()
    withdraw(tmp_path, NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("place", ["/proc", "/dev/null"])
def test_a_directory_that_cannot_be_written(place: str):
    if not Path(place).exists():
        pytest.skip(f"no {place} here")
    with pytest.raises(UserError, match=f"{place}: cannot write in this run directory"), only_writer(Path(place)):
        pass
