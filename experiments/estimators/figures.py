"""The figures of `estimator_report.py`: what each estimator gets wrong, and how much it scatters."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from augrad.show.style import COLORS, FAINT, INK, MUTED, new_figure, style

BLUE, RED, GREEN, PINK, SKY, ORANGE, PURPLE, BROWN = COLORS
LOOKS = {
    "reinforce, none": (BLUE, "o"),
    "reinforce, moving_average": (BLUE, "^"),
    "reinforce, leave_one_out": (BLUE, "s"),
    "relax": (GREEN, "D"),
    "rebar": (SKY, "v"),
    "enumerate": (INK, "P"),
    "gumbel, straight_through": (RED, "o"),
    "gumbel, pathwise magnitudes": (RED, "^"),
    "gumbel, straight_through_pixels": (ORANGE, "s"),
    "gumbel, soft": (PINK, "D"),
    "mixture": (BROWN, "v"),
    "one_step": (BLUE, "o"),
    "unrolled(2)": (SKY, "v"),
    "unrolled(T)": (GREEN, "D"),
    "unrolled(k)": (GREEN, "D"),
    "t1t2": (BROWN, "s"),
    "neumann(5)": (RED, "^"),
    "neumann(k)": (RED, "^"),
    "cg(5)": (PURPLE, "P"),
    "cg(k)": (PURPLE, "P"),
}
"""Colour and marker of each line: no two lines share both."""
LEAST_ANGLE, LEAST_ERROR = 1e-3, 1e-6


class Found(Protocol):
    """See `estimator_report.Found`."""

    @property
    def bias(self) -> float: ...
    @property
    def standard_error(self) -> float: ...
    @property
    def variance(self) -> float: ...


class Error(Protocol):
    """See `estimator_report.Error`."""

    @property
    def angle(self) -> float: ...
    @property
    def relative(self) -> float: ...


Groups = Mapping[str, Found]


def overview(rows: Mapping[str, Groups], plain: str) -> Figure:
    """A column for each group; above the bias, below the variance; a row for each estimator."""
    groups, names = list(rows[plain]), list(rows)
    places = np.arange(len(names))[::-1]
    with style():
        figure = new_figure(13, 7.2, pad=0.06)
        panels = figure.subplots(2, len(groups), sharey=True)
        for column, group in enumerate(groups):
            above, below = panels[0, column], panels[1, column]
            above.set_title(group.replace("_", " "))
            above.axvline(0, color=FAINT, linewidth=3, zorder=1)
            below.axvline(1, color=FAINT, linewidth=3, zorder=1)
            for place, name in zip(places, names, strict=True):
                found, (color, marker) = rows[name][group], LOOKS[name]
                spread = 200 * found.standard_error
                above.errorbar(100 * found.bias, place, xerr=spread, color=color, marker=marker, capsize=2.5, ms=5)
                if found.variance > 0:
                    below.plot(found.variance / rows[plain][group].variance, place, color=color, marker=marker, ms=6)
            _percent(above.xaxis, above.set_xscale)
            above.margins(x=0.08)
            below.set_xscale("log")
            _plain_ticks(below)
            above.set_xlabel("bias, % of the exact gradient")
            below.set_xlabel(f"variance / {plain}")
            for panel in (above, below):
                panel.set_yticks(places, names)
                panel.tick_params(axis="x", labelsize=8)
    return figure


def by_temperature(rows: Mapping[str, Mapping[float, Groups]], others: Mapping[str, Groups], plain: str) -> Figure:
    """Columns: the groups of choices. Above the bias, below the variance."""
    groups = [group for group in others[plain] if not group.startswith("magnitude")]
    with style():
        figure = new_figure(11, 7.2, pad=0.06)
        panels = figure.subplots(2, len(groups), sharex=True)
        for column, group in enumerate(groups):
            above, below = panels[0, column], panels[1, column]
            above.set_title(group.replace("_", " "))
            _sweep(above, below, rows, group, lambda _, group=group: others[plain][group].variance)
            reference = others["reinforce, leave_one_out"][group].variance / others[plain][group].variance
            below.axhline(reference, color=BLUE, linestyle=":", linewidth=1.5)
            below.set_xlabel("temperature")
        _finish_sweep(figure, panels, plain)
    return figure


def by_draws(rows: Mapping[str, Mapping[int, Groups]], plain: str) -> Figure:
    """Columns: every group. Above the bias, below the variance."""
    numbers = list(rows[plain])
    groups = list(rows[plain][numbers[0]])
    with style():
        figure = new_figure(14, 7.6, pad=0.06)
        panels = figure.subplots(2, len(groups), sharex=True)
        for column, group in enumerate(groups):
            above, below = panels[0, column], panels[1, column]
            above.set_title(group.replace("_", " "))
            _sweep(above, below, rows, group, lambda number, group=group: rows[plain][number][group].variance, False)
            below.set_xlabel("draws of an estimate")
            below.set_xticks(numbers, [str(number) for number in numbers])
            below.tick_params(axis="x", labelsize=8)
        _finish_sweep(figure, panels, plain)
    return figure


def hypergradients(
    by_steps: Mapping[str, Mapping[int, Sequence[Error]]], by_terms: Mapping[str, Mapping[int, Sequence[Error]]]
) -> Figure:
    """Angles after real training, angles at the optimum, relative errors at the optimum."""
    with style():
        figure = new_figure(13, 4.6, pad=0.08)
        left, middle, right = figure.subplots(1, 3)
        _bands(left, by_steps, "angle", LEAST_ANGLE)
        _bands(middle, by_terms, "angle", LEAST_ANGLE)
        converging = {name: row for name, row in by_terms.items() if name.endswith("(k)")}
        _bands(right, converging, "relative", LEAST_ERROR)
        left.set(title="T real steps of training", xlabel="steps T", ylabel="angle to the true hypergradient, degrees")
        middle.set(
            title="Training to the optimum",
            xlabel="terms, iterations or steps k",
            ylabel="angle to the true hypergradient, degrees",
        )
        right.set(title="Training to the optimum", xlabel="terms, iterations or steps k")
        right.set_ylabel("|found − true| / |true|")
        for panel in (left, middle):
            panel.set_ylim(LEAST_ANGLE * 0.7, 180)
            panel.set_yticks([1e-3, 1e-2, 0.1, 1, 10, 90], ["≤ 0.001", "0.01", "0.1", "1", "10", "90"])
            panel.yaxis.set_minor_formatter(NullFormatter())
        right.set_ylim(bottom=LEAST_ERROR * 0.7)
    return figure


def _sweep(
    above: Axes,
    below: Axes,
    rows: Mapping[str, Mapping[Any, Groups]],
    group: str,
    plain_variance: Callable[[Any], float],
    joined: bool = True,
) -> None:
    above.axhline(0, color=FAINT, linewidth=3, zorder=1)
    below.axhline(1, color=FAINT, linewidth=3, zorder=1)
    places = sorted({place for by_value in rows.values() for place in by_value})
    for index, (name, by_value) in enumerate(rows.items()):
        color, marker = LOOKS[name]
        # Moved apart a little, so that error bars do not hide each other.
        x = np.array(list(by_value)) * 1.03 ** (index - len(rows) / 2)
        found = [groups[group] for groups in by_value.values()]
        above.errorbar(
            x,
            [100 * one.bias for one in found],
            yerr=[200 * one.standard_error for one in found],
            color=color,
            marker=marker,
            label=name,
            capsize=2,
            ms=4.5,
            linestyle="-" if joined else "",
            linewidth=1.2,
            elinewidth=1.2 if joined else 0.7,
        )
        ratios = [one.variance / plain_variance(value) for value, one in zip(by_value, found, strict=True)]
        if any(ratio > 0 for ratio in ratios):
            below.plot(x, ratios, color=color, marker=marker, ms=4.5, linewidth=1.2)
    above.set_xscale("log")
    below.set_yscale("log")
    below.set_xticks(places, [f"{place:g}" for place in places])
    for panel in (above, below):
        panel.xaxis.set_minor_locator(NullLocator())
    _percent(above.yaxis, above.set_yscale)


def _finish_sweep(figure: Figure, panels: np.ndarray, plain: str) -> None:
    panels[0, 0].set_ylabel("bias along the exact gradient, % of its length")
    panels[1, 0].set_ylabel(f"variance / {plain}")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 4), frameon=False)


def _bands(panel: Axes, rows: Mapping[str, Mapping[int, Sequence[Error]]], quantity: str, least: float) -> None:
    places = sorted({place for by_value in rows.values() for place in by_value})
    for name, by_value in rows.items():
        color, marker = LOOKS[name]
        values = [[max(getattr(error, quantity), least) for error in errors] for errors in by_value.values()]
        x = list(by_value)
        panel.plot(x, [median(row) for row in values], color=color, marker=marker, ms=5, label=name)
        panel.fill_between(x, [min(row) for row in values], [max(row) for row in values], color=color, alpha=0.07, lw=0)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xticks(places, [str(place) for place in places])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.legend(frameon=False, fontsize=8.5, labelcolor=MUTED)


def _percent(axis: Axis, set_scale: Callable[..., None]) -> None:
    """Linear up to 10%, by tens beyond."""
    set_scale("symlog", linthresh=10, linscale=1.0)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.0f}" if value else "0"))


def _plain_ticks(panel: Axes) -> None:
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
