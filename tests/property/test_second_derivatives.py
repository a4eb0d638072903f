"""Gradients of gradients, in every engine and by every way that PyTorch has to ask for them."""

import warnings
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradgradcheck
from torch.utils.checkpoint import checkpoint

import augrad
from augrad import Policy, UserError
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.types import PolicySample
from ways import ENGINES

with warnings.catch_warnings():  # torch itself calls what it has deprecated
    warnings.simplefilter("ignore")
    import torch._decomp.decompositions_for_jvp

NAMES = augrad.ops.names()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def problem(dtype: torch.dtype = torch.float32) -> tuple[Policy, PolicySample, Tensor, Tensor]:
    """A policy over all operations, a draw, images, and weights that make a scalar of them."""
    policy = initial_policy(make_space(dict.fromkeys(NAMES)), stages=2).requires_grad_(True)
    images, weights = torch.rand(2, 60, 3, 8, 7, generator=generator(), dtype=torch.float64).to(dtype)
    return policy, policy.sample(60, generator(1)).detach(), images, weights


def penalty(apply: Callable[[Tensor, Tensor], Tensor], images: Tensor, magnitude: Tensor, weights: Tensor) -> Tensor:
    """The length of the gradient of a scalar that is linear in the output: its graph goes through the policy alone."""
    scalar = (apply(images, magnitude).to(weights.dtype) * weights).sum()
    first = torch.autograd.grad(scalar, [images, magnitude], create_graph=True)
    return first[0].double().square().sum() + first[1].square().sum() / 1000


def second(
    apply: Callable[[Tensor, Tensor], Tensor], images: Tensor, magnitude: Tensor, weights: Tensor
) -> tuple[Tensor, ...]:
    leaves = images.clone().requires_grad_(), magnitude.clone().requires_grad_()
    return torch.autograd.grad(penalty(apply, *leaves, weights), leaves)


def assert_close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], limit: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert other.abs().max() > 0
        error = (one.double() - other.double()).flatten(1).norm(dim=1) / other.double().flatten(1).norm(dim=1).clamp(1)
        assert error.max() < limit


@pytest.mark.parametrize("name", ["auto", *ENGINES])
def test_single_precision_gives_what_double_precision_does(name: str) -> None:
    policy, sample, images, weights = problem()

    def apply(images: Tensor, magnitude: Tensor) -> Tensor:
        return policy(images, params=replace(sample, magnitude=magnitude))

    expected = second(apply, images.double(), sample.magnitude, weights.double())
    with augrad.engine(name):
        if name == "numba":
            with pytest.raises(UserError, match="engine numba is differentiable once"):
                second(apply, images, sample.magnitude, weights)
        else:
            assert_close(second(apply, images, sample.magnitude, weights), expected, 1e-3)


def test_a_gradient_penalty_has_the_derivative_of_its_finite_differences() -> None:
    policy, sample, images, weights = problem()
    smooth = [policy.ops[int(op)].name in ("brightness", "gaussian_blur", "sample_pairing") for op in sample.op[:, 0]]
    sample = replace(sample, gate=torch.tensor(smooth)[:, None] & torch.tensor([True, False]))
    images = 0.4 + 0.2 * images

    def apply(images: Tensor, magnitude: Tensor) -> Tensor:
        return policy(images, params=replace(sample, magnitude=magnitude * 0.3)).square()

    def value(images: Tensor, magnitude: Tensor) -> float:
        return float(penalty(apply, images.requires_grad_(), magnitude.requires_grad_(), weights).detach())

    found = second(apply, images, sample.magnitude, weights)
    along = [torch.rand(part.shape, generator=generator(2), dtype=part.dtype) for part in found]
    step = 1e-2
    ahead, behind = (
        value(images + sign * step * along[0], sample.magnitude + sign * step * along[1]) for sign in (1, -1)
    )
    slope = sum(float((part * direction).sum()) for part, direction in zip(found, along, strict=True))
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=2e-3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_operations_pass_gradgradcheck(name: str, channels: int) -> None:
    """The straight-through ones, too: of what they have in the place of a derivative, this is the derivative."""
    op = augrad.ops.get(name)
    images = torch.rand(2, channels, 5, 4, generator=generator(3), dtype=torch.float64).requires_grad_()
    fraction = torch.tensor([0.83, 0.36], dtype=torch.float64)
    low, high = op.low or 0.0, op.high or 0.0
    magnitude = low + (high - low) * fraction
    moves = op.has_magnitude and not (channels == 1 and name in ("color", "hue"))
    draw = (torch.rand(2, op.draws, generator=generator(4), dtype=torch.float64),) if op.draws else ()
    for options in ({}, {"fill": 0.7}) if "fill" in op.options else ({},):
        apply = lambda x, m, options=options: op.apply(x, m, *draw, **options)  # noqa: E731
        assert gradgradcheck(apply, (images, magnitude.clone().requires_grad_(moves)))


