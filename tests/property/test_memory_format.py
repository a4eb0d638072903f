"""Where outputs lie in memory: channels last as the images, and never in their memory."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor

import augrad
from augrad import Policy
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from ways import ENGINES

LAST = torch.channels_last
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8]
EXACT = {torch.float32: 1e-6, torch.float64: 1e-14, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def layouts(images: Tensor) -> Iterator[tuple[str, Tensor, bool]]:
    """Name, images in another layout, and whether channels are last in it."""
    width = images.shape[3]
    double = torch.cat([images, images], 3)
    yield "contiguous", images, False
    yield "sliced", double[..., :width], False
    yield "transposed", images.transpose(2, 3).contiguous().transpose(2, 3), False
    yield "every other", torch.stack([images, images], 1).flatten(0, 1)[::2], False
    yield "expanded", images[:1].expand(images.shape), False
    yield "channels last", images.to(memory_format=LAST), True
    yield "permuted", images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), True
    yield "channels last, sliced", double.to(memory_format=LAST)[..., width:], True
    yield "channels last, expanded", images[:1].to(memory_format=LAST).expand(images.shape), True
    if images.is_floating_point():
        yield "minus what lies in memory", torch._neg_view(-images), False


def check(apply: Callable[[Tensor], Tensor], dtype: torch.dtype, channels: int) -> None:
    levels = torch.randint(0, 256, (5, channels, 6, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for name, images, last in layouts(levels if dtype == torch.uint8 else (levels / 255).to(dtype)):
        before, order = images.clone(), LAST if last else torch.contiguous_format
        output = apply(images)
        assert output.is_contiguous(memory_format=order), name
        # To the last bits: a mean adds up in the order of the memory.
        torch.testing.assert_close(output, apply(images.contiguous()), rtol=0, atol=EXACT.get(dtype, 0), msg=name)
        output.fill_(0)
        assert torch.equal(images, before), name
        if dtype == torch.uint8:
            continue
        leaf = images.detach().clone().requires_grad_()
        output = apply(leaf)
        (gradient,) = torch.autograd.grad(output.float().square().sum(), leaf)
        assert not last or gradient.is_contiguous(memory_format=LAST), name
        apply(leaf).mul_(0.5).sum().backward()  # an output may be written to
        assert leaf.grad is not None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", augrad.ops.names())
def test_operations(name: str, dtype: torch.dtype) -> None:
    op = augrad.ops.get(name)
    for channels in (1, 3):
        for magnitude in {op.low or 0.0, op.high or 0.0}:
            check(lambda images, m=magnitude: op.apply(images, torch.full((5,), m)), dtype, channels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("engine", ENGINES)
def test_policies(engine: str, dtype: torch.dtype) -> None:
    if engine == "numba" and dtype == torch.float64:
        return  # seconds to compile, and never taken unless asked for

    def apply(images: Tensor, policy: Policy) -> Tensor:
        with augrad.engine(engine):
            return policy(images, generator=torch.Generator().manual_seed(1))

    for names in (augrad.ops.names(), ("identity",)):
        policy = initial_policy(make_space(dict.fromkeys(names)), stages=2)
        for channels in (1, 3):
            check(partial(apply, policy=policy), dtype, channels)


def test_relaxed_draws_and_functions_of_others() -> None:
    policy = initial_policy(make_space({"identity": None, "rotate": None, "invert": None}), stages=2)
    drawn = policy.rsample(5, generator=torch.Generator().manual_seed(1)).detach()
    check(lambda images: policy(images, params=drawn), torch.float32, 3)


@pytest.mark.parametrize("side", [1, 2])
def test_small_images_are_copied_too(side: int) -> None:
    images = torch.rand(4, 3, side, side)
    for name in augrad.ops.names():
        before = images.clone()
        augrad.ops.get(name).apply(images, torch.full((4,), augrad.ops.get(name).low or 0.0)).fill_(7)
        assert torch.equal(images, before), name
