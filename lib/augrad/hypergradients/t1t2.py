"""Implicit differentiation with the identity in place of the inverse hessian.

T1 - T2, Luketina et al. 2016, Scalable Gradient-Based Tuning of Continuous Regularization Hyperparameters, eq. 4.
"""

from dataclasses import dataclass
from typing import ClassVar

from augrad.hypergradients.hypergradient import Link, Term, TwoLevels, validation_pass
from augrad.learning.classifier import Weights


@dataclass(frozen=True)
class T1T2:
    """u = - grad L_val(w): the score of an image says how far its gradient agrees with the validation gradient.

    It is `Neumann` with terms=0, divided by the step size. It is also `OneStep` for plain SGD, divided by the learning
    rate, with the gradient before the step in place of the one after it. It is not the gradient of the validation loss
    of the trained network: the inverse hessian that is left out changes direction and length of u, most along
    directions in which the training loss is flat.
    Cost: one forward and one backward pass on the validation batch. It has no settings, and does not depend on the
    optimiser.
    """

    follows_rate: ClassVar[bool] = False

    @property
    def passes(self) -> int:
        """One forward and one backward pass."""
        return 2

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link:
        held_out = validation_pass(levels, levels.weights)
        u = {name: -gradient for name, gradient in held_out.gradients.items()}
        return Link((Term(levels.weights, u, levels.batch),), held_out.loss, held_out.logits)
