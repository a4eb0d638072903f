"""A command and its run directory: nothing is written there before the command is accepted.

Hydra itself would write the configuration and the log before the command's function is called. So `output_subdir` is
null in the configuration, the log waits (`augrad.cli.run_log.RunLog`), and the functions below write both once the
directory is the run's.
"""

import contextlib
import math
import os
import signal
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from copy import deepcopy
from functools import wraps
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from augrad.cli.allowed_code import ALLOW, code_allowed, require_allowed
from augrad.cli.limits import out_of_memory_told
from augrad.cli.mistakes import mistake_message
from augrad.cli.parts import plain
from augrad.cli.quoting import command_line, override
from augrad.cli.run_log import logs
from augrad.cli.signals import Interrupted
from augrad.errors import UserError
from augrad.paths import expanded
from augrad.runs.directory import (
    CHECKPOINT,
    RECORD,
    has_content,
    only_writer,
    put_record,
    read_record,
    replace_record,
    require_free,
    withdraw,
)

BEGUN: ContextVar[float] = ContextVar("begun", default=math.inf)
"""When the command began, in seconds of the system's clock."""
_OWN: ContextVar[Path | None] = ContextVar("own", default=None)
"""The directory that the job in hand has made its own."""
ALWAYS = (CHECKPOINT, "wandb_run_id.txt")
"""What must not be in the directory of a new run of any command, beside what the command writes."""


class StoppedRun(Interrupted):
    """A signal ends a run, with everything up to `step` kept in its directory. command: of augrad."""

    def __init__(self, command: str, directory: Path, step: int, number: int = signal.SIGINT) -> None:
        super().__init__(f"stopped after step {step}; go on with: {resume_line(command, directory)}", number)


def resume_line(command: str, directory: Path, *more: str) -> str:
    """The command line that takes up a run of `augrad command`. more: overrides of it."""
    allow = (ALLOW,) * code_allowed()
    return command_line("augrad", command, override("resume", str(directory)), *more, *allow)


def output_directory() -> Path:
    """The absolute path of the run directory.

    Raises UserError where Hydra was told to write into it itself, and for a `~` from a configuration file, which Hydra
    takes for a name (on the command line it is the user's home).
    """
    key = "hydra.sweep.dir" if HydraConfig.get().mode == RunMode.MULTIRUN else "hydra.run.dir"
    told = cast(DictConfig, HydraConfig.instance().cfg)
    if (given := str(OmegaConf.select(told, key))).startswith("~"):
        with contextlib.suppress(OSError):
            os.removedirs(given)  # as far as Hydra made them, for they are empty
        raise UserError(f"{key}: expected no ~ in a configuration file, got {given}; write ${{oc.env:HOME}} for it")
    if HydraConfig.get().output_subdir is not None:
        raise UserError(
            f"hydra.output_subdir: expected null, got {HydraConfig.get().output_subdir}; the configuration of a run is "
            "always in its .hydra"
        )
    return Path(HydraConfig.get().runtime.output_dir)


