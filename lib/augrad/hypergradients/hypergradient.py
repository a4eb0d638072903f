"""What a hypergradient method takes and returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augrad.errors import UserError
from augrad.learning.classifier import Weights, gradients_of_loss, leaves_of, with_zeros
from augrad.learning.pure_optimizer import PureOptimizer

_MOST = 10_000

Loss = Callable[[Weights], Float[Tensor, ""]]
"""weights -> the mean loss of a batch, twice differentiable."""


@dataclass(frozen=True)
class TrainingBatch:
    """A training batch with one draw of the policy.

    images, labels: before augmentation; in a distributed run this process's. loss: weights -> the mean loss on the
    augmented batch, without weight decay. size: how many images the batch has, in all processes.
    """

    images: Float[Tensor, "B C H W"]
    labels: Int[Tensor, " B"]
    loss: Loss
    size: int | None = None

    @property
    def whole(self) -> int:
        """How many images the batch has, in all processes."""
        return len(self.labels) if self.size is None else self.size


@dataclass(frozen=True)
class TwoLevels:
    """What a method is given: the training step about to be taken, the batches after it, and the validation loss.

    Nothing here changes the classifier, its buffers or its optimiser; only `upcoming` uses random numbers.

    weights: the classifier's trainable weights before the step; frozen ones are constants. batch: the training batch of
    the step. gradients: of `batch.loss` at `weights`, for those that it depends on. optimizer: the optimiser's step as
    a pure function. validate: weights -> mean validation loss, and the logits. upcoming: k -> the training batch of the
    step k steps later (1, 2, ...), with a fresh draw of the policy at each call. differentiate: weights ->
    `ValidationPass`, a faster way to `forward_and_backward` of `validate`; None: there is none.
    """

    weights: Weights
    gradients: Weights
    batch: TrainingBatch
    optimizer: PureOptimizer
    validate: Callable[[Weights], tuple[Tensor, Tensor]]
    upcoming: Callable[[int], TrainingBatch]
    differentiate: "Callable[[Weights], ValidationPass] | None" = None


class Term(NamedTuple):
    """One training step through which the policy acts on the validation loss.

    The score of image i of `batch` is s_i = <u, grad_w l_i(w)>, at w = `weights`.
    """

    weights: Weights
    u: Weights
    batch: TrainingBatch


@dataclass(frozen=True)
class Link:
    """What a hypergradient method returns.

    terms: the derivative of the validation loss is the policy gradient of the sum of their mean scores. validation_loss
    [], validation_logits [V, K]: of the validation pass. memory: what the method wants to be given at the next call; a
    search's checkpoint keeps it. metrics: for the log, by name.
    """

    terms: tuple[Term, ...]
    validation_loss: Float[Tensor, ""]
    validation_logits: Float[Tensor, "V K"]
    memory: Weights = field(default_factory=dict)
    metrics: dict[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Hypergradient(Protocol):
    """A method of differentiating the validation loss through the classifier's training.

    follows_rate: whether u is proportional to the training's learning rate. passes: what a call costs, in forward and
    backward passes of the classifier beside those of the training step; the derivative of a backward pass counts as
    two. A call is given `memory`, which the last call returned in its `Link`; {} at the first.
    """

    follows_rate: ClassVar[bool]

    @property
    def passes(self) -> int: ...

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link: ...


class ValidationPass(NamedTuple):
    """The gradients of the mean validation loss at some weights, the loss itself, and the logits."""

    gradients: Weights
    loss: Float[Tensor, ""]
    logits: Float[Tensor, "V K"]


def forward_and_backward(validate: Callable[[Weights], tuple[Tensor, Tensor]], weights: Weights) -> ValidationPass:
    """The loss, its gradients at `weights` and the logits, by one forward and one backward pass of `validate`.

    Raises UserError inside `torch.inference_mode()`.
    """
    leaves = leaves_of(weights)
    with torch.enable_grad():
        loss, logits = validate(leaves)
        gradients = with_zeros(gradients_of_loss(loss, leaves), weights)
    return ValidationPass(gradients, loss.detach(), logits.detach())


def validation_pass(levels: TwoLevels, weights: Weights) -> ValidationPass:
    """One forward and one backward pass on the validation batch at `weights`."""
    if levels.differentiate is not None:
        return levels.differentiate(weights)
    return forward_and_backward(levels.validate, weights)


def require_count(name: str, value: int, at_least: int) -> None:
    """Raises UserError unless the setting is at least that, and at most 10,000: a step of the search does so many."""
    if not at_least <= value <= _MOST:
        bound = f"of at least {at_least}" if value < at_least else f"of at most {_MOST}"
        raise UserError(f"{name}: expected a whole number {bound}, got {value!r}")


def require_number(name: str, value: float, zero: bool) -> None:
    """Raises UserError unless the setting is a number above 0, or with `zero` at least 0."""
    if not (value > 0 or (zero and value == 0)):
        raise UserError(f"{name}: expected a number {'of at least' if zero else 'above'} 0, got {value!r}")
