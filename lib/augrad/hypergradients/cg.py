"""Implicit differentiation with the inverse hessian's product by conjugate gradients.

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
from augrad.learning.classifier import Weights, flatten, unflatten, with_zeros


class Solution(NamedTuple):
    """An approximate solution x of A x = right, and its relative residual |right - A x| / |right|."""

    x: Float[Tensor, " P"]
    residual: Float[Tensor, ""]


def conjugate_gradients(
    product: Product,
    right: Float[Tensor, " P"],
    start: Float[Tensor, " P"] | None,
    iterations: int,
    least_curvature: float = 0.0,
) -> Solution:
    """Solves A x = right approximately, with a fixed number of iterations from `start` (None: from zero).

    product: v -> A v. Iteration k minimises x'Ax/2 - x'right over a subspace of k dimensions. A start whose residual is
    larger than that of zero is replaced by zero. Where the next direction d has too little curvature, d'Ad at most
    least_curvature * d'd, x keeps its value from there on (Steihaug 1983), as it does once it is exact. The host never
    waits for the device. Cost: one product for each iteration, and one for a start.
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

    w are the weights before the step, and A = H + weight decay + damping, where H is the hessian of the training loss
    on the step's batch and draw. By the implicit function theorem u (with damping 0) is the exact hypergradient where
    the training has converged, that is, where the gradient of the training loss is zero. Earlier in a training it is an
    approximation.

    iterations: as many as A has different eigenvalues give the exact solution; with fewer, the directions of large
    eigenvalues are right first. damping: is added to every eigenvalue, which keeps u short along flat directions, about
    which a single batch says little. The loss of an untrained network has negative curvature, too: the iteration ends
    early where the next direction's curvature, damping included, is below half the damping.
    warm_start: begin at the last call's solution, if that is better than zero. Batches differ from call to call, and H
    with them; the start carries over what they have in common. The search's checkpoint keeps it.
    The metric hypergradient_residual is |grad L_val + A u| / |grad L_val|: 0 for an exact solution, 1 for u = 0. It may
    be above 1 after a few iterations; where it stays there, raise damping or iterations.
    Cost: a forward and backward pass on the validation batch, one on the training batch, and a derivative of the latter
    for each iteration and for the warm start. It does not depend on the optimiser.
    Raises UserError unless iterations is from 1 to 10,000 and damping >= 0.
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
        """Four, two for each iteration, and two for the warm start, which the first call lacks."""
        return 4 + 2 * self.iterations + 2 * self.warm_start

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link:
        held_out = validation_pass(levels, levels.weights)
        start = flatten(with_zeros(memory, levels.weights)) if self.warm_start and memory else None
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
