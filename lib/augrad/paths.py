"""Paths as users write them, and where the configuration files are."""

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


def config_directory() -> str:
    """The absolute path of the folder that holds search.yaml, train.yaml, compare.yaml and the groups.

    It is `configs` in the installed package; in a clone, at the top of the repository. Raises FileNotFoundError where
    there is none, that is, where augrad was copied without its configuration.
    """
    package = Path(__file__).resolve().parent
    places = package / "configs", package.parents[1] / "configs"
    for place in places:
        if (place / "search.yaml").is_file():
            return str(place)
    raise FileNotFoundError(f"augrad is not whole: its configuration is neither in {places[0]} nor in {places[1]}")
