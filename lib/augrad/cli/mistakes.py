"""Which exceptions are a user's mistake, and what is told of them."""

import re
import sys
import traceback
from collections.abc import Container
from difflib import get_close_matches

from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import ValidationError

from augrad.checks import refused
from augrad.errors import UserError

_NO_TRIAL = re.compile("No trials are completed|Record does not exist")
"""What Optuna says where no trial has a value: of a study in memory, and of one in a database."""


def mistake_message(error: BaseException) -> str | None:
    """What to tell the user who caused `error`; None where it is no user's mistake but a failure."""
    match error:
        case MissingConfigException() if error.options:
            return _missing_config_message(error)
        case InstantiationException():
            return _instantiation_message(error)
        case ValidationError():
            return str(refused(error))
        case HydraException() if isinstance(error.__cause__, OmegaConfBaseException):
            return f"{error}\n{_without_internals(str(error.__cause__))}"
        case MissingMandatoryValue() if error.full_key:
            return f"{error.full_key}: expected a value, got none; give it, as in {error.full_key}=..."
        case UserError() | HydraException() | OmegaConfBaseException():
            return _without_internals(str(error))
        case OSError() | ValueError() if _is_about_the_run_directory(error):
            cause = error if isinstance(error, OSError) else error.__cause__
            place = f"{cause.filename}: " if isinstance(cause, OSError) and cause.filename else ""
            reason = getattr(cause, "strerror", None) or cause
            return (
                f"{place}cannot make the run directory there ({reason}); "
                "choose another with hydra.run.dir=DIR, of a sweep hydra.sweep.dir=DIR"
            )
        case ValueError() if raised_in(error, ("hydra",)):  # flags that exclude each other, a group without a choice
            return str(error)
        case ValueError() if raised_in(error, ("optuna",)) and _NO_TRIAL.match(str(error)):
            return "no trial of this sweep has come to its end, so that there is no best one; why is said above"
        case TypeError() if _is_wrong_call(error):  # of a `_partial_` target, which Hydra calls late
            return str(error)
    return None


def _missing_config_message(error: MissingConfigException) -> str:
    """One line, with the nearest of what there is, in place of a column of names."""
    options = list(error.options or [])
    close = get_close_matches((error.missing_cfg_file or "").rpartition("/")[2], options, n=1)
    hint = f"did you mean {close[0]!r}? There is" if close else "There is"
    return f"{str(error).partition(chr(10))[0]}: {hint} {', '.join(options)}"


def _instantiation_message(error: InstantiationException) -> str | None:
    """As `mistake_message`: an exception inside a `_target_` is a mistake where the configuration caused it."""
    place = re.search(r"^full_key: (.+)$", str(error), re.MULTILINE)
    prefix = f"{place[1]}: " if place else ""
    cause = error.__cause__
    if cause is None:
        return _without_internals(str(error))
    if str(error).startswith("Error locating target"):
        first = str(error).split(", set env var")[0]
        return f"{prefix}{first}: {cause}"
    while cause is not None:
        # What a part was to be made of is the user's, and so is a file of theirs that cannot be reached.
        message = mistake_message(cause)
        if isinstance(cause, OSError) and cause.filename is not None:
            message = f"{cause.filename}: {cause.strerror}"
        if message is not None:
            return message if message.startswith(prefix) else prefix + message
        cause = cause.__cause__
    return None


def _is_wrong_call(error: TypeError) -> bool:
    """Whether Hydra called a target with arguments that its signature does not have, or without some that it needs."""
    pattern = (
        r"unexpected keyword argument|multiple values for (keyword )?argument|takes .*positional argument"
        r"|missing (\d+|a) required .*argument|takes no (keyword )?arguments"
    )
    # Such a call fails where it is made: in Hydra, or in a wrapper that checks types. Deeper down it is a defect.
    callers = ("hydra", "inspect", "augrad.checks", "jaxtyping", "beartype")
    return re.search(pattern, str(error)) is not None and raised_in(error, callers)


def _is_about_the_run_directory(error: BaseException) -> bool:
    """Whether Hydra itself met the system's refusal: it makes the folder, and the configuration and log in it.

    The refusal of a log comes as the ValueError of the library that opens it.
    """
    refusal = error if isinstance(error, OSError) else error.__cause__
    return isinstance(refusal, OSError) and raised_in(error, ("hydra",), below=sys.stdlib_module_names)


def raised_in(error: BaseException, packages: tuple[str, ...], below: Container[str] = ()) -> bool:
    """Whether one of the packages raised it, or what it called of the packages `below`."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    while modules and modules[-1].partition(".")[0] in below:
        modules.pop()
    module = modules[-1] if modules else ""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _without_internals(message: str) -> str:
    """A message of OmegaConf without the lines that speak of its classes."""
    message = message.split("\nConfig search path:")[0]
    lines = (line for line in message.splitlines() if not line.strip().startswith(("object_type=", "reference_type=")))
    return "\n".join(lines)
