"""From a dotted name to what it stands for, and back."""

import importlib
import inspect
from difflib import get_close_matches
from typing import Any

from augrad.errors import UserError
from augrad.ops.definition import is_dotted
from augrad.ops.kornia_op import is_operation


def find(name: str) -> tuple[Any, str | None]:
    """What `name` stands for; for `module.Class.parameter` the class and the rest."""
    if not is_dotted(name):
        raise UserError(f"expected a name as in package.module.function, got {name!r}")
    place, _, last = name.rpartition(".")
    outer, _, middle = place.rpartition(".")
    try:
        return _attribute(importlib.import_module(place), last), None
    except ModuleNotFoundError as error:
        if error.name != place or not outer:
            raise _not_found(name, error) from None
        try:
            found = getattr(importlib.import_module(outer), middle, None)
        except ModuleNotFoundError as further:
            raise _not_found(name, further) from None
        if is_operation(found):
            return found, last
        raise _not_found(name, error) from None


def name_of(operation: object) -> str:
    """The name by which `find` finds a function or a class: for files, and for other processes.

    Raises UserError for what is none that can be found so: a lambda, a function within another one, a callable object.
    """
    named = f"{getattr(operation, '__module__', None)}.{getattr(operation, '__qualname__', None)}"
    if not is_dotted(named) or not (inspect.isroutine(operation) or isinstance(operation, type)):
        what = getattr(operation, "__qualname__", None) or repr(operation)
        raise UserError(
            f"expected a function with a name of its own, which can be imported, got {what:.100}; define it with def "
            "at the top level of a module, of the script or of the notebook"
        )
    found, rest = find(named)
    if found is not operation or rest is not None:
        raise UserError(f"expected the function that {named} stands for, got another one of that name")
    return named


def _not_found(name: str, error: ModuleNotFoundError) -> UserError:
    if error.name == "kornia":
        return UserError("expected kornia to be installed, got no such package; pip install 'augrad[interop]'")
    missing = f"there is no module {error.name}"
    advice = "is it installed, or the folder that it is in on PYTHONPATH?"
    return UserError(f"expected the name of something that can be imported, got {name}; {missing}: {advice}")


def _attribute(module: Any, name: str) -> Any:
    if hasattr(module, name):
        return getattr(module, name)
    close = get_close_matches(name, [key for key in dir(module) if not key.startswith("_")], n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise UserError(f"expected a function of {module.__name__}, got {name!r}, which it does not have{hint}")
