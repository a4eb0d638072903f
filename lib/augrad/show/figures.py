"""The figures of a run: how the search went, what the policy does to images, how policies compare."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from augrad.comparison.differences import Difference, Metric, best_of, difference, interval_of
from augrad.comparison.rows import TrainingRow, names_of
from augrad.comparison.statistics import change, without_interval
from augrad.errors import UserError
from augrad.show.style import COLORS, FAINT, INK, MUTED, label_ends, new_figure, save_figure, style
from augrad.show.words import number, short_names
from augrad.terminal.output import visible, writable

__all__ = ["comparison_figure", "evolution_figure", "examples_figure", "save_figure"]

_TITLE, _TITLE_LINES = 14, 3
"""Characters in a line beside a picture, and lines."""
_COLORED_FROM = 0.05
"""An operation whose mass never exceeds this stays grey."""
_MOST_POINTS = 2000
"""Of one line; more cannot be seen."""
_LABEL_WIDTH, _LONGEST_LABEL = 40, 240
"""Characters: of a line of a name beside an axis, and of a name."""


def evolution_figure(rows: Sequence[Mapping[str, Any]], exported: int | None = None, narrow: bool = False) -> Figure:
    """How a search went, from its metrics rows; a panel without values says so.

    Keys read: step; train_loss, val_loss; train_accuracy, val_accuracy, selection_accuracy; selection_entropy (nat),
    identity_mass; and for each operation mass/<op>, strength/<op>, probability/<op> (all in 0..1). exported: the step
    that the policy was taken from, a line in each panel. narrow: the panels below each other, for a phone.
    """
    with style():
        if narrow:
            figure = new_figure(5.0, 18.0)
            grid = figure.add_gridspec(7, 1, height_ratios=(1, 1, 1.8, 1.2, 1.2, 0.8, 0.8), hspace=0.05)
            places = [grid[row, 0] for row in range(7)]
        else:
            figure = new_figure(11.0, 13.0)
            grid = figure.add_gridspec(4, 2, height_ratios=(1, 1.4, 1, 0.75), hspace=0.06, wspace=0.04)
            whole = grid[1, :]
            places = [grid[0, 0], grid[0, 1], whole, grid[2, 0], grid[2, 1], grid[3, 0], grid[3, 1]]
        colors = _operation_colors(rows)
        acting = {op: color for op, color in colors.items() if op != "identity"}

        axes = figure.add_subplot(places[0])
        axes.set_title("Loss")
        _curves(axes, rows, {"train_loss": ("training", COLORS[0]), "val_loss": ("validation", COLORS[1])})

        axes = figure.add_subplot(places[1])
        axes.set_title("Accuracy")
        shown = {"train_accuracy": ("training", COLORS[0]), "val_accuracy": ("validation", COLORS[1])}
        _curves(axes, rows, {**shown, "selection_accuracy": ("selection", COLORS[2])}, percent=True)

        axes = figure.add_subplot(places[2])
        axes.set_title("Shares, in a stage" if narrow else "How often an image meets each operation in a stage")
        _operations(axes, rows, "mass", colors, with_rest=True)

        axes = figure.add_subplot(places[3])
        axes.set_title("Strength, as a part of the range")
        _operations(axes, rows, "strength", acting)

        axes = figure.add_subplot(places[4])
        axes.set_title("Probability of being applied once chosen")
        _operations(axes, rows, "probability", acting)

        axes = figure.add_subplot(places[5])
        axes.set_title("Entropy of the selection, nat")
        _curves(axes, rows, {"selection_entropy": ("", COLORS[6])}, from_zero=True)
        axes.set_xlabel("step")

        axes = figure.add_subplot(places[6])
        axes.set_title("How often a stage leaves the image as it is")
        _curves(axes, rows, {"identity_mass": ("", MUTED)}, percent=True, from_zero=True)
        axes.set_xlabel("step")
        if exported is not None and len(rows) > 1:
            for axes in figure.axes:
                axes.axvline(exported, color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=0)
            figure.axes[2].annotate(
                "policy taken",
                (exported, 1),
                (-4 if exported > rows[len(rows) // 2]["step"] else 4, -4),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                va="top",
                ha="right" if exported > rows[len(rows) // 2]["step"] else "left",
                fontsize=9,
                color=MUTED,
            )
        return figure


def examples_figure(
    before: UInt8[Tensor, "N C H W"] | Float[Tensor, "N C H W"],
    after: UInt8[Tensor, "N M C H W"] | Float[Tensor, "N M C H W"],
    titles: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
) -> Figure:
    """N images in the first column, M draws of the policy on each to the right.

    Images have 1 or 3 channels, float in 0..1 or uint8. titles: one for each image, e.g. a class. captions: N x M, e.g.
    what was drawn, under each draw. Raises `UserError` if numbers or shapes do not fit together.
    """
    count, draws = after.shape[:2]
    if (
        count != len(before)
        or after.shape[2:] != before.shape[1:]
        or before.shape[1] not in (1, 3)
        or not count * draws
    ):
        raise UserError(
            f"examples: expected [N,C,H,W] and [N,M,C,H,W] with C = 1 or 3,"
            f" got {tuple(before.shape)} and {tuple(after.shape)}"
        )
    if titles and len(titles) != count:
        raise UserError(f"examples: expected {count} titles, one for each image, got {len(titles)}")
    if captions and [len(row) for row in captions] != [draws] * count:
        raise UserError(f"examples: expected {count} x {draws} captions, got rows of {[len(row) for row in captions]}")
    # One panel, in inches: many small ones take seconds to be laid out.
    side, gap, ratio = 1.25, 0.07, min(max(before.shape[2] / before.shape[3], 0.4), 2.5)
    lines = max((caption.count("\n") + 1 for row in captions for caption in row), default=0)
    across, down = side + gap, side * ratio + (0.13 * lines + 0.11 if captions else gap)
    left = [0.0, *(across * (draw + 1) + 0.12 * side for draw in range(draws))]  # the first column stands apart
    labels = [_plain(_lines(title)) for title in titles]
    beside = 0.08 * max((len(line) for label in labels for line in label.split("\n")), default=0)
    with style():
        figure = new_figure(left[-1] + across + beside + 0.2, down * count + 0.45, pad=0.03, space=0.0)
        axes = figure.add_subplot()
        axes.set_axis_off()
        frames = []
        for row in range(count):
            top = row * down
            for column, image in enumerate((before[row], *after[row])):
                extent = left[column], left[column] + side, top + side * ratio, top
                frames.append(_picture(axes, image, extent))
                if captions and column:
                    axes.text(
                        left[column] + side / 2,
                        top + side * ratio + 0.04,
                        _plain(captions[row][column - 1]),
                        fontsize=7,
                        color=MUTED,
                        ha="center",
                        va="top",
                    )
            if titles:
                axes.text(-0.08, top + side * ratio / 2, labels[row], fontsize=9, ha="right", va="center")
        axes.add_collection(LineCollection(frames, colors=FAINT, linewidths=0.8), autolim=False)
        axes.text(side / 2, -0.08, "original", fontsize=10, weight="bold", ha="center", va="bottom")
        axes.text(
            left[1], -0.08, "draws of the policy" if draws > 1 else "a draw", fontsize=10, weight="bold", va="bottom"
        )
        axes.set(xlim=(0, left[-1] + side), ylim=(down * (count - 1) + side * ratio, 0), aspect="equal")
        return figure


def _lines(title: str) -> str:
    """A title in lines that fit beside a picture; a longer one is cut."""
    lines = textwrap.wrap(title, _TITLE)
    return "\n".join(lines[:_TITLE_LINES]) + ("…" if len(lines) > _TITLE_LINES else "")


def comparison_figure(rows: Sequence[TrainingRow], reference: str = "learned", narrow: bool = False) -> Figure:
    """How much better each policy is than the best of the others, the zero line: in accuracy, and in loss.

    A diamond for the mean of the paired differences, a bar for its 95% t interval, a dot for each of the values that it
    is the mean over; to the right is better on both sides. The best of the others is that without `reference`, which
    stands out. narrow: the two below each other, for a phone. Raises `UserError` for no rows, or a row without a finite
    accuracy.
    """
    if not rows:
        raise UserError("comparison figure: expected at least one row, got none")
    names = names_of(rows)
    labels = [_label(name) for name in names]
    lines = max(label.count("\n") + 1 for label in labels)
    with style():
        height = max(0.52, 0.19 * lines) * len(names) + 1.5
        figure = new_figure(5.0, 2 * height) if narrow else new_figure(11.0, height)
        left, right = figure.subplots(2, 1, sharey=True) if narrow else figure.subplots(1, 2, sharey=True)
        panels: tuple[tuple[Axes, Metric, float], ...] = ((left, "accuracy", 100.0), (right, "loss", -1.0))
        for axes, metric, sign in panels:
            best = best_of(rows, reference, metric) or names[0]
            for place, name in enumerate(names):
                color = COLORS[1] if name == reference else MUTED
                if name == best:
                    axes.plot([0], [place], "D", ms=7.5, color=INK, mec="white", mew=1.3, zorder=3)
                _difference(axes, place, difference(rows, name, best, metric), sign, color)
            mean = interval_of(rows, best, metric).mean
            axes.axvline(0, color=INK, linewidth=1)
            axes.grid(False, axis="y")
            axes.spines["left"].set_visible(False)
            axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            axes.margins(x=0.06)
            shown = f"{number(100 * mean, 1)}%" if metric == "accuracy" else f"{mean:.3f}"
            axes.set_title("Accuracy, points" if metric == "accuracy" else "Loss, less of it")
            axes.set_xlabel(_plain(f"better than {best} ({shown}) →"), fontsize=9, color=MUTED)
        for axes in (left, right) if narrow else (left,):
            axes.set_yticks(range(len(names)), labels)
            for label, name in zip(axes.get_yticklabels(), names, strict=True):
                label.set(color=INK, fontsize=10.5, fontweight="bold" if name == reference else "normal")
        left.set_ylim(len(names) - 0.4, -0.6)
        legend = "0: the best of the others · diamond: mean", "bar: 95% t interval · dots: what it is the mean over"
        figure.suptitle(("\n" if narrow else " · ").join(legend), fontsize=9, color=MUTED)
        return figure


def _difference(axes: Axes, place: int, found: Difference | None, sign: float, color: str) -> None:
    """One line of `comparison_figure`; nothing without a training in common, as for the best itself."""
    if found is None:
        return
    interval = found.interval
    mean = sign * interval.mean
    words = without_interval(interval)
    if interval.low is not None and interval.high is not None and words is None:
        axes.plot([sign * interval.low, sign * interval.high], [place, place], color=color, linewidth=2.4)
    axes.plot([mean], [place], "D", ms=7.5, color=color, mec="white", mew=1.3, zorder=3)
    dots = [sign * value for value in found.values]
    axes.plot(dots, [place + 0.25] * len(dots), "o", ms=4.5, mec="none", color=color, alpha=0.5)
    text = change(interval, sign, 1 if found.metric == "accuracy" else 3) if words is None else words.partition(",")[0]
    axes.annotate(text, (mean, place), (0, 8), textcoords="offset points", ha="center", fontsize=8.5, color=color)


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows that have `key`."""
    points = [
        (row["step"], value) for row in rows if isinstance(value := row.get(key), int | float) and math.isfinite(value)
    ]
    steps, values = np.array(points, dtype=float).reshape(-1, 2).T
    return steps, values


