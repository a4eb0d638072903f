"""The kernels of a stage against the plain path: on a GPU where there is one, by Triton's interpreter elsewhere."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from augrad import Policy, UserError, engine
from augrad.engines.apply import apply_hard
from augrad.engines.choice import plan_of
from augrad.engines.contract import Plan, Settings, Stages
from augrad.engines.grouped.engine import by_selecting
from augrad.engines.triton.engine import TRITON
from augrad.engines.triton.kinds import KINDS
from augrad.ops import get, names
from augrad.ops.space import make_space
from augrad.ops.spec import Op
from augrad.policy.initial import initial_policy, random_policy
from augrad.types import PolicySample
from kernels import DEVICE, interpreted

pytestmark = [pytest.mark.slow, interpreted]

# The interpreter takes a second or more for a neighbourhood's backward pass: these have batches of their own.
NEIGHBOURHOODS = ("sharpness", "gaussian_blur")
WARPS = tuple(name for name in names() if get(name).kind == "geometric")
POINTWISE = tuple(name for name in names() if name not in NEIGHBOURHOODS)


@dataclass(frozen=True)
class Case:
    """A batch: each operation once with each share of its range, the sign going to and fro."""

    dtype: torch.dtype
    channels: int
    height: int
    width: int
    shares: tuple[float, ...]
    interpolation: str = "bilinear"
    fill: float = 0.0
    ops: tuple[str, ...] = POINTWISE


CASES = (
    Case(torch.float64, 3, 9, 12, (0.03, 0.96)),
    Case(torch.float64, 3, 11, 7, (0.37, 0.99), fill=0.4),
    Case(torch.float64, 1, 17, 19, (0.71,), fill=0.4),
    Case(torch.float64, 3, 8, 8, (0.58, 1.6), "nearest", ops=WARPS),
    Case(torch.float64, 1, 10, 7, (0.24, 0.83), "nearest", fill=0.4, ops=WARPS),
    Case(torch.float32, 3, 9, 12, (0.88,)),
    Case(torch.float16, 3, 7, 6, (0.33,)),
    Case(torch.bfloat16, 1, 6, 7, (0.77,), fill=0.4),
    Case(torch.float64, 1, 9, 12, (0.03, 0.96), ops=NEIGHBOURHOODS),
    Case(torch.float64, 1, 3, 5, (0.55, 2.9), ops=NEIGHBOURHOODS),
    Case(torch.float32, 3, 6, 5, (0.4,), ops=NEIGHBOURHOODS),
    Case(torch.float64, 3, 1, 1, (0.6,)),
    Case(torch.float64, 1, 1, 2, (0.6,), ops=NEIGHBOURHOODS),
    Case(torch.float64, 1, 5, 1, (0.6,), ops=NEIGHBOURHOODS),
)


def label(case: Case) -> str:
    kind = "neighbourhoods" if case.ops == NEIGHBOURHOODS else case.interpolation
    return f"{kind}-{str(case.dtype)[6:]}-{case.channels}x{case.height}x{case.width}-fill{case.fill}"


# Outputs, and gradients over their length.
TOLERANCE = {
    torch.float64: (1e-12, 1e-9),
    torch.float32: (1e-5, 1e-3),
    torch.float16: (1e-3, 1e-2),
    torch.bfloat16: (8e-3, 5e-2),
}


@dataclass(frozen=True)
class Batch:
    images: Tensor
    plan: Plan
    chosen: Tensor
    magnitude: Tensor
    draw: Tensor
    settings: Settings
    names: tuple[str, ...]


def images_like(case: Case, count: int, generator: torch.Generator) -> Tensor:
    """Random images with black, white, grey and flat parts, and with values that repeat."""
    images = torch.rand(count, case.channels, case.height, case.width, generator=generator, dtype=torch.float64)
    images[::4] = (images[::4] * 5).round() / 5
    images[1::4, :, : case.height // 2, : case.width // 2] = 0
    images[2::4, :, case.height // 2 :] = 1
    images[3::4, :, :, 1::3] = images[3::4, :1, :, 1::3]
    return images


def batch_of(case: Case) -> Batch:
    generator = torch.Generator().manual_seed(3)
    ops = tuple(get(name) for name in case.ops)
    chosen = torch.tensor([*range(len(ops)), -1] * len(case.shares))
    magnitude = []
    for number, share in enumerate(case.shares):
        for place, op in enumerate((*ops, None)):
            sign = -1 if op and op.signed and (place + number) % 2 else 1
            value = sign * (op.low + share * (op.high - op.low)) if op and op.has_magnitude else 7.7  # type: ignore[operator]
            magnitude.append(max(value, op.meaning.least) if op else value)
    images = images_like(case, len(chosen), generator).to(case.dtype).to(DEVICE)
    return Batch(
        images=images,
        plan=plan_of(ops),
        chosen=chosen.to(DEVICE),
        magnitude=torch.tensor(magnitude, dtype=torch.float64, device=DEVICE),
        draw=torch.rand(len(chosen), 2, generator=generator).to(DEVICE),
        settings=Settings(case.fill, case.interpolation, images.flip(0)),
        names=tuple(("none" if index < 0 else ops[index].name) for index in chosen.tolist()),
    )


def by(engine: Callable[[Tensor, Stages], Tensor]) -> Callable[..., Tensor]:
    def compute(images: Tensor, plan: Plan, chosen: Tensor, magnitude: Tensor, draw: Tensor, settings: Settings):
        return engine(images, Stages(plan, chosen[:, None], magnitude[:, None], draw[:, None], settings))

    return compute


kernels, plain_path = by(TRITON.apply), by(by_selecting)


def outcome(way, batch: Batch) -> dict[str, Tensor]:
    """The output, and the gradients of a scalar that weighs every pixel differently."""
    images, others = batch.images.clone().requires_grad_(), batch.settings.others.clone().requires_grad_()
    magnitude = batch.magnitude.clone().requires_grad_()
    settings = replace(batch.settings, others=others)
    output = way(images, batch.plan, batch.chosen, magnitude, batch.draw, settings)
    assert output.dtype == images.dtype
    weights = torch.linspace(0, 40, output.numel(), dtype=torch.float64, device=DEVICE).sin().view_as(output)
    loss = (output.double() * weights).sum()
    wanted = (images, magnitude, others)
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    return dict(zip(("output", "images", "magnitude", "others"), (output.detach(), *gradients), strict=True))


@pytest.mark.parametrize("case", CASES, ids=label)
def test_kernels_agree_with_the_plain_path(case: Case) -> None:
    batch = batch_of(case)
    ours, plain = outcome(kernels, batch), outcome(plain_path, batch)
    of_output, of_gradient = TOLERANCE[case.dtype]
    for index, name in enumerate(batch.names):
        difference = (ours["output"][index].double() - plain["output"][index].double()).abs().max()
        assert difference <= of_output, (name, float(batch.magnitude[index]))
        for what in ("images", "magnitude", "others"):
            mine, reference = ours[what][index].double(), plain[what][index].double()
            error = (mine - reference).norm() / reference.norm().clamp(min=1)
            assert error <= of_gradient, (name, what, float(batch.magnitude[index]), mine, reference)


@pytest.mark.parametrize(("channels", "shape"), [(3, (9, 6)), (1, (5, 8))])
def test_whole_numbers_agree_with_the_plain_path(channels: int, shape: tuple[int, int]) -> None:
    batch = batch_of(Case(torch.float32, channels, *shape, (0.3, 0.9), fill=0.4, ops=names()))
    whole = (batch.images * 255).round().to(torch.uint8)
    settings = replace(batch.settings, others=whole.flip(0))
    arguments = (whole, batch.plan, batch.chosen, batch.magnitude.requires_grad_(), batch.draw, settings)
    ours, plain = kernels(*arguments), plain_path(*arguments)
    assert ours.dtype == torch.uint8
    difference = (ours.int() - plain.int()).abs().flatten(1)
    assert difference.max() <= 1  # where rounding ties
    assert (difference > 0).double().mean() < 0.01


def test_halves_are_rounded_to_even_numbers() -> None:
    batch = batch_of(Case(torch.float64, 1, 4, 5, (0.1, 0.2), ops=("posterize",)))
    batch = replace(
        batch, chosen=batch.chosen * 0, magnitude=torch.tensor([4.5, 5.5, 6.5, 7.5], device=DEVICE).double()
    )
    ours, plain = outcome(kernels, batch), outcome(plain_path, batch)
    assert torch.allclose(ours["output"], plain["output"], rtol=0, atol=1e-12)
    assert torch.allclose(ours["magnitude"], plain["magnitude"])


def test_edges_between_pixels_share_the_slope() -> None:
    # The square's edges lie on the kinks of its soft edge.
    batch = batch_of(Case(torch.float64, 1, 8, 8, (0.1,), ops=("cutout",)))
    batch = replace(batch, draw=torch.full_like(batch.draw, 0.5), magnitude=torch.full_like(batch.magnitude, 0.5))
    ours, plain = outcome(kernels, batch), outcome(plain_path, batch)
    assert plain["magnitude"][0] != 0
    assert torch.allclose(ours["magnitude"], plain["magnitude"])


def test_an_image_in_several_parts() -> None:
    # More pixels than one program sums up, in a number that no tile divides.
    case = Case(torch.float64, 1, 61, 83, (1.0,), ops=("contrast", "auto_contrast", "equalize"))
    batch = batch_of(case)
    ours, plain = outcome(kernels, batch), outcome(plain_path, batch)
    for what, reference in plain.items():
        assert torch.allclose(ours[what], reference, rtol=1e-10, atol=1e-11), what


@pytest.mark.parametrize("name", ["rotate", "contrast", "sample_pairing", "equalize", "cutout"])
def test_an_image_alone_and_the_same_bits_twice(name: str) -> None:
    batch = batch_of(Case(torch.float32, 3, 7, 9, (0.6,), ops=(name,)))
    alone = replace(
        batch, images=batch.images[:1], chosen=batch.chosen[:1], magnitude=batch.magnitude[:1], draw=batch.draw[:1]
    )
    alone = replace(alone, settings=replace(batch.settings, others=batch.images[:1]))
    first, second, plain = outcome(kernels, alone), outcome(kernels, alone), outcome(plain_path, alone)
    for what, reference in plain.items():
        assert torch.equal(first[what], second[what]), what
        assert torch.allclose(first[what], reference.to(first[what].dtype), rtol=1e-3, atol=1e-4), what


def test_any_strides() -> None:
    batch = batch_of(Case(torch.float32, 3, 6, 8, (0.6,), ops=("rotate", "color", "solarize")))
    wide = torch.cat([batch.images, batch.images], 3)
    table = torch.stack([batch.magnitude, batch.magnitude + 9], 1)
    draws = torch.stack([batch.draw, batch.draw + 9], 2)
    strided = replace(
        batch, images=batch.images.to(memory_format=torch.channels_last), magnitude=table[:, 0], draw=draws[..., 0]
    )
    reference = outcome(kernels, batch)
    for other in (strided, replace(strided, images=wide[..., :8])):
        for what, found in outcome(kernels, other).items():
            assert torch.equal(found, reference[what]), what
    images = batch.images.clone().requires_grad_()
    output = kernels(images, batch.plan, batch.chosen, batch.magnitude, batch.draw, batch.settings)
    (expanded,) = torch.autograd.grad(output.sum(), images, retain_graph=True)  # a gradient without strides
    (written,) = torch.autograd.grad(output, images, torch.ones_like(output))
    assert torch.equal(expanded, written)


def test_another_operation_of_the_same_name_is_not_taken_for_ours() -> None:
    own = replace(get("rotate"), apply=get("shear_x").apply)  # the name alone makes no kernel
    policy = initial_policy(make_space({"rotate": None}))
    policy = Policy([own], policy.slots, policy.params)
    with engine("triton"), pytest.raises(UserError, match="the engine triton has nothing for rotate"):
        policy(torch.rand(2, 3, 5, 6, device=DEVICE))


def test_only_the_gradients_that_are_wanted() -> None:
    batch = batch_of(Case(torch.float64, 3, 6, 5, (0.4,), ops=("rotate", "hue", "contrast", "cutout")))
    both = outcome(kernels, batch)
    for wants_images in (True, False):
        images = batch.images.clone().requires_grad_(wants_images)
        magnitude = batch.magnitude.clone().requires_grad_(not wants_images)
        output = kernels(images, batch.plan, batch.chosen, magnitude, batch.draw, batch.settings)
        weights = torch.linspace(0, 40, output.numel(), dtype=torch.float64, device=DEVICE).sin().view_as(output)
        (gradient,) = torch.autograd.grad((output * weights).sum(), images if wants_images else magnitude)
        assert torch.equal(gradient, both["images" if wants_images else "magnitude"])


def test_a_gradient_of_a_gradient() -> None:
    batch = batch_of(Case(torch.float64, 3, 5, 6, (0.4,), ops=("brightness", "rotate", "contrast", "sample_pairing")))
    found = []
    for way in (kernels, plain_path):
        images, magnitude = batch.images.clone().requires_grad_(), batch.magnitude.clone().requires_grad_()
        settings = replace(batch.settings, others=images)
        output = way(images, batch.plan, batch.chosen, magnitude, batch.draw, settings)
        first = torch.autograd.grad(output.square().sum(), (images, magnitude), create_graph=True)
        found.append(torch.autograd.grad(sum(part.square().sum() for part in first), (images, magnitude)))  # type: ignore[arg-type]
    for ours, plain in zip(*found, strict=True):
        assert ours.abs().max() > 0
        assert torch.allclose(ours, plain)


def sample_of(ops: tuple[Op, ...], batch: int, stages: int) -> PolicySample:
    generator = torch.Generator().manual_seed(5)
    chosen = torch.randint(len(ops), (batch, stages), generator=generator)
    low, high = (
        torch.tensor([getattr(op, end) or 0.0 for op in ops], dtype=torch.float64)[chosen] for end in ("low", "high")
    )
    uniform = torch.rand(3, batch, stages, generator=generator, dtype=torch.float64)
    signed = torch.tensor([op.signed for op in ops])[chosen]
    return PolicySample(
        subpolicy=torch.zeros(batch, dtype=torch.int64),
        slot=chosen,
        op=chosen,
        gate=uniform[0] < 0.8,
        latent=uniform[1],
        magnitude=(low + uniform[1] * (high - low)).requires_grad_(),
        sign=torch.where(signed & (uniform[2] < 0.5), -1.0, 1.0).to(torch.float64),
        draw=torch.rand(batch, stages, 2, generator=generator),
    ).to(DEVICE)


def test_stages_one_after_another() -> None:
    ops = tuple(get(name) for name in names() if name not in NEIGHBOURHOODS)
    sample, found = sample_of(ops, 12, 2), []
    for name in ("triton", "grouped"):
        images = torch.rand(12, 3, 8, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(DEVICE)
        images.requires_grad_()
        with engine(name):
            output = apply_hard(images, plan_of(ops), sample, 0.0, "bilinear")
        found.append((output, *torch.autograd.grad(output.square().sum(), (images, sample.magnitude))))
    for ours, plain in zip(*found, strict=True):
        assert torch.allclose(ours, plain, rtol=1e-9, atol=1e-9)


def a_policy() -> Policy:
    space = make_space({name: {} for name in POINTWISE})
    return random_policy(initial_policy(space, subpolicies=2, stages=2), seed=1).to(DEVICE)


def test_a_policy_replays_bit_for_bit() -> None:
    policy = a_policy()
    images = torch.rand(6, 3, 7, 8, device=DEVICE)
    with engine("triton"):
        output, sample = policy(images, generator=torch.Generator(DEVICE).manual_seed(2), return_params=True)
        assert torch.equal(policy(images, params=sample), output)
    with engine("grouped"):
        assert torch.allclose(policy(images, params=sample), output, atol=1e-4)


def test_transforms_are_refused() -> None:
    policy, images = a_policy(), torch.rand(2, 3, 5, 6, device=DEVICE)
    sample = policy.sample(2, generator=torch.Generator(DEVICE).manual_seed(3))
    with engine("triton"), pytest.raises(UserError, match="not seen through by"):
        torch.func.grad(lambda x: policy(x, params=sample).square().sum())(images)


def test_engines_are_named() -> None:
    with pytest.raises(UserError, match="auto, reference, grouped, numba, triton"), engine("fast"):
        pass


WITHOUT_TRITON = """
import sys, torch
sys.modules["triton"] = None
import augrad
from augrad import engine
augrad.load_policy("identity")(torch.rand(2, 3, 8, 8))
try:
    with engine("triton"):
        augrad.load_policy("identity")(torch.rand(2, 3, 8, 8))
except augrad.UserError as error:
    print(error)
"""
ON_A_CPU = """
import os, torch
os.environ["TRITON_INTERPRET"] = "0"
import augrad
from augrad import engine
try:
    with engine("triton"):
        augrad.load_policy("identity")(torch.rand(2, 3, 8, 8))
except augrad.UserError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("script", "message"), [(WITHOUT_TRITON, "which is not installed"), (ON_A_CPU, "needs images on a GPU")]
)
def test_engines_are_refused(script: str, message: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert message in done.stdout, done.stderr


def test_every_operation_has_a_kernel() -> None:
    assert all(TRITON.knows(get(name)) for name in names())
    assert set(KINDS) - {"warp"} <= set(names())
