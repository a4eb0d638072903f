"""The gradient contract of every operation, for images and magnitudes."""

import pytest
import torch
from torch import Tensor

from augrad import ops
from pictures import every_kind, make_images

NAMES = ops.names()
WITH_MAGNITUDE = [name for name in NAMES if ops.get(name).has_magnitude]
EXACT = [name for name in NAMES if ops.get(name).magnitude_grad == "exact"]
STRAIGHT_THROUGH = [name for name in NAMES if ops.get(name).magnitude_grad == "straight_through"]
STEPWISE = ("equalize", "posterize")
"""Whose output is a step function of the values: their image gradient is straight-through too."""
FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def noise_like(images: Tensor, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images.shape, generator=generator, dtype=torch.float64).to(images.dtype)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("channels", [1, 3])
def test_exact_gradients_pass_gradcheck(name: str, channels: int) -> None:
    op = ops.get(name)
    generator = torch.Generator().manual_seed(5)
    images = (0.35 + 0.3 * torch.rand(2, channels, 6, 7, generator=generator, dtype=torch.float64)).requires_grad_()
    fraction = torch.tensor([0.31, 0.47], dtype=torch.float64)
    sign = torch.tensor([1.0, -1.0]) if op.signed else 1.0
    magnitude = ((op.low + (op.high - op.low) * fraction) * sign).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, m: op.apply(x, m), (images, magnitude))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in STEPWISE])
def test_exact_image_gradients_pass_gradcheck(name: str, channels: int) -> None:
    op = ops.get(name)
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(2, channels, 5, 6, generator=generator, dtype=torch.float64).requires_grad_()
    draw = (torch.rand(2, op.draws, generator=generator, dtype=torch.float64),) if op.draws else ()
    options = {"fill": 0.7} if "fill" in op.options else {}
    fraction = torch.tensor([0.83, 0.36], dtype=torch.float64)
    magnitude = op.low + (op.high - op.low) * fraction if op.has_magnitude else torch.zeros(2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: op.apply(x, magnitude, *draw, **options), (images,))