def _thin(values: np.ndarray) -> np.ndarray:
    """At most `_MOST_POINTS` of the values, evenly, the last one always among them."""
    return values[::-1][:: max(1, math.ceil(len(values) / _MOST_POINTS))][::-1]


def _smooth(values: np.ndarray) -> np.ndarray:
    """A running mean over a fortieth of the curve, centred; at the two ends over what there is of it."""
    reach = max(len(values) // 80, 1 if len(values) > 20 else 0)
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    begin, end = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    return (total[end] - total[begin]) / (end - begin)


def _curves(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    shown: Mapping[str, tuple[str, str]],
    percent: bool = False,
    from_zero: bool = False,
) -> None:
    """Smoothed lines over their faint raw values, named at the right end. shown: key -> (name, color)."""
    lines = {key: _series(rows, key) for key in shown}
    lines = {key: line for key, line in lines.items() if len(line[0])}
    ends = []
    for key, (steps, values) in lines.items():
        name, color = shown[key]
        smooth = _smooth(values)
        sparse = len(values) < 30
        axes.plot(
            _thin(steps),
            _thin(values),
            color=color,
            alpha=0.25,
            linewidth=0.8,
            marker="o" if sparse else "",
            ms=3.5,
            mec="none",
        )
        axes.plot(_thin(steps), _thin(smooth), color=color)
        ends.append((steps[-1], smooth[-1], name, color))
    _finish(axes, rows, percent, "" if lines else "not recorded")
    if lines:
        every = np.concatenate([np.concatenate([values, _smooth(values)]) for _, values in lines.values()])
        low, high = np.quantile(every, (0.0, 0.998))  # a single spike must not flatten everything
        low = min(low, 0.0) if from_zero else low
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
        top = min(high + margin, 1.02) if percent else high + margin
        axes.set_ylim(0 if low == 0 or (low > 0 > low - margin) else low - margin, top)
        label_ends(axes, [end for end in ends if end[2]])


def _operation_colors(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A colour for each operation that ever mattered, the heaviest at the end first; identity is dark grey."""
    masses = {key.removeprefix("mass/"): _series(rows, key)[1] for key in _keys(rows, "mass/")}
    heavy = [op for op, values in masses.items() if len(values) and values.max() > _COLORED_FROM]
    heavy.sort(key=lambda op: -float(masses[op][-1]))
    colors = dict(zip([op for op in heavy if op != "identity"], COLORS, strict=False))
    return {**colors, **({"identity": INK} if "identity" in heavy else {})}


def _operations(
    axes: Axes, rows: Sequence[Mapping[str, Any]], prefix: str, colors: Mapping[str, str], with_rest: bool = False
) -> None:
    """One line for each operation, named at the right end; those without a colour are grey in the back, if at all."""
    lines = {key.removeprefix(f"{prefix}/"): _series(rows, key) for key in _keys(rows, f"{prefix}/")}
    recorded = any(len(steps) for steps, _ in lines.values())
    lines = {op: line for op, line in lines.items() if len(line[0]) and (op in colors or with_rest)}
    ends = []
    names = short_names(key.removeprefix("mass/") for key in _keys(rows, "mass/"))
    for op, (steps, values) in lines.items():
        color = colors.get(op, FAINT)
        dashes = (0, (2.5, 1.5)) if op == "identity" else "solid"
        axes.plot(
            _thin(steps),
            _thin(values),
            color=color,
            linewidth=2.0 if op in colors else 1.0,
            linestyle=dashes,
            zorder=3 if op in colors else 1,
        )
        if op in colors:
            ends.append((steps[-1], values[-1], f"{_plain(names.get(op, op))}  {number(100 * values[-1], 0)}%", color))
    rest = len(lines) - len(ends)
    nothing = f"no operation above {number(100 * _COLORED_FROM, 0)}%" if recorded else "not recorded"
    _finish(axes, rows, True, "" if lines else nothing)
    if lines:
        top = max(float(values.max()) for _, values in lines.values())
        axes.set_ylim(0, 1.02 if top > 0.7 else max(1.08 * top, 0.1))
        label_ends(axes, ends)
    if rest:
        few = len(colors) < len(COLORS)  # else there were more heavy ones than colours
        words = f"grey: {rest} never above {number(100 * _COLORED_FROM, 0)}%" if few else f"grey: {rest} others"
        axes.set_title(words, loc="right", fontsize=9, fontweight="normal", color=MUTED)


def _keys(rows: Sequence[Mapping[str, Any]], prefix: str) -> list[str]:
    """The keys that begin with `prefix`, in the order of their first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row if key.startswith(prefix)))


