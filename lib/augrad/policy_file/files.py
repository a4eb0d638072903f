"""Reading policy files, and writing them so that there is never half of one."""

import errno
import os
import select
import stat
from pathlib import Path

from augrad.atomic import why_not_replaced, write_text
from augrad.errors import PolicyFileError, UserError
from augrad.paths import expanded
from augrad.policy_file.decode import LARGEST_FILE
from augrad.policy_file.format import format_policy
from augrad.policy_file.model import PolicyDocument
from augrad.policy_file.parse import parse_policy


def read_policy(path: str | os.PathLike[str]) -> PolicyDocument:
    """The policy document in the file at `path`; a leading `~` is the user's home.

    Raises PolicyFileError for a file that cannot be read, and as `parse_policy` does, with the file named at the end.
    """
    try:
        text = start_of(expanded(path))
    except UserError:
        raise
    except (OSError, ValueError) as error:
        inside = Path(os.fspath(path), "policy.json")
        hint = f"; its policy is {inside}" if isinstance(error, IsADirectoryError) and inside.is_file() else ""
        raise PolicyFileError(f"{os.fspath(path)}: expected a policy file, got none: {_reason(error)}{hint}") from None
    try:
        return parse_policy(text)
    except PolicyFileError as error:
        raise PolicyFileError(f"{error} [in {os.fspath(path)}]") from None


PATIENCE = 30.0
"""Seconds for which a pipe may be silent before its text comes."""


def start_of(path: str | os.PathLike[str], most: int = LARGEST_FILE) -> bytes:
    """The content of a file, a pipe or a device; one byte more than `most` where it has more."""
    with open(path, "rb", opener=_open_at_once) as file:
        is_pipe = stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)
        if is_pipe and not select.select([file], [], [], PATIENCE)[0]:
            raise OSError(None, f"it is a pipe into which nothing was written for {PATIENCE:.0f} seconds")
        if hasattr(os, "O_NONBLOCK"):
            os.set_blocking(file.fileno(), True)
        return file.read(most + 1)


def _open_at_once(path: str, flags: int) -> int:
    # A pipe that nobody writes to would not even open; a terminal is to stay what it was.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def write_policy(document: PolicyDocument, path: str | os.PathLike[str]) -> None:
    """Write the document to `path`, atomically: at every moment the old file or the whole new one is there.

    A file that is already there keeps its permissions, a symbolic link its place; a leading `~` is the user's home.
    Raises UserError if it cannot be written, PolicyFileError if the document could not be read again (changed past its
    validation); then nothing was touched.
    """
    text = format_policy(document)
    parse_policy(text)
    require_place(path)
    try:
        write_text(path, text)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{os.fspath(path)}: expected a place for a policy file, got none: {_reason(error)}") from None


def require_place(path: str | os.PathLike[str]) -> None:
    """Raise UserError unless a policy can be written to `path`.

    The folder has to be there, and in the place nothing, or a file that may be written to.
    """
    try:
        _require_writable(Path(os.path.realpath(expanded(path))))
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{os.fspath(path)}: expected a place for a policy file, got none: {_reason(error)}") from None


def _require_writable(target: Path) -> None:
    if reason := why_not_replaced(target):
        raise OSError(None, reason)
    if not target.parent.is_dir():
        reason = errno.ENOTDIR if target.parent.exists() else errno.ENOENT
        raise OSError(reason, os.strerror(reason))


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
