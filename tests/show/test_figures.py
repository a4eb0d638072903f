"""Figures as they are drawn: their words, their lines, their pixels."""

import math
import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from augrad.comparison.differences import difference
from augrad.errors import UserError
from augrad.show.figures import comparison_figure, evolution_figure, examples_figure, save_figure
from augrad.show.style import COLORS, FAINT, spread
from trainings import trainings

Rows = list[dict[str, Any]]


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def _panel(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title(loc="left").startswith(title))


def _pixels(figure: Figure) -> np.ndarray:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3]


def _count(pixels: np.ndarray, color: str) -> int:
    wanted = np.round(np.array(to_rgb(color)) * 255)
    return int((np.abs(pixels.astype(int) - wanted).max(axis=2) <= 2).sum())


def _assert_words_are_legible(figure: Figure) -> None:
    """Every word lies within the picture, and no two overlap."""
    pixels = _pixels(figure)
    shown = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    ticks = {tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_ticklabels()}
    boxes = []
    for text in shown:
        if text in ticks:
            continue
        box = Text.get_window_extent(text)
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= pixels.shape[1], text
        assert box.y1 <= pixels.shape[0], text
        boxes.append((text, box))
    for index, (text, box) in enumerate(boxes):
        for other, other_box in boxes[:index]:
            overlap_x = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
            overlap_y = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
            assert overlap_x <= 0 or overlap_y <= 0.35 * min(box.height, other_box.height), (text, other)


# --- evolution --------------------------------------------------------------------------------------------------------


def test_evolution_names_its_lines_at_their_ends(rows: Rows):
    figure = evolution_figure(rows)
    texts = _texts(figure)
    assert {"Loss", "Accuracy", "training", "validation", "selection", "step"} <= set(texts)
    assert [text for text in texts if "%" in text and "  " in text] == [
        "shear_x  14%", "identity  35%", "rotate  44%",
        "shear_x  30%", "rotate  60%",
        "rotate  90%",
    ]  # fmt: skip
    assert "grey: 2 never above 5%" in texts
    _assert_words_are_legible(figure)


def test_evolution_shortens_dotted_names(rows: Rows):
    renamed = [{key.replace("/rotate", "/mypackage.ops.rotate"): value for key, value in row.items()} for row in rows]
    texts = _texts(evolution_figure(renamed))
    assert [text for text in texts if "rotate" in text] == ["rotate  44%", "rotate  60%", "rotate  90%"]


def test_evolution_draws_what_the_rows_say(rows: Rows):
    lines = _panel(evolution_figure(rows), "How often an image").get_lines()
    by_end = {round(float(line.get_ydata()[-1]), 4): line for line in lines}
    ends = {op: round(rows[-1][f"mass/{op}"], 4) for op in ("rotate", "shear_x", "invert", "cutout")}
    assert to_hex(by_end[ends["rotate"]].get_color()).upper() == COLORS[0]
    assert to_hex(by_end[ends["shear_x"]].get_color()).upper() == COLORS[1]
    assert {to_hex(by_end[ends[op]].get_color()) for op in ("invert", "cutout")} == {FAINT}
    rotate = by_end[ends["rotate"]]
    assert rotate.get_xdata().tolist() == list(range(300))
    assert rotate.get_ydata().tolist() == [row["mass/rotate"] for row in rows]


def test_an_operation_has_one_colour_in_every_panel(rows: Rows):
    figure = evolution_figure(rows)
    strength = _panel(figure, "Strength").get_lines()
    assert [to_hex(line.get_color()).upper() for line in strength] == [COLORS[0], COLORS[1]]
    (probability,) = _panel(figure, "Probability").get_lines()
    assert to_hex(probability.get_color()).upper() == COLORS[0]


def test_losses_are_smoothed_over_their_raw_values(rows: Rows):
    raw, smooth, *_ = _panel(evolution_figure(rows), "Loss").get_lines()
    values = np.array([row["train_loss"] for row in rows])
    assert np.array_equal(raw.get_ydata(), values)
    assert raw.get_alpha() < 0.5
    noise = np.diff(raw.get_ydata()).std(), np.diff(smooth.get_ydata()).std()
    assert noise[1] < 0.5 * noise[0]
    assert np.abs(smooth.get_ydata() - values).max() < 0.2


