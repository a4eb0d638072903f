"""The validation loss after one step of the real optimiser, differentiated exactly.

DARTS, Liu et al. 2019, eq. 5 to 7; DADA, Li et al. 2020, eq. 10.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from augrad.hypergradients.hypergradient import Link, Term, TwoLevels, validation_pass
from augrad.learning.classifier import Weights, with_zeros


@dataclass(frozen=True)
class OneStep:
    """u = (d w' / d g)^T grad L_val(w'), where one optimiser step with the training gradient g takes the weights to w'.

    For plain SGD with learning rate xi this is u = - xi grad L_val(w'). Momentum, Nesterov, weight decay, clipping and
    the scaling of Adam change d w' / d g, and are taken into account. The step to w' is the search's own, on its draw
    of the policy; u is held fixed when the scores s_i are taken on another draw.
    Cost: one forward and one backward pass on the validation batch. Raises UserError for an optimiser other than SGD,
    Adam and AdamW.
    """

    follows_rate: ClassVar[bool] = True

    @property
    def passes(self) -> int:
        """One forward and one backward pass."""
        return 2

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link:
        optimizer = levels.optimizer

        def update(gradients: Weights) -> Weights:
            return optimizer.step(levels.weights, optimizer.state, gradients)[0]

        stepped, pull_back, *_ = torch.func.vjp(update, levels.gradients)
        held_out = validation_pass(levels, stepped)
        u = with_zeros(pull_back(held_out.gradients)[0], levels.weights)
        return Link((Term(levels.weights, u, levels.batch),), held_out.loss, held_out.logits)
