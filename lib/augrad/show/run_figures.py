"""The figures of a search, each for a wide screen and, where it has several panels, for a narrow one."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from augrad.comparison.arms import LEARNED
from augrad.comparison.rows import TrainingRow
from augrad.data.pixels import to_float
from augrad.data.summary import class_name
from augrad.data.types import Splits
from augrad.policy import Policy
from augrad.show.figures import comparison_figure, evolution_figure, examples_figure

FigureMakers = Sequence[Callable[[], Figure]]
"""Functions that draw a figure: for a wide screen, and, where there is a second one, for a narrow screen."""


def search_figures(
    rows: Callable[[], Sequence[Mapping[str, Any]]],
    policy: Policy,
    data: Splits,
    seed: int,
    comparison: Sequence[TrainingRow] | None,
    exported: int | None = None,
) -> dict[str, FigureMakers]:
    """evolution, examples and, where there is one, comparison. Nothing is drawn, and `rows` not read, before they are
    made.

    rows: of the metrics. exported: the step that the policy was taken from.
    """

    def evolution(narrow: bool = False) -> Figure:
        return evolution_figure(rows(), exported, narrow)

    return {
        "evolution": (evolution, partial(evolution, narrow=True)),
        "examples": (lambda: examples_figure(*draw_examples(policy, data, seed)),),
    } | ({"comparison": comparison_figures(comparison)} if comparison else {})


def comparison_figures(rows: Sequence[TrainingRow], reference: str = LEARNED) -> FigureMakers:
    """The differences of the policy `reference` to the others."""
    make = partial(comparison_figure, rows, reference)
    return make, partial(make, narrow=True)


def draw_examples(
    policy: Policy, data: Splits, seed: int, images: int = 6, draws: int = 8
) -> tuple[Tensor, Tensor, list[str]]:
    """The first training image of some classes, draws of the policy on each, and the names of the classes.

    [N, C, H, W] and [N, M, C, H, W], in [0, 1], on the CPU.
    """
    split = data.train
    labels = split.labels.unique().tolist()[:images]
    first = torch.stack([(split.labels == label).nonzero()[0, 0] for label in labels])
    before = to_float(split.images[first])
    repeated = before.repeat_interleave(draws, 0)
    with torch.no_grad():
        after = policy(repeated, generator=torch.Generator().manual_seed(seed))
    return before.cpu(), after.unflatten(0, (len(first), draws)).cpu(), [class_name(data, label) for label in labels]