def test_missing_values_are_skipped(rows: Rows):
    axes = _panel(evolution_figure(rows), "Loss")
    validation = axes.get_lines()[2]
    assert len(validation.get_xdata()) == 299
    assert 7 not in validation.get_xdata()
    selection = _panel(evolution_figure(rows), "Accuracy").get_lines()[4]
    assert selection.get_xdata().tolist() == [0, 50, 100, 150, 200, 250]


@pytest.mark.parametrize("rows", [[], [{"step": 0}], [{"step": 3, "train_loss": None, "mass/rotate": None}]])
def test_nothing_recorded_is_said(rows: Rows):
    figure = evolution_figure(rows)
    assert _texts(figure).count("not recorded") == 7
    _pixels(figure)


def test_no_operation_above_the_threshold_is_said(rows: Rows):
    low = [{**row, "mass/rotate": 0.01, "mass/shear_x": 0.01} for row in rows]
    texts = _texts(evolution_figure(low))
    assert texts.count("no operation above 5%") == 2
    assert "grey: 4 never above 5%" in texts


def test_a_single_row_and_constant_values():
    row = {"step": 5, "train_loss": 1.0, "mass/rotate": 0.5, "strength/rotate": 0.0, "selection_entropy": 0.0}
    for rows in ([row], [row, {**row, "step": 6}]):
        figure = evolution_figure(rows)
        assert "rotate  50%" in _texts(figure)
        _assert_words_are_legible(figure)


def test_sixteen_heavy_operations_stay_legible():
    shares = np.linspace(0.08, 0.055, 16)
    rows = [{"step": step, **{f"mass/op_{k}": float(value) for k, value in enumerate(shares)}} for step in range(50)]
    figure = evolution_figure(rows)
    assert sum(text.startswith("op_") for text in _texts(figure)) == len(COLORS)
    assert "grey: 8 others" in _texts(figure)
    _assert_words_are_legible(figure)


def test_long_runs_are_thinned_but_end_where_they_end():
    rows = [{"step": step, "train_loss": float(step % 7), "mass/rotate": step / 1e5} for step in range(50_001)]
    line = _panel(evolution_figure(rows), "How often an image").get_lines()[0]
    assert len(line.get_xdata()) <= 2000
    assert (line.get_xdata()[-1], line.get_ydata()[-1]) == (50_000, 0.5)


def test_a_spike_does_not_flatten_the_losses(rows: Rows):
    spiked = [{**row, "train_loss": 1e6 if row["step"] == 150 else row["train_loss"]} for row in rows]
    assert _panel(evolution_figure(spiked), "Loss").get_ylim()[1] > 2.0
    raw = _panel(evolution_figure(spiked), "Loss").get_lines()[0]
    assert raw.get_ydata().max() == 1e6


# --- examples ---------------------------------------------------------------------------------------------------------


