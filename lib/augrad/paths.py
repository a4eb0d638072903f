"""Paths as users write them."""

import os
from pathlib import Path
from typing import Any

from augrad.errors import UserError


def expanded(path: Any) -> Path:
    """The path with a leading `~` or `~user` as a shell expands it: one that names no user is left as it is.

    path: a string or an `os.PathLike`. Environment variables are not expanded. Raises UserError for what is no path.
    """
    try:
        given = os.fspath(path)
    except TypeError:
        given = None
    if not isinstance(given, str):
        raise UserError(f"expected a path, got {path!r} ({type(path).__name__}); quote it if it is one: '\"{path}\"'")
    return Path(os.path.expanduser(given))
