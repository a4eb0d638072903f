"""First-order implicit differentiation: the hessian taken to be the identity.

T1 - T2, Luketina et al. 2016, Scalable Gradient-Based Tuning of Continuous Regularization Hyperparameters, eq. 4.
"""

from dataclasses import dataclass
from typing import ClassVar

from augrad.hypergradients.hypergradient import Link, Term, TwoLevels, validation_pass
from augrad.learning.classifier import Weights


@dataclass(frozen=True)
class T1T2:
    """u = - grad L_val(w): an image counts by how far its gradient agrees with the validation gradient.

    What `neumann` gives without terms, but for its step size; and `one_step` for plain SGD, but for the learning rate
    and for being taken before the step. Not the gradient of the validation loss: the inverse hessian that is left out
    turns and stretches it, most along directions that the training loss hardly bends.
    Cost: one forward and backward pass on the validation batch. No settings, and any optimiser.
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
