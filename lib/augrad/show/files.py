"""Putting a finished file in its place, whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path

from augrad.errors import UserError


def put(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`, atomically; missing folders are made. Raises `UserError` naming the path if it fails."""
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with contextlib.suppress(FileExistsError):  # not a folder: opening says so better
            target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(
            f"{path}: cannot write this file ({error.strerror or error}); free some space or choose a writable folder"
        ) from error
