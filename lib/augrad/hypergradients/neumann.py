"""Implicit differentiation, the inverse hessian by a truncated Neumann series.

Lorraine et al. 2020, Optimizing Millions of Hyperparameters by Implicit Differentiation, algorithm 3; MADAO, Hataya et
al. 2022, Meta Approach to Data Augmentation Optimization, section 3.2.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from augrad.checks import checked
from augrad.hypergradients.curvature import damped_hessian
from augrad.hypergradients.hypergradient import (
    Link,
    Term,
    TwoLevels,
    require_count,
    require_number,
    validation_pass,
)
from augrad.learning.classifier import Weights, flatten, unflatten


@checked
@dataclass(frozen=True)
class Neumann:
    """u = - eta sum_{j = 0 .. terms} (I - eta A)^j grad L_val(w), which tends to - A^-1 grad L_val(w).

    A = H + weight decay + damping, H the hessian of the training loss on the present batch and draw, at the present
    weights. That u is the exact one (for damping 0) where the training has converged: the implicit function theorem
    at grad L = 0. Before, it stands for the trained network nearby.
    terms: of the series after the first. step_size: eta. The error along an eigenvector of A with eigenvalue a is the
    factor (1 - eta a)^(terms + 1): the series converges for 0 < eta a < 2, and reaches what bends more than
    1 / (eta terms); flatter directions count as if they bent that much. damping: keeps directions of slightly
    negative curvature from growing, and bounds u by |grad L_val| / damping.
    The metric hypergradient_residual, |(I - eta A)^terms grad L_val| / |grad L_val|, above 1 tells that the series
    diverges: lower step_size.
    Cost: a forward and backward pass on the validation batch; with terms > 0, one on the training batch, and
    for each term a derivative of its backward pass. Any optimiser.
    Raises UserError unless terms >= 0, step_size > 0, damping >= 0.
    """

    terms: int = 5
    step_size: float = 0.05
    damping: float = 0.01
    follows_rate: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_count("terms", self.terms, at_least=0)
        require_number("step_size", self.step_size, zero=False)
        require_number("damping", self.damping, zero=True)

    @property
    def passes(self) -> int:
        """Two, and with terms two more and two for each."""
        return 2 + (2 + 2 * self.terms if self.terms else 0)

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link:
        held_out = validation_pass(levels, levels.weights)
        first = term = total = flatten(held_out.gradients)
        if self.terms:
            product = damped_hessian(levels, self.damping)
            for _ in range(self.terms):
                term = term - self.step_size * product(term)
                total = total + term
        u = unflatten(-self.step_size * total, levels.weights)
        norm = torch.linalg.vector_norm(first)
        residual = torch.linalg.vector_norm(term) / torch.where(norm > 0, norm, 1.0)
        return Link(
            (Term(levels.weights, u, levels.batch),),
            held_out.loss,
            held_out.logits,
            metrics={"hypergradient_residual": residual},
        )
