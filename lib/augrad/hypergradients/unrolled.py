"""The validation loss after several steps of the real optimiser, differentiated exactly.

Maclaurin et al. 2015, Gradient-based Hyperparameter Optimization through Reversible Learning, algorithm 2 (with the
steps kept rather than reversed); Franceschi et al. 2017, Forward and Reverse Gradient-Based Hyperparameter
Optimization, eq. 13.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch

from augrad.checks import checked
from augrad.hypergradients.curvature import Product, expand, gradients_at
from augrad.hypergradients.hypergradient import (
    Link,
    Term,
    TrainingBatch,
    TwoLevels,
    require_count,
    validation_pass,
)
from augrad.learning.classifier import Weights, flatten, unflatten, with_zeros
from augrad.learning.pure_optimizer import OptimizerState


class _Point(NamedTuple):
    """What is known before one step. product: with the hessian of the step's loss, where the graph was kept."""

    weights: Weights
    state: OptimizerState
    gradients: Weights
    batch: TrainingBatch
    product: Product | None


@checked
@dataclass(frozen=True)
class Unrolled:
    """d L_val(w_T) / d theta through T = `steps` optimiser steps, w_{t+1}, o_{t+1} = Phi(w_t, o_t, g_t).

    g_t is the training gradient at w_t on the t-th batch and draw, and o_t the optimiser's state. From the last step to
    the first, with a_T = grad L_val(w_T) and c_T = 0,

        u_t = (dw_{t+1}/dg_t)^T a_{t+1} + (do_{t+1}/dg_t)^T c_{t+1}
        a_t = (dw_{t+1}/dw_t)^T a_{t+1} + (do_{t+1}/dw_t)^T c_{t+1} + H_t u_t        (c_t alike, without H)

    The policy acts through every step, so there is one term (w_t, u_t) for each. Momentum, Nesterov, weight decay,
    clipping and Adam are differentiated as they are. BatchNorm normalises with each batch's statistics. The learning
    rate keeps its present value.

    The first step is the one that the search is about to take, on its batch and draw. The others look ahead, with the
    batches that will come and fresh draws of the policy. They work on copies: the search then goes on from where it is,
    and looks ahead anew at its next step. So the policy has a step for every step of the classifier, and nothing needs
    to be kept in a checkpoint. With steps=1 this is `OneStep`. w_t and u_t are held fixed when the scores s_i are taken
    on other draws.

    checkpoint: True keeps the weights and the optimiser's state of each step, and computes its training pass again on
    the way back (Chen et al. 2016); False keeps the graphs of all steps. The numbers are the same.
    Cost: a forward and backward pass on the validation batch. For each step after the first, a forward and backward
    pass on a training batch, which `checkpoint` repeats, and a derivative of the backward pass. The scores cost `steps`
    times as much as with one step. Memory: `steps` copies of weights and state, and one graph (steps - 1 graphs without
    `checkpoint`).
    Raises UserError unless steps is from 1 to 10,000, and for an optimiser other than SGD, Adam and AdamW.
    """

    steps: int = 3
    checkpoint: bool = True
    follows_rate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count("steps", self.steps, at_least=1)

    @property
    def passes(self) -> int:
        """Two, and four for each step after the first (six with `checkpoint`)."""
        return 2 + (self.steps - 1) * (6 if self.checkpoint else 4)

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link:
        optimizer = levels.optimizer
        points = [_Point(levels.weights, optimizer.state, levels.gradients, levels.batch, None)]
        for ahead in range(1, self.steps):
            last = points[-1]
            with torch.no_grad():
                weights, state = optimizer.step(last.weights, last.state, last.gradients, ahead - 1)
            points.append(self._point(weights, state, levels.upcoming(ahead)))
        last = points[-1]
        with torch.no_grad():
            end, remembered = optimizer.step(last.weights, last.state, last.gradients, self.steps - 1)

        held_out = validation_pass(levels, end)
        on_weights = held_out.gradients
        on_state = {
            name: {key: torch.zeros_like(value) for key, value in own.items()} for name, own in remembered.items()
        }
        terms: list[Term] = []
        for ahead in range(self.steps - 1, -1, -1):
            point = points.pop()

            def step(
                weights: Weights, state: OptimizerState, gradients: Weights, ahead: int = ahead
            ) -> tuple[Weights, OptimizerState]:
                return optimizer.step(weights, state, gradients, ahead)

            pull_back = torch.func.vjp(step, point.weights, point.state, point.gradients)[1]
            on_weights, on_state, u = pull_back((on_weights, on_state))
            u = with_zeros(u, point.weights)
            terms.append(Term(point.weights, u, point.batch))
            if ahead:
                product = point.product or expand(point.batch.loss, point.weights).product
                through = unflatten(product(flatten(u)), u)
                on_weights = {name: direct + through[name] for name, direct in on_weights.items()}
        return Link(tuple(reversed(terms)), held_out.loss, held_out.logits)

    def _point(self, weights: Weights, state: OptimizerState, batch: TrainingBatch) -> _Point:
        if not self.checkpoint:
            gradients, product = expand(batch.loss, weights)
            return _Point(weights, state, gradients, batch, product)
        return _Point(weights, state, gradients_at(batch.loss, weights), batch, None)
