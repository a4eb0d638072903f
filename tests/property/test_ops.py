"""Every operation's table entry, dtypes, layouts and sizes. (Parity and gradients have files of their own.)"""

import pytest
import torch
from torch import Tensor

from augrad import UserError, ops
from augrad.ops.mix import partners
from pictures import every_kind, in_levels, magnitudes, make_images

NAMES = ops.names()
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8]

TABLE = {
    # name: low, high, unit, signed, magnitude gradient, extra draws
    "identity": (None, None, None, False, "none", 0),
    "shear_x": (0.0, 0.3, "factor", True, "exact", 0),
    "shear_y": (0.0, 0.3, "factor", True, "exact", 0),
    "translate_x": (0.0, 0.45, "fraction", True, "exact", 0),
    "translate_y": (0.0, 0.45, "fraction", True, "exact", 0),
    "rotate": (0.0, 30.0, "degree", True, "exact", 0),
    "zoom": (0.0, 0.4, "strength", True, "exact", 0),
    "horizontal_flip": (None, None, None, False, "none", 0),
    "vertical_flip": (None, None, None, False, "none", 0),
    "brightness": (0.0, 0.9, "strength", True, "exact", 0),
    "color": (0.0, 0.9, "strength", True, "exact", 0),
    "contrast": (0.0, 0.9, "strength", True, "exact", 0),
    "sharpness": (0.0, 0.9, "strength", True, "exact", 0),
    "hue": (0.0, 0.5, "fraction", True, "exact", 0),
    "grayscale": (None, None, None, False, "none", 0),
    "invert": (None, None, None, False, "none", 0),
    "auto_contrast": (None, None, None, False, "none", 0),
    "equalize": (None, None, None, False, "none", 0),
    "solarize": (1.0, 0.0, "threshold", False, "straight_through", 0),
    "solarize_add": (0.0, 0.43, "addend", False, "exact", 0),
    "posterize": (8.0, 4.0, "bits", False, "straight_through", 0),
    "gamma": (0.0, 0.7, "strength", True, "exact", 0),
    "gaussian_blur": (0.0, 2.0, "pixel", False, "exact", 0),
    "cutout": (0.0, 0.2, "fraction", False, "straight_through", 2),
    "sample_pairing": (0.0, 0.4, "weight", False, "exact", 1),
    "gaussian_noise": (0.0, 0.1, "fraction", False, "exact", 1),
}
"""What documents and policy files rely on."""


def test_the_table_of_operations_is_the_documented_one() -> None:
    found = {
        name: (op.low, op.high, op.unit, op.signed, op.magnitude_grad, op.draws)
        for name, op in ((name, ops.get(name)) for name in NAMES)
    }
    assert found == TABLE
    for name in NAMES:
        assert getattr(ops, name) is ops.get(name).apply
        assert ops.get(name).name == name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_end_of_the_range_is_the_identity(name: str, channels: int) -> None:
    op = ops.get(name)
    if not op.has_magnitude:
        return
    for dtype in DTYPES:
        images = every_kind(channels)
        images = in_levels(images) if dtype == torch.uint8 else images.to(dtype)
        output = op.apply(images, torch.full((len(images),), op.low))
        assert (output.double() - images.double()).abs().max() <= (0 if dtype == torch.uint8 else 1 / 255)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_dtype_layout_and_purity(name: str, channels: int, dtype: torch.dtype) -> None:
    op = ops.get(name)
    images = make_images("photograph", batch=3, channels=channels)
    images = in_levels(images) if dtype == torch.uint8 else images.to(dtype)
    magnitude = op.low + torch.tensor([0.5, 0.9, 0.2]) * (op.high - op.low) if op.has_magnitude else torch.zeros(3)
    before, magnitude_before = images.clone(), magnitude.clone()
    output = op.apply(images, magnitude)
    assert output.dtype == dtype
    assert output.shape == images.shape
    assert torch.equal(images, before)
    assert torch.equal(magnitude, magnitude_before)
    assert torch.equal(op.apply(images, magnitude), output)
    # Sums over pixels may run in another order: a rounding step of the type is allowed.
    atol = {torch.uint8: 1, torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}[dtype]

    def same(other: Tensor, expected: Tensor = output) -> None:
        assert other.dtype == dtype
        torch.testing.assert_close(other, expected, rtol=0, atol=atol, check_stride=False)

    same(op.apply(images.to(memory_format=torch.channels_last), magnitude))
    for strided in (
        images.repeat_interleave(2, -1)[..., ::2],
        images.transpose(2, 3).contiguous().transpose(2, 3),
        torch.cat([images, images], 1)[:, :channels],
    ):
        assert not strided.is_contiguous()
        same(op.apply(strided, magnitude))
    if op.kind != "mix":
        for i in range(3):  # alone in its batch
            same(op.apply(images[i : i + 1], magnitude[i : i + 1]), output[i : i + 1])
    first = images[:1].expand(3, -1, -1, -1)  # one image's memory three times
    same(op.apply(first, magnitude), op.apply(first.contiguous(), magnitude))
    if dtype != torch.uint8:
        assert output.isfinite().all()
        assert output.min() >= -1e-6
        assert output.max() <= 1 + 1e-6


