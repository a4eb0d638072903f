"""Writing files so that a reader never sees half of one, whatever kills the writer."""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from augrad.errors import UserError
from augrad.paths import expanded


def write_bytes(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Put `data` at `path`, all or nothing: the old content stays until the new one is whole and on the disk.

    A leading `~` is the user's home. Missing folders are made; a symbolic link is written through; an existing file
    keeps its permissions. A kill can leave a hidden `.<random>.tmp` beside the file, never a half-written file. Raises
    `UserError` naming the path when the folder cannot be written to or the disk is full, and where a folder, a device,
    a pipe or a read-only file is in the place; what was at `path` before is then untouched.
    """
    try:
        target = Path(os.path.realpath(expanded(path)))
    except ValueError as error:  # a null byte
        raise UserError(f"{os.fspath(path)!r}: expected the path of a file, got another text: {error}") from error
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")  # of its own length: a name may be as long as it can
    try:
        if reason := why_not_replaced(target):
            raise UserError(f"{path}: cannot write this file ({reason}); choose another name")
        with contextlib.suppress(FileExistsError):  # not a folder: opening says so better
            target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temporary, target.stat().st_mode & 0o7777)
            os.replace(temporary, target)
        except BaseException:  # also Ctrl-C: no leftovers
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise UserError(
            f"{path}: cannot write this file ({error.strerror or error}); free some space or choose a writable folder"
        ) from error


def why_not_replaced(target: Path) -> str:
    """Why a file must not be put in the place of what is at `target`; empty where it may, or nothing is there.

    Raises OSError where that cannot be told.
    """
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return ""
    if stat.S_ISDIR(mode):
        return "it is a directory"
    if not stat.S_ISREG(mode):
        return "it is not a regular file"  # a device, a pipe
    return "" if os.access(target, os.W_OK) else "the file that is there is read-only"


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Put `text` at `path` as UTF-8 with its line ends as they are; otherwise like `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def _sync_folder(folder: Path) -> None:
    """Make the new name durable as well; not every file system (or Windows) lets a folder be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
