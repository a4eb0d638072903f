"""Training a classifier with a policy: how policies are used and compared."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from augrad.cuda_graphs import NO_GRAPHS, Graphs
from augrad.data.batches import EpochBatches
from augrad.data.pixels import to_float
from augrad.data.seeding import global_draws, local_generator
from augrad.data.standard import NO_STANDARD, StandardAugmentation
from augrad.data.types import Splits
from augrad.errors import NonFiniteError, UserError
from augrad.learning.average import WeightAverage
from augrad.learning.capturable import graphs_for
from augrad.learning.step import (
    ModelBuilder,
    OptimizerBuilder,
    StepResult,
    backward_on,
    build_classifier,
    build_optimizer,
    evaluate,
    fitted,
    set_rates,
)
from augrad.policy.policy import Policy
from augrad.settings import TrainSettings, batch_size_of, rate_at, steps_of

Row = dict[str, float | int | str | None]
Report = Callable[[Row], None]


@dataclass(frozen=True)
class Recipe:
    """How classifiers are trained, but for the policy and the seed.

    splits: on the device on which they are trained. model: what builds a network, or one of which each training begins
    with a copy. standard: what every training image undergoes after the policy.
    """

    splits: Splits
    model: nn.Module | ModelBuilder
    optimizer: OptimizerBuilder
    settings: TrainSettings
    standard: StandardAugmentation = NO_STANDARD

    @property
    def device(self) -> torch.device:
        """On which classifiers are trained."""
        return self.splits.train.images.device

    @property
    def batch_size(self) -> int:
        """Of its batches (see `batch_size_of`)."""
        return batch_size_of(self.settings.batch_size, len(self.splits.train))

    @property
    def steps(self) -> int:
        """How many a training has."""
        batches = EpochBatches(len(self.splits.train), self.batch_size, 0)
        return steps_of(self.settings, batches.batches_per_epoch)


class Fit(NamedTuple):
    """A classifier after the last step, and the mean loss on the augmented images of the last tenth of the steps.

    late: of the fall of that loss since the first tenth, the share that came after the middle tenth. With `ema` the
    classifier has the averaged weights, and the losses are those of the weights that were trained.
    """

    model: nn.Module
    loss: float
    late: float


@dataclass(frozen=True)
class TrainResult:
    """The classifier after the last epoch, never the best, and its accuracy and loss on the test split.

    late: see `Fit`.
    """

    model: nn.Module
    test_accuracy: float
    test_loss: float
    late: float = 0.0


def train_classifier(
    splits: Splits,
    model: ModelBuilder,
    optimizer: OptimizerBuilder,
    policy: Policy | None,
    settings: TrainSettings,
    seed: int,
    device: torch.device,
    report: Report | None = None,
    standard: StandardAugmentation = NO_STANDARD,
) -> TrainResult:
    """Train a classifier on `device` by this recipe (see `trained`), and evaluate it on the test split.

    Raises NonFiniteError when the loss becomes NaN or infinite.
    """
    splits = splits.to(device)
    fit = trained(Recipe(splits, model, optimizer, settings, standard), policy, seed, report)
    test = evaluate(fit.model, splits.test, settings.autocast)
    require_finite(test)
    return TrainResult(fit.model, float(test.accuracy), float(test.loss), fit.late)


def require_finite(test: StepResult) -> None:
    """Raises NonFiniteError for losses on test images of which one is not finite."""
    if not bool(test.losses.isfinite().all()):
        raise NonFiniteError(
            f"at its end the loss on test images is {float(test.loss)}: the training has diverged; "
            "lower the learning rate (train.optimizer.lr) or set train.clip_norm"
        )


def trained(recipe: Recipe, policy: Policy | None, seed: int, report: Report | None = None) -> Fit:
    """A fresh classifier trained on the train split, every image augmented anew by `policy` (None: as it is).

    seed: of the weights, the batches and the draws: the same for every policy, so that comparisons are paired.
    report: called once an epoch, and after the last step, with a metrics row. Its train_loss is the mean cross-entropy
    with the labels as they are, without label smoothing, and of the weights that are trained; val_loss is that of the
    classifier that would be returned.
    Raises NonFiniteError when the training loss becomes NaN or infinite, and UserError where the network cannot be
    compiled.
    """
    splits, settings, device = recipe.splits, recipe.settings, recipe.device
    policy = None if policy is None else policy.to(device)
    classifier, stepper, batches, standard = _begin(recipe, seed)
    stepped = cast(nn.Module, torch.compile(classifier)) if settings.compile else classifier
    average: WeightAverage | None = None
    generator, beside = local_generator(seed, "train policy draws"), local_generator(seed, "train standard draws")
    per_epoch = batches.batches_per_epoch
    total = recipe.steps
    tenths = Tenths(total)
    graphs = _graphs(recipe, classifier)
    augment = None if policy is None else policy.to_cuda_graphs() if settings.cuda_graphs is not False else policy
    for epoch in range(math.ceil(total / per_epoch)):
        losses, end = [], min((epoch + 1) * per_epoch, total)
        for step in range(epoch * per_epoch, end):
            warmup = settings.warmup_epochs * per_epoch
            set_rates(stepper, rate_at(step, total, settings.schedule, settings.final_rate, warmup))
            batch = splits.train[batches.indices(step)]
            images = to_float(batch.images)
            if augment is not None:
                with torch.no_grad():
                    images = augment(images, generator=generator)
            images = standard.draw(images, beside)(images)
            images = _channels_last(images) if settings.channels_last else images
            # A network whose passes are captured draws nothing.
            drawing = nullcontext() if graphs.enabled else global_draws(device, seed, "train step", step)
            with drawing, _refused_compilations():
                result = backward_on(stepped, images, batch.labels, settings.autocast, settings.label_smoothing, graphs)
            if settings.clip_norm is not None:
                nn.utils.clip_grad_norm_(classifier.parameters(), settings.clip_norm)
            stepper.step()
            if average is not None:
                average.update()
            elif settings.ema is not None:
                average = WeightAverage(classifier, settings.ema)
            losses.append(result)
            tenths.see(step, result.loss)
        loss = float(torch.stack([result.loss for result in losses]).mean())
        if not loss < float("inf"):
            raise NonFiniteError(
                f"epoch {epoch + 1}: the training loss is {loss}; lower the learning rate or set train.clip_norm"
            )
        if report is not None:
            with nullcontext() if average is None else average.inside():
                test = evaluate(classifier, splits.validation, settings.autocast)
            accuracy = float(torch.stack([result.accuracy for result in losses]).mean())
            report(
                {
                    "step": end,
                    "epoch": epoch + 1,
                    "train_loss": loss,
                    "train_accuracy": accuracy,
                    "val_loss": float(test.loss),
                    "val_accuracy": float(test.accuracy),
                }
            )
    if average is not None:
        average.put_in()
    first, middle, last = map(float, tenths.means())
    return Fit(classifier, last, late_share(first, middle, last))


class Tenths:
    """The mean of a value over the first, the middle and the last tenth of a training's steps."""

    def __init__(self, total: int) -> None:
        self._length = max(total // 10, 1)
        self._begins = 0, (total - self._length) // 2, total - self._length
        self._kept: tuple[list[Tensor], ...] = ([], [], [])

    def see(self, step: int, value: Tensor) -> None:
        for begin, kept in zip(self._begins, self._kept, strict=True):
            if begin <= step < begin + self._length:
                kept.append(value)

    def means(self) -> tuple[Tensor, ...]:
        return tuple(torch.stack(kept).mean(0) for kept in self._kept)


def late_share(first: float, middle: float, last: float) -> float:
    """Of the fall of a loss, the share that came after the middle (see `Fit`)."""
    return (middle - last) / (first - last) if first > last else 0.0


def check_recipe(recipe: Recipe) -> None:
    """Raises what `trained` raises for its recipe before the first step."""
    _graphs(recipe, _begin(recipe, 0)[0])


def _graphs(recipe: Recipe, classifier: nn.Module) -> Graphs:
    """What runs the training passes. `torch.compile` captures what it can by itself."""
    settings = recipe.settings
    if settings.compile or (recipe.device.type != "cuda" and not settings.cuda_graphs):
        return NO_GRAPHS
    few = to_float(recipe.splits.train.images[:8])
    return graphs_for(classifier, settings.cuda_graphs, few, "train.cuda_graphs")


def _begin(recipe: Recipe, seed: int) -> tuple[nn.Module, torch.optim.Optimizer, EpochBatches, StandardAugmentation]:
    train, settings = recipe.splits.train, recipe.settings
    classifier = build_classifier(recipe.model, recipe.splits, seed, recipe.device)
    if settings.channels_last:
        for parameter in classifier.parameters():
            parameter.data = _channels_last(parameter.data)
    stepper = build_optimizer(recipe.optimizer, classifier.parameters(), "train.optimizer")
    batches = EpochBatches(len(train), recipe.batch_size, seed, recipe.device)
    return classifier, stepper, batches, fitted(recipe.standard, train)


def _channels_last(values: Tensor) -> Tensor:
    """Images, or the weights of a convolution, laid out channels last; weights of other dimensions as they are."""
    return values.contiguous(memory_format=torch.channels_last) if values.dim() == 4 else values


@contextmanager
def _refused_compilations() -> Iterator[None]:
    """What the compiler of `torch.compile` raises becomes a UserError."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        raise UserError(
            f"train.compile: this network cannot be compiled here: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}; set it to false"
        ) from error
