"""How a command ends.

Exit statuses: 0 success; 2 a user's mistake, told in one message; 1 a failure, with its traceback, or work that is done
and kept, of which something could not be shown (a figure, the report, what was to be printed), or a training that
diverged, in one message; 130 Ctrl-C; 143 SIGTERM.
"""

import os
import traceback
from collections.abc import Callable
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from augrad.cli.limits import OutOfMemory
from augrad.cli.mistakes import mistake_message
from augrad.cli.signals import sigterm_raised, status_of, words_of
from augrad.errors import NonFiniteError, RankLostError
from augrad.terminal.console import say
from augrad.terminal.output import guarded_output, lost_output

SUCCESS, FAILURE, MISTAKE = 0, 1, 2


def exit_status(run: Callable[[], Any], program: str) -> int:
    """Calls `run` and returns the exit status for how it ended, having told a failure or mistake on standard error.

    Nothing that is printed in it raises an error (see `augrad.terminal.output.guarded_output`).
    """
    with guarded_output(), sigterm_raised():
        return _exit_status(run, program)


def _exit_status(run: Callable[[], Any], program: str) -> int:
    wants_traceback = any(os.environ.get(name, "0") != "0" for name in ("AUGRAD_FULL_ERROR", "HYDRA_FULL_ERROR"))
    try:
        run()
    except KeyboardInterrupt as error:
        say(f"{program}: {words_of(error)}", stderr=True)
        return status_of(error)
    except (Unfinished, NonFiniteError, OutOfMemory, RankLostError) as error:
        if wants_traceback:
            traceback.print_exception(error)
        say("\n".join([f"{program}: {error}", *getattr(error, "__notes__", [])]), stderr=True)
        return FAILURE
    except Exception as error:
        message = mistake_message(error)
        if message is None or wants_traceback:
            traceback.print_exception(error)
        if message is None:
            return FAILURE
        say("\n".join([f"{program}: error: {message}", *getattr(error, "__notes__", [])]), stderr=True)
        return MISTAKE
    return SUCCESS


class Unfinished(RuntimeError):
    """The work is done and kept, but something of it could not be shown; the message says what, in a line each."""


def in_sweep() -> bool:
    """Whether this run is one of several (`--multirun`)."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def say_progress(words: str) -> None:
    """How a run goes on, on standard error; a run of a sweep, of which there are many, is silent."""
    if not in_sweep():
        say(words, stderr=True)


def require_shown(failed: list[str]) -> None:
    """For a run whose work is done and kept: raises Unfinished where something that shows it failed.

    A run of a sweep says it and has its value: the others go on.
    """
    if not failed:
        return
    lines = "\n".join(f"  {line}" for line in failed)
    told = f"the run is done and its results are kept; what could not be made:\n{lines}"
    if in_sweep():
        say(told, stderr=True)
    else:
        raise Unfinished(told)


def require_printed() -> None:
    """For a command that only prints: raises Unfinished where that is lost (a full disk, a closed stream)."""
    if reason := lost_output():
        raise Unfinished(f"standard output cannot be written: {reason}")
