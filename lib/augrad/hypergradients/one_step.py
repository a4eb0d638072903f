"""One unrolled optimiser step, with the step that really runs.

DARTS, Liu et al. 2019, eq. 5 to 7; DADA, Li et al. 2020, eq. 10.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from augrad.classifier import Weights
from augrad.update import Update


class Link(NamedTuple):
    """u, and the validation pass it came from: its mean loss and its logits."""

    u: Weights
    validation_loss: Tensor
    validation_logits: Tensor


@dataclass(frozen=True)
class OneStep:
    """u = (d w' / d g)^T grad L_val(w'), with w' = w after one optimiser step on the training gradient g.

    For plain SGD this is -xi grad L_val(w') with xi the learning rate; momentum, Nesterov, weight decay, clipping and
    Adam's scaling change d w' / d g, and are followed. When w' was made with one draw of the policy and s_i is taken
    with another, u counts as fixed.
    Cost: one forward and backward pass on the validation batch.
    """

    def __call__(
        self, update: Update, gradients: Weights, validate: Callable[[Weights], tuple[Tensor, Tensor]]
    ) -> Link:
        """update: the optimiser's step. gradients: of the training loss, where that step will be taken.
        validate: weights -> mean validation loss, logits."""
        with torch.no_grad():
            stepped = update(gradients)
        leaves = {name: weight.requires_grad_() for name, weight in stepped.items()}
        with torch.enable_grad():
            loss, logits = validate(leaves)
            cotangent = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        pull_back = torch.func.vjp(update, gradients)[1]
        (u,) = pull_back(cotangent)
        return Link(u, loss.detach(), logits.detach())