def _images(channels: int, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    after = torch.randint(0, 256, (3, 4, channels, 12, 10), dtype=torch.uint8, generator=generator)
    before = torch.randint(0, 256, (3, channels, 12, 10), dtype=torch.uint8, generator=generator)
    return (before, after) if kind == "uint8" else (before.float() / 255, after.float() / 255)


def test_long_titles_are_lines_beside_their_pictures() -> None:
    before, after = _images(3, "uint8")
    figure = examples_figure(before, after, titles=["x" * 200, "a class with a long name", "bag"])
    title = next(text for text in _texts(figure) if "xx" in text)
    assert title == "\n".join(["x" * 14] * 3) + "…"
    assert "a class with a\nlong name" in _texts(figure)
    _assert_words_are_legible(figure)


@pytest.mark.parametrize("channels", [1, 3])
def test_examples_shows_every_image_where_it_belongs(channels: int):
    before, after = _images(channels, "uint8")
    figure = examples_figure(before, after, titles=["cat", "dog", "$5"])
    shown = figure.axes[0].get_images()
    pictures = [picture.get_array() for picture in shown]
    corners = [picture.get_extent() for picture in shown]  # left, right, bottom, top
    assert corners[0][1] < corners[1][0]
    assert corners[1][1] < corners[2][0]
    assert corners[4][2] < corners[5][3]
    assert len({tuple(extent[:2]) for extent in corners}) == 5
    assert len({tuple(extent[2:]) for extent in corners}) == 3
    for row in range(3):
        for column in range(5):
            image = before[row] if column == 0 else after[row, column - 1]
            expected = (
                (image.float() / 255).permute(1, 2, 0).squeeze(2) if channels == 1 else image.permute(1, 2, 0) / 255
            )
            assert np.allclose(pictures[5 * row + column], expected.numpy(), atol=1e-6)
    assert {"original", "draws of the policy", "cat", "dog", r"\$5"} <= set(_texts(figure))
    _assert_words_are_legible(figure)


@pytest.mark.parametrize("channels", [1, 3])
def test_examples_of_bytes_and_of_floats_look_the_same(channels: int):
    as_bytes, as_floats = (_pixels(examples_figure(*_images(channels, kind))) for kind in ("uint8", "float"))
    assert np.abs(as_bytes.astype(int) - as_floats).max() <= 1


def test_examples_does_not_stretch_the_contrast():
    dim = torch.full((1, 1, 8, 8), 0.25)
    pixels = _pixels(examples_figure(dim, dim[:, None]))
    assert _count(pixels, "#404040") > 5000


def test_examples_with_captions():
    before, after = _images(3, "float")
    captions = [[f"rotate {row}{column}°" for column in range(4)] for row in range(3)]
    figure = examples_figure(before, after, captions=captions)
    assert {caption for row in captions for caption in row} <= set(_texts(figure))
    _assert_words_are_legible(figure)


def test_examples_of_half_precision_beyond_the_range_and_with_gradients():
    images = (torch.randn(1, 3, 8, 8) * 3).to(torch.bfloat16).requires_grad_()
    figure = examples_figure(images, images[:, None])
    shown = figure.axes[0].get_images()[0].get_array()
    assert 0 <= shown.min() <= shown.max() <= 1


@pytest.mark.parametrize(
    ("before", "after", "options", "message"),
    [
        ((2, 4, 8, 8), (2, 1, 4, 8, 8), {}, "C = 1 or 3"),
        ((2, 3, 8, 8), (2, 0, 3, 8, 8), {}, "examples: expected"),
        ((2, 3, 8, 8), (2, 1, 3, 8, 8), {"titles": ["a"]}, "expected 2 titles, one for each image, got 1"),
        ((2, 3, 8, 8), (2, 1, 3, 8, 8), {"captions": [["a"]]}, "expected 2 x 1 captions"),
    ],
)
def test_examples_that_do_not_fit(
    before: tuple[int, ...], after: tuple[int, ...], options: dict[str, Any], message: str
):
    with pytest.raises(UserError, match=message):
        examples_figure(torch.zeros(before), torch.zeros(after), **options)


# --- comparison -------------------------------------------------------------------------------------------------------

_COMPARISON = trainings({"none": (0.871, 0.866, 0.879), "a $100 policy_$": (0.92,), "learned": (0.95, 0.955, 0.949)})


def test_comparison_shows_how_much_better_each_is_than_the_best_of_the_others():
    figure = comparison_figure(_COMPARISON)
    accuracy, loss = figure.axes
    texts = set(_texts(figure))
    assert {"one seed", r"a \$100 policy_\$", "Accuracy, points", "Loss, less of it"} <= texts
    assert r"better than a \$100 policy_\$ (92%) →" in texts
    assert r"better than a \$100 policy_\$ (0.080) →" in texts
    for axes, factor in ((accuracy, 1.0), (loss, 0.01)):
        dots = [line.get_xdata() for line in axes.get_lines() if line.get_marker() == "o"]
        assert [np.round(dot, 6).tolist() for dot in dots] == [[-round(4.9 * factor, 6)], [round(3.0 * factor, 6)]]
    assert accuracy.get_ylim()[0] > accuracy.get_ylim()[1]  # the first row on top
    pixels = _pixels(figure)
    assert _count(pixels, COLORS[1]) > 50  # the diamonds
    _assert_words_are_legible(figure)


def test_comparison_has_the_interval_of_the_paired_differences():
    rows = trainings({"none": (0.90, 0.92, 0.91), "random": (0.93, 0.945, 0.93), "learned": (0.95, 0.96, 0.955)})
    figure = comparison_figure(rows)
    bars = [line.get_xdata() for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    expected = [difference(rows, name, "random", "accuracy") for name in ("none", "learned")]
    ends = [(100 * one.interval.low, 100 * one.interval.high) for one in expected if one]
    shown = [tuple(bar) for bar in bars if bar[0] != bar[1]]
    assert [pytest.approx(end) for end in ends] == shown
    assert "+2.0 (−0.3 to +3.9)" in _texts(figure) or any(text.startswith("+2.0 (") for text in _texts(figure))
    _assert_words_are_legible(figure)


def test_comparison_of_equal_seeds_and_without_the_reference():
    figure = comparison_figure(trainings({"none": (0.5, 0.5), "random": (0.5, 0.5)}))
    assert _texts(figure).count("the same on 2 seeds") == 2  # of the one that is not the best, on both sides
    assert _count(_pixels(figure), COLORS[1]) == 0


def test_comparison_of_nothing():
    with pytest.raises(UserError, match="at least one row"):
        comparison_figure([])
    with pytest.raises(UserError, match="at least one finite value"):
        comparison_figure(trainings({"none": (math.nan,)}))


# --- style and files --------------------------------------------------------------------------------------------------


def _chunks(data: bytes) -> list[bytes]:
    names, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        names.append(data[at + 4 : at + 8])
        at += 12 + size
    return names


def test_the_same_figure_is_the_same_file(tmp_path: Path):
    make: Callable[[], Figure] = lambda: comparison_figure(_COMPARISON)  # noqa: E731
    save_figure(make(), tmp_path / "figures" / "a.png")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30, "lines.linewidth": 9}):
        save_figure(make(), tmp_path / "figures" / "b.png")
    data = (tmp_path / "figures" / "a.png").read_bytes()
    assert data == (tmp_path / "figures" / "b.png").read_bytes()
    assert {b"tEXt", b"iTXt", b"tIME"}.isdisjoint(_chunks(data))
    assert sorted(os.listdir(tmp_path / "figures")) == ["a.png", "b.png"]
    with Image.open(tmp_path / "figures" / "a.png") as image:
        assert image.size == (11 * 130, int((0.52 * 3 + 1.5) * 130))
        assert image.info["dpi"] == pytest.approx((130, 130), abs=0.1)


