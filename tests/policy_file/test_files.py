"""Reading and writing files: atomic, and what goes wrong is said."""

import contextlib
import os
import re
import resource
import stat
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from augrad.errors import PolicyFileError, UserError
from augrad.policy_file import Entry, PolicyDocument, SubPolicy, format_policy, read_policy, write_policy
from augrad.policy_file.convert import read_document


def _document(op: str = "invert", count: int = 1) -> PolicyDocument:
    subpolicy = SubPolicy(weight=1 / count, stages=((Entry(op=op),),))
    return PolicyDocument(interpolation="bilinear", fill=0.0, subpolicies=(subpolicy,) * count)


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


@contextlib.contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """Within, writing beyond `size` bytes fails, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_what_is_written_is_the_formatted_text_and_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    write_policy(_document(), path)
    assert path.read_bytes() == format_policy(_document()).encode()
    assert read_policy(path) == _document()
    write_policy(_document("identity"), str(path))
    assert read_policy(str(path)) == _document("identity")
    assert os.listdir(tmp_path) == ["policy.json"]


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path, large = tmp_path / "policy.json", _document("identity", 1000)
    write_policy(_document(), path)
    with _largest_file(1000):
        with pytest.raises(UserError, match=r"policy\.json: cannot write this file \(File too large\)"):
            write_policy(large, path)
        with pytest.raises(UserError, match="File too large"):
            write_policy(large, tmp_path / "other.json")
    assert read_policy(path) == _document()
    assert os.listdir(tmp_path) == ["policy.json"]


def test_a_reader_sees_one_whole_document_or_the_other(tmp_path: Path) -> None:
    path, documents = tmp_path / "policy.json", (_document("invert", 8), _document("identity", 40))
    write_policy(documents[0], path)
    written: list[int] = []

    def write() -> None:
        for turn in range(30):
            write_policy(documents[turn % 2], path)
            written.append(turn)

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    try:
        while writer.is_alive() or not reads:
            assert read_policy(path) in documents
            reads += 1
    finally:
        writer.join()
    assert len(written) == 30


def test_permissions_follow_the_umask_or_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    with _umask(0o027):
        write_policy(_document(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    write_policy(_document("identity"), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_symbolic_link_stays_and_the_file_behind_it_changes(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "policy.json", tmp_path / "latest.json"
    target.write_text("old")
    link.symlink_to(target)
    write_policy(_document(), link)
    assert link.is_symlink()
    assert read_policy(target) == _document()
    assert sorted(os.listdir(tmp_path)) == ["latest.json", "store"]


def test_the_longest_file_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("p" * 250 + ".json")
    write_policy(_document(), path)
    assert read_policy(path) == _document()


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path / "missing" / "policy.json", "No such file or directory"),
        (tmp_path / "file" / "policy.json", "Not a directory"),
        (tmp_path / "folder", "it is a directory"),
        (tmp_path / "pipe", "it is not a regular file"),
        (tmp_path / "nul\0.json", "null"),
        (tmp_path / ("p" * 300), "name too long"),
    ):
        with pytest.raises(UserError, match=rf"^{re.escape(str(path))}: expected a place .* got none: .*{reason}"):
            write_policy(_document(), path)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "pipe"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_files_and_folders_are_respected(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    write_policy(_document(), path)
    path.chmod(0o444)
    with pytest.raises(UserError, match="read-only"):
        write_policy(_document("identity"), path)
    assert read_policy(path) == _document()
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(UserError, match="Permission denied"):
            write_policy(_document(), tmp_path / "other.json")
    finally:
        tmp_path.chmod(0o755)


def test_a_document_changed_past_its_validation_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    write_policy(_document(), path)
    for change in ({"fill": 2.0}, {"subpolicies": ()}, {"fill": float("nan")}):
        with pytest.raises(PolicyFileError):
            write_policy(_document().model_copy(update=change), path)
    with pytest.raises(PolicyFileError, match=r"^document: expected at most 16777216 bytes"):
        write_policy(_document().model_copy(update={"provenance": {"log": "x" * 2**24}}), path)
    assert read_policy(path) == _document()
    assert os.listdir(tmp_path) == ["policy.json"]


def test_what_cannot_be_read_is_refused_with_the_file_named(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "missing.json", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / "nul\0.json", "null"),
    ):
        with pytest.raises(
            PolicyFileError, match=rf"^{re.escape(str(path))}: expected a policy file, got none: .*{reason}"
        ):
            read_policy(path)
    path = tmp_path / "policy.json"
    path.write_bytes(b"")
    with pytest.raises(PolicyFileError, match=rf"^document: .* empty \[in {re.escape(str(path))}\]$"):
        read_policy(path)
    path.write_bytes(format_policy(_document()).encode().replace(b"1.0", b"1.5"))
    with pytest.raises(PolicyFileError, match=rf"^subpolicies.*\[in {re.escape(str(path))}\]$"):
        read_policy(path)


def test_a_file_without_end_is_refused_after_16_mebibytes() -> None:
    with pytest.raises(PolicyFileError, match=r"^document: expected at most 16777216 bytes"):
        read_policy("/dev/zero")


def test_a_file_goes_before_a_builtin_policy_of_its_name_and_a_folder_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "identity").mkdir()
    assert read_document("identity") == read_document(str(files("augrad.policy_file") / "builtin" / "identity.json"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(PolicyFileError, match=r"^folder: expected a policy file, got none: Is a directory"):
        read_document("folder")
    (tmp_path / "identity").rmdir()
    write_policy(_document("equalize"), tmp_path / "identity")
    assert read_document("identity") == _document("equalize")
