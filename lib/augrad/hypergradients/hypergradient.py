"""What a hypergradient method takes and returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augrad.errors import UserError
from augrad.learning.classifier import Weights
from augrad.learning.pure_optimizer import PureOptimizer

Loss = Callable[[Weights], Float[Tensor, ""]]
"""weights -> mean loss of a batch; differentiable twice."""


@dataclass(frozen=True)
class TrainingBatch:
    """A batch of the training split, and one draw of the policy on it.

    images, labels: not augmented. loss: of the weights, on the augmented batch, without weight decay.
    """

    images: Float[Tensor, "B C H W"]
    labels: Int[Tensor, " B"]
    loss: Loss


@dataclass(frozen=True)
class TwoLevels:
    """All that a method may use: the training step that is about to be taken, what would come after it, and the
    validation loss. Pure but for the draws: nothing here changes the classifier, its buffers or its optimiser.

    weights: where the step starts. batch: what it is taken on. gradients: of `batch.loss` there. optimizer: the
    step's pure twin. validate: weights -> mean validation loss and its logits. upcoming: the batch of the step that
    many steps later (1, 2, ...), each call with a fresh draw.
    """

    weights: Weights
    gradients: Weights
    batch: TrainingBatch
    optimizer: PureOptimizer
    validate: Callable[[Weights], tuple[Tensor, Tensor]]
    upcoming: Callable[[int], TrainingBatch]
    pull: "Callable[[Weights], Pull] | None" = None


class Term(NamedTuple):
    """One point of the training at which the policy acts on the validation loss: s_i = <u, grad_w l_i> at `weights`."""

    weights: Weights
    u: Weights
    batch: TrainingBatch


@dataclass(frozen=True)
class Link:
    """What ties the two levels together.

    terms: their scores' means add up. validation_loss, validation_logits: of the pass that u came from. memory: what
    the method wants to be given at the next call (part of a search's checkpoint). metrics: for the log, by name.
    """

    terms: tuple[Term, ...]
    validation_loss: Float[Tensor, ""]
    validation_logits: Float[Tensor, "V K"]
    memory: Weights = field(default_factory=dict)
    metrics: dict[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Hypergradient(Protocol):
    """follows_rate: whether u is proportional to the training's learning rate. passes: the cost of a call in forward
    and backward passes of the classifier, on top of the training step's own; a derivative of a backward pass counts
    two. memory: what the last call left, {} at the first.
    """

    follows_rate: ClassVar[bool]

    @property
    def passes(self) -> int: ...

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link: ...


class Pull(NamedTuple):
    """grad L_val at some weights, with the loss and the logits."""

    gradients: Weights
    loss: Float[Tensor, ""]
    logits: Float[Tensor, "V K"]


def pull_of(validate: Callable[[Weights], tuple[Tensor, Tensor]], weights: Weights) -> Pull:
    """One forward and one backward pass of a loss with its logits."""
    leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    with torch.enable_grad():
        loss, logits = validate(leaves)
        found = torch.autograd.grad(loss, list(leaves.values()))
    return Pull(dict(zip(leaves, found, strict=True)), loss.detach(), logits.detach())


def validation_pull(levels: TwoLevels, weights: Weights) -> Pull:
    """One forward and one backward pass on the validation batch."""
    return pull_of(levels.validate, weights) if levels.pull is None else levels.pull(weights)


def require_count(name: str, value: int, at_least: int) -> None:
    """Raises UserError unless the setting is at least that."""
    if value < at_least:
        raise UserError(f"hypergradient.{name}: expected a whole number of at least {at_least}, got {value!r}")


def require_number(name: str, value: float, zero: bool) -> None:
    """Raises UserError unless the setting is a number above 0, or with `zero` at least 0."""
    if not (value > 0 or (zero and value == 0)):
        raise UserError(
            f"hypergradient.{name}: expected a number {'of at least' if zero else 'above'} 0, got {value!r}"
        )