def nothing_left_of_mistakes(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """A job that removes the empty folder that Hydra made for it if it is then refused.

    With the folders above it where they are by default; a folder that was there before stays. Launchers send the
    function to their processes, with all that it names: so it names nothing but another function.
    """

    @wraps(task)
    def run(config: DictConfig) -> Any:
        with _removed_if_refused():
            return task(config)

    return run


@contextlib.contextmanager
def _removed_if_refused() -> Iterator[None]:
    _OWN.set(None)  # instead of that of the job before it in a sweep
    place, overrides = HydraConfig.get().runtime.output_dir, HydraConfig.get().overrides.hydra
    is_new = HydraConfig.get().mode == RunMode.RUN and os.stat(place).st_ctime >= BEGUN.get()
    is_default = not any(text.lstrip("+").startswith("hydra.run.dir=") for text in overrides)
    try:
        yield
    except Exception as error:
        if is_new and mistake_message(error) is not None:
            with contextlib.suppress(OSError):  # what is not empty stays
                os.rmdir(place)
                for above in Path(os.path.relpath(place)).parents[:-1] if is_default else ():
                    os.rmdir(above)
        raise


@contextlib.contextmanager
def new_run(config: DictConfig, directory: Path, results: str, *others: str) -> Iterator[None]:
    """Makes `directory` the run's own, and keeps others out until the run ends.

    results: the file that is empty or missing as long as the run has no result. others: what else it writes. A run that
    ends by a user's mistake before there is a result leaves nothing. Raises UserError where the directory is not free.
    """
    names = (results, *others, *ALWAYS)
    require_free(directory, names)
    with only_writer(directory):
        require_free(directory, names)
        _OWN.set(directory)
        put_record(directory, _record(config, Path(HydraConfig.get().runtime.cwd)))
        for log in logs():
            log.accept()
        try:
            with out_of_memory_told(config):
                yield
        except Exception as error:
            if mistake_message(error) is not None and not has_content(directory / results):
                withdraw(directory, names)
            raise


@contextlib.contextmanager
def resumed_run(
    config: DictConfig, directory: Path, accept: Callable[[], object], has_gone_on: Callable[[], bool]
) -> Iterator[None]:
    """Takes up the run in `directory`, and keeps others out until it ends.

    accept: called with the lock held; what it raises leaves the run as it was. Afterwards the record is that of the
    present command; a user's mistake that shows before the run `has_gone_on` puts the old one back.
    """
    for key, part in plain(config).items():  # also what is not built: the run may be from somebody else
        require_allowed(part, key)
    with only_writer(directory):
        before, started = read_record(directory), started_in(directory)
        accept()
        _OWN.set(directory)
        replace_record(directory, _record(config, started))
        for log in logs():
            log.accept()
        try:
            with out_of_memory_told(config):
                yield
        except Exception as error:
            if mistake_message(error) is not None and not has_gone_on():
                replace_record(directory, before)
            raise


def belongs_to_another(directory: Path) -> bool:
    """Whether `directory` holds a run that is not the job's in hand, which was refused for it."""
    return _OWN.get() != directory and has_content(directory / RECORD)


def started_in(directory: Path) -> Path:
    """The working directory in which the run was started, which its relative paths mean; the present one if it is gone.

    Also the present one where Hydra changes into the run directory (`hydra.job.chdir`).
    """
    present = Path.cwd()
    if HydraConfig.get().job.chdir:
        return present
    try:
        recorded = yaml.safe_load(read_record(directory).get("hydra.yaml", ""))["hydra"]["runtime"]["cwd"]
    except (yaml.YAMLError, KeyError, TypeError):
        return present
    return Path(recorded) if isinstance(recorded, str) and os.path.isdir(recorded) else present


def resumed_from(config: DictConfig, directory: Path) -> Path:
    """The working directory for the run's relative paths. Raises UserError unless `resume` is null or `directory`."""
    if config.resume is None:
        return Path.cwd()
    given = Path(HydraConfig.get().runtime.cwd) / expanded(str(config.resume))
    if os.path.realpath(given) != os.path.realpath(directory):
        raise UserError(
            f"resume={config.resume}: a run goes on in its own directory, got hydra.run.dir={directory}; leave "
            "that out (or copy the run and resume the copy), and give resume=DIR on the command line"
        )
    return started_in(directory)


def _record(config: DictConfig, started: Path) -> dict[str, str]:
    """What Hydra writes into .hydra, by file name."""
    hydra: Any = deepcopy(HydraConfig.instance().cfg)
    with read_write(hydra.hydra), open_dict(hydra.hydra):
        hydra.hydra.runtime.cwd = str(started)
    return {
        "config.yaml": OmegaConf.to_yaml(config),
        "hydra.yaml": OmegaConf.to_yaml(hydra),
        "overrides.yaml": OmegaConf.to_yaml(hydra.hydra.overrides.task),
    }