STEP = {torch.float32: 1e-5, torch.float16: 0.0005, torch.bfloat16: 0.004, torch.uint8: 1.001 / 255}
ROUNDED_TWICE = ("color", "contrast", "sharpness")
"""In 8 bits as torchvision's tensor kernels compute them: with whole levels in between, too."""


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_every_dtype_gives_what_float64_gives(name: str, channels: int) -> None:
    op = ops.get(name)
    values = torch.tensor(magnitudes(name, 4, ties=False), dtype=torch.float64)
    given = every_kind(channels)
    images = given.repeat(len(values), 1, 1, 1)
    magnitude = values.repeat_interleave(len(given))
    for dtype, step in STEP.items():
        typed = in_levels(images) if dtype == torch.uint8 else images.to(dtype)
        # The same values for both: what the type cannot hold is not the operation's doing.
        exact = (typed.double() / 255 if dtype == torch.uint8 else typed.double(),)
        expected = op.apply(*exact, magnitude)
        output = op.apply(typed, magnitude).double() / (255 if dtype == torch.uint8 else 1)
        worst = (output - expected).abs().max()
        step = 2 * step if dtype == torch.uint8 and name in ROUNDED_TWICE else step
        assert worst <= step, f"{dtype}: {worst:.5f}"


@pytest.mark.parametrize("name", NAMES)
def test_images_of_any_size(name: str) -> None:
    op = ops.get(name)
    middle = 0.5 * (op.low + op.high) if op.has_magnitude else 0.0
    for shape in ((2, 3, 1, 1), (2, 1, 1, 7), (1, 3, 5, 1), (2, 3, 2, 2), (3, 1, 40, 3)):
        for dtype in (torch.float32, torch.uint8):
            images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0))
            images = images.to(dtype) if dtype == torch.uint8 else images.to(dtype) / 255
            output = op.apply(images, torch.full(shape[:1], middle))
            assert output.shape == images.shape
            assert output.float().isfinite().all()
    for empty in ((0, 3, 4, 4), (2, 3, 0, 4), (2, 1, 4, 0)):
        with pytest.raises(UserError, match="at least one image of at least one pixel"):
            op.apply(torch.zeros(empty), torch.zeros(empty[0]))


@pytest.mark.parametrize("name", [name for name in NAMES if ops.get(name).has_magnitude])
def test_magnitudes_of_any_dtype_mean_their_value(name: str) -> None:
    op, images = ops.get(name), make_images("photograph", 3).double()
    values = {"rotate": [3.0, 13.5, 29.0], "posterize": [8.0, 5.0, 4.0]}.get(name, [0.0, 0.25, 0.375])
    expected = op.apply(images, torch.tensor(values, dtype=torch.float64))
    for dtype in (torch.float32, torch.float16, torch.bfloat16):  # which hold these values exactly
        torch.testing.assert_close(op.apply(images, torch.tensor(values).to(dtype)), expected, rtol=0, atol=1e-6)
    whole = torch.tensor([1, 0, 1] if name != "posterize" else [8, 5, 4])
    assert torch.equal(op.apply(images, whole), op.apply(images, whole.float()))


def test_equalize_passes_the_image_gradient_straight_through() -> None:
    images = make_images("photograph", height=40, width=40).requires_grad_()
    weights = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((ops.equalize(images, torch.zeros(6)) * weights).sum(), images)
    assert torch.equal(gradient, weights)