@pytest.mark.parametrize("name", ["rotate", "shear_y", "translate_x", "sample_pairing"])
def test_exact_magnitude_gradients_with_a_fill_or_a_draw(name: str) -> None:
    op = ops.get(name)
    images = torch.rand(3, 1, 5, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    draw = (torch.tensor([[0.1], [0.6], [0.9]]),) if op.draws else ()
    options = {"fill": 0.7} if "fill" in op.options else {"others": 1 - images}
    magnitude = (op.high * torch.tensor([0.37, 0.81, 0.22], dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: op.apply(images, m, *draw, **options), (magnitude,))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_image_gradient_is_nonzero_through_every_operation(name: str, channels: int, dtype: torch.dtype) -> None:
    op = ops.get(name)
    images = make_images("photograph", channels=channels).to(dtype).requires_grad_()
    for fraction in (0.5, 1.0):
        magnitude = torch.full((6,), op.low + fraction * (op.high - op.low) if op.has_magnitude else 0.0)
        for sign in (1, -1) if op.signed else (1,):
            output = op.apply(images, sign * magnitude)
            (gradient,) = torch.autograd.grad((output * noise_like(output)).sum(), images)
            assert gradient.dtype == dtype
            assert gradient.isfinite().all()
            assert (gradient != 0).double().mean() > 0.3


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", WITH_MAGNITUDE)
def test_strength_zero_passes_the_gradient_of_every_pixel(name: str, channels: int) -> None:
    # Black and white pixels too: they lie where clamping begins.
    for dtype in FLOATS:
        images = every_kind(channels).to(dtype).requires_grad_()
        output = ops.get(name).apply(images, torch.full((len(images),), ops.get(name).low))
        weights = noise_like(output)
        (gradient,) = torch.autograd.grad((output * weights).sum(), images)
        tolerance = {torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
        where = torch.ones_like(images, dtype=torch.bool)
        if name == "hue" and channels == 3:  # has kinks where two colours are equal
            red, green, blue = images.detach().unbind(1)
            where = ((red != green) & (green != blue) & (blue != red))[:, None].expand_as(images)
            assert where.float().mean() > 0.2
        torch.testing.assert_close(gradient[where], weights[where], rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["two-valued", "saturated"])
def test_black_and_white_pixels_have_the_gradient_of_the_side_that_moves(kind: str) -> None:
    images = make_images(kind).double().requires_grad_()
    weights = noise_like(images)

    def gradient(name: str, magnitude: float) -> Tensor:
        output = ops.get(name).apply(images, torch.full((6,), magnitude))
        return torch.autograd.grad((output * weights).sum(), images)[0]

    torch.testing.assert_close(gradient("brightness", -0.3), 0.7 * weights)
    torch.testing.assert_close(gradient("brightness", 0.3), torch.where(images == 0, 1.3, 0.0) * weights)
    torch.testing.assert_close(gradient("sample_pairing", 0.4), 0.6 * weights + 0.4 * weights.roll(1, 0))
    assert (gradient("auto_contrast", 0.0) != 0).double().mean() > 0.99


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITH_MAGNITUDE])
def test_operations_without_a_magnitude_give_it_no_gradient(name: str) -> None:
    for dtype in FLOATS:
        for channels in (1, 3):
            magnitude = torch.rand(12, generator=torch.Generator().manual_seed(0)).requires_grad_()
            images = every_kind(channels).to(dtype).requires_grad_()
            output = ops.get(name).apply(images, magnitude)
            assert torch.equal(output, ops.get(name).apply(images, torch.zeros(12)))
            (gradient,) = torch.autograd.grad((output * noise_like(output)).sum(), magnitude, allow_unused=True)
            assert gradient is None or not gradient.any()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", WITH_MAGNITUDE)
def test_a_magnitude_moves_the_image_and_has_a_gradient(name: str, channels: int, dtype: torch.dtype) -> None:
    if channels == 1 and name in ("color", "hue"):
        return  # leave a single channel alone
    op = ops.get(name)
    images = make_images("photograph", channels=channels).to(dtype)
    for sign in (1, -1) if op.signed else (1,):
        magnitude = torch.full((6,), sign * (op.low + 0.6 * (op.high - op.low)), requires_grad=True)
        output = op.apply(images, magnitude)
        assert (output - images).abs().float().mean() > 1e-3
        (gradient,) = torch.autograd.grad((output * noise_like(output)).sum(), magnitude)
        assert gradient.isfinite().all()
        assert (gradient != 0).float().mean() >= 0.5  # a crop of white sky has nothing that could move


STEP = {"solarize": 0.1, "posterize": 1.0, "cutout": 0.1}
"""The finite difference that a surrogate must point along: a unit step (a tenth of the image or the scale; one bit)."""


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", STRAIGHT_THROUGH)
def test_surrogate_points_along_the_finite_difference(name: str, channels: int) -> None:
    op = ops.get(name)
    generator = torch.Generator().manual_seed(1)
    rounds = 40
    images = make_images("photograph", 6, channels, 24, 24).repeat(rounds, 1, 1, 1)
    count = len(images)
    # Smooth: low-frequency weights, and a square of the image beside the linear term.
    coarse = torch.randn(count, channels, 3, 3, generator=generator)
    weights = torch.nn.functional.interpolate(coarse, size=(24, 24), mode="bilinear")
    bend = torch.randn(count, 1, 1, 1, generator=generator)
    magnitude = (op.low + (op.high - op.low) * (0.25 + 0.5 * torch.rand(count, generator=generator))).requires_grad_()

    def loss(output: Tensor) -> Tensor:
        return (weights * output + bend * output**2).mean((1, 2, 3))

    output = op.apply(images, magnitude)
    (found,) = torch.autograd.grad(loss(output).sum(), magnitude)
    with torch.no_grad():
        ahead, behind = (loss(op.apply(images, magnitude + sign * STEP[name] / 2)) for sign in (1, -1))
        constant_one = (weights + 2 * bend * output).mean((1, 2, 3))  # as if every pixel moved with the magnitude

    def correlation(gradient: Tensor) -> float:
        return float(torch.corrcoef(torch.stack([gradient, (ahead - behind) / STEP[name]]))[0, 1])

    assert correlation(found) > 0.5
    if name != "posterize":  # where another bit brightens nearly every pixel, and 1 is no bad guess
        assert correlation(constant_one) < 0.5  # what this test is there to tell apart


def test_surrogates_are_the_documented_formulas() -> None:
    images = make_images("noise").double()
    weights = noise_like(images)

    def by_magnitude(name: str, magnitude: Tensor, *draw: Tensor) -> Tensor:
        magnitude = magnitude.double().requires_grad_()
        output = ops.get(name).apply(images, magnitude, *draw)
        return torch.autograd.grad((output * weights).sum(), magnitude)[0]

    def expected(slope: Tensor) -> Tensor:
        return (slope * weights).sum((1, 2, 3))

    threshold = torch.linspace(0.05, 0.95, 6, dtype=torch.float64)
    near = (images - threshold[:, None, None, None]).abs() <= 0.05
    torch.testing.assert_close(by_magnitude("solarize", threshold), expected(near * (2 * images - 1) / 0.1))
    bits = torch.tensor([1.2, 2.4, 4.4, 5.6, 7.0, 7.9])
    above, below = (bits.round() + 1).clamp(max=8), (bits.round() - 1).clamp(min=1)
    difference = ops.posterize(images, above) - ops.posterize(images, below)
    torch.testing.assert_close(
        by_magnitude("posterize", bits), expected(difference / (above - below)[:, None, None, None])
    )
    # cutout: a square with edges one pixel wide, differentiated by finite differences
    side = torch.tensor([0.21, 0.43, 0.64, 0.5, 0.75, 0.33], dtype=torch.float64)
    draw = torch.rand(6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    height, width = images.shape[2:]

    def soft(side: Tensor) -> Tensor:
        half = (side * min(height, width) / 2)[:, None]
        rows = (torch.arange(height) + 0.5 - draw[:, :1] * height).abs()
        columns = (torch.arange(width) + 0.5 - draw[:, 1:] * width).abs()
        inside = (half - rows + 0.5).clamp(0, 1)[:, :, None] * (half - columns + 0.5).clamp(0, 1)[:, None]
        return -inside[:, None] * images

    slope = (soft(side + 1e-6) - soft(side - 1e-6)) / 2e-6
    torch.testing.assert_close(by_magnitude("cutout", side, draw), expected(slope), rtol=1e-5, atol=1e-5)


def test_a_square_that_ends_between_pixels_has_a_gradient() -> None:
    # 4 of 8 pixels around the centre: every edge lies on a kink of the soft square.
    images = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    side = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(ops.cutout(images, side).sum(), side)
    # Of an area (8 side)^2 that is cut out: d(-64 side^2) / d side.
    torch.testing.assert_close(gradient, torch.tensor([-64.0], dtype=torch.float64))


@pytest.mark.parametrize("name", ["brightness", "color", "contrast", "sharpness", "solarize_add", "gaussian_noise"])
def test_clamped_pixels_do_not_block_the_others(name: str) -> None:
    op = ops.get(name)
    images = make_images("noise").double()
    images[..., :8, :] = 1.0
    images[..., 8:10, :] = 0.0
    strength = 0.9 if name == "solarize_add" else 0.8
    magnitude = torch.full((6,), strength, dtype=torch.float64, requires_grad=True)
    output = op.apply(images, magnitude)
    free = (output > 0) & (output < 1)
    assert free.any((1, 2, 3)).all()
    assert not free.all()
    weights = noise_like(output)
    (every,) = torch.autograd.grad((output * weights).sum(), magnitude, retain_graph=True)
    (alone,) = torch.autograd.grad((output * weights * free).sum(), magnitude)
    assert (alone != 0).all()
    with torch.no_grad():
        ahead, behind = (op.apply(images, magnitude + sign * 1e-7) for sign in (1, -1))
        difference = (ahead - behind) / 2e-7
    torch.testing.assert_close(alone, (difference * weights * free).sum((1, 2, 3)), rtol=1e-5, atol=1e-5)
    # What is outside [0, 1] stands still.
    torch.testing.assert_close(every, (difference * weights).sum((1, 2, 3)), rtol=1e-5, atol=1e-5)
