"""Implicit differentiation, the inverse hessian by conjugate gradients.

Hestenes and Stiefel 1952; as a hypergradient, Pedregosa 2016, Hyperparameter Optimization with Approximate Gradient,
algorithm 1; warm starts, Grazzi et al. 2020, On the Iteration Complexity of Hypergradient Computation.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.checks import checked
from augrad.hypergradients.curvature import Product, damped_hessian
from augrad.hypergradients.hypergradient import (
    Link,
    Term,
    TwoLevels,
    require_count,
    require_number,
    validation_pass,
)
from augrad.learning.classifier import Weights, flatten, unflatten


class Solution(NamedTuple):
    """x, and what is left: |right - A x| / |right|."""

    x: Float[Tensor, " P"]
    residual: Float[Tensor, ""]


def conjugate_gradients(
    product: Product,
    right: Float[Tensor, " P"],
    start: Float[Tensor, " P"] | None,
    iterations: int,
    least_curvature: float = 0.0,
) -> Solution:
    """x with A x = right, after a fixed number of iterations from `start` (None: zero).

    Minimises x'Ax/2 - x'right over ever larger subspaces. A start that leaves more of `right` than zero does is
    dropped. Where d'Ad is not above least_curvature * d'd for the next direction d, x stays as it is from there on
    (truncation, Steihaug 1983), as it does once it is exact. Never waits for the device. Cost: one product an
    iteration, and one for a start.
    """
    x, rest = torch.zeros_like(right), right
    if start is not None:
        left = right - product(start)
        helps = left.dot(left) < right.dot(right)
        x, rest = torch.where(helps, start, x), torch.where(helps, left, rest)
    direction = rest
    square = rest.dot(rest)
    going = square > 0
    for _ in range(iterations):
        bent = product(direction)
        curvature = direction.dot(bent)
        going = going & (curvature > least_curvature * direction.dot(direction))
        length = torch.where(going, square / torch.where(going, curvature, 1.0), 0.0)
        x = x + length * direction
        rest = rest - length * bent
        before, square = square, rest.dot(rest)
        direction = rest + torch.where(going, square / torch.where(going, before, 1.0), 0.0) * direction
        going = going & (square > 0)
    norm = torch.linalg.vector_norm(right)
    return Solution(x, square.sqrt() / torch.where(norm > 0, norm, 1.0))


@checked
@dataclass(frozen=True)
class ConjugateGradients:
    """u = - A^-1 grad L_val(w), by a fixed number of conjugate gradient iterations.

    A = H + weight decay + damping, H the hessian of the training loss on the present batch and draw, at the present
    weights. That u is the exact one (for damping 0) where the training has converged: the implicit function theorem
    at grad L = 0. Before, it stands for the trained network nearby.
    iterations: where A has k different eigenvalues, k are exact; otherwise large eigenvalues come first. damping:
    steadies flat directions, along which one batch says little. An untrained network's loss also bends downwards: along
    a direction that has less than half the damping's curvature left, the iteration stops with what it has.
    warm_start: begin at the last call's solution, which the search's checkpoint keeps, if it is better than zero.
    Batches differ from call to call, and so does H: the start carries what they share.
    The metric hypergradient_residual, |grad L_val + A u| / |grad L_val|, is 0 for an exact solution and 1 for
    u = 0. On the way it may rise above 1: raise damping or iterations where it stays there.
    Cost: a forward and backward pass on the validation batch, one on the training batch, and for each iteration, and
    for the warm start, a derivative of its backward pass. Any optimiser.
    Raises UserError unless iterations >= 1, damping >= 0.
    """

    iterations: int = 5
    damping: float = 1.0
    warm_start: bool = True
    follows_rate: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_count("iterations", self.iterations, at_least=1)
        require_number("damping", self.damping, zero=True)

    @property
    def passes(self) -> int:
        """Four, two for each iteration, and two for the warm start (not at the first call)."""
        return 4 + 2 * self.iterations + 2 * self.warm_start

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link:
        held_out = validation_pass(levels, levels.weights)
        start = flatten(memory) if self.warm_start and memory else None
        found = conjugate_gradients(
            damped_hessian(levels, self.damping),
            flatten(held_out.gradients),
            start,
            self.iterations,
            least_curvature=0.5 * self.damping,
        )
        solution = unflatten(found.x, levels.weights)
        return Link(
            (Term(levels.weights, {name: -part for name, part in solution.items()}, levels.batch),),
            held_out.loss,
            held_out.logits,
            memory=solution if self.warm_start else {},
            metrics={"hypergradient_residual": found.residual},
        )
