"""A search that `torchrun` has started in several processes: the first one is the run, the others compute with it.

Every process reads the configuration and the data, and takes every step. The first one alone has the run directory,
prints, and judges the policy in the end; the others write into a directory that is gone afterwards, and are silent
unless they fail.
"""

import io
import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Quote

from augrad.cli.quoting import hydra_quoted
from augrad.cli.resume import resolve_resume, sets_resume
from augrad.cli.status import FAILURE, MISTAKE, exit_status
from augrad.errors import UserError
from augrad.ranks import joined, left
from augrad.search import SearchState
from augrad.terminal.console import say

_NOT_OURS = re.compile(r"[+~]*(resume=|hydra\.run\.dir=|tracker([=.@]|$))")
"""Overrides that are the first process's alone."""


def launched() -> bool:
    """Whether `torchrun` has started this process with others."""
    return torch.distributed.is_available() and torch.distributed.is_torchelastic_launched() and _count() > 1


def in_processes(run: Callable[[list[str] | None], int], program: str, arguments: list[str] | None) -> int:
    """The exit status of a command: `run` with its command line, which in one of several processes is their own.

    A sweep is refused there. Where `torchrun` starts its processes again (`--max-restarts`), the run that the first of
    them had begun goes on.
    """
    if not launched():
        return run(arguments)
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if int(os.environ["RANK"]):
            return _follow(run, program, given)
        return exit_status(lambda: _require_one_run(given), program) or run(_taken_up(given))
    finally:
        left()


def _count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _require_one_run(given: list[str]) -> None:
    if get_args_parser().parse_known_args(given)[0].multirun:
        raise UserError("a sweep starts processes of its own: leave torchrun out, or --multirun")


def _follow(run: Callable[[list[str] | None], int], program: str, given: list[str]) -> int:
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as place:
        own: list[str] = []

        def resolve() -> None:
            _require_one_run(given)
            own.extend(one for one in resolve_resume(given) if not _NOT_OURS.match(one))

        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            status = exit_status(resolve, program)
            status = status or run(
                [*own, f"hydra.run.dir={hydra_quoted(f'{place}/run', Quote.single)}", "tracker=none"]
            )
    if status in (FAILURE, MISTAKE):  # not where it was asked to stop, which the first one tells
        last = "\n".join(said.getvalue().splitlines()[-20:])
        say(f"rank {os.environ['RANK']}: {last}", stderr=True)
    return status


def own_device(name: object) -> object:
    """The device that this process asks for: of those of its machine the one with its number."""
    if launched() and name in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return name


def begin_together(state: SearchState, device: torch.device) -> None:
    """All processes have the state of the first one, which may have taken up a run."""
    ranks = joined(device)
    if ranks.alone:
        return
    content = io.BytesIO()
    if ranks.leads:
        torch.save(state.state_dict(), content)
    saved = io.BytesIO(ranks.of_the_first(content.getvalue()))
    if not ranks.leads:  # to the CPU: on which GPU the first one is says nothing here
        state.load_state_dict(torch.load(saved, map_location="cpu", weights_only=True))


def note_run(directory: Path) -> None:
    """For the processes that may come after these, if one of them is lost."""
    if (note := _note()) is not None and not int(os.environ["RANK"]):
        note.write_text(str(directory))


def _taken_up(given: list[str]) -> list[str]:
    """The command line, and where these processes come after others, with what takes up their run."""
    note = _note()
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0 or note is None or not note.exists():
        return given
    kept = [one for one in given if not sets_resume(one) and not one.startswith("hydra.run.dir=")]
    return [*kept, f"resume={hydra_quoted(note.read_text(), Quote.single)}"]


def _note() -> Path | None:
    """Where the run directory stands: beside what `torchrun` keeps of each of its attempts, in a folder of its own."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    return Path(file).parents[2] / "augrad.run" if launched() and file else None
