"""What an objective takes and returns."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from augrad.checks import name_of
from augrad.cuda_graphs import NO_GRAPHS, Graphs
from augrad.data.pixels import to_float
from augrad.data.standard import StandardAugmentation, StandardDraw
from augrad.data.types import LoadedSplit, Splits
from augrad.errors import AugradWarning, UserError
from augrad.estimators.estimate import CoupledScalar, Estimate, Estimator, Scalar
from augrad.estimators.none import NoEstimator
from augrad.hypergradients.hypergradient import Hypergradient, Loss, TrainingBatch
from augrad.hypergradients.none import NoHypergradient
from augrad.learning.classifier import Weights, couples, device_of, flatten, logits_with, losses_of, unflatten
from augrad.learning.coupling import attributed, attributed_beside, couples_otherwise, is_exact
from augrad.learning.step import ModelBuilder, bfloat16_autocast
from augrad.policy import Policy
from augrad.ranks import ALONE, Ranks, parts_of
from augrad.types import PolicySample, RelaxedSample


@dataclass(frozen=True)
class Step:
    """What an objective is called with: the search before a step of the policy and one of the model.

    model: the network that the search trains. companion: the network that the objective keeps beside it, if any.
    optimizer: the model's. generator: of all random numbers. batch: k -> the training batch of the step k steps later
    (0: this one). validation: the validation batch. hypergradient: the method. memory: what it left at the last step.
    clip_norm, autocast, accumulation_steps: see `augrad.SearchSettings`. standard: what training images undergo after
    the policy; it is drawn once for all evaluations of a step's scalar. ranks: the processes of the search, each of
    which computes with its share of the batches. graphs: runs the model's passes, as CUDA graphs where it can.
    data, builder, seed, number: the whole data set, what the search was given as its model, its seed, and how many
    steps came before this one; for objectives that train networks of their own. stopping: whether the search has been
    asked to stop; an objective whose step takes long asks now and then, and raises `augrad.errors.Stopped`: the search
    then ends as if the step had not begun.
    """

    model: nn.Module
    companion: nn.Module | None
    policy: Policy
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    batch: Callable[[int], LoadedSplit]
    validation: LoadedSplit
    hypergradient: Hypergradient
    memory: Weights
    clip_norm: float | None
    autocast: bool
    standard: StandardAugmentation
    ranks: Ranks = ALONE
    accumulation_steps: int = 1
    graphs: Graphs = NO_GRAPHS
    data: Splits | None = None
    builder: nn.Module | ModelBuilder | None = None
    seed: int = 0
    number: int = 0
    stopping: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Aim:
    """What a step of the search is taken with: the policy's by `scalar`, the model's by `gradients`.

    scalar: the policy minimises its expectation over the policy's own draws; or the estimate of the gradient itself,
    where the objective has a way of its own to it (`own_estimate`). batch_size: how many images the scalar is for,
    which is how many draws it takes. gradients: of what the model minimises, by parameter name; a parameter that is not
    there keeps its value. The next step may overwrite them. metrics: for the log, by name; train_loss and
    train_accuracy are among them. memory: what the hypergradient method, or an objective with its own estimate, wants
    to be given at the next step. trained: the state that the model is put into instead of a step, where a training with
    the present policy has ended in it.
    """

    scalar: Scalar | Estimate
    batch_size: int
    gradients: Weights
    metrics: dict[str, Tensor]
    memory: Weights = field(default_factory=dict)
    trained: dict[str, Tensor] | None = None


@runtime_checkable
class Objective(Protocol):
    """What the policy and the model minimise. It is called once a step, before either of them has moved.

    A call returns what the policy minimises and the gradients of what the model minimises (see `Aim`); the search takes
    both steps with them. A call changes no parameter of the model and no `.grad`; it may move the model's buffers, as
    a pass in training mode does, and the companion.

    two_levels: whether the objective follows a loss through the model's training, and so needs a hypergradient method.
    judges_policy: whether the model learns from augmented images. If so, its loss on other images says what the policy
    is worth, and the policy with the lowest one is kept; otherwise the latest policy is kept.
    An objective may have one more, own_estimate: whether it estimates the gradient for the policy itself, so that it
    goes with no estimator, and without a warm-up. Where it has none, that is False.
    """

    two_levels: ClassVar[bool]
    judges_policy: ClassVar[bool]

    def model(self, model: nn.Module | ModelBuilder, splits: Splits, seed: int, device: torch.device) -> nn.Module:
        """The network that the search trains: a copy of a module, or what a builder makes by the seed.

        It takes images in [0, 1] and returns logits of the classes.
        """
        ...

    def companion(self, model: nn.Module) -> nn.Module | None:
        """A network that the objective keeps beside the model (part of the checkpoint); None for most."""
        ...

    def __call__(self, step: Step) -> Aim: ...


def estimates_itself(objective: object) -> bool:
    """`own_estimate` of an objective, which most do not have."""
    return getattr(objective, "own_estimate", False)


def require_fitting(objective: Objective, hypergradient: Hypergradient, estimator: Estimator) -> None:
    """Raises UserError for an objective that needs a hypergradient method or an estimator and has none, or has one
    without need."""
    name = type(objective).__name__
    given = not isinstance(hypergradient, NoHypergradient)
    if objective.two_levels and not given:
        raise UserError(
            f"{name} follows the validation loss through the training, which takes a hypergradient method, got "
            "none; take one_step or another one, or an objective of a single level"
        )
    if given and not objective.two_levels:
        raise UserError(
            f"{name} does not follow a loss through the steps of a training: there is nothing that a hypergradient "
            f"method could follow, got {type(hypergradient).__name__}; set hypergradient=none (in Python "
            "NoHypergradient())"
        )
    given = not isinstance(estimator, NoEstimator)
    if given and estimates_itself(objective):
        raise UserError(
            f"{name} estimates the gradient for the policy itself: there is nothing that an estimator could do, got "
            f"{name_of(estimator)}; set estimator=none (in Python NoEstimator())"
        )
    if not given and not estimates_itself(objective):
        raise UserError(
            f"{name} is an expectation over the policy's draws, which takes an estimator, got none; take gumbel or "
            "another one"
        )


def warn_of_other_coupling(model: nn.Module, splits: Splits) -> None:
    """Warn of a model in which the images of a batch act on each other in a way that no score contains.

    That is every way but through BatchNorm (see `augrad.learning.coupling`).
    """
    images = to_float(splits.train.images[:4]).to(device_of(model))
    if len(images) > 1 and couples_otherwise(model, images):
        warnings.warn(
            "model: an image changes what the network makes of the other images of its batch, in another way than "
            "through torch.nn.BatchNorm1d, 2d or 3d (SyncBatchNorm, another library's BatchNorm, or statistics that a "
            "forward computes itself); the policy learns nothing of that effect, which may be as large as the rest",
            AugradWarning,
            stacklevel=2,
        )


@torch.no_grad()
def redrawn(
    policy: Policy, images: Float[Tensor, "B C H W"], sample: PolicySample | RelaxedSample, then: StandardDraw
) -> Float[Tensor, "B C H W"]:
    """The images with a draw that nothing is differentiated through. then: what they undergo after the policy."""
    return then(policy(images, params=sample))


def exchanged(
    policy: Policy, images: Float[Tensor, "B C H W"], sample: PolicySample | RelaxedSample, then: StandardDraw
) -> tuple[Float[Tensor, "B C H W"], ...]:
    """Each image with the next one's draw, as `augrad.learning.coupling.attributed` takes it; nothing where not."""
    if not is_exact(len(sample)):
        return ()
    return (redrawn(policy, images, sample.map(lambda tensor: tensor.roll(-1, 0)), then),)