@pytest.mark.parametrize("name", ["solarize", "cutout"])
def test_the_slope_of_a_surrogate_is_differentiated(name: str) -> None:
    op = augrad.ops.get(name)
    images = torch.rand(2, 3, 6, 6, generator=generator(), dtype=torch.float64).requires_grad_()
    magnitude = torch.full((2,), 0.47, dtype=torch.float64, requires_grad=True)
    (by_magnitude,) = torch.autograd.grad(op.apply(images, magnitude).sum(), magnitude, create_graph=True)
    (mixed,) = torch.autograd.grad(by_magnitude.sum(), images)
    assert mixed.abs().max() > 1


def test_third_derivatives_are_those_of_double_precision() -> None:
    policy, sample, images, weights = problem()
    some = ("rotate", "contrast", "hue", "cutout")
    plain = torch.tensor([policy.ops[int(op)].name in some for op in sample.op[:, 0]])
    sample = replace(sample, gate=plain[:, None] & torch.tensor([True, False]))

    def third(dtype: torch.dtype) -> tuple[Tensor, ...]:
        leaves = images.to(dtype).requires_grad_(), sample.magnitude.clone().requires_grad_()

        def apply(images: Tensor, magnitude: Tensor) -> Tensor:
            return policy(images, params=replace(sample, magnitude=magnitude)).pow(3)

        value = penalty(apply, *leaves, weights.to(dtype))
        again = torch.autograd.grad(value, leaves, create_graph=True)
        return torch.autograd.grad(sum(part.double().square().sum() for part in again), leaves)  # type: ignore[arg-type]

    assert_close(third(torch.float32), third(torch.float64), 1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_second_derivatives(dtype: torch.dtype) -> None:
    policy, sample, images, weights = problem()

    def apply(images: Tensor, magnitude: Tensor) -> Tensor:
        return policy(images, params=replace(sample, magnitude=magnitude))

    found = second(apply, images.to(dtype), sample.magnitude, weights)
    expected = second(apply, images, sample.magnitude, weights)
    assert all(float(one.double().norm() / other.double().norm()) == pytest.approx(1, abs=0.3)
               for one, other in zip(found, expected, strict=True))  # fmt: skip


@pytest.mark.parametrize("relaxed", [False, True])
def test_what_a_policy_draws_has_them_too(relaxed: bool) -> None:
    policy, _, images, weights = problem()
    found = []
    for dtype in (torch.float32, torch.float64):
        leaves = [images[:8].to(dtype).requires_grad_(), policy.magnitude_locations, policy.magnitude_log_scales]
        params = policy.rsample(8, generator=generator(5)) if relaxed else None
        output = policy(leaves[0], params=params, generator=None if relaxed else generator(5))
        first = torch.autograd.grad((output * weights[:8].to(dtype)).sum(), leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(part.double().square().sum() for part in first), leaves))  # type: ignore[arg-type]
    for one, other in zip(*found, strict=True):
        assert other.abs().max() > 0
        assert (one.double() - other.double()).norm() < 1e-4 * other.double().norm()


