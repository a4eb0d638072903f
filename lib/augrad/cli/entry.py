"""What the commands have in common: how they end, and how a run is taken up again.

Exit statuses: 0 success; 2 a user's mistake, told in one message; 1 a failure, with its traceback, or work that is done
and kept, of which something could not be shown (a figure, the report, what was to be printed), or a training that
diverged, in one message; 130 Ctrl-C; 143 SIGTERM.
"""

import contextlib
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TextIO, cast

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from augrad.cli import quoting, run_log
from augrad.cli.configs import config_directory
from augrad.cli.limits import OutOfMemory
from augrad.cli.signals import sigterm_raised, status_of, words_of
from augrad.errors import AugradWarning, NonFiniteError, UserError
from augrad.paths import expanded
from augrad.runs.directory import RECORD, has_content, read_record
from augrad.terminal.console import say
from augrad.terminal.output import guarded_output, lost_output

SUCCESS, FAILURE, MISTAKE = 0, 1, 2


def run_entry_point(
    hydra_main: Callable[[], Any], program: str, arguments: list[str] | None = None, *, resumable: bool = False
) -> int:
    """Calls a function decorated with `hydra.main` and returns the exit status.

    Args:
        hydra_main: the decorated function.
        program: the command as its user knows it, for the messages, e.g. "augrad search".
        arguments: the command line after the command; None stands for `sys.argv[1:]`.
        resumable: whether `resume=DIR` is understood (see `resolve_resume`).

    Wrong options end with SystemExit, 2. `AUGRAD_FULL_ERROR=1` or `HYDRA_FULL_ERROR=1` in the environment shows the
    traceback of a mistake, too.
    """

    def run() -> None:
        given = _with_paths(sys.argv[1:] if arguments is None else arguments, resumable)
        require_own_record(given)
        resolved = resolve_resume(given) if resumable else given
        options = get_args_parser().parse_known_args(resolved)[0]
        with (
            _process_as_found(),
            _warnings_told(program),
            _failed_job_as_note(shown=options.multirun),
            _noted(options.overrides, options.multirun),
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
    except (Unfinished, NonFiniteError, OutOfMemory) as error:
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


def require_shown(failed: list[str]) -> None:
    """For a run whose work is done and kept: raises Unfinished where something that shows it failed.

    A run of a sweep says it and has its value: the others go on.
    """
    if not failed:
        return
    lines = "\n".join(f"  {line}" for line in failed)
    told = f"the run is done and its results are kept; what could not be made:\n{lines}"
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        say(told, stderr=True)
    else:
        raise Unfinished(told)


def require_printed() -> None:
    """For a command that only prints: raises Unfinished where that is lost (a full disk, a closed stream)."""
    if reason := lost_output():
        raise Unfinished(f"standard output cannot be written: {reason}")


def mistake_message(error: BaseException) -> str | None:
    """What to tell the user who caused `error`; None where it is no user's mistake but a failure."""
    match error:
        case MissingConfigException() if error.options:
            return _missing_config_message(error)
        case InstantiationException():
            return _instantiation_message(error)
        case ValidationError():
            problems = [(".".join(map(str, e["loc"])), e["msg"], repr(e.get("input"))[:80]) for e in error.errors()]
            return "\n".join(f"{place or error.title}: {text}, got {value}" for place, text, value in problems)
        case HydraException() if isinstance(error.__cause__, OmegaConfBaseException):
            return f"{error}\n{_without_internals(str(error.__cause__))}"
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
        case ValueError() if _raised_in(error, ("hydra",)):  # flags that exclude each other, a group without a choice
            return str(error)
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
    return re.search(pattern, str(error)) is not None and _raised_in(error, callers)


def _is_about_the_run_directory(error: BaseException) -> bool:
    """Whether Hydra itself met the system's refusal: it makes the folder, and the configuration and log in it.

    The refusal of a log comes as the ValueError of the library that opens it.
    """
    refused = error if isinstance(error, OSError) else error.__cause__
    return isinstance(refused, OSError) and _raised_in(error, ("hydra",), below=sys.stdlib_module_names)


def _raised_in(error: BaseException, packages: tuple[str, ...], below: Container[str] = ()) -> bool:
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
    show = warnings.showwarning

    def told(message: Warning | str, category: type[Warning], *where: Any, **named: Any) -> None:
        if not issubclass(category, AugradWarning):
            show(message, category, *where, **named)
            return
        say(f"{program}: {message}", stderr=True)
        run_log.keep(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", AugradWarning)  # also where warnings are errors
        warnings.showwarning = told
        yield


@contextmanager
def _noted(overrides: list[str], multirun: bool) -> Iterator[None]:
    """Adds to a mistake what its overrides may have meant."""
    try:
        yield
    except (UserError, HydraException) as error:
        told = _setting_of_another_option(str(error), overrides)
        told = error if told is None else UserError(told)
        for note in quoting.notes(overrides, multirun):
            told.add_note(note)
        raise told from error.__cause__
    except TypeError as error:
        wrong = quoting.lists_of_others(overrides)
        if not wrong or not _raised_in(error, ("hydra._internal.defaults_list",)):
            raise
        raise UserError(f"{wrong[0]}: expected the name of an option, or a list of names") from error


def _setting_of_another_option(message: str, overrides: list[str]) -> str | None:
    """What to say of an override that the chosen option of a group does not have: another one has it, or its name is
    close to one that some option has. None where neither is so."""
    refused = re.match(r"Could not override '([\w/]+)\.([\w.]*\w)", message)
    if refused is None:
        return None
    group, path = refused.groups()
    options, known = [], set()
    for file in sorted(Path(config_directory(), group).glob("*.yaml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        names = _names_in(content.get(group) or content)
        known |= names
        if path in names:
            options.append(file.stem)
    given = next((o for o in overrides if o.startswith(f"{group}.{path}")), f"{group}.{path}=...")
    if options:
        choices = " or ".join(f"{group}={option}" for option in options)
        return f"{given}: the chosen option of {group} has no {path}; it belongs to {choices}, so give that, too"
    before, beside = "", _below("", known)
    for name in path.split("."):
        if f"{before}{name}" not in known:  # the first name of the path that no option knows
            close = get_close_matches(name, beside, n=1)
            if not close:
                return None
            return f"{given}: no such setting; did you mean {group}.{before}{close[0]}? To add one: +{given}"
        before = f"{before}{name}."
        beside = _below(before, known)
    return None


def _below(before: str, names: set[str]) -> list[str]:
    """The last parts of the paths that stand directly below the path `before`."""
    return [name[len(before) :] for name in names if name.startswith(before) and "." not in name[len(before) :]]


def _names_in(content: Any, before: str = "") -> set[str]:
    """Every key of nested mappings, by its path."""
    found = set()
    for key, value in content.items() if isinstance(content, Mapping) else ():
        found |= {f"{before}{key}", *_names_in(value, f"{before}{key}.")}
    return found


def _with_paths(arguments: list[str], resumable: bool) -> list[str]:
    """The command line with every `~` where Hydra takes it (see `quoting.understood`).

    Raises UserError for an override that Hydra cannot read, and where the current directory is gone.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(f"the current directory cannot be used ({error.strerror}); change to another") from error
    options, _ = get_args_parser().parse_known_args(arguments)
    overrides = options.overrides
    starts = (index for index in range(len(arguments)) if arguments[index : index + len(overrides)] == overrides)
    start = next(starts, None)
    if start is not None and not options.shell_completion:
        read = [o if resumable and _sets_resume(o) else quoting.understood(o) for o in overrides]
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


def resolve_resume(arguments: list[str]) -> list[str]:
    """The command line with which the run of `resume=DIR` goes on; without a `resume=` the command line as it is.

    The overrides that the run was started with (DIR/.hydra/overrides.yaml) come before the given ones, which win, for
    Hydra takes the last; the run directory is DIR again. DIR may be named by its checkpoint.pt. Options such as
    `--config-dir` are not recorded by Hydra: they have to be given again.

    Raises UserError where DIR is no run directory or nothing is there to go on from, and together with `--multirun`.
    """
    options, _ = get_args_parser().parse_known_args(arguments)
    overrides: list[str] = options.overrides
    directories = [_value_of(override) for override in overrides if _sets_resume(override)]
    if not directories or directories[-1] is None:
        return arguments
    if options.multirun:
        raise UserError("resume=DIR takes up one run and cannot be used with --multirun: leave one of them out")
    if not directories[-1]:
        raise UserError("resume: expected the directory of a run, got an empty name; leave resume out for a new run")
    directory = expanded(directories[-1])
    if directory.name == "checkpoint.pt" and directory.is_file():
        directory = directory.parent
    quoted = quoting.hydra_quoted(str(directory), Quote.single)
    recorded = [override for override in _recorded_overrides(directory) if not _sets_resume(override)]
    place = arguments.index(overrides[0])  # argparse wants all overrides side by side
    given = [argument for argument in arguments[place:] if not _sets_resume(argument)]
    return [
        *arguments[:place],
        *recorded,
        f"resume={quoted}",
        f"hydra.run.dir={quoted}",
        *given,
    ]


def require_own_record(arguments: list[str]) -> None:
    """Raises UserError where Hydra would write, before anything is checked, what is not its own.

    That is `hydra.output_subdir=...`, and `hydra.sweep.dir=...` with a run, or a foreign multirun.yaml, in it.
    """
    for override in get_args_parser().parse_known_args(arguments)[0].overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+") == "hydra.output_subdir" and value != "null":
            raise UserError(f"{override}: the configuration of a run is always in {RECORD}; leave this override out")
        if key.lstrip("+") == "hydra.sweep.dir" and (place := _value_of(override)):
            if has_content(Path(place) / RECORD):
                raise UserError(f"{override}: holds a run already; choose another directory for the sweep")
            with contextlib.suppress(OSError):
                if not re.search(rb"^hydra:", (Path(place) / "multirun.yaml").read_bytes(), re.MULTILINE):
                    raise UserError(f"{override}: holds another multirun.yaml; choose another directory for the sweep")


def _sets_resume(override: str) -> bool:
    return re.match(r"\+{0,2}resume=", override) is not None


def _value_of(override: str) -> str | None:
    """The text after the equals sign, as Hydra's grammar reads it or, where that does not take it, as it was typed."""
    typed = override.partition("=")[2]
    try:
        value = OverridesParser.create().parse_override(override).value()
    except HydraException:
        return typed
    if value is None:
        return None
    if not isinstance(value, str):
        return typed
    try:
        return str(OmegaConf.create({"resume": value}).resume)
    except OmegaConfBaseException:  # an interpolation of the configuration, which is not there yet
        return value


def _recorded_overrides(directory: Path) -> list[str]:
    record = directory / RECORD / "overrides.yaml"
    if not directory.is_dir():
        what = "a file" if directory.exists() else "no such directory"
        raise UserError(f"resume={directory}: {what}; give the directory that a run wrote")
    if not record.is_file():
        raise UserError(f"resume={directory}: not a run directory, it has no {RECORD}/overrides.yaml")
    if not ((directory / "checkpoint.pt").is_file() or _is_untouched_search(directory)):
        raise UserError(
            f"resume={directory}: it has no checkpoint.pt to go on from; start the run anew, in another directory"
        )
    try:
        overrides = yaml.safe_load(record.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        overrides = None
    if not isinstance(overrides, list) or not all(map(quoting.is_override, overrides)):
        raise UserError(f"resume={directory}: {record} is no list of overrides; it was damaged")
    return overrides


def _is_untouched_search(directory: Path) -> bool:
    """Whether a search was stopped here between its record and its first checkpoint, with nothing done."""
    try:
        config = yaml.safe_load(read_record(directory).get("config.yaml", ""))
    except yaml.YAMLError:
        return False
    return isinstance(config, dict) and "search" in config and not has_content(directory / "metrics.jsonl")
