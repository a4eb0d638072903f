"""A run's directory: whose it is, and that one process at a time writes in it.

A new run takes a directory in which nothing is that it would write. `RECORD`, the folder with its configuration,
appears at once and whole, and says from then on that the directory is a run's. Only then anything else is written.
"""

import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from augrad.atomic import write_text
from augrad.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

RECORD, CHECKPOINT, PREVIOUS = ".hydra", "checkpoint.pt", "checkpoint.previous.pt"
LOCK = ".augrad-lock"

_ANOTHER = "choose another run directory (hydra.run.dir=..., in a sweep hydra.sweep.dir=...)"
_LOG = logging.getLogger(__name__)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def has_content(path: Path) -> bool:
    """Whether something is at `path` that could be lost: anything but an empty file or an empty folder."""
    try:
        if path.is_dir():
            return any(path.iterdir())
        return path.is_symlink() or path.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError:  # it is there, and cannot be looked at
        return True


def require_free(directory: Path, names: Iterable[str]) -> None:
    """Raises `UserError` where `directory` is a run's already, or holds something at one of the `names`."""
    found = [name for name in (RECORD, *names) if has_content(directory / name)]
    if not found:
        return
    if RECORD in found or CHECKPOINT in found:
        config = read_record(directory).get("config.yaml", "")
        can_go_on = (CHECKPOINT in found and config) or re.search("^(search|policies):", config, re.MULTILINE)
        raise UserError(
            f"{directory}: holds a run already ({', '.join(found)}), and nothing in it was changed; {_ANOTHER}"
            + (", or take up the run that is there (resume=...)" if can_go_on else "")
        )
    raise UserError(f"{directory}: the run would overwrite what is there ({', '.join(found)}); {_ANOTHER}")


@contextlib.contextmanager
def only_writer(directory: Path) -> Iterator[None]:
    """Holds the directory's lock. Raises `UserError` where another process, or thread, holds it.

    The lock is the operating system's (`flock`, which NFS passes on to its server): it ends with the process, however
    that ends, and a lock file that a killed process left behind blocks nobody. Where there are no such locks (some
    network file systems, Windows) a warning says so; new runs are kept apart there as well, by their records.
    """
    path = directory / LOCK
    descriptor = _open_and_lock(path)
    while not _is_at(descriptor, path):  # its last holder took the file away in between
        os.close(descriptor)
        descriptor = _open_and_lock(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)  # while it is held: who has it open finds that it is gone, and opens a new one
        os.close(descriptor)


def _open_and_lock(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot write in this run directory ({error.strerror or error}); choose a writable one"
        ) from error
    try:
        _lock(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int, path: Path) -> None:
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, "no flock")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
        raise UserError(
            f"{path.parent}: {holder} is writing in this run directory; wait until it has ended, or stop it"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise UserError(f"{path}: cannot lock this file ({error.strerror or error})") from error
        _LOG.warning("%s: this file system has no locks; never resume a run twice at the same time here", path.parent)
    with contextlib.suppress(OSError):  # for the message alone
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def put_record(directory: Path, texts: Mapping[str, str]) -> None:
    """The record of a new run: files by name, all or nothing. Raises `UserError` where there is a record already."""
    temporary = directory / f"{RECORD}.{secrets.token_hex(8)}.tmp"
    try:
        for name, text in texts.items():
            write_text(temporary / name, text)
        os.rename(temporary, directory / RECORD)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise UserError(f"{directory}: cannot make {RECORD} ({error.strerror or error}); {_ANOTHER}") from error
        raise


def read_record(directory: Path) -> dict[str, str]:
    """The files of a run's record, by name; those that cannot be read are left out."""
    texts = {}
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            texts[name] = (directory / RECORD / name).read_text(encoding="utf-8")
    return texts


def replace_record(directory: Path, texts: Mapping[str, str]) -> None:
    """Other texts in the record of a run that is taken up, each atomically."""
    for name, text in texts.items():
        write_text(directory / RECORD / name, text)


def withdraw(directory: Path, names: Iterable[str]) -> None:
    """Take back a new run that came to nothing: its record, and its own files at `names`."""
    for name in names:
        with contextlib.suppress(OSError):
            (directory / name).unlink()
    shutil.rmtree(directory / RECORD, ignore_errors=True)
