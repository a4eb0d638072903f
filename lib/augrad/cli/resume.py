"""How a run is taken up again: `resume=DIR` on the command line."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Quote

from augrad.cli import quoting
from augrad.cli.status import say_progress
from augrad.errors import UserError
from augrad.paths import expanded
from augrad.runs.directory import CHECKPOINT, RECORD, has_content, read_record
from augrad.runs.metrics import read_metrics

_REPLACED = re.compile(r"[+~]*(policy|space)([=.@]|$)(?!allow)|hydra\.run\.dir=")
"""Overrides that say what a search begins with, and where it is written."""
_SAID_ANEW = re.compile(r"\+{0,2}(resume|allow_code)=")
"""Overrides that only the present command line gives: who made the run may be somebody else."""
_MADE_BY = {"search": "search", "policies": "compare", "train": "train"}
"""Commands, by a setting that their runs have and those of the later ones have not."""
_LOGS = ("metrics.jsonl",)
"""What a run that was stopped between its record and its first checkpoint, with nothing done, does not have."""


def resolve_resume(arguments: list[str], needed: str = CHECKPOINT, command: str = "search") -> list[str]:
    """The command line with which the run of `resume=DIR` goes on; without a `resume=` the command line as it is.

    needed: the file from which a run of `augrad command` goes on. The overrides that the run was started with
    (DIR/.hydra/overrides.yaml) come before the given ones, which win, for Hydra takes the last; the run directory is
    DIR again, and `allow_code` is not taken from there. DIR may be named by the file. Options such as `--config-dir`
    are not recorded by Hydra: they have to be given again.

    A search that is finished, and gets another number of steps, is not taken up: its policy is where a new run begins,
    with the other overrides, in a directory of its own.

    Raises UserError where DIR is no run directory or nothing is there to go on from, and together with `--multirun`.
    """
    options, _ = get_args_parser().parse_known_args(arguments)
    overrides: list[str] = options.overrides
    directories = [quoting.text_of(override) for override in overrides if sets_resume(override)]
    if not directories or directories[-1] is None:
        return arguments
    if options.multirun:
        raise UserError("resume=DIR takes up one run and cannot be used with --multirun: leave one of them out")
    if not directories[-1]:
        raise UserError("resume: expected the directory of a run, got an empty name; leave resume out for a new run")
    directory = expanded(directories[-1])
    if directory.name == needed and directory.is_file():
        directory = directory.parent
    quoted = quoting.hydra_quoted(str(directory), Quote.single)
    recorded = [one for one in _recorded_overrides(directory, needed, command) if not _SAID_ANEW.match(one)]
    place = arguments.index(overrides[0])  # argparse wants all overrides side by side
    given = [argument for argument in arguments[place:] if not sets_resume(argument)]
    if command == "search" and (more := _more_steps(directory, given)):
        learned = directory / "policy.json"
        say_progress(
            f"resume: the run has all its {more} steps, for which its schedules were made; what it has learned, "
            f"{quoting.shell_quoted(str(learned))}, is where a new run begins"
        )
        kept = [one for one in recorded if not _REPLACED.match(one)]
        file = f"policy.file={quoting.hydra_quoted(str(learned), Quote.single)}"
        return [*arguments[:place], *kept, "policy=file", file, *given]
    return [
        *arguments[:place],
        *recorded,
        f"resume={quoted}",
        f"hydra.run.dir={quoted}",
        *given,
    ]


def _more_steps(directory: Path, given: Sequence[str]) -> int | None:
    """How many steps the run in the directory has done, if that is all of them and others are asked for now."""
    asked = [quoting.text_of(one) for one in given if re.match(r"\+{0,2}search\.steps=", one)]
    metrics, policy = directory / "metrics.jsonl", directory / "policy.json"
    if not asked or not all(has_content(path) for path in (metrics, policy, directory / "report.html")):
        return None
    try:
        steps = yaml.safe_load(read_record(directory).get("config.yaml", ""))["search"]["steps"]
    except (yaml.YAMLError, KeyError, TypeError):
        return None
    rows = read_metrics(metrics)
    return steps if rows and rows[-1].get("step") == steps and asked[-1] != str(steps) else None


def sets_resume(override: str) -> bool:
    """Whether it is `resume=...`, also with the signs by which Hydra adds a key."""
    return re.match(r"\+{0,2}resume=", override) is not None


def _recorded_overrides(directory: Path, needed: str, command: str) -> list[str]:
    record = directory / RECORD / "overrides.yaml"
    if not directory.is_dir():
        what = "a file" if directory.exists() else "no such directory"
        raise UserError(f"resume={directory}: {what}; give the directory that a run wrote")
    if not record.is_file():
        raise UserError(f"resume={directory}: not a run directory, it has no {RECORD}/overrides.yaml")
    kind = _kind_of(directory)
    if kind is not None and kind != command:
        raise UserError(f"resume={directory}: that is the directory of augrad {kind}, not of augrad {command}")
    untouched = kind == command and not any(has_content(directory / name) for name in (needed, *_LOGS))
    if not ((directory / needed).is_file() or untouched):
        raise UserError(
            f"resume={directory}: it has no {needed} to go on from; start the run anew, in another directory"
        )
    try:
        overrides = yaml.safe_load(record.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        overrides = None
    if (
        not isinstance(overrides, list)
        or not all(map(quoting.is_override, overrides))
        or any(re.match(r"[+~]*hydra\b", one) for one in overrides)  # Hydra records its own elsewhere
    ):
        raise UserError(f"resume={directory}: {record} is no list of overrides; it was damaged")
    return overrides


def _kind_of(directory: Path) -> str | None:
    """The command that made the run; None: unknown."""
    try:
        config = yaml.safe_load(read_record(directory).get("config.yaml", ""))
    except yaml.YAMLError:
        return None
    return next((command for key, command in _MADE_BY.items() if isinstance(config, dict) and key in config), None)
