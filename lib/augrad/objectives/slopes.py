"""A gradient from slopes along directions, of which there may be fewer than parameters, and older ones among them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.errors import UserError


@dataclass(frozen=True)
class Slopes:
    """How much the loss rises along directions in the policy's n free parameters, as far as it has been measured.

    directions: of any length; along: the derivative of the loss in each, which is its inner product with the gradient
    but for noise. age: how many generations ago it was measured. All float64, on the CPU.
    """

    directions: Float[Tensor, "M n"]
    along: Float[Tensor, " M"]
    age: Float[Tensor, " M"]

    def and_new(self, directions: Float[Tensor, "N n"], along: Float[Tensor, " N"]) -> "Slopes":
        """These, a generation older, and new ones. Slopes that are not finite say nothing, and are left out."""
        told = along.isfinite()
        return Slopes(
            torch.cat([self.directions, directions[told]]),
            torch.cat([self.along, along[told]]),
            torch.cat([self.age + 1, torch.zeros(int(told.sum()), dtype=torch.float64)]),
        )


def no_slopes(count: int) -> Slopes:
    """Of `count` parameters, none measured."""
    empty = torch.zeros(0, dtype=torch.float64)
    return Slopes(torch.zeros(0, count, dtype=torch.float64), empty, empty)


def gradient_of(slopes: Slopes, noise: float, memory: float) -> Float[Tensor, " n"]:
    """The most likely gradient g: the mean of its normal posterior, which is a ridge regression.

    The prior has independent entries of variance t; a slope along a direction of n standard normal entries then has the
    variance n * t. noise: the variance of a slope's error as a share of that; above 0. memory: what a generation leaves
    of a slope's weight, in 0..1: the gradient has moved on since; 0 counts the newest ones alone. With directions at
    right angles and without older ones this is the estimate of evolution strategies, shortened; with n directions and
    little noise it is the gradient itself. Raises UserError for values outside the ranges.
    """
    if not noise > 0 or not 0 <= memory <= 1:
        raise UserError(f"slopes: expected noise above 0 and memory from 0 to 1, got {noise} and {memory}")
    if not slopes.directions.shape[1]:
        return torch.zeros(0, dtype=torch.float64)
    kept = slopes.age == 0 if memory == 0 else torch.ones_like(slopes.age, dtype=torch.bool)
    rows, along = slopes.directions[kept], slopes.along[kept]
    error = noise * rows.shape[1] / memory ** slopes.age[kept] if memory else noise * rows.shape[1]
    # In the space of the slopes, of which there are fewer than parameters at first; the same as in that of the latter.
    gram = rows @ rows.T + torch.diag(torch.as_tensor(error, dtype=torch.float64).expand(len(rows)))
    return rows.T @ torch.linalg.solve(gram, along)
