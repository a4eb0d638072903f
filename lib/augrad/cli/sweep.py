"""A sweep ends with its answer: which of its runs is the best, in a table and on a page."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from augrad.atomic import write_text
from augrad.cli.quoting import shell_quoted
from augrad.cli.run_directory import belongs_to_another
from augrad.comparison.statistics import Interval, mean_interval
from augrad.errors import UserError
from augrad.policy_file.convert import read_document
from augrad.show.page import rendered
from augrad.show.table import Fitting
from augrad.show.words import number
from augrad.terminal.console import say

RESULT, PAGE, _CONFIG = "result.json", "report.html", "multirun.yaml"
_SEEDS = ("seed", "data.seed")
"""Settings whose values are repetitions of one thing."""
_RUNNING: ContextVar[DictConfig | None] = ContextVar("running", default=None)
"""The configuration of the sweep that has begun and not ended."""
_ASIDE = "hydra.", "tracker.", "resume"
"""Overrides that change nothing of a result."""


@dataclass(frozen=True)
class Job:
    """A run of a sweep.

    settings: its overrides, by key. objective: what the sweeper minimises; None if it failed. chosen: which policy a
    search has left: none, initial, learned and so on; empty where there was no choice.
    """

    directory: str
    settings: Mapping[str, str]
    objective: float | None
    chosen: str = ""


@dataclass(frozen=True)
class Group:
    """The runs with the same settings but for their seeds. interval: of their objectives; None where none has one."""

    settings: Mapping[str, str]
    jobs: Sequence[Job]
    interval: Interval | None

    @property
    def best(self) -> Job:
        """The run with the lowest objective."""
        return min(self.jobs, key=lambda job: float("inf") if job.objective is None else job.objective)

    @property
    def chosen(self) -> str:
        """Which policies the searches have left, the most frequent first; how often, where not all left the same."""
        counts = Counter(job.chosen for job in self.jobs if job.chosen).most_common()
        return counts[0][0] if len(counts) == 1 else ", ".join(f"{count} {name}" for name, count in counts)


class SweepSummary(Callback):
    """Told by Hydra about the jobs of a sweep: each leaves its result, and the end is a table of all, and a page."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keeps the configuration of an earlier sweep in the same directory, which Hydra would replace."""
        _RUNNING.set(config)
        path = Path(config.hydra.sweep.dir) / _CONFIG
        if path.is_file():
            free = next(number for number in itertools.count(1) if not _numbered(path, number).exists())
            path.rename(_numbered(path, free))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Writes the result of one job into its run directory; a single run has none to be compared with.

        One of a sweep that was interrupted is taken up as a single run.
        """
        directory, done = Path(config.hydra.runtime.output_dir), job_return.status == JobStatus.COMPLETED
        taken_up = config.get("resume") is not None and (directory.parent / _CONFIG).is_file()
        if config.hydra.mode != RunMode.MULTIRUN and not taken_up:
            return
        if not directory.is_dir() or belongs_to_another(directory):  # refused before it began
            return
        value = job_return.return_value if done else None
        objective = float(value) if isinstance(value, int | float) else None
        result: dict[str, Any] = {
            "overrides": list(config.hydra.overrides.task),
            "objective": objective,
            "finished": done,
            "chosen": _chosen_in(directory) if done else None,
        }
        write_text(directory / RESULT, json.dumps(result, indent=1) + "\n")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Prints the table and writes the page; nothing where no job has a number to be ranked by."""
        _RUNNING.set(None)
        directory = Path(config.hydra.sweep.dir)
        jobs = read_jobs(directory)
        if not any(job.objective is not None for job in jobs):
            return
        groups = ranked(jobs)
        say("")
        say(f"sweep: {len(jobs)} runs, the lowest objective first")
        say(table_of(groups))
        if words := doubt_of(groups):
            say(words)
        best = Path(groups[0].best.directory)
        say(f"best run: {shell_quoted(str(directory / best))}")
        if (directory / best / "policy.json").is_file():
            say(f"its policy: {shell_quoted(str(directory / best / 'policy.json'))}")
        write_page(directory / PAGE, directory.name, groups)
        say(f"report: {shell_quoted(str(directory / PAGE))}")


@contextmanager
def summed_up_if_failed() -> Iterator[None]:
    """A sweep in which a job failed, which Hydra ends with that job's error, has its table before the error, too."""
    _RUNNING.set(None)
    try:
        yield
    except Exception:
        if (config := _RUNNING.get()) is not None:
            with suppress(UserError):  # the error that is told is that of the job
                SweepSummary().on_multirun_end(config)
        raise


