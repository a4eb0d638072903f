"""Reading policy files, and writing them so that there is never half of one."""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from augrad.errors import PolicyFileError, UserError
from augrad.policy_file.decode import LARGEST_FILE
from augrad.policy_file.format import format_policy
from augrad.policy_file.model import PolicyDocument
from augrad.policy_file.parse import parse_policy


def read_policy(path: str | os.PathLike[str]) -> PolicyDocument:
    """The policy document in the file at `path`.

    Raises PolicyFileError for a file that cannot be read, and as `parse_policy` does, with the file named at the end.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        raise PolicyFileError(f"{os.fspath(path)}: expected a policy file, got none: {_reason(error)}") from None
    try:
        return parse_policy(text)
    except PolicyFileError as error:
        raise PolicyFileError(f"{error} [in {os.fspath(path)}]") from None


def write_policy(document: PolicyDocument, path: str | os.PathLike[str]) -> None:
    """Write the document to `path`, atomically: at every moment the old file or the whole new one is there.

    A file that is already there keeps its permissions, a symbolic link its place. Raises UserError if it cannot be
    written, PolicyFileError if the document could not be read again (changed past its validation); then nothing was
    touched.
    """
    text = format_policy(document)
    parse_policy(text)
    try:
        _replace(Path(os.path.realpath(path)), text.encode())
    except (OSError, ValueError) as error:
        raise UserError(f"{os.fspath(path)}: expected a place for a policy file, got none: {_reason(error)}") from None


def _replace(target: Path, content: bytes) -> None:
    mode = None
    if target.exists():
        if not target.is_file():
            raise OSError(None, "it is a directory" if target.is_dir() else "it is not a regular file")
        if not os.access(target, os.W_OK):
            raise OSError(None, "the file that is there is read-only")
        mode = stat.S_IMODE(target.stat().st_mode)
    # A name of its own length: the target's may be as long as the file system allows.
    temporary = target.parent / f".augrad-{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The file is in place; that its name survives a power cut as well is best effort, some file systems cannot do it.
    with contextlib.suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