def attributed_scalar(
    model: nn.Module,
    own: Callable[..., Float[Tensor, " B"]],
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, " B"],
    policy: Policy,
    then: StandardDraw,
) -> Scalar:
    """The function sample -> the numbers of the images, with what an image does to the others through BatchNorm.

    own: (images, labels, and shares or not) -> each image's own number, see `augrad.learning.coupling.Own`. then: what
    the images undergo after the policy.
    """
    coupled = couples(model)

    def scalar(sample: PolicySample | RelaxedSample, companions: PolicySample | None = None) -> Float[Tensor, " B"]:
        augmented = then(policy(images, params=sample))
        if not coupled:
            return own(augmented, labels)
        if companions is not None:
            return attributed_beside(own, augmented, labels, redrawn(policy, images, companions, then))
        return attributed(own, augmented, labels, *exchanged(policy, images, sample, then))

    if not coupled:
        return scalar
    return CoupledScalar(scalar, is_exact(len(labels)), lambda companions: partial(scalar, companions=companions))


class DrawnBatch(NamedTuple):
    """A training batch, its images after one draw of the policy and of `standard`, and the policy's draw.

    whole: that draw for the images of all processes.
    """

    batch: TrainingBatch
    augmented: Float[Tensor, "B C H W"]
    sample: PolicySample
    whole: PolicySample


def drawn_batch(step: Step, ahead: int = 0) -> DrawnBatch:
    """The training batch of the step `ahead` steps later, with fresh draws of the policy and of `standard`.

    All processes draw for all images, and each of them augments its own.
    """
    train, ranks = step.batch(ahead), step.ranks
    size = len(train)
    if ranks.alone:
        images, labels = to_float(train.images), train.labels
        with torch.no_grad():
            augmented, sample = step.policy(images, generator=step.generator, return_params=True)
            augmented = step.standard.draw(augmented, step.generator)(augmented)
        batch = TrainingBatch(images, labels, _loss(step, augmented, labels, size))
        return DrawnBatch(batch, augmented, sample, sample)
    own = ranks.share(size, train.images.device)
    images, labels = to_float(train.images[own]), train.labels[own]
    with torch.no_grad():
        whole = step.policy.sample(size, step.generator)
        sample = whole[own.to(whole.op.device)]
        augmented = step.policy(images, params=sample)
        augmented = step.standard.draw(train.images, step.generator)[own](augmented)
    batch = TrainingBatch(images, labels, _loss(step, augmented, labels, size), size)
    return DrawnBatch(batch, augmented, sample, whole)


def _loss(step: Step, augmented: Float[Tensor, "B C H W"], labels: Int[Tensor, " B"], size: int) -> Loss:
    """The mean loss of a batch of `size` images, of which these are this process's."""

    parts = parts_of(len(labels), step.accumulation_steps)

    def loss(weights: Weights) -> Tensor:
        shared = shared_weights(step.ranks, weights)
        with bfloat16_autocast(step.autocast, augmented.device):
            logits = [logits_with(step.model, shared, augmented[part]) for part in parts]
        return step.ranks.mean_of(losses_of(torch.cat(logits), labels), size)

    return loss


def shared_weights(ranks: Ranks, weights: Weights) -> Weights:
    """The weights, as something that all processes compute a part of a loss from (see `Ranks.shared`)."""
    return weights if ranks.alone else unflatten(ranks.shared(flatten(weights)), weights)