def test_the_users_settings_stay():
    before = dict(matplotlib.rcParams)
    comparison_figure(_COMPARISON)
    assert dict(matplotlib.rcParams) == before


def test_a_figure_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/a.png: cannot write this file \(Not a directory\)"):
        save_figure(comparison_figure(_COMPARISON), tmp_path / "file" / "a.png")


@given(
    values=st.lists(st.floats(0, 1), max_size=12).map(sorted),
    gap=st.floats(0.001, 0.08),
)
def test_spread_moves_labels_apart_and_no_further(values: Sequence[float], gap: float):
    places = spread(values, gap, 0.0, 1.0)
    assert len(places) == len(values)
    assert all(after - before >= gap - 1e-9 for before, after in pairwise(places))
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    if all(after - before >= gap for before, after in pairwise(values)):
        assert places == pytest.approx(list(values), abs=1e-9)


def test_spread_without_room_is_even_and_centred():
    assert spread([0.1, 0.2, 0.9], 1.0, 0.0, 1.0) == pytest.approx([-0.5, 0.5, 1.5])


def test_on_a_phone_panels_are_below_each_other_and_say_the_same(rows: list[dict]) -> None:
    for make in (evolution_figure, lambda given, narrow=False: comparison_figure(_COMPARISON, narrow=narrow)):
        wide, narrow = make(rows), make(rows, narrow=True)
        assert len(wide.axes) == len(narrow.axes)
        for one, other in zip(wide.axes, narrow.axes, strict=True):
            assert [line.get_xydata().tolist() for line in one.get_lines()] == [
                line.get_xydata().tolist() for line in other.get_lines()
            ]
        narrow.canvas.draw()
        tops = [axes.get_position().y0 for axes in narrow.axes]
        assert tops == sorted(tops, reverse=True)
        assert len({round(axes.get_position().x0, 2) for axes in narrow.axes}) == 1
