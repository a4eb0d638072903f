"""Every operation's forward pass against torchvision, against PIL where they differ, or against its own definition."""

import math

import PIL.Image
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from augrad import ops
from pictures import KINDS, call_reference, every_kind, in_levels, magnitudes, make_images

OWN = ("cutout", "sample_pairing", "solarize_add", "gaussian_noise")
"""Not in torchvision."""
REFERENCED = [name for name in ops.names() if name not in OWN]
WARPS = [name for name in REFERENCED if "interpolation" in ops.get(name).options]
LEVEL = 1 / 255 + 1e-6


def comparable(name: str, channels: int) -> list[float]:
    """Magnitudes at which ours and torchvision's mean the same."""
    if name in ("color", "hue") and channels == 1:
        return []  # a single channel has no colour: ours leaves it alone (tested elsewhere), torchvision does not
    # At threshold 1 torchvision inverts white; ours is the identity (tested elsewhere).
    return [value for value in magnitudes(name) if not (name == "solarize" and value == 1.0)]


def applied(name: str, images: Tensor, values: list[float], **options: float | str) -> Tensor:
    """Ours for all magnitudes in one batch [M * B, C, H, W], each image with its own."""
    magnitude = torch.tensor(values, dtype=torch.float64).repeat_interleave(len(images))
    return ops.get(name).apply(images.repeat(len(values), 1, 1, 1), magnitude, **options)


def assert_within(ours: Tensor, theirs: Tensor, limit: float, name: str, values: list[float]) -> None:
    difference = (ours.double() - theirs.double()).abs().reshape(len(values), -1).amax(1)
    worst = int(difference.argmax())
    assert difference[worst] <= limit, f"{name} at {values[worst]}: {difference[worst]:.4f}"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REFERENCED)
def test_forward_agrees_with_torchvision(name: str, kind: str, channels: int) -> None:
    images = make_images(kind, 3, channels)
    values = comparable(name, channels)
    if not values:
        return
    ours = applied(name, images, values)
    # In 8 bits where values jump, else in floating point: there torchvision's own rounding is coarser than 1/255.
    if name in ("posterize", "solarize", "equalize"):
        theirs = torch.cat([call_reference(name, in_levels(images), value) for value in values]).float() / 255
    else:
        theirs = torch.cat([call_reference(name, images, value) for value in values])
    assert_within(ours, theirs, LEVEL, name, values)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", REFERENCED)
def test_eight_bit_images_agree_with_torchvision(name: str, channels: int) -> None:
    images = in_levels(every_kind(channels, 22, 17))
    values = comparable(name, channels)
    if not values:
        return
    ours = applied(name, images, values)
    assert ours.dtype == torch.uint8
    theirs = torch.cat([call_reference(name, images, value) for value in values])
    assert_within(ours, theirs, 1, name, values)


PIL_DIFFERENCE = {"hue": 18, "equalize": 0, "posterize": 0, "solarize": 0, "invert": 0}
"""In levels of 255, at most; 1 for all others. PIL cuts hue, its shift and saturation to 8 bits each, and a level of
hue is six levels of a colour (torchvision's tensors are as far from PIL)."""


def to_picture(image: Tensor) -> PIL.Image.Image:
    return PIL.Image.fromarray((image.permute(1, 2, 0) if len(image) == 3 else image[0]).numpy())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", REFERENCED)
def test_eight_bit_images_agree_with_pil(name: str, channels: int) -> None:
    images = in_levels(every_kind(channels, 31, 26))
    values = comparable(name, channels)[::2]
    if not values:
        return
    pictures = [to_picture(image) for image in images]
    theirs = torch.cat(
        [reference.pil_to_tensor(call_reference(name, one, value))[None] for value in values for one in pictures]
    )
    ours = applied(name, images, values)
    if name in WARPS:  # at the border PIL repeats pixels or none, where torchvision's tensors blend with the fill
        inner = applied(name, torch.ones_like(images, dtype=torch.float64), values) > 1 - 1e-4
        assert inner.any()
        ours, theirs = ours * inner, theirs * inner
    assert_within(ours, theirs, PIL_DIFFERENCE.get(name, 1), name, values)
    assert (ours.double() - theirs.double()).abs().mean() <= 2.5


