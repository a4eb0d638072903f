"""Implicit differentiation with a truncated Neumann series in place of the inverse hessian.

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
    """u = - eta sum_{j = 0 .. terms} (I - eta A)^j grad L_val(w), an approximation of - A^-1 grad L_val(w).

    w are the weights before the step, and A = H + weight decay + damping, where H is the hessian of the training loss
    on the step's batch and draw. With more and more terms u tends to - A^-1 grad L_val(w). By the implicit function
    theorem that limit (with damping 0) is the exact hypergradient where the training has converged, that is, where the
    gradient of the training loss is zero. Earlier in a training it is an approximation.

    terms: the number of terms after the first one. step_size: eta. Along an eigenvector of A with eigenvalue a, the
    relative error of u is (1 - eta a)^(terms + 1). So the series converges for 0 < eta a < 2. Directions with an
    eigenvalue well above 1 / (eta terms) are nearly exact; u is too short along flatter ones. damping: is added to
    every eigenvalue. It keeps directions of slightly negative curvature from growing with the number of terms, and
    the limit's length at most |grad L_val| / damping where H has no negative eigenvalue.
    The metric hypergradient_residual is |(I - eta A)^terms grad L_val| / |grad L_val|. Above 1 the series diverges:
    lower step_size.
    Cost: a forward and backward pass on the validation batch. With terms > 0 also one on the training batch, and for
    each term a derivative of that backward pass. It does not depend on the optimiser.
    Raises UserError unless terms is from 0 to 10,000, step_size > 0 and damping >= 0.
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
        """Two; where there are terms, two more and two for each term."""
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
