"""One unrolled optimiser step, with the step that really runs.

DARTS, Liu et al. 2019, eq. 5 to 7; DADA, Li et al. 2020, eq. 10.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from augrad.hypergradients.hypergradient import Link, Term, TwoLevels, validation_pass
from augrad.learning.classifier import Weights


@dataclass(frozen=True)
class OneStep:
    """u = (d w' / d g)^T grad L_val(w'), with w' = w after one optimiser step on the training gradient g.

    For plain SGD this is -xi grad L_val(w') with xi the learning rate; momentum, Nesterov, weight decay, clipping and
    Adam's scaling change d w' / d g, and are followed. When w' was made with one draw of the policy and s_i is taken
    with another, u counts as fixed.
    Cost: one forward and backward pass on the validation batch. Raises UserError for an optimiser other than SGD, Adam
    and AdamW.
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
        (u,) = pull_back(held_out.gradients)
        return Link((Term(levels.weights, u, levels.batch),), held_out.loss, held_out.logits)
