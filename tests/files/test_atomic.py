"""Files are written whole or not at all."""

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from augrad.atomic import write_bytes, write_text
from augrad.errors import UserError


def test_writes_and_replaces(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_text(path, "±1\r\n")
    assert path.read_bytes() == "±1\r\n".encode()
    write_bytes(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_new_file_follows_the_umask_and_an_old_one_keeps_its_mode(tmp_path: Path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    (tmp_path / "a").chmod(0o604)
    write_bytes(tmp_path / "a", b"2")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o604


def test_a_symbolic_link_keeps_its_place(tmp_path: Path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_the_longest_name(tmp_path: Path):
    name = "n" * os.pathconf(tmp_path, "PC_NAME_MAX")
    write_bytes(tmp_path / name, b"1")
    assert os.listdir(tmp_path) == [name]


def test_a_folder_that_cannot_be_is_named(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"file/x.txt: cannot write this file \(Not a directory\)"):
        write_bytes(tmp_path / "file" / "x.txt", b"1")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: cannot write"):
        write_bytes(tmp_path / "folder", b"1")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_no_room_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "data"
    write_bytes(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))  # the system refuses to let a file grow beyond this
    try:
        with pytest.raises(UserError, match=r"data: cannot write this file \(File too large\); free some space"):
            write_bytes(path, b"x" * (1 << 17))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["data"]


_KILLS = """
import os, signal, sys, time
from pathlib import Path
from augrad.atomic import write_bytes

path = Path(sys.argv[1])
for delay in (0.0, 0.002, 0.005, 0.007, 0.011, 0.013):
    path.unlink(missing_ok=True)
    writer = os.fork()
    if writer == 0:
        turn = 0
        while True:
            write_bytes(path, bytes([turn % 251]) * 2_000_000)
            turn += 1
    while not path.exists():
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    data = path.read_bytes()
    print(len(data), data == data[:1] * len(data))
"""


def test_a_kill_never_leaves_half_a_file(tmp_path: Path):
    result = subprocess.run(
        [sys.executable, "-c", _KILLS, str(tmp_path / "data")], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.split("\n")[:-1] == ["2000000 True"] * 6


def test_what_is_no_file_stays_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"pipe: cannot write this file \(it is not a regular file\)"):
        write_text(tmp_path / "pipe", "text")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with pytest.raises(UserError, match=r"null: cannot write this file \(it is not"):
        write_text("/dev/null", "text")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every file")
def test_a_read_only_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "mine").chmod(0o444)
    with pytest.raises(UserError, match="that is there is read-only"):
        write_text(tmp_path / "mine", "text")
    assert (tmp_path / "mine").read_text() == "mine"
