"""Checkpoints: one file from which a run goes on bit by bit, written atomically and read without running code."""

import io
import os
import pickle
import secrets
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from augrad.atomic import write_bytes
from augrad.errors import AugradWarning, UserError

_FORMAT = "augrad.checkpoint"
_VERSION = 1
_ZIP_START = b"PK\x03\x04"  # what every file of torch.save begins with


class DamagedCheckpointError(UserError):
    """A file that is no whole checkpoint: cut off, or changed."""


def save_checkpoint(
    path: str | os.PathLike[str], state: dict[str, Any], previous: str | os.PathLike[str] | None = None
) -> None:
    """Write `state` (tensors, numbers, strings, None, and lists, tuples and dicts of those) to `path`, atomically.

    previous: where the checkpoint that was at `path` is kept. Raises `UserError` naming the path if it cannot be
    written, `TypeError` if the state holds something that `load_checkpoint` would refuse: better now than later.
    """
    buffer = io.BytesIO()
    torch.save({"format": _FORMAT, "version": _VERSION, "state": state}, buffer)
    buffer.seek(0)
    if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(buffer):
        raise TypeError(
            f"a checkpoint holds tensors, numbers, strings and lists, tuples, dicts of them; the state has {unsafe}"
        )
    if previous is not None:
        _keep(Path(path), Path(previous))
    write_bytes(path, buffer.getbuffer())


def _keep(path: Path, previous: Path) -> None:
    """The file at `path` gets a second name, `previous`, in the place of what has that name: nothing is copied."""
    if not path.exists():
        return
    temporary = previous.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        os.link(path, temporary)
        os.replace(temporary, previous)
    except OSError:  # a file system without links
        write_bytes(previous, path.read_bytes())
    finally:
        temporary.unlink(missing_ok=True)  # of two names of one file the first stays


def load_newest(path: Path, previous: Path) -> tuple[dict[str, Any], bool]:
    """As `load_checkpoint` of `path`; where that is damaged, the one at `previous` if there is one, with a warning.

    Also whether it is the one at `path`: a damaged one must not take the place of `previous` when the next is saved.
    """
    try:
        return load_checkpoint(path), True
    except DamagedCheckpointError as error:
        if not previous.is_file():
            raise
        state = load_checkpoint(previous)
        why = str(error).partition(";")[0]
        warnings.warn(f"{why}; the run goes on from the one before it, {previous.name}", AugradWarning, stacklevel=2)
        return state, False


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state that `save_checkpoint` was given, its tensors on the CPU. Never runs code from the file.

    Raises `UserError` if the file is missing, damaged, not a checkpoint of augrad, or of a version unknown here.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(len(_ZIP_START))
    except OSError as error:
        raise UserError(
            f"{path}: cannot read this checkpoint ({error.strerror or error}); expected the checkpoint.pt of a run"
        ) from error
    if start != _ZIP_START:
        raise DamagedCheckpointError(
            f"{path}: no checkpoint, or a damaged one (it begins with {start!r}); expected the checkpoint.pt of a run"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise zipfile.BadZipFile("it was compressed, and could be of any size")
            if damaged := archive.testzip():  # torch does not look at the check sums
                raise zipfile.BadZipFile(f"wrong check sum of {damaged}")
        content = torch.load(Path(path), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: not a checkpoint of augrad: it holds Python objects, which are never loaded"
        ) from error
    except Exception as error:  # a damaged file can fail anywhere inside the reader
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedCheckpointError(
            f"{path}: this checkpoint is damaged ({reason}); go on from an older copy or start the run again"
        ) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT or not isinstance(content.get("state"), dict):
        raise UserError(f"{path}: not a checkpoint of augrad; expected the checkpoint.pt of a run")
    version = content.get("version")
    if not isinstance(version, int) or not 1 <= version <= _VERSION:
        raise UserError(
            f"{path}: checkpoint version {version!r}, this augrad reads 1 to {_VERSION}; use the augrad that wrote it"
        )
    return content["state"]