def _finish(axes: Axes, rows: Sequence[Mapping[str, Any]], percent: bool, nothing: str) -> None:
    """Limits and ticks; `nothing` is written across a panel without lines."""
    steps = [row["step"] for row in rows]
    if not nothing and max(steps) > min(steps):
        axes.set_xlim(min(steps), max(steps))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{number(100 * value, 1)}%")
    if nothing:
        axes.text(0.5, 0.5, nothing, transform=axes.transAxes, ha="center", va="center", color=MUTED)
        axes.set(xticks=[], yticks=[])


def _picture(axes: Axes, image: Tensor, extent: tuple[float, float, float, float]) -> list[tuple[float, float]]:
    """Shows the image at `extent`: left, right, bottom, top. Its frame."""
    image = image.detach().cpu()
    values = (image.float() / 255 if image.dtype == torch.uint8 else image.float()).clamp(0, 1).permute(1, 2, 0).numpy()
    grey = {"cmap": "gray", "vmin": 0, "vmax": 1} if values.shape[2] == 1 else {}
    axes.imshow(values[:, :, 0] if grey else values, extent=extent, interpolation="antialiased", **grey)
    left, right, bottom, top = extent
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def _plain(text: str) -> str:
    """`text` with matplotlib's mathematics switched off, and in characters that it takes."""
    return writable(visible(text)).replace("\t", " ").replace("$", r"\$")


def _label(name: str) -> str:
    """A name beside an axis: in lines, and without its middle where it is longer than anyone reads."""
    short = name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL // 2]}…{name[-_LONGEST_LABEL // 2 :]}"
    return "\n".join(_plain(short[start : start + _LABEL_WIDTH]) for start in range(0, len(short), _LABEL_WIDTH))