def test_hue_keeps_grey_pixels_and_turns_around_the_wheel() -> None:
    primaries = torch.eye(3)[:, :, None, None].expand(3, 3, 4, 5)  # red, green, blue
    third = torch.full((3,), 1 / 3)
    torch.testing.assert_close(ops.hue(primaries, third), primaries.roll(-1, 0))
    torch.testing.assert_close(ops.hue(primaries, -third), primaries.roll(1, 0))
    images = make_images("photograph").double()
    halves = ops.hue(ops.hue(images, torch.full((6,), 0.2)), torch.full((6,), 0.8))
    torch.testing.assert_close(halves, images)
    grey = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(0)).repeat(1, 3, 1, 1).requires_grad_()
    turned = ops.hue(grey, torch.tensor([0.3, -0.5]))
    assert torch.equal(turned, grey)
    (gradient,) = torch.autograd.grad(turned.sum(), grey)
    torch.testing.assert_close(gradient, torch.ones_like(grey))


@pytest.mark.parametrize("name", ["hue", "color", "grayscale"])
def test_operations_on_colour_leave_a_single_channel_alone(name: str) -> None:
    images = make_images("noise", channels=1)
    assert torch.equal(ops.get(name).apply(images, torch.full((6,), 0.4)), images)


def test_a_hue_has_a_gradient_in_colour() -> None:
    magnitude = torch.full((6,), 0.3, requires_grad=True)
    images = make_images("photograph")
    output = ops.hue(images, magnitude)
    assert (output - images).abs().mean() > 1e-3
    (gradient,) = torch.autograd.grad(output[:, 0].sum(), magnitude)
    assert gradient.isfinite().all()
    assert (gradient != 0).float().mean() >= 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blur_of_nothing_is_the_identity_with_gradient_zero(dtype: torch.dtype) -> None:
    images = make_images("noise").to(dtype).requires_grad_()
    sigma = torch.tensor([0.0, 1e-30, 1e-5, 0.02, 0.025, 0.01], dtype=dtype, requires_grad=True)
    output = ops.gaussian_blur(images, sigma)
    assert torch.equal(output, images)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    by_images, by_sigma = torch.autograd.grad((output * weights).sum(), (images, sigma))
    assert torch.equal(by_images, weights)
    assert by_sigma.abs().max() < 1e-12
    # Correct from the other side as well: exp(-1 / (2 sigma^2)) leaves zero flatter than any power.
    step = torch.full((6,), 0.1, dtype=torch.float64)
    assert (ops.gaussian_blur(images.detach().double(), step) - images).abs().max() < 1e-12


def test_blur_reflects_images_of_any_size() -> None:
    sigma = torch.full((2,), 2.0)
    for height, width in ((1, 1), (1, 9), (2, 3), (5, 30)):  # smaller than the kernel, which is reflected repeatedly
        flat = torch.full((2, 3, height, width), 0.3)
        torch.testing.assert_close(ops.gaussian_blur(flat, sigma), flat)
    row = torch.tensor([0.0, 1.0, 0.0]).expand(2, 1, 1, 3)  # reflected: 0 1 0 1 0 1 ..., the period of a side of 3
    long = torch.arange(61).remainder(2).float().expand(2, 1, 1, 61)
    torch.testing.assert_close(ops.gaussian_blur(row, sigma), ops.gaussian_blur(long, sigma)[..., 30:33])


