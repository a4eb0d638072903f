"""From a command line to a function decorated with `hydra.main`, and what the process is like while it runs."""

import contextlib
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, TextIO, cast

from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra

from augrad.cli import quoting, run_log
from augrad.cli.allowed_code import require_inside
from augrad.cli.hints import hints_added
from augrad.cli.resume import resolve_resume, sets_resume
from augrad.cli.run_directory import BEGUN
from augrad.cli.status import exit_status, require_printed
from augrad.cli.sweep import summed_up_if_failed
from augrad.cli.unread import groups_and_settings
from augrad.errors import AugradWarning, UserError
from augrad.paths import expanded
from augrad.runs.directory import RECORD, has_content
from augrad.terminal.console import say

_CLOCK = 0.1
"""Seconds by which the times of a file system may be behind."""


def run_entry_point(
    hydra_main: Callable[[], Any], program: str, arguments: list[str] | None = None, *, resumable: str | None = None
) -> int:
    """Calls a function decorated with `hydra.main` and returns the exit status.

    Args:
        hydra_main: the decorated function.
        program: the command as its user knows it, for the messages, e.g. "augrad search".
        arguments: the command line after the command; None stands for `sys.argv[1:]`.
        resumable: the file without which `resume=DIR` cannot go on (see `resolve_resume`); None: it is not understood.

    Wrong options end with SystemExit, 2. `AUGRAD_FULL_ERROR=1` or `HYDRA_FULL_ERROR=1` in the environment shows the
    traceback of a mistake, too.
    """

    def run() -> None:
        BEGUN.set(time.time() - _CLOCK)
        given = _with_paths(sys.argv[1:] if arguments is None else arguments, resumable is not None)
        require_own_record(given)
        resolved = given if resumable is None else resolve_resume(given, resumable, program.rpartition(" ")[2])
        options = get_args_parser().parse_known_args(resolved)[0]
        require_inside(options.overrides, *groups_and_settings(program.rpartition(" ")[2]))
        with (
            _process_as_found(),
            _warnings_told(program),
            _failed_job_as_note(shown=options.multirun),
            summed_up_if_failed(),
            hints_added(options.overrides, options.multirun, program.rpartition(" ")[2]),
        ):
            sys.argv = [sys.argv[0] if arguments is None else program, *resolved]
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print otherwise
            try:
                hydra_main()
            except SystemExit as end:
                if end.code:
                    raise
        if any((options.help, options.hydra_help, options.cfg, options.info, options.shell_completion)):
            require_printed()

    return exit_status(run, program)


def _with_paths(arguments: list[str], resumable: bool) -> list[str]:
    """The command line with every `~` where Hydra takes it (see `quoting.understood`).

    Raises UserError for an override that Hydra cannot read, and where the current directory is gone.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(f"the current directory cannot be used ({error.strerror}); change to another") from error
    if "${" in os.getcwd():
        raise UserError(
            f"the current directory is {os.getcwd()}, and Hydra reads ${{ as the beginning of an interpolation; rename "
            "the folder, or change to another"
        )
    options, _ = get_args_parser().parse_known_args(arguments)
    overrides = options.overrides
    starts = (index for index in range(len(arguments)) if arguments[index : index + len(overrides)] == overrides)
    start = next(starts, None)
    if start is not None and not options.shell_completion:
        read = [o if resumable and sets_resume(o) else quoting.understood(o) for o in overrides]
        arguments = [*arguments[:start], *read, *arguments[start + len(overrides) :]]
    for folder in (options.config_dir, options.config_path):
        if folder is not None and folder.startswith("~"):
            arguments = [
                argument.removesuffix(folder) + str(expanded(folder))
                if argument == folder or (argument.startswith("-") and argument.endswith(folder))
                else argument
                for argument in arguments
            ]
    return arguments


def require_own_record(arguments: list[str]) -> None:
    """Raises UserError where Hydra would write, before anything is checked, what is not its own.

    That is `hydra.output_subdir=...`, and `hydra.sweep.dir=...` with a run, or a foreign multirun.yaml, in it.
    """
    for override in get_args_parser().parse_known_args(arguments)[0].overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+") == "hydra.output_subdir" and value != "null":
            raise UserError(f"{override}: the configuration of a run is always in {RECORD}; leave this override out")
        if key.lstrip("+") == "hydra.sweep.dir" and (place := quoting.text_of(override)):
            if has_content(Path(place) / RECORD):
                raise UserError(f"{override}: holds a run already; choose another directory for the sweep")
            with contextlib.suppress(OSError):
                if not re.search(rb"^hydra:", (Path(place) / "multirun.yaml").read_bytes(), re.MULTILINE):
                    raise UserError(f"{override}: holds another multirun.yaml; choose another directory for the sweep")


@contextmanager
def _process_as_found() -> Iterator[None]:
    """Puts back what Hydra changes in the process, so that a command can be called as a function, again and again."""
    root = logging.getLogger()
    argv, full_error, handlers, level = sys.argv, os.environ.get("HYDRA_FULL_ERROR"), root.handlers[:], root.level
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        sys.argv = argv
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error
        for handler in set(root.handlers).difference(handlers):
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


class _WithoutAnnouncement:
    """Standard error less the line in which Hydra announces that a job failed; `failed_job` keeps its overrides."""

    _ANNOUNCEMENT = "Error executing job with overrides: "

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failed_job = ""

    def write(self, text: str) -> int:
        if text.startswith(self._ANNOUNCEMENT):
            self.failed_job = text.removeprefix(self._ANNOUNCEMENT).strip()
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _failed_job_as_note(shown: bool) -> Iterator[None]:
    """Hydra writes which job failed before it raises; here the exception itself says it, for a sweep (`shown`)."""
    stderr = _WithoutAnnouncement(sys.stderr)
    try:
        with redirect_stderr(cast(TextIO, stderr)):
            yield
    except Exception as error:
        if shown and stderr.failed_job:
            error.add_note(f"(in the job with the overrides {stderr.failed_job})")
        raise


@contextmanager
def _warnings_told(program: str) -> Iterator[None]:
    """augrad's own warnings are for whoever typed the command: a line each, without a place in the code."""
    show, seen = warnings.showwarning, set[str]()

    def told(message: Warning | str, category: type[Warning], *where: Any, **named: Any) -> None:
        if not issubclass(category, AugradWarning):
            show(message, category, *where, **named)
            return
        if str(message) not in seen:  # a network, for one, is built several times in a run
            seen.add(str(message))
            say(f"{program}: {message}", stderr=True)
        run_log.keep(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", AugradWarning)  # also where warnings are errors
        warnings.showwarning = told
        yield
