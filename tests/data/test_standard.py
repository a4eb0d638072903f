"""Crop, flip and cutout against a loop over single pixels; what is drawn, and what is left alone."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from augrad import UserError
from augrad.data.standard import NO_STANDARD, StandardAugmentation, StandardDraw
from augrad.data.types import Split
from augrad.learning.step import fitted
from problems import shapes_unchecked

SHAPE = (12, 3, 9, 11)
FILL = torch.tensor([0.2, 0.5, 0.9])
PARTS = {
    "crop": {"crop_padding": 3},
    "flip": {"flip": True},
    "cutout": {"cutout": 4, "fill": FILL},
    "resized": {"smallest_area": 0.3},
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(dtype: torch.dtype) -> Tensor:
    levels = torch.randint(0, 256, SHAPE, generator=generator(1))
    return levels.to(dtype) if dtype == torch.uint8 else levels.to(dtype) / 255


def by_loops(given: Tensor, draw: StandardDraw) -> Tensor:
    """One image, one pixel at a time, in float64."""
    eight_bits = given.dtype == torch.uint8
    result = given.double() / (255 if eight_bits else 1)
    for b, image in enumerate(result.clone()):
        channels, height, width = image.shape
        if draw.box is not None:
            top, left, tall, wide = draw.box[b].double().tolist()
            source, image = image, torch.empty_like(image)
            for i, j in product(range(height), range(width)):
                y = min(max((top + tall * (i + 0.5) / height) * height - 0.5, 0), height - 1)
                x = min(max((left + wide * (j + 0.5) / width) * width - 0.5, 0), width - 1)
                (y0, dy), (x0, dx) = (divmod(y, 1), divmod(x, 1))
                corners = [
                    ((0, 0), (1 - dy) * (1 - dx)),
                    ((0, 1), (1 - dy) * dx),
                    ((1, 0), dy * (1 - dx)),
                    ((1, 1), dy * dx),
                ]
                image[:, i, j] = sum(
                    (
                        share * source[:, min(int(y0) + r, height - 1), min(int(x0) + c, width - 1)]
                        for (r, c), share in corners
                    ),
                    torch.zeros(channels, dtype=torch.float64),
                )
            image = (image * 255).round() / 255 if eight_bits else image
        if draw.shift is not None:
            down, right = draw.shift[b].tolist()
            source, image = image, torch.zeros_like(image)
            for i, j in product(range(height), range(width)):
                if 0 <= i + down < height and 0 <= j + right < width:
                    image[:, i, j] = source[:, i + down, j + right]
        if draw.flip is not None and draw.flip[b]:
            image = image.flip(-1)
        if draw.centre is not None:
            row, column = draw.centre[b].tolist()
            for i, j in product(range(height), range(width)):
                if 0 <= i - row + draw.side // 2 < draw.side and 0 <= j - column + draw.side // 2 < draw.side:
                    colour = torch.zeros(channels) if draw.fill is None else draw.fill
                    image[:, i, j] = (colour * 255).round() / 255 if eight_bits else colour.to(given.dtype)
        result[b] = image
    return (result * 255).round().to(torch.uint8) if eight_bits else result.to(given.dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("names", [("crop",), ("flip",), ("cutout",), ("crop", "flip", "cutout")])
def test_every_pixel_is_that_of_a_loop(names: tuple[str, ...], dtype: torch.dtype) -> None:
    standard = StandardAugmentation(**{key: value for name in names for key, value in PARTS[name].items()})
    given = images(dtype)
    before = given.clone()
    draw = standard.draw(given, generator())
    found = draw(given)
    assert found.dtype == dtype
    assert torch.equal(found, by_loops(given, draw))
    assert torch.equal(found, draw(given))
    assert torch.equal(given, before)
    assert not torch.equal(found, given)
    assert torch.equal(draw[3:7](given[3:7]), found[3:7])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_a_resized_crop_is_that_of_a_loop(dtype: torch.dtype) -> None:
    standard = StandardAugmentation(smallest_area=0.3, flip=True, cutout=4)
    given = images(dtype)
    draw = standard.draw(given, generator())
    difference = (draw(given).double() - by_loops(given, draw).double()).abs()
    # float32 arithmetic may round a level halfway between two the other way.
    assert float(difference.max()) <= (1 if dtype == torch.uint8 else 1e-6)
    assert float((difference > 1e-6).double().mean()) < 0.01


def test_the_whole_image_as_a_box_is_the_image() -> None:
    box = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(len(images(torch.float64)), 4)
    torch.testing.assert_close(StandardDraw(box=box)(images(torch.float64)), images(torch.float64), atol=1e-12, rtol=0)


def test_gradients_with_respect_to_the_images() -> None:
    standard = StandardAugmentation(2, True, 3, 0.5)
    small = torch.rand(3, 2, 5, 4, generator=generator(2), dtype=torch.float64, requires_grad=True)
    draw = standard.draw(small, generator(5))
    assert draw.flip is not None
    assert draw.flip.any()
    assert torch.autograd.gradcheck(draw, (small,))
    (found,) = torch.autograd.grad(draw(small).sum(), small)
    assert bool((found == 0).any())  # what was cut away or covered


def test_without_any_of_them_nothing_is_drawn_and_nothing_is_done() -> None:
    source = generator()
    before = source.get_state()
    given = images(torch.float32)
    draw = NO_STANDARD.draw(given, source)
    assert torch.equal(source.get_state(), before)
    assert draw(given) is given
    assert draw[2:4](given) is given


def test_each_part_draws_as_it_should() -> None:
    count, sides = 20000, (9, 11)
    draw = StandardAugmentation(2, True, 4, 0.3).draw(torch.empty(count, 1, *sides), generator())
    assert draw.shift is not None
    assert draw.flip is not None
    assert draw.centre is not None
    assert draw.box is not None

    def even(values: Tensor, outcomes: int) -> None:
        counts = torch.bincount(values, minlength=outcomes).double()
        assert len(counts) == outcomes
        share = 1 / outcomes
        assert ((counts / count - share).abs() < 5 * math.sqrt(share * (1 - share) / count)).all()

    even((draw.shift[:, 0] + 2) * 5 + draw.shift[:, 1] + 2, 25)
    even(draw.flip.long(), 2)
    even(draw.centre[:, 0] * sides[1] + draw.centre[:, 1], sides[0] * sides[1])
    start, size = draw.box[:, :2].double(), draw.box[:, 2:].double()
    area, ratio = size.prod(1), size[:, 1] / size[:, 0]
    assert bool((start >= 0).all())
    assert bool((start + size <= 1 + 1e-6).all())
    assert 0.75 - 1e-5 < float(ratio.min()) < 0.77
    assert 1.3 < float(ratio.max()) < 4 / 3 + 1e-5
    free = (size < 1).all(1)  # a side that is as long as the image's makes the area smaller
    assert float(area.min()) > 0.3 * 0.75
    assert float(area[free].min()) > 0.3 - 1e-5
    assert float((area[free] < 0.5).double().mean()) > (0.5 - 0.3) / (1 - 0.3)


def test_draws_depend_on_the_generator_alone() -> None:
    standard, given = StandardAugmentation(2, True, 4, 0.3), images(torch.float32)
    torch.manual_seed(1)
    one = standard.draw(given, generator(3))(given)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(standard.draw(given, generator(3))(given), one)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(standard.draw(given, generator(4))(given), one)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crop_padding", -1), ("crop_padding", 1.5), ("crop_padding", True), ("cutout", -2), ("cutout", "4"),
        ("flip", 1), ("flip", "yes"), ("smallest_area", 0), ("smallest_area", 1.5), ("smallest_area", math.nan),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(name: str, value: object) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match=f"^{name}: expected"):
        StandardAugmentation(**{name: value})  # type: ignore[arg-type]


def test_the_cutout_takes_the_mean_colour_and_sizes_are_checked() -> None:
    split = Split(images(torch.uint8), torch.zeros(SHAPE[0], dtype=torch.int64))
    found = fitted(StandardAugmentation(cutout=4), split)
    assert found.fill is not None
    torch.testing.assert_close(found.fill, split.images.float().mean((0, 2, 3)) / 255)
    given = StandardAugmentation(cutout=4, fill=FILL)
    assert fitted(given, split) is given
    assert fitted(NO_STANDARD, split) is NO_STANDARD
    with pytest.raises(UserError, match=r"^crop_padding: expected fewer pixels .* 9, got 9"):
        fitted(replace(given, crop_padding=9), split)
    with pytest.raises(UserError, match=r"^cutout: expected at most .* 9 pixels, got 10"):
        fitted(replace(given, cutout=10), split)


def test_a_fill_has_a_number_for_each_channel() -> None:
    augmentation = StandardAugmentation(cutout=4, fill=torch.tensor([0.1, 0.2, 0.3]))
    with pytest.raises(UserError, match=r"^fill: expected 1 numbers, one for each channel, got 3"):
        augmentation.draw(torch.zeros(2, 1, 9, 9), torch.Generator())