def test_partners_are_equally_likely_and_never_the_image_itself() -> None:
    batch, count = 7, 4_000
    draw = torch.rand(count, batch, 1, generator=torch.Generator().manual_seed(0))
    pairs = torch.stack([partners(batch, row, draw.device) for row in draw])
    assert not (pairs == torch.arange(batch)).any()
    frequency = torch.stack([torch.bincount(column, minlength=batch) for column in pairs.T]) / count
    expected = (1 - torch.eye(batch)) / (batch - 1)
    assert (frequency - expected).abs().max() < 4 * (0.14 / count) ** 0.5
    largest = torch.full((1000, 1), 1 - 2**-24)
    for size in (1, 2, 3, 1000):
        expected = (torch.arange(size) - (1 if size > 1 else 0)) % size
        assert torch.equal(partners(size, largest[:size], draw.device), expected)
    assert torch.equal(partners(4, None, draw.device), torch.tensor([1, 2, 3, 0]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_sample_pairing_blends_with_the_drawn_image(dtype: torch.dtype) -> None:
    images = make_images("photograph", batch=3)
    images = (images * 255).to(dtype) if dtype == torch.uint8 else images.to(dtype)
    others = 255 - images if dtype == torch.uint8 else 1 - images
    draw = torch.tensor([[0.0], [0.6], [0.4]])  # images 1, 0 and 0
    weight = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    output = ops.sample_pairing(images, weight, draw).double()
    first, second, _ = images.double()
    expected = torch.stack([first, 0.7 * second + 0.3 * first, first])
    scale = 255 if dtype == torch.uint8 else 1
    assert ((output - expected) / scale).abs().max() <= (1e-12 if dtype == torch.float64 else 0.6 / 255)
    given = ops.sample_pairing(images, torch.ones(3), draw, others=others)
    assert given.dtype == dtype
    assert ((given.double() - others[[1, 0, 0]].double()) / scale).abs().max() < 1e-6
    assert torch.equal(ops.sample_pairing(images[:1], weight[2:]), images[:1])  # alone in its batch


def test_gamma_is_steep_but_finite_at_black() -> None:
    images = torch.tensor([0.0, 1e-30, 1e-5, 1 / 255, 0.5, 1.0], dtype=torch.float64).reshape(1, 1, 2, 3)
    for strength in (-0.7, 0.7):
        leaf, magnitude = images.clone().requires_grad_(), torch.tensor([strength]).double().requires_grad_()
        output = ops.gamma(leaf, magnitude)
        exact = images ** torch.tensor(strength).double().exp()
        torch.testing.assert_close(output.flatten()[[0, 3, 4, 5]], exact.flatten()[[0, 3, 4, 5]])
        gradients = torch.autograd.grad(output.sum(), (leaf, magnitude))
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert gradients[0].min() > 0
        assert gradients[0].max() < 25


def test_noise_is_normal_and_follows_from_the_draw_alone() -> None:
    images, deviation = torch.full((200, 3, 9, 11), 0.5, dtype=torch.float64), torch.full((200,), 0.1)
    draw = torch.rand(200, 1, generator=torch.Generator().manual_seed(0))
    noise = (ops.gaussian_noise(images, deviation, draw) - images) / 0.1
    assert noise.mean().abs() < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert abs((noise.abs() < 1).double().mean() - 0.6827) < 0.005
    assert torch.corrcoef(noise.flatten(1)).fill_diagonal_(0).abs().max() < 0.35  # of 297 numbers each
    pixels = torch.corrcoef(noise.flatten(1).t()).fill_diagonal_(0).abs()
    assert pixels.max() < 0.4
    some = torch.tensor([7, 3, 150])
    alone = (ops.gaussian_noise(images[some], deviation[some], draw[some]) - images[some]) / 0.1
    assert torch.equal(alone, noise[some])


def test_zooms_in_both_directions_undo_each_other() -> None:
    images = torch.nn.functional.interpolate(make_images("photograph"), size=(64, 64), mode="bicubic").clamp(0, 1)
    grown = ops.zoom(images, torch.full((6,), 0.3))
    again = ops.zoom(grown, torch.full((6,), -0.3))
    middle = (slice(None), slice(None), slice(16, 48), slice(16, 48))
    assert (again[middle] - images[middle]).abs().mean() < 0.01
    assert (grown[middle] - images[middle]).abs().mean() > 0.02
    assert again[..., 0, 0].abs().max() == 0  # uncovered


def test_wrong_input_is_refused_with_what_was_expected() -> None:
    with pytest.raises(UserError, match=r"expected images \[B, C, H, W\]"):
        ops.rotate(torch.rand(3, 8, 8), torch.zeros(3))
    with pytest.raises(UserError, match="one magnitude per image"):
        ops.rotate(torch.rand(2, 3, 8, 8), torch.zeros(3))
    with pytest.raises(UserError, match="int64"):
        ops.rotate(torch.zeros(2, 3, 8, 8, dtype=torch.int64), torch.zeros(2))
    with pytest.raises(UserError, match="did you mean 'rotate'"):
        ops.get("rotat")


def test_operations_keep_their_precision_under_autocast() -> None:
    images = make_images("photograph")
    plain = ops.rotate(images, torch.full((6,), 21.0))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ops.rotate(images, torch.full((6,), 21.0)), plain)
