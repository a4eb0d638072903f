"""What a run leaves for a person to look at: figures, the comparison, the report."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augrad.comparison.rows import TrainingRow
from augrad.data.summary import lines_about
from augrad.data.types import Splits
from augrad.errors import NonFiniteError, UserError
from augrad.policy import Policy
from augrad.policy_file import PolicyDocument
from augrad.runs.metrics import read_metrics
from augrad.show.report import NARROW, write_report
from augrad.show.run_figures import FigureMakers, comparison_figures, search_figures
from augrad.show.style import save_figure


@dataclass
class Attempts:
    """Things to make of a run whose work is done and kept: one that fails is noted, and the others are made."""

    failed: list[str] = field(default_factory=list)

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Within it, an error ends the attempt and nothing else; `failed` gets a line: `what`, and why."""
        try:
            yield
        except (UserError, NonFiniteError) as error:
            self.failed.append(f"{what}: {error}")
        except Exception as error:  # of this code, of matplotlib: whatever it is, the run matters more
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self.failed.append(f"{what}: {reason} ({place.filename}, line {place.lineno})")


def write_figures(
    directory: Path,
    policy: Policy,
    data: Splits,
    seed: int,
    comparison: list[TrainingRow] | None,
    attempt: Attempts,
    exported: int | None = None,
) -> dict[str, Path]:
    """evolution, examples and, where there is one, comparison, as PNG files below `directory`/figures; those made.

    What has several panels is there a second time, for narrow screens.

    exported: the step that the policy was taken from.
    """

    made = search_figures(lambda: read_metrics(directory / "metrics.jsonl"), policy, data, seed, comparison, exported)
    paths = {}
    for name, makes in made.items():
        paths |= _save_figures(directory / "figures", name, makes, attempt)
    return paths


def write_comparison_figures(
    directory: Path, comparison: Sequence[TrainingRow], attempt: Attempts, reference: str = "learned"
) -> dict[str, Path]:
    """comparison, as PNG files in `directory`: for wide screens and for narrow ones; those made."""
    return _save_figures(directory, "comparison", comparison_figures(comparison, reference), attempt)


def for_trackers(figures: Mapping[str, Path]) -> dict[str, Path]:
    """Each figure once: without the second ones, for narrow screens."""
    return {name: path for name, path in figures.items() if not name.endswith(NARROW)}


def _save_figures(directory: Path, name: str, makes: FigureMakers, attempt: Attempts) -> dict[str, Path]:
    """A figure, and the second one for narrow screens, as PNG files; their paths by name."""
    paths = {}
    with attempt(f"the figure {name}"):
        for make, own in zip(makes, (name, f"{name}{NARROW}"), strict=False):
            save_figure(make(), directory / f"{own}.png")
            paths[own] = directory / f"{own}.png"
    return paths


def write_search_report(
    path: Path,
    data: Splits,
    document: PolicyDocument,
    figures: Mapping[str, Path],
    comparison: list[TrainingRow] | None,
    summary: Mapping[str, Any],
    config_text: str,
    taken: str = "",
    further: Sequence[str] = (),
) -> None:
    """The report of the run in whose directory `path` lies."""
    write_report(
        path,
        figures,
        title=f"Policy search on {data.name}",
        document=document,
        rows=read_metrics(path.parent / "metrics.jsonl"),
        comparison=comparison,
        summary=summary,
        config_text=config_text,
        taken=taken,
        data=lines_about(data),
        further=further,
    )


def write_comparison_report(
    path: Path, data: Splits, figures: Mapping[str, Path], rows: list[TrainingRow], reference: str, config_text: str
) -> None:
    """The report of a comparison alone."""
    seconds = sum(row.seconds for row in rows)
    facts = {"trainings": len(rows), "steps of each": max(row.steps for row in rows), "training seconds": seconds}
    write_report(
        path,
        figures,
        title=f"Policies compared on {data.name}",
        document=None,
        rows=[],
        comparison=rows,
        summary=facts,
        config_text=config_text,
        reference=reference,
        data=lines_about(data),
    )
