"""Paths as users write them."""

import os
from pathlib import Path
from typing import Any

from augrad.errors import UserError


def expanded(path: Any) -> Path:
    """The path with a leading `~` or `~user` as a shell expands it: one that names no user is left as it is.

    path: a string or an `os.PathLike`. Environment variables are not expanded. Raises UserError for what is no path,
    and for an empty one, which would stand for the current folder.
    """
    try:
        given = os.fspath(path)
    except TypeError:
        given = None
    if not isinstance(given, str):
        raise UserError(f"expected a path, got {path!r} ({type(path).__name__}); quote it if it is one: '\"{path}\"'")
    if not given:
        raise UserError("expected a path, got an empty name; the current folder is .")
    return Path(os.path.expanduser(given))