def test_activation_checkpointing_keeps_them() -> None:
    policy, sample, images, weights = problem()

    def apply(images: Tensor, magnitude: Tensor) -> Tensor:
        return policy(images, params=replace(sample, magnitude=magnitude))

    def checkpointed(images: Tensor, magnitude: Tensor) -> Tensor:
        return checkpoint(apply, images, magnitude, use_reentrant=False)  # type: ignore[return-value]

    arguments = images, sample.magnitude, weights
    for one, other in zip(second(checkpointed, *arguments), second(apply, *arguments), strict=True):
        assert torch.equal(one, other)


def test_transforms_of_functions_see_through_a_policy() -> None:
    policy, sample, images, weights = problem(torch.float64)
    magnitude, along = sample.magnitude, torch.rand(60, 2, generator=generator(6), dtype=torch.float64)

    def value(images: Tensor, magnitude: Tensor) -> Tensor:
        return (policy(images, params=replace(sample, magnitude=magnitude)) * weights).sin().sum()

    leaves = images.clone().requires_grad_(), magnitude.clone().requires_grad_()
    first = torch.autograd.grad(value(*leaves), leaves, create_graph=True)
    directional = (first[0] * weights).sum() + (first[1] * along).sum()
    expected = torch.autograd.grad(directional, leaves)
    tangents = weights, along
    torch.testing.assert_close(torch.func.jvp(value, (images, magnitude), tangents)[1], directional.detach())
    with forward_ad.dual_level():
        dual = value(forward_ad.make_dual(images, weights), forward_ad.make_dual(magnitude, along))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, directional.detach())

    def directional_of(images: Tensor, magnitude: Tensor) -> Tensor:
        by_images, by_magnitude = torch.func.grad(value, argnums=(0, 1))(images, magnitude)
        return (by_images * weights).sum() + (by_magnitude * along).sum()

    torch.testing.assert_close(torch.func.grad(directional_of, argnums=(0, 1))(images, magnitude), expected)
    few = lambda moved: value(images, torch.cat([moved, magnitude[3:]]))  # noqa: E731
    hessian, other = torch.func.hessian(few)(magnitude[:3]), torch.func.jacrev(torch.func.jacrev(few))(magnitude[:3])
    torch.testing.assert_close(hessian, other)
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(few, magnitude[:3]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_of_batches_of_draws_and_of_gradients(dtype: torch.dtype) -> None:
    policy, sample, images, _ = problem(dtype)
    names = [field.name for field in fields(sample)]
    other, pair = policy.sample(60, generator(7)).detach(), torch.stack([images, 1 - images])
    drawn = [torch.stack([getattr(sample, name), getattr(other, name)]) for name in names]

    def apply(images: Tensor, *values: Tensor) -> Tensor:
        return policy(images, params=PolicySample(**dict(zip(names, values, strict=True))))

    expected = torch.stack([policy(pair[0], params=sample), policy(pair[1], params=other)])
    torch.testing.assert_close(torch.func.vmap(apply)(pair, *drawn), expected, rtol=0, atol=1e-5)
    leaf = images.clone().requires_grad_()
    output = policy(leaf, params=sample)
    coming = torch.randn(3, *output.shape, generator=generator(8), dtype=dtype)
    back = lambda gradient: torch.autograd.grad(output, leaf, gradient, retain_graph=True)[0]  # noqa: E731
    for together in (
        torch.func.vmap(back)(coming),
        torch.autograd.grad(output, leaf, coming, retain_graph=True, is_grads_batched=True)[0],
    ):
        torch.testing.assert_close(together, torch.stack([back(one) for one in coming]), rtol=1e-4, atol=1e-4)
