"""What a run leaves for a person to look at: figures, the comparison, the report."""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from augrad.comparison.rows import TrainingRow
from augrad.data.pixels import to_float
from augrad.data.summary import class_name, lines_about
from augrad.data.types import Splits
from augrad.errors import NonFiniteError, UserError
from augrad.policy import Policy
from augrad.policy_file import PolicyDocument
from augrad.runs.metrics import read_metrics
from augrad.show.figures import comparison_figure, evolution_figure, examples_figure
from augrad.show.report import NARROW, write_report
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


def draw_examples(
    policy: Policy, data: Splits, seed: int, images: int = 6, draws: int = 8
) -> tuple[Tensor, Tensor, list[str]]:
    """The first training image of some classes, draws of the policy on each, and the names of the classes.

    [N, C, H, W] and [N, M, C, H, W], in [0, 1], on the CPU.
    """
    split = data.train
    labels = split.labels.unique().tolist()[:images]
    first = [int((split.labels == label).nonzero()[0]) for label in labels]
    before = to_float(split.images[first])
    repeated = before.repeat_interleave(draws, 0)
    with torch.no_grad():
        after = policy(repeated, generator=torch.Generator().manual_seed(seed))
    return before.cpu(), after.unflatten(0, (len(first), draws)).cpu(), [class_name(data, label) for label in labels]


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

    def evolution(narrow: bool = False) -> Figure:
        return evolution_figure(read_metrics(directory / "metrics.jsonl"), exported, narrow)

    figures: dict[str, Sequence[Callable[[], Figure]]] = {
        "evolution": (evolution, partial(evolution, narrow=True)),
        "examples": (lambda: examples_figure(*draw_examples(policy, data, seed)),),
    }
    paths = {}
    for name, makes in figures.items():
        paths |= _save_figures(directory / "figures", name, makes, attempt)
    return paths | (write_comparison_figures(directory / "figures", comparison, attempt) if comparison else {})


def write_comparison_figures(
    directory: Path, comparison: Sequence[TrainingRow], attempt: Attempts, reference: str = "learned"
) -> dict[str, Path]:
    """comparison, as PNG files in `directory`: for wide screens and for narrow ones; those made."""
    make = partial(comparison_figure, comparison, reference)
    return _save_figures(directory, "comparison", (make, partial(make, narrow=True)), attempt)


def for_trackers(figures: Mapping[str, Path]) -> dict[str, Path]:
    """Each figure once: without the second ones, for narrow screens."""
    return {name: path for name, path in figures.items() if not name.endswith(NARROW)}


def _save_figures(
    directory: Path, name: str, makes: Sequence[Callable[[], Figure]], attempt: Attempts
) -> dict[str, Path]:
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
) -> None:
    """The report of the run in whose directory `path` lies."""
    rows, title = read_metrics(path.parent / "metrics.jsonl"), f"Policy search on {data.name}"
    write_report(
        path, title, document, rows, figures, comparison, summary, config_text, taken=taken, data=lines_about(data)
    )


def write_comparison_report(
    path: Path, data: Splits, figures: Mapping[str, Path], rows: list[TrainingRow], reference: str, config_text: str
) -> None:
    """The report of a comparison alone."""
    seconds = sum(row.seconds for row in rows)
    facts = {"trainings": len(rows), "steps of each": max(row.steps for row in rows), "training seconds": seconds}
    title = f"Policies compared on {data.name}"
    write_report(path, title, None, [], figures, rows, facts, config_text, reference, data=lines_about(data))
