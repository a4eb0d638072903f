"""The tables of `strength_report.py`, and what it says of itself."""

import math
import os
import platform
from collections.abc import Iterable

import torch

from experiments.shared.pages import command, markdown
from experiments.strength.measures import BOTH, PATHWISE, SCORE, WAYS, Cell, Estimated, Place, Report

UNITS = {"rotate": (90.0, "°"), "translate_x": (45.0, "%"), "brightness": (0.9, "")}
"""Full strength, and what is written after a magnitude."""


def name_of(place: Place) -> str:
    """E.g. rotate 45°, 200 steps."""
    full, sign = UNITS[place.operation]
    return f"{place.operation} {place.level * full:.3g}{sign}, {place.steps} steps"


def write(estimated: Estimated, digits: int = 3) -> str:
    """With its standard error."""
    return f"{estimated.value:+.{digits}f} ± {estimated.error:.{digits}f}"


def less(estimated: Estimated, value: float) -> Estimated:
    """With the same error."""
    return Estimated(estimated.value - value, estimated.error)


def in_standard_errors(errors: Iterable[Estimated]) -> str:
    """The root of the mean square: near 1 where there is nothing but noise."""
    found = [(one.value / one.error) ** 2 for one in errors]
    return f"{math.sqrt(sum(found) / len(found)):.2f}"


def turning_point(cell: Cell) -> float:
    """From how many draws on the score function errs less than pathwise estimates in the same time; 0: always.

    bias^2 + c var_pathwise / n = var_score / n, with c the ratio of their times for a draw.
    """
    pathwise, score = cell.ways[PATHWISE], cell.ways[SCORE]
    ratio = pathwise.milliseconds / score.milliseconds
    more = score.deviation**2 - ratio * pathwise.deviation**2
    bias = cell.pathwise - cell.truth.fixed
    return max(more, 0.0) / bias**2 if bias else math.inf


def tables(report: Report) -> list[str]:
    """The page's tables."""
    cells = {(place, f"{name_of(place)}, {place.network}"): cell for place, cell in report.cells.items()}
    steps = report.size.step_sizes
    truth = {
        name: [
            f"{cell.validation_loss:.2f}",
            f"{cell.truth.fixed:+.3f} ({cell.truth.coarse:+.3f})",
            *(write(cell.truth.drawn[step]) for step in steps),
            *(write(cell.truth.whole[step]) for step in steps),
            write(cell.truth.rest[steps[0]]),
        ]
        for (_, name), cell in cells.items()
    }
    bias = {
        name: [
            f"{cell.truth.fixed:+.3f}",
            f"{cell.pathwise - cell.truth.fixed:+.3f} ({100 * (cell.pathwise / cell.truth.fixed - 1):+.0f}%; "
            f"{cell.pathwise_coarse - cell.truth.coarse:+.3f})",
            *(write(less(cell.ways[way].mean, cell.truth.fixed)) for way in WAYS),
        ]
        for (_, name), cell in cells.items()
    }
    for network in BOTH:
        of = [cell for (place, _), cell in cells.items() if place.network == network]
        errors = [in_standard_errors(less(cell.ways[way].mean, cell.truth.fixed) for cell in of) for way in WAYS]
        bias[f"*root mean square in standard errors, {network}*"] = ["", "", *errors]
    spread = {
        name: [
            *(f"{cell.ways[way].deviation:.2f}" for way in WAYS),
            *(f"{cell.ways[way].milliseconds:.0f}" for way in WAYS),
            f"{count:,.0f}" if (count := turning_point(cell)) < 1e6 else "more than a million",
        ]
        for (_, name), cell in cells.items()
    }
    point = {
        name: [
            write(cell.point.slope),
            *(write(cell.point.quotient[window]) for window in report.size.windows),
            *(write(cell.point.excess[window]) for window in report.size.windows),
        ]
        for (_, name), cell in cells.items()
        if cell.point is not None
    }
    return [
        *markdown(
            "The truth: derivative with respect to the location",
            [
                "place",
                "validation loss before",
                "u fixed, by sums (a third of them)",
                *(f"u fixed, differences over ±{step:g}" for step in steps),
                *(f"J, differences over ±{step:g}" for step in steps),
                f"J less u fixed, ±{steps[0]:g}",
            ],
            truth,
        ),
        *markdown(
            "Bias: mean estimate less the truth at fixed u",
            ["place", "truth", "pathwise, by sums (share; by a third of them)", *WAYS],
            bias,
        ),
        *markdown(
            "Spread of a draw, processor time, and when bias matters",
            [
                "place",
                *(f"deviation of a draw, {way}" for way in WAYS),
                *(f"ms for {report.size.batch_size} draws, {way}" for way in WAYS),
                "draws from which on score is better than pathwise in the same time",
            ],
            spread,
        ),
        *markdown(
            "A point magnitude: slope by autograd against difference quotients, over the 1,000 training images",
            [
                "place",
                "slope",
                *(f"quotient over ±{window:g}" for window in report.size.windows),
                *(f"slope less quotient, ±{window:g}" for window in report.size.windows),
            ],
            point,
        ),
    ]


def provenance(report: Report, seconds: float, processes: int) -> str:
    """The command that measured, on what, and how much."""
    size = report.size
    return (
        f"Command: `{command()}`, {seconds:.0f} s of processor time in {processes} processes of "
        f"one thread; {platform.machine()}, {os.cpu_count()} CPU cores; torch {torch.__version__}, float64. Digits of "
        f"16 x 16, the network of `model=small_conv` with width {size.width}, batches of {size.batch_size}, 256 "
        f"validation images; seed {size.seed} of data, network, training and draws. u: the mean of {size.u_draws} "
        f"draws. Sums: over {size.parts} magnitudes of both signs. Differences: n = {size.draws} draws of the step, "
        f"the same at both ends. Each way: n = {size.estimates} estimates of {size.batch_size} draws; RELAX's control "
        f"is trained for {size.training} steps first. ± is one standard error."
    )
