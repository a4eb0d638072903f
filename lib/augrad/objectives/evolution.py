"""Evolution strategies: the derivative of a policy's loss from the losses of policies around it.

With parameters theta, n of them free, the loss L of a policy, and delta standard normal, the gradient of the smoothed
loss E L(theta + width * delta) is E [(L(theta + width * delta) - L(theta - width * delta)) * delta] / (2 * width)
(Nesterov and Spokoiny 2017; Salimans et al. 2017, section 2.1, mirrored sampling).
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.policy import Policy
from augrad.policy.learnable import learnable
from augrad.types import PolicyParams


def directions(policy: Policy, count: int, generator: torch.Generator) -> Float[Tensor, "N n"]:
    """Standard normal directions in the policy's n free parameters, on the CPU, float64.

    Up to n of them are at right angles to each other, which leaves the distribution of each as it is, and the mean over
    them with less variance (Choromanski et al. 2018).
    """
    free = sum(int(mask.sum()) for mask in _free(policy).values())
    if not free:
        return torch.zeros(count, 0, dtype=torch.float64)
    found = []
    for start in range(0, count, free):
        drawn = torch.randn(min(free, count - start), free, dtype=torch.float64, generator=generator, device="cpu")
        basis, triangle = torch.linalg.qr(drawn.T)
        rows = (basis * triangle.diagonal().sign()).T  # without a sign of QR's own choice
        found.append(
            rows * torch.randn(drawn.shape, dtype=torch.float64, generator=generator, device="cpu").norm(dim=1)[:, None]
        )
    return torch.cat(found)


def moved(policy: Policy, step: Float[Tensor, " n"]) -> Policy:
    """The policy with `step` added to its free parameters."""
    added = as_params(policy, step)
    return policy.with_params(replace(added, **{name: old + getattr(added, name) for name, old in _values(policy)}))


def gradient(
    directions: Float[Tensor, "N n"], ahead: Float[Tensor, " N"], behind: Float[Tensor, " N"], width: float
) -> Float[Tensor, " n"]:
    """The estimate of the gradient of the smoothed loss, from the losses `width` ahead and behind in each direction."""
    return (differences(ahead, behind) / (2 * width)) @ directions / len(directions)


def persistent(
    past: Float[Tensor, "N n"],
    directions: Float[Tensor, "N n"],
    ahead: Float[Tensor, " N"],
    behind: Float[Tensor, " N"],
    width: float,
) -> tuple[Float[Tensor, "N n"], Float[Tensor, " n"]]:
    """The sum of the directions so far, and the estimate of the gradient from the losses after one more piece.

    Of processes that go on from piece to piece, each with directions of its own for every piece: what a loss owes to
    the pieces before, it owes to their directions, too. past: the sum of those; zeros at the beginning. Without bias
    for the smoothed loss after this piece as a function of a policy that is the same in all pieces (Vicol et al. 2021,
    Unbiased Gradient Estimation in Unrolled Computation Graphs with Persistent Evolution Strategies, eq. 7).
    """
    total = past + directions
    return total, gradient(total, ahead, behind, width)


def differences(ahead: Float[Tensor, " N"], behind: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Of the losses of each pair. One of which a loss is not finite says nothing, and counts as equal."""
    found = ahead - behind
    return torch.where(found.isfinite(), found, 0.0)


def as_params(policy: Policy, values: Float[Tensor, " n"]) -> PolicyParams:
    """Numbers for the free parameters in their places, on the policy's device; zero in all others."""
    masks = _free(policy)
    parts = values.to(policy.device).split([int(mask.sum()) for mask in masks.values()])
    zeros = policy.params.map(lambda tensor: torch.zeros_like(tensor, requires_grad=False))
    return replace(
        zeros,
        **{
            name: getattr(zeros, name).masked_scatter(mask, part)
            for (name, mask), part in zip(masks.items(), parts, strict=True)
        },
    )


def _free(policy: Policy) -> dict[str, Tensor]:
    """Which entries can be learned and are to be, by group."""
    masks = learnable(policy)
    return {name: masks[name] & parameter.requires_grad for name, parameter in policy.named_parameters()}


def _values(policy: Policy) -> list[tuple[str, Tensor]]:
    return [(name, parameter.detach()) for name, parameter in policy.named_parameters()]
