"""Compiled stages against the operations themselves: values, gradients, layouts, threads."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
import pytest
import torch
from torch import Tensor

import augrad
from augrad import Policy, UserError
from augrad.engines.choice import plan_of
from augrad.engines.contract import Settings, Stages
from augrad.engines.numba.engine import NUMBA
from augrad.ops.space import make_space
from augrad.ops.spec import Curve, Shape, Warp
from augrad.policy.initial import initial_policy
from augrad.types import PolicySample
from ways import by_definition

pytest.importorskip("numba")
NAMES = [name for name in augrad.ops.names() if name != "identity"]
EACH = 12


def drawn(fill: float, interpolation: str, dtype: torch.dtype, channels: int) -> tuple[Policy, Tensor, PolicySample]:
    """One stage over every compiled operation: each of them EACH times, at magnitudes over its range, of both signs."""
    names = NAMES
    policy = initial_policy(make_space(dict.fromkeys(names), interpolation, fill))  # type: ignore[arg-type]
    batch = EACH * len(names)
    generator = torch.Generator().manual_seed(0)
    sample = policy.sample(batch, generator).detach()
    op = torch.arange(batch) % len(names)
    level = torch.arange(batch).div(len(names), rounding_mode="floor") / (EACH - 1)
    bounds = torch.tensor([[spec.low or 0.0, spec.high or 0.0] for spec in policy.ops[: len(names)]])[op]
    magnitude = bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) * level
    # Off the values at which bits and thresholds jump: there the last rounding decides.
    meaning = torch.tensor([[spec.meaning.least, spec.meaning.most] for spec in policy.ops[: len(names)]])[op]
    magnitude = (magnitude + 0.003 * (level - 0.5)).clamp(*meaning.unbind(1)).to(torch.float64)
    signed = torch.tensor([spec.signed for spec in policy.ops[: len(names)]])[op]
    sign = torch.where(signed & (torch.rand(batch, generator=generator) < 0.5), -1.0, 1.0).to(torch.float64)
    sample = replace(sample, op=op[:, None], gate=torch.ones(batch, 1, dtype=torch.bool), sign=sign[:, None])
    images = torch.rand(batch, channels, 9, 11, generator=generator, dtype=torch.float64)
    images[::5] = images[::5].round()  # black and white
    images[1::7] = 0.4
    eight = (images * 255).round()
    return (
        policy,
        eight.to(dtype) if dtype == torch.uint8 else (eight / 255).to(dtype),
        replace(sample, magnitude=magnitude[:, None]),
    )


def by_numba(policy: Policy, images: Tensor, sample: PolicySample) -> Tensor:
    with augrad.engine("numba"):
        return policy(images, params=sample)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("fill", "interpolation"), [(0.0, "bilinear"), (0.4, "bilinear"), (0.4, "nearest")])
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)])
def test_values_and_gradients_are_those_of_the_operations(
    dtype: torch.dtype, fill: float, interpolation: str, channels: int
) -> None:
    policy, images, sample = drawn(fill, interpolation, dtype, channels)
    weights = torch.randn(images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    found = []
    for compute in (by_numba, by_definition):
        leaf, magnitude = images.clone().requires_grad_(), sample.magnitude.clone().requires_grad_()
        output = compute(policy, leaf, replace(sample, magnitude=magnitude))
        found.append((output.detach(), *torch.autograd.grad((output * weights).sum(), [leaf, magnitude])))
    rounding = 1e-11 if dtype == torch.float64 else 2e-5
    for compiled, own, name in zip(*found, ("values", "by images", "by magnitudes"), strict=True):
        scale = own.detach().abs().amax() if name == "by magnitudes" else 1.0
        worst = ((compiled - own).abs() / scale).flatten(1).amax(1)
        assert worst.max() < rounding, (name, policy.ops[int(sample.op[worst.argmax(), 0])].name, worst.max())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("fill", "interpolation"), [(0.0, "bilinear"), (0.4, "bilinear"), (0.4, "nearest")])
def test_eight_bits_are_those_of_the_operations(fill: float, interpolation: str, channels: int) -> None:
    """One level apart where a value lies between two, which the order of a sum decides; seldom."""
    policy, images, sample = drawn(fill, interpolation, torch.uint8, channels)
    difference = (policy(images, params=sample).int() - by_definition(policy, images, sample).int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype: torch.dtype) -> None:
    policy, images, sample = drawn(0.0, "bilinear", torch.float32, 3)
    output = policy(images.to(dtype), params=sample)
    assert output.dtype == dtype
    assert torch.equal(output, policy(images.to(dtype).float(), params=sample).to(dtype))


def test_layouts_and_threads_change_no_bit() -> None:
    policy, images, sample = drawn(0.0, "bilinear", torch.float32, 3)
    images = torch.nn.functional.interpolate(images, size=(40, 44))
    expected = policy(images, params=sample)
    assert torch.equal(policy(images.to(memory_format=torch.channels_last), params=sample), expected)
    assert torch.equal(policy(images.transpose(2, 3).contiguous().transpose(2, 3), params=sample), expected)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(policy(images, params=sample), expected)
    finally:
        torch.set_num_threads(threads)


def test_operations_without_compiled_code_keep_their_place_beside_it() -> None:
    policy = initial_policy(make_space(dict.fromkeys(augrad.ops.names())), stages=3)
    ops = [
        replace(op, apply=lambda images, magnitude: images.flip(1) ** 2) if op.name == "hue" else op
        for op in policy.ops
    ]
    images = torch.rand(200, 3, 10, 12, generator=torch.Generator().manual_seed(0))
    for changed in (policy, Policy(ops, policy.slots, policy.params)):
        output, sample = changed(images, return_params=True, generator=torch.Generator().manual_seed(1))
        with augrad.engine("grouped"):
            plain = changed(images, params=sample)
        assert ((output - plain).abs().amax((1, 2, 3)) > 1e-4).sum() <= 2  # equalize and posterize jump with a last bit
    with augrad.engine("numba"), pytest.raises(UserError, match="the engine numba has nothing for hue"):
        changed(images)


def stages_of(
    images: Tensor, chosen: Tensor, magnitude: Tensor, draw: Tensor, others: Tensor, fill: float = 0.4
) -> Stages:
    """chosen: index into NAMES, [L, B] as the rest."""
    plan, settings = plan_of([augrad.ops.get(name) for name in NAMES]), Settings(fill, "bilinear", others)
    return Stages(plan, chosen.t(), magnitude.t(), draw.transpose(0, 1), settings)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
def test_stages_at_once_are_the_stages_one_after_another(dtype: torch.dtype) -> None:
    _, images, sample = drawn(0.0, "bilinear", dtype, 3)
    codes = torch.stack([sample.op[:, 0].roll(shift) for shift in (0, 1, 5)])
    magnitude = torch.full(codes.shape, 0.2, dtype=torch.float64)
    draw = torch.rand(*codes.shape, 2, generator=torch.Generator().manual_seed(1))
    at_once = NUMBA.apply(images, stages_of(images, codes, magnitude, draw, images))
    now = images
    for stage in range(3):
        one = slice(stage, stage + 1)
        now = NUMBA.apply(now, stages_of(now, codes[one], magnitude[one], draw[one], images))
    assert torch.equal(at_once, now)


def test_gradients_go_through_stages_at_once_as_through_one_after_another() -> None:
    _, images, sample = drawn(0.0, "bilinear", torch.float32, 3)
    images, weights = images[:60], torch.rand(60, 3, 9, 11, generator=torch.Generator().manual_seed(2))
    codes = torch.stack([sample.op[:60, 0].roll(shift) for shift in (0, 1, 5)])
    magnitude, draw = torch.rand(3, 60, dtype=torch.float64) * 0.3, torch.rand(3, 60, 2)

    def at_once(images: Tensor, magnitude: Tensor, others: Tensor) -> Tensor:
        return NUMBA.apply(images, stages_of(images, codes, magnitude, draw, others))

    def one_after_another(images: Tensor, magnitude: Tensor, others: Tensor) -> Tensor:
        for stage in range(3):
            one = slice(stage, stage + 1)
            images = NUMBA.apply(images, stages_of(images, codes[one], magnitude[one], draw[one], others))
        return images

    found, own = (gradients(way, images, magnitude, weights, 1 - images) for way in (at_once, one_after_another))
    assert all(gradient.abs().max() > 0 for gradient in own)
    for one, other in zip(found, own, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def gradients(
    compute: Callable[..., Tensor], images: Tensor, magnitude: Tensor, weights: Tensor, *more: Tensor
) -> tuple[Tensor, ...]:
    """The output, and the gradients by images, magnitudes and `more`."""
    leaves = [value.clone().requires_grad_() for value in (images, magnitude, *more)]
    output = compute(*leaves)
    found = torch.autograd.grad((output * weights).sum(), leaves, allow_unused=True, materialize_grads=True)
    return (output.detach(), *found)


def compiled(name: str, **options: Tensor) -> Callable[..., Tensor]:
    def compute(images: Tensor, magnitude: Tensor, *others: Tensor) -> Tensor:
        draw = options.get("draw", torch.zeros(len(images), 1))
        chosen = torch.full((1, len(images)), NAMES.index(name))
        paired = others[0] if others else images
        return NUMBA.apply(images, stages_of(images, chosen, magnitude[None], draw[None], paired, fill=0.0))

    return compute


def assert_same_gradients(name: str, images: Tensor, magnitude: Tensor) -> None:
    weights = torch.randn(images.shape, generator=torch.Generator().manual_seed(1), dtype=images.dtype)
    found, own = (
        gradients(compute, images, magnitude, weights) for compute in (compiled(name), augrad.ops.get(name).apply)
    )
    for one, other in zip(found, own, strict=True):
        scale = other.abs().amax().clamp(min=1)
        torch.testing.assert_close(
            one / scale, other / scale, rtol=0, atol=1e-11 if images.dtype.itemsize == 8 else 2e-5
        )


@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "translate_x", "translate_y", "equalize", "hue"])
def test_large_images_are_as_small_ones(name: str) -> None:
    """Of more numbers than fit into the nearest cache."""
    images = torch.rand(3, 3, 61, 53, generator=torch.Generator().manual_seed(0))
    high = augrad.ops.get(name).high or 0.0
    assert_same_gradients(name, images, high * torch.tensor([0.71, -0.37, 0.13], dtype=torch.float64))


@pytest.mark.parametrize("name", ["rotate", "shear_x", "translate_x", "translate_y"])
def test_images_that_leave_the_frame(name: str) -> None:
    images = torch.rand(5, 1, 6, 7, generator=torch.Generator().manual_seed(0))
    far = [0.93, 1.9, -1.3, 40.7, -1e12] if name != "rotate" else [90.3, 179.1, -133.0, 1e5, 45.0]
    assert_same_gradients(name, images, torch.tensor(far, dtype=torch.float64))
    nowhere = torch.full((5,), float("nan"), dtype=torch.float64)
    assert compiled(name)(images, nowhere).shape == images.shape


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)])
def test_hue_has_the_same_gradient_where_colours_are_equal(dtype: torch.dtype) -> None:
    """Kinks everywhere: every pair of channels equal in turn, and a turn by whole sectors of the wheel."""
    shades = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=dtype)
    colours = torch.cartesian_prod(shades, shades, shades).t().reshape(1, 3, 8, 8)
    turns = torch.tensor([0.0, 0.5, -0.5, 0.25, 0.11], dtype=torch.float64)
    assert_same_gradients("hue", colours.expand(5, -1, -1, -1), turns)
    eight = (colours * 255).round().to(torch.uint8).expand(5, -1, -1, -1)
    assert torch.equal(compiled("hue")(eight, turns), augrad.ops.hue(eight, turns))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (2, 3), (5, 30)])
def test_blur_reflects_small_images_and_their_gradients(height: int, width: int) -> None:
    images = torch.rand(4, 3, height, width, generator=torch.Generator().manual_seed(0))
    assert_same_gradients("gaussian_blur", images, torch.tensor([0.0, 0.4, 1.1, 2.0], dtype=torch.float64))


def test_a_partner_of_many_gets_the_gradients_of_all() -> None:
    generator = torch.Generator().manual_seed(0)
    images, others, weights = (torch.rand(6, 3, 5, 4, generator=generator) for _ in range(3))
    images[:, :, 0] = 1.2  # clamped
    draw = torch.tensor([0.3, 0.0, 0.99, 0.8, 0.6, 0.4])[:, None]  # image 2 for four of six
    magnitude = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 1.0], dtype=torch.float64)

    def plain(images: Tensor, magnitude: Tensor, others: Tensor) -> Tensor:
        return augrad.ops.sample_pairing(images, magnitude, draw, others=others)

    pairs = compiled("sample_pairing", draw=draw)
    found, own = (gradients(one, images, magnitude, weights, others) for one in (pairs, plain))
    assert (own[3].abs().amax((1, 2, 3)) == 0).any()  # nobody's partner
    for one, other in zip(found, own, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_the_input_stays_as_it_is_and_function_transforms_work() -> None:
    policy, images, sample = drawn(0.0, "bilinear", torch.float32, 3)
    before = images.clone()
    output = policy(images, params=sample)
    assert torch.equal(images, before)
    assert output.data_ptr() != images.data_ptr()
    slope = torch.func.grad(lambda images: policy(images, params=sample).sum())(images)
    assert slope.isfinite().all()
    assert slope.abs().max() > 0


def test_what_is_not_named_is_copied() -> None:
    images = torch.rand(3, 3, 5, 6)
    drawn = (torch.full((2, 3), -1), torch.full((2, 3), float("nan")), torch.rand(2, 3, 0))
    assert torch.equal(NUMBA.apply(images, stages_of(images, *drawn, images)), images)


def test_another_operation_of_the_same_name_is_not_taken_for_ours() -> None:
    policy = initial_policy(make_space({"invert": None}), probability=0.999)
    ours = policy.ops[0]
    other = replace(ours, apply=lambda images, magnitude: images / 2)
    images = torch.rand(4, 3, 5, 6)
    certain = replace(policy.sample(4), gate=torch.ones(4, 1, dtype=torch.bool))
    assert torch.allclose(policy(images, params=certain), 1 - images)
    changed = Policy([other, *policy.ops[1:]], policy.slots, policy.params)
    assert torch.allclose(changed(images, params=certain), images / 2)


@pytest.mark.parametrize("name", ["exp", "log"])
def test_functions_of_many_numbers_at_once_are_those_of_one(name: str) -> None:
    """Within one rounding step over the whole of single precision, and what is at its ends and beyond."""
    numba = pytest.importorskip("numba")
    from augrad.engines.numba import elementary

    function = getattr(elementary, name)
    function = numba.jit(**function.targetoptions)(function.py_func)  # not compiled yet: for this caller first

    @numba.njit(error_model="numpy", fastmath={"contract", "nsz", "reassoc"})
    def of_all(values, results):
        for place in range(len(values)):
            results[place] = function(values[place])

    spread = np.linspace(-86.97, 88.72, 100_001)
    values = spread if name == "exp" else np.concatenate([np.exp(1.17 * spread), 1 + spread / 400])
    values = values[values < 3.4e38].astype(np.float32)
    odd = np.array([0.0, -0.0, -1.0, 1.0, np.inf, -np.inf, np.nan, 200.0, -200.0, 1e-45], np.float32)
    found, ends = np.empty_like(values), np.empty_like(odd)
    of_all(values, found)
    of_all(odd, ends)
    with np.errstate(all="ignore"):
        exact, at_ends = (getattr(np, name)(these.astype(np.float64)) for these in (values, odd))
        at_ends = at_ends.astype(np.float32)
    assert (np.abs(found - exact) <= 2.0**-23 * np.abs(exact)).all()
    np.testing.assert_allclose(ends, at_ends, rtol=2e-7, atol=1e-37)


@pytest.mark.parametrize("way", ["_forward", "_backward"])
def test_a_curve_takes_many_pixels_at_once(way: str) -> None:
    """Which holds only as long as all that it calls becomes part of its loop."""
    numba = pytest.importorskip("numba")
    from augrad.engines.numba import curves

    function = getattr(curves, way)(augrad.ops.get("gamma").shape)
    images = numba.types.Array(numba.float32, 3, "C")
    function.compile((numba.types.Tuple([*[images] * (2 if way == "_forward" else 3), numba.float64]),))
    (code,) = function.inspect_llvm().values()
    assert re.search(r"fmul .*<\d+ x float>", code)


@no_type_check
def _tanh(value, magnitude):
    return torch.tanh(magnitude * value)


@no_type_check
def _absolute(value, magnitude):
    return abs(value) * magnitude


@no_type_check
def _of_tanh(magnitude, height, width):
    return 1.0, 0.0, _tanh(magnitude, math.pi), 0.0, 1.0, 0.0


@no_type_check
def _method(value, magnitude):
    return (magnitude * value).tanh()


def _plain(value: Any, magnitude: Any) -> Any:
    return value * magnitude


@no_type_check
def _of_plain(value, magnitude):
    return _plain(value, magnitude)


@no_type_check
def _arithmetic(value, magnitude):
    return -((magnitude / value) ** 2) * math.pi + torch.exp(value)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (Curve(_tanh), r"_tanh uses torch\.tanh"),
        (Curve(_arithmetic, slope=_tanh), r"_tanh uses torch\.tanh"),
        (Curve(_absolute), "_absolute uses abs"),  # of a complex number it is real, without a derivative
        (Warp(_of_tanh), r"_of_tanh uses torch\.tanh"),
        (Curve(_method), r"_method uses the method tanh"),
        (Curve(_of_plain), r"_of_plain uses _plain"),
        (Curve(partial(_arithmetic)), r"uses more than the names of its module"),
    ],
)
def test_a_small_part_that_cannot_be_compiled_is_refused_in_one_sentence(
    shape: Shape, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from augrad.engines.numba import small

    monkeypatch.setattr(small, "TABLE", (replace(augrad.ops.get("gamma"), name="bend", shape=shape),))
    with pytest.raises(UserError, match=rf"bend: its function .*{words}.*torch\.cos, .*clamp01") as refused:
        small.of_shape(type(shape))
    assert "\n" not in str(refused.value)


def test_what_small_parts_may_use_is_what_contributing_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from augrad.engines.numba import small

    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    start = text.index("arithmetic and in `torch.cos`")
    words = set(text[start : text.index("which are all", start)].replace("`", " ").replace(",", " ").split())
    assert {function.__name__ for function in small.KNOWN} == {
        word.rpartition(".")[2] for word in words - {"arithmetic", "and", "in"}
    }
    monkeypatch.setattr(small, "TABLE", (replace(augrad.ops.get("gamma"), shape=Curve(_arithmetic)),))
    assert small.of_shape(Curve)