@pytest.mark.parametrize("fill", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", WARPS)
def test_fill_and_interpolation_agree_with_torchvision(name: str, interpolation: str, fill: float) -> None:
    values = magnitudes(name, ties=False)
    for channels in (1, 3):
        images = torch.cat([make_images(kind, 2, channels) for kind in ("noise", "photograph")])
        ours = applied(name, images, values, interpolation=interpolation, fill=fill)
        # Without a fill torchvision blends the border with black once; with a fill of 0 it would do so twice.
        theirs = torch.cat([call_reference(name, images, value, interpolation, fill or None) for value in values])
        assert_within(ours, theirs, LEVEL, name, values)
        if interpolation == "nearest":
            assert torch.isin(ours, torch.cat([images.flatten(), torch.tensor([fill])])).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_equalize_agrees_on_images_with_many_pixels(kind: str, channels: int) -> None:
    images = in_levels(make_images(kind, channels=channels, height=90, width=75))
    assert torch.equal(ops.equalize(images, torch.zeros(6)), reference.equalize(images))


EVERY_LEVEL = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize_agrees_on_every_level_in_every_dtype(bits: int, dtype: torch.dtype) -> None:
    images = EVERY_LEVEL if dtype == torch.uint8 else (EVERY_LEVEL.double() / 255).to(dtype)
    output = ops.posterize(images, torch.tensor([float(bits)]))
    output = output if dtype == torch.uint8 else in_levels(output.double())
    assert torch.equal(output, reference.posterize(EVERY_LEVEL, bits))


@pytest.mark.parametrize(
    ("dtype", "magnitude"),
    [
        (torch.uint8, torch.float32),
        (torch.uint8, torch.float64),
        (torch.float32, torch.float32),
        (torch.float32, torch.float64),
        (torch.float64, torch.float64),  # not (float64, float32): a float32 threshold is no float64 level
    ],
)
def test_solarize_agrees_at_every_threshold(dtype: torch.dtype, magnitude: torch.dtype) -> None:
    images = EVERY_LEVEL.expand(256, -1, -1, -1)
    images = images if dtype == torch.uint8 else images.to(dtype) / 255
    output = ops.solarize(images, torch.arange(256, dtype=torch.float64).div(255).to(magnitude))
    output = output if dtype == torch.uint8 else in_levels(output)
    # Values at the threshold are inverted; at threshold 1 none is, not even white.
    theirs = [reference.solarize(EVERY_LEVEL, float(level)) for level in range(255)]
    assert torch.equal(output, torch.cat([*theirs, EVERY_LEVEL]))


def test_solarize_add_adds_below_the_middle() -> None:
    for addend in magnitudes("solarize_add"):
        output = ops.solarize_add(EVERY_LEVEL, torch.tensor([addend]))
        expected = [min(level + round(255 * addend), 255) if level < 128 else level for level in range(256)]
        assert (output.flatten().int() - torch.tensor(expected)).abs().max() <= 1


def square(magnitude: float, centre: tuple[float, float], height: int, width: int) -> Tensor:
    """The pixels whose centre is in the square, one by one."""
    half = magnitude * min(height, width) / 2
    inside = torch.zeros(height, width, dtype=torch.bool)
    for row in range(height):
        for column in range(width):
            down, right = row + 0.5 - centre[0] * height, column + 0.5 - centre[1] * width
            inside[row, column] = abs(down) < half and abs(right) < half
    return inside


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("channels", [1, 3])
def test_cutout_fills_the_pixels_of_its_square(channels: int, dtype: torch.dtype) -> None:
    height, width = 11, 18
    sides = magnitudes("cutout", ties=False)
    images = make_images("noise", len(sides), channels, height, width)
    images = in_levels(images) if dtype == torch.uint8 else images.to(dtype)
    draw = torch.rand(len(sides), 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for drawn, fill in ((draw, 0.0), (draw, 1.0), (None, 0.4)):
        output = ops.cutout(images, torch.tensor(sides), *(() if drawn is None else (drawn,)), fill=fill)
        colour = torch.tensor(round(255 * fill) if dtype == torch.uint8 else fill).to(dtype)
        for image, before, side, place in zip(
            output, images, sides, [(0.5, 0.5)] * len(sides) if drawn is None else draw.tolist(), strict=True
        ):
            expected = torch.where(square(side, tuple(place), height, width), colour, before)
            torch.testing.assert_close(image, expected, rtol=0, atol=0 if dtype == torch.uint8 else 1e-6)


def test_geometry_goes_the_documented_way() -> None:
    # A dot of one pixel, and where it must be afterwards, in plain words.
    height, width = 9, 13

    def dot(row: int, column: int) -> Tensor:
        images = torch.zeros(1, 1, height, width)
        images[..., row, column] = 1
        return images

    def place(images: Tensor) -> tuple[int, int]:
        return divmod(int(images.flatten().argmax()), width)

    def moved(name: str, magnitude: float, row: int, column: int) -> tuple[int, int]:
        return place(ops.get(name).apply(dot(row, column), torch.tensor([magnitude])))

    assert moved("translate_x", 2 / width, 4, 6) == (4, 8)  # to the right
    assert moved("translate_y", 2 / height, 4, 6) == (6, 6)  # down
    assert moved("rotate", 90.0, 4, 9) == (1, 6)  # counter-clockwise: from right of the centre to above it
    assert moved("rotate", -90.0, 4, 9) == (7, 6)
    assert moved("shear_x", 0.5, 0, 6) == (0, 6)  # about the top left corner: the first row stays, the lower go left
    assert moved("shear_x", 0.5, 7, 6) == (7, 2)
    assert moved("shear_y", 0.5, 4, 0) == (4, 0)
    assert moved("shear_y", 0.5, 6, 9) == (1, 9)
    assert moved("horizontal_flip", 0.0, 2, 3) == (2, 9)
    assert moved("vertical_flip", 0.0, 2, 3) == (6, 3)


@pytest.mark.parametrize(("name", "magnitude"), [("rotate", 90.0), ("rotate", 180.0), ("translate_x", 3 / 8)])
def test_whole_pixel_moves_are_exact(name: str, magnitude: float) -> None:
    images = make_images("noise", height=8, width=8)
    output = ops.get(name).apply(images, torch.full((6,), magnitude))
    if name == "rotate":
        expected = torch.rot90(images, round(magnitude / 90), (2, 3))
    else:
        expected = torch.nn.functional.pad(images, (3, 0))[..., :8]
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("magnitude", [0.3, 1.0, 2.0])
def test_blur_is_a_normalised_gaussian(magnitude: float) -> None:
    dot = torch.zeros(1, 1, 15, 17, dtype=torch.float64)
    dot[..., 7, 8] = 1
    output = ops.gaussian_blur(dot, torch.tensor([magnitude], dtype=torch.float64))[0, 0]
    weight = [math.exp(-(offset**2) / (2 * magnitude**2)) for offset in range(-6, 7)]
    kernel = torch.tensor(weight, dtype=torch.float64) / sum(weight)
    torch.testing.assert_close(output[1:14, 2:15], kernel[:, None] * kernel)
    assert float(output.sum()) == pytest.approx(1.0)


ENHANCEMENTS = ("brightness", "color", "contrast", "sharpness", "auto_contrast")


@pytest.mark.parametrize("low", [0, 100, 250])
@pytest.mark.parametrize("name", ENHANCEMENTS)
def test_eight_bits_are_enhanced_by_the_arithmetic_of_torchvision(name: str, low: int) -> None:
    """Level for level, but where a product lies on a whole number and the last bit of a float decides."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(low, low + 6, (8, 3, 24, 24), generator=generator).to(torch.uint8)
    images[:, 0] = torch.where((images == images[:, :1]).all(1), images[:, 1].bitwise_xor(1), images[:, 0])  # no grey
    values = magnitudes(name) or [0.0]
    ours = applied(name, images, values)
    theirs = torch.cat([call_reference(name, images, value) for value in values])
    difference = (ours.int() - theirs.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.03


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_grey_of_a_grey_pixel_is_its_own(dtype: torch.dtype) -> None:
    levels = EVERY_LEVEL.expand(1, 3, -1, -1)
    images = levels if dtype == torch.uint8 else levels.to(dtype) / 255
    for name, magnitude in (("grayscale", 0.0), ("color", -1.0), ("color", -0.4), ("color", 0.7)):
        output = ops.get(name).apply(images, torch.tensor([magnitude]))
        assert (output.double() - images.double()).abs().max() <= (0 if dtype == torch.uint8 else 2e-4), name
    white = torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    for name in ("grayscale", "color", "contrast", "sharpness", "auto_contrast"):
        assert (ops.get(name).apply(white, torch.tensor([-0.9, 0.9])) == 255).all(), name
    pictures = PIL.Image.fromarray(white[0].permute(1, 2, 0).numpy()).convert("L")
    assert pictures.getextrema() == (255, 255)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_bits_and_the_highest_threshold_leave_floats_as_they_are(dtype: torch.dtype) -> None:
    """On purpose: torchvision's posterize to 8 bits multiplies by 256, and its solarize at 1 inverts white."""
    images = every_kind(3).to(dtype)
    assert (ops.posterize(images, torch.full((len(images),), 8.0)) - images).abs().max() <= 0.5 / 255 + 1e-6
    whole = (EVERY_LEVEL.double() / 255).to(dtype)
    torch.testing.assert_close(ops.posterize(whole, torch.tensor([8.0])), whole, rtol=0, atol=1e-7)
    assert torch.equal(ops.solarize(images, torch.ones(len(images))), images)
