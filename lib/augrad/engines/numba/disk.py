"""Compiled code on disk, from one process to the next.

A file is named after everything that decides what is in it. There is no index, so that of two processes none takes the
other's code for its own. Whatever is wrong with a folder or a file only costs time: the code is compiled again.

Compiled code calls other functions by their names. Numba adds a number to a name, as all functions that one factory has
made are called alike, and counts from 1 in every process. Where two processes had compiled different functions under
one name and number, a third that loads both would call the wrong one: so each process begins at a number of its own.
"""

import hashlib
import itertools
import os
import pickle
import secrets
import sys
import warnings
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from augrad.atomic import write_bytes
from augrad.errors import AugradWarning, UserError

_HASHED = 32
"""Bytes at the beginning of a file: the hash of the others."""


def source_hash(folder: Traversable | None = None) -> str:
    """A hash of the source of all operations and engines: of what is compiled, of the definitions, and their constants.

    folder: of augrad, that of this installation unless told otherwise.
    """
    found = hashlib.sha256()

    def add(inside: Traversable, path: str) -> None:
        for part in sorted(inside.iterdir(), key=lambda part: part.name):
            if part.is_dir() and part.name != "__pycache__":
                add(part, f"{path}/{part.name}")
            elif part.name.endswith((".py", ".pyc")):
                found.update(f"{path}/{part.name}\0".encode() + hashlib.sha256(part.read_bytes()).digest())

    root = files("augrad") if folder is None else folder
    for part in ("ops", "engines"):
        add(root / part, part)
    return found.hexdigest()[:16]


SOURCES = source_hash()
"""The source as it was when this process imported it."""


def folders() -> tuple[Path, ...]:
    """Where compiled code may be, the first choice first: the folder that NUMBA_CACHE_DIR names, the one beside the
    source, and the user's own."""
    from numba import config
    from numba.misc.appdirs import AppDirs

    beside = Path(__file__).parent / "__pycache__"
    own = hashlib.sha256(os.fsencode(beside)).hexdigest()[:16]  # of this installation
    chosen: str = config.CACHE_DIR  # type: ignore[attr-defined]
    told = [Path(os.path.abspath(chosen)) / own] if chosen else []
    users = AppDirs("augrad", appauthor=False).user_cache_dir
    return (*told, beside, *([Path(users) / own] if os.path.isabs(users) else []))  # not absolute: no home


@lru_cache
def _warn(folders: tuple[Path, ...]) -> None:
    warnings.warn(
        f"compiled operations cannot be kept on disk, in none of {', '.join(map(str, folders))}: every process "
        "compiles them again, which takes some ten seconds; set NUMBA_CACHE_DIR to a folder that can be written to and "
        "has room",
        AugradWarning,
        stacklevel=2,
    )


def count_apart() -> bool:
    """Makes Numba number functions from a random number on, and again in each forked child.

    Called before anything is compiled. False where this version of Numba counts in another way: nothing may be kept on
    disk then.
    """
    from numba.core.bytecode import FunctionIdentity

    if not hasattr(FunctionIdentity, "_unique_ids"):
        return False
    _count_anew()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_count_anew)
    return True


def _count_anew() -> None:
    from numba.core.bytecode import FunctionIdentity

    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(60))


class OnDisk:
    """The place of Numba's own cache for one compiled function, which is found by the source of that function alone.

    name: of the function.
    """

    cache_path = None

    def __init__(self, name: str) -> None:
        self.name = name

    def _file(self, signature: Any, codegen: Any) -> str:
        import llvmlite
        import numba

        versions = numba.__version__, llvmlite.__version__, sys.implementation.cache_tag
        key = repr((SOURCES, str(signature), codegen.magic_tuple(), versions))
        return f"{self.name}.{SOURCES}.{hashlib.sha256(key.encode()).hexdigest()[:16]}.nbc"

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The code for arguments of these types; None where there is none, or none that is whole."""
        from numba.core.compiler import CompileResult

        context.refresh()
        name = self._file(signature, context.codegen())
        for folder in folders():
            try:
                content = (folder / name).read_bytes()
                if hashlib.sha256(content[_HASHED:]).digest() == content[:_HASHED]:
                    return CompileResult._rebuild(context, *pickle.loads(content[_HASHED:]))
            except OSError:  # there is no such file, or it may not be read
                continue
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep the code in the first folder that takes it, in the place of what came of other sources."""
        from numba.core.serialize import dumps

        data = dumps(result._reduce())
        name, places = self._file(signature, result.codegen), folders()
        for folder in places:
            try:
                write_bytes(folder / name, hashlib.sha256(data).digest() + data)
                for other in folder.glob(f"{self.name}.*.nbc"):
                    if not other.name.startswith(f"{self.name}.{SOURCES}."):
                        other.unlink(missing_ok=True)
            except (UserError, OSError):
                continue
            return
        _warn(places)