def _chosen_in(directory: Path) -> str | None:
    """Which policy the search of this directory has left; None where there was no choice."""
    with suppress(OSError, UserError):
        return read_document(directory / "policy.json").provenance.get("metrics", {}).get("chosen")
    return None


def _numbered(path: Path, number: int) -> Path:
    return path.with_stem(f"{path.stem}-{number}")


def read_jobs(directory: Path) -> list[Job]:
    """The runs below the directory of a sweep that have left a result, in the order of their numbers."""
    jobs = []
    for file in sorted(directory.glob(f"*/{RESULT}"), key=lambda file: (len(file.parent.name), file.parent.name)):
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            overrides, objective = told["overrides"], told["objective"]
            settings = dict(str(override).lstrip("+").split("=", 1) for override in overrides if "=" in override)
            chosen = str(told.get("chosen") or "")
            jobs.append(Job(file.parent.name, settings, None if objective is None else float(objective), chosen))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: expected the result of a run, got {error}; remove it, or put it back") from None
    return jobs


def ranked(jobs: Sequence[Job]) -> list[Group]:
    """The jobs by their settings, the lowest mean objective first, and last those of which every run failed."""
    different = _different(jobs)
    found: dict[tuple[tuple[str, str], ...], list[Job]] = {}
    for job in jobs:
        own = tuple((key, job.settings.get(key, "")) for key in different if key not in _SEEDS)
        found.setdefault(own, []).append(job)
    groups = []
    for settings, those in found.items():
        values = [job.objective for job in those if job.objective is not None]
        groups.append(Group(dict(settings), those, mean_interval(values) if values else None))
    return sorted(groups, key=lambda group: float("inf") if group.interval is None else group.interval.mean)


def _different(jobs: Sequence[Job]) -> list[str]:
    """The keys whose values are not the same in all jobs."""
    keys = dict.fromkeys(key for job in jobs for key in job.settings if not key.startswith(_ASIDE))
    return [key for key in keys if len({job.settings.get(key) for job in jobs}) > 1]


def doubt_of(groups: Sequence[Group]) -> str:
    """Why the order may be chance, and what would tell; nothing where the best one is clearly ahead, or alone."""
    ahead, *rest = [group.interval for group in groups if group.interval is not None]
    if not rest:
        return ""
    if ahead.high is None or rest[0].low is None:
        why = "one run of each cannot tell whether their order is chance"
    elif ahead.high >= rest[0].low:
        why = "the intervals of the first two overlap: their order may be chance"
    else:
        return ""
    return f"{why}; more seeds tell, as in seed=0,1,2"


def _lines(groups: Sequence[Group]) -> Iterator[tuple[str, ...]]:
    for place, group in enumerate(groups, 1):
        settings = " ".join(f"{key}={value}" for key, value in group.settings.items()) or "the same"
        failed = sum(job.objective is None for job in group.jobs)
        runs = f"{len(group.jobs)}" + (f" ({failed} failed)" if failed else "")
        yield str(place), settings, *_told(group.interval), runs, group.chosen, group.best.directory


def _told(interval: Interval | None) -> tuple[str, str]:
    """The mean, and the interval where there is one."""
    if interval is None:
        return "–", ""
    both = interval.low is not None and interval.high is not None
    return number(interval.mean, 4), f"{number(interval.low, 4)} to {number(interval.high, 4)}" if both else ""  # type: ignore[arg-type]


_HEAD = ("rank", "settings", "objective", "95% interval", "runs", "policy", "best run")


def table_of(groups: Sequence[Group]) -> Fitting:
    """For the terminal."""
    shown = [(0, 1, 2, 3, 4, 5, 6), (0, 1, 2, 3, 5, 6), (0, 1, 2, 5, 6), (0, 1, 2, 5), (1, 2)]
    if not any(group.chosen for group in groups):
        shown = [tuple(column for column in columns if column != 5) for columns in shown]
    return Fitting(_HEAD, list(_lines(groups)), shown, texts=(1, 5))


def write_page(path: Path, name: str, groups: Sequence[Group]) -> None:
    """The same as a page, atomically."""
    rows = [dict(zip(("rank", "settings", "objective", "interval", "runs", "policy", "best"), line, strict=True))
            for line in _lines(groups)]  # fmt: skip
    every = [job for group in groups for job in group.jobs]
    jobs = [
        (job.directory, " ".join(f"{key}={value}" for key, value in job.settings.items()),
         "failed" if job.objective is None else number(job.objective, 4), job.chosen)
        for job in every
    ]  # fmt: skip
    told = {"rows": rows, "jobs": jobs, "doubt": doubt_of(groups), "chosen": any(job.chosen for job in every)}
    write_text(path, rendered("sweep.html.jinja", {}, title=f"Sweep {name}", **told))
