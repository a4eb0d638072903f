"""Every operation on images and magnitudes that are not finite, or outside [0, 1], by one way of applying a stage."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from augrad import ops
from augrad.engines.choice import plan_of
from augrad.engines.contract import Settings, Stages, apply_op

NAMES = ops.names()
OPS = tuple(ops.get(name) for name in NAMES)
HEIGHT, WIDTH = 9, 11


class Outcome(NamedTuple):
    """What becomes of the images, and the gradients of a scalar that weighs every pixel differently."""

    images: Tensor
    by_images: Tensor
    by_magnitude: Tensor


class Case(NamedTuple):
    """values: at these places (channel, row, column) of every image. level: of each magnitude in its range. flipped:
    whether signed magnitudes are negative where they would be positive, and the other way round."""

    name: str
    values: Sequence[float] = ()
    places: Sequence[tuple[int, int, int]] = ((0, 4, 5),)
    level: float = 0.61
    fill: float = 0.0
    interpolation: str = "bilinear"
    flipped: bool = False


INFINITE = (
    Case("plus infinity", (math.inf,)),
    Case("minus infinity", (-math.inf,), fill=0.4),
    Case("infinity, other signs", (math.inf, -math.inf), ((0, 4, 5), (2, 0, 0)), flipped=True),
    Case("infinity, nothing moves", (math.inf,), level=0.0),
)
CASES = (
    Case("NaN", (math.nan,)),
    Case("NaN, a fill", (math.nan,), fill=0.4),
    Case("NaN, nearest", (math.nan,), interpolation="nearest"),
    Case("NaN, nothing moves", (math.nan,), level=0.0),
    Case("NaN in corners", (math.nan, math.nan), ((0, 0, 0), (2, HEIGHT - 1, WIDTH - 1))),
    Case("NaN as a magnitude", level=math.nan, fill=0.4),
    Case("NaN as a magnitude, nearest", level=math.nan, interpolation="nearest"),
    Case("outside", (1.24, -0.2, 1.1, -0.1), ((0, 4, 5), (1, 4, 5), (2, 0, 0), (0, 2, 2))),
    *INFINITE,
)


def each_alone(images: Tensor, stages: Stages) -> Tensor:
    """Every image by its operation's own function."""
    chosen, magnitude, draw, settings = stages.chosen[:, 0], stages.magnitude[:, 0], stages.draw[:, 0], stages.settings
    found = []
    for index, op in enumerate(OPS[number] for number in chosen.tolist()):
        one = slice(index, index + 1)
        if op.kind == "mix":
            alone = torch.where(torch.arange(len(images)) == index, magnitude, 0.0)
            found.append(apply_op(op, images, alone, draw, settings)[one])
        else:
            found.append(apply_op(op, images[one], magnitude[one], draw[one], settings))
    return torch.cat(found)


def outcome(
    way: Callable[..., Tensor], case: Case, channels: int, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Outcome:
    """Image i goes through operation i of NAMES."""
    generator = torch.Generator().manual_seed(0)
    images, others = (
        (torch.rand(len(OPS), channels, HEIGHT, WIDTH, generator=generator, dtype=torch.float64) * 230 + 12).round()
        / 255
        for _ in range(2)
    )
    for value, (channel, row, column) in zip(case.values, case.places, strict=False):
        images[:, channel % channels, row, column] = value
    magnitude = [
        (-1 if op.signed and place % 2 != case.flipped else 1) * (op.low + case.level * (op.high - op.low))
        if op.has_magnitude
        else 0.0  # type: ignore[operator]
        for place, op in enumerate(OPS)
    ]
    numbers = torch.tensor(magnitude, dtype=torch.float64, device=device)
    leaves = images.to(device, dtype).requires_grad_(), numbers.requires_grad_()
    settings = Settings(case.fill, case.interpolation, others.to(device, dtype))
    draw = torch.full((len(OPS), 2), 0.45, device=device)
    chosen = torch.arange(len(OPS), device=device)[:, None]
    output = way(leaves[0], Stages(plan_of(OPS), chosen, leaves[1][:, None], draw[:, None], settings))
    weights = torch.linspace(0, 40, output.numel(), dtype=torch.float64).sin().view_as(output) + 1.5
    whole = (output.double() * weights.to(device)).sum()
    found = torch.autograd.grad(whole, leaves, allow_unused=True, materialize_grads=True)
    return Outcome(*(values.detach().cpu() for values in (output, *found)))


def kinds(values: Tensor) -> Tensor:
    """0 for finite numbers, 1 for NaN, 2 and 3 for infinities."""
    return torch.where(values.isnan(), 1, torch.where(values.isposinf(), 2, torch.where(values.isneginf(), 3, 0)))


def assert_same(found: Outcome, expected: Outcome, case: Case, tolerance: float = 2e-4) -> None:
    """The same values, and NaN and infinities in the same places; of gradients by infinities what is not finite."""
    for what, ours, theirs in zip(Outcome._fields, found, expected, strict=True):
        for name, one, other in zip(NAMES, ours, theirs, strict=True):
            same = kinds(one), kinds(other)
            if case in INFINITE and what != "images":
                same = same[0] > 0, same[1] > 0
            assert torch.equal(*same), (case.name, name, what, one, other)
            finite = other.isfinite()
            apart = (one - other).abs()[finite] / (1 + other.abs()[finite])
            assert (apart <= tolerance).all(), (case.name, name, what, apart.max())
