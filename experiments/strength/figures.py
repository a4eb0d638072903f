"""The figures of `strength_report.py`."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from augrad.show.style import COLORS, FAINT, INK, MUTED, new_figure, style
from experiments.strength.measures import BOTH, PATHWISE, RELAX, SCORE, WAYS, Cell, Curve, Place, Report
from experiments.strength.tables import name_of

BLUE, RED, GREEN, PINK, SKY, ORANGE, PURPLE, BROWN = COLORS
LOOKS = {PATHWISE: (RED, "o"), SCORE: (BLUE, "s"), RELAX: (GREEN, "D")}


def jumps(curves: Mapping[str, Curve]) -> Figure:
    """A column for each network: a score of one image, and the mean of the batch, with what the slope makes of them."""
    with style():
        figure = new_figure(11, 6.6, pad=0.08)
        panels = figure.subplots(2, len(curves))
        for column, (network, curve) in enumerate(curves.items()):
            above, below = panels[0, column], panels[1, column]
            above.plot(curve.magnitudes, curve.alone, color=INK, linewidth=1.2, label="the score")
            above.plot(
                curve.magnitudes, curve.alone_integrated, color=RED, linewidth=1.2, label="its slope, integrated"
            )
            below.plot(curve.parts, curve.together, color=INK)
            below.plot(curve.parts, curve.together_integrated, color=RED)
            above.set_title(network)
            above.set_ylabel("score of one image")
            below.set_ylabel("mean of the batch, both signs")
            below.set_xlabel("rotation, degrees")
        panels[0, 0].legend(frameon=False, labelcolor=MUTED)
    return figure


def bias(report: Report) -> Figure:
    """A column for each network, a row for each place: the truth, and what each way says."""
    with style():
        rows = max(len(_of(report, network)) for network in BOTH)
        figure = new_figure(12, 1.6 + 0.8 * rows, pad=0.08)
        panels = figure.subplots(1, len(BOTH), sharey=True, sharex=True)
        for panel, network in zip(panels, BOTH, strict=True):
            found = _of(report, network)
            for row, cell in zip(range(len(found), 0, -1), found.values(), strict=True):
                _place(panel, row, cell, labelled=row == 1)
            panel.set_yticks(range(len(found), 0, -1), [name_of(place) for place in found])
            panel.axvline(0, color=FAINT, zorder=1)
            panel.set_title(network)
            panel.set_xlabel("derivative of the expected score with respect to the location")
            panel.grid(axis="y", visible=False)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def _of(report: Report, network: str) -> dict[Place, Cell]:
    return {place: cell for place, cell in report.cells.items() if place.network == network}


def _place(panel: Axes, row: int, cell: Cell, labelled: bool) -> None:
    def label(text: str) -> str:
        return text if labelled else "_"

    panel.plot(
        [cell.truth.fixed] * 2,
        [row - 0.36, row + 0.36],
        color=INK,
        linewidth=2.5,
        zorder=2,
        label=label("truth, u fixed"),
    )
    whole = cell.truth.whole[max(cell.truth.whole)]
    look = {"capsize": 2, "ms": 5, "elinewidth": 1.2, "linestyle": ""}
    panel.errorbar(
        whole.value, row + 0.3, xerr=2 * whole.error, color=MUTED, marker="*", label=label("truth, J"), **look
    )
    panel.plot(
        cell.pathwise, row + 0.1, color=RED, marker="o", mfc="white", ms=6, ls="", label=label("pathwise, by sums")
    )
    for place, way in zip((0.1, -0.1, -0.3), WAYS, strict=True):
        (color, marker), mean = LOOKS[way], cell.ways[way].mean
        if way != PATHWISE:
            panel.errorbar(
                mean.value, row + place, xerr=2 * mean.error, color=color, marker=marker, label=label(way), **look
            )


def error(report: Report) -> Figure:
    """A column for each network: error of each way against the draws of an estimate, at equal processor time."""
    draws = np.geomspace(16, 1e6, 60)
    with style():
        figure = new_figure(11, 4.4, pad=0.08)
        panels = figure.subplots(1, len(BOTH), sharey=True)
        for panel, network in zip(panels, BOTH, strict=True):
            cells = [cell for place, cell in _of(report, network).items() if place.operation == "rotate"]
            truth = math.sqrt(sum(cell.truth.fixed**2 for cell in cells))
            for way, (color, _) in LOOKS.items():
                squares = np.zeros_like(draws)
                for cell in cells:
                    found = cell.ways[way]
                    ratio = found.milliseconds / cell.ways[SCORE].milliseconds
                    offset = cell.pathwise - cell.truth.fixed if way == PATHWISE else 0.0
                    squares += offset**2 + found.deviation**2 * ratio / draws
                panel.plot(draws, 100 * np.sqrt(squares) / truth, color=color, label=way)
            for number, words in ((128, "one step"), (64_000, "500 steps")):
                panel.axvline(number, color=FAINT, linewidth=1.2, zorder=1)
                panel.annotate(
                    words,
                    (number, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(4, -10),
                    color=MUTED,
                    fontsize=8.5,
                    textcoords="offset points",
                )
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_title(network)
            panel.set_xlabel("draws of the score function in the same processor time")
            panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panels[0].set_ylabel("error, % of the derivative (root mean square)")
        panels[0].legend(frameon=False, labelcolor=MUTED, loc="lower left")
    return figure
