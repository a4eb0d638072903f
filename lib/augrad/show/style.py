"""How the figures look: a palette that colour-blind people can tell apart, quiet axes, lines that carry their names."""

import io
import os
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.style import context
from matplotlib.transforms import ScaledTranslation

from augrad.atomic import write_bytes

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6A3D9A", "#8C564B")
"""Okabe and Ito's palette without its yellow (too pale on white), with a purple and a brown."""
INK, MUTED, FAINT, GRID = "#1f2328", "#656d76", "#c3c8ce", "#e6e8eb"

_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def style() -> AbstractContextManager[None]:
    """A context in which figures are made (and saved) in this style, whatever the user's own settings."""
    return context(["default", _STYLE])


def new_figure(width: float, height: float, pad: float = 0.1, space: float = 0.02) -> Figure:
    """An empty figure of that many inches, drawn by Agg; pyplot never hears of it.

    pad: inches around each panel. space: more between panels, as a fraction of the figure.
    """
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=space, hspace=space)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write names right of the last points of lines, moved apart where they would overlap.

    ends: (x, y, text, color) of each line's last point, in data coordinates. The axes' limits must be final.
    """
    if not ends:
        return
    low, high = axes.get_ylim()
    height = 72 * axes.bbox.height / axes.figure.dpi  # in points, before the layout takes some of it for titles
    gap = 12.0 * (high - low) / max(height, 1.0)  # a line of text, in units of y
    upwards = sorted(enumerate(ends), key=lambda item: (item[1][1], -item[0]))  # of equals, the first on top
    order = [end for _, end in upwards]
    beside = axes.get_yaxis_transform() + ScaledTranslation(9 / 72, 0, axes.figure.dpi_scale_trans)
    places = spread([min(max(y, low), high) for _, y, _, _ in order], gap, low, high)
    for (x, y, text, color), place in zip(order, places, strict=True):
        axes.annotate(
            text,
            xy=(x, min(max(y, low), high)),
            xytext=(1.0, place),
            textcoords=beside,
            color=color,
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "lw": 0.6,
                "alpha": 0.6,
                "patchA": None,  # not the text: to end a line at its box is slow
                "shrinkA": 4,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending `values` moved as little as possible so that neighbours are `gap` apart, within low..high if they fit.

    Overlapping neighbours are merged into a block around their mean until no two blocks overlap.
    """
    blocks: list[tuple[float, int]] = []  # (centre, size)
    room = high - low

    def inside(centre: float, size: int) -> float:
        half = (size - 1) * gap / 2
        return (low + high) / 2 if 2 * half >= room else min(max(centre, low + half), high - half)

    for value in values:
        centre, size = inside(value, 1), 1
        while blocks and blocks[-1][0] + (blocks[-1][1] - 1) * gap / 2 + gap > centre - (size - 1) * gap / 2:
            before, before_size = blocks.pop()
            centre = inside((before * before_size + centre * size) / (before_size + size), before_size + size)
            size += before_size
        blocks.append((centre, size))
    return [centre + (index - (size - 1) / 2) * gap for centre, size in blocks for index in range(size)]


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure (see `png_of`), atomically. Raises `UserError` naming the path if it cannot be written."""
    write_bytes(path, png_of(figure))


def png_of(figure: Figure) -> bytes:
    """The figure as a PNG of 130 dots per inch; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in another script shows as boxes
        # Not savefig, which goes through all of it once more, without drawing, to find the layout that drawing finds.
        figure.set_dpi(130)
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
