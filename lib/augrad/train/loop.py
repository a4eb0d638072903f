"""Training a classifier with a policy: how policies are used and compared."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

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
from augrad.learning.network import put_back_buffers, require_passes, unsaved_buffers
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
Watch = Callable[["Training"], None]


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
    watch: Watch | None = None,
) -> TrainResult:
    """Train a classifier on `device` by this recipe (see `trained`), and evaluate it on the test split.

    Raises NonFiniteError when the loss becomes NaN or infinite.
    """
    splits = splits.to(device)
    fit = trained(Recipe(splits, model, optimizer, settings, standard), policy, seed, report, watch)
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


def trained(
    recipe: Recipe, policy: Policy | None, seed: int, report: Report | None = None, watch: Watch | None = None
) -> Fit:
    """A fresh classifier trained on the train split, every image augmented anew by `policy` (None: as it is).

    seed: of the weights, the batches and the draws: the same for every policy, so that comparisons are paired.
    report: called once an epoch, and after the last step, with a metrics row. Its train_loss is the mean cross-entropy
    with the labels as they are, without label smoothing, and of the weights that are trained; val_loss is that of the
    classifier that would be returned.
    watch: called with the training before its first step, which may take up an earlier one then, and after each step.
    Raises NonFiniteError when the training loss becomes NaN or infinite, and UserError where the network cannot be
    compiled.
    """
    training = Training(recipe, policy, seed)
    if watch is not None:
        watch(training)
    while training.step < training.total:
        training.advance()
        if training.ends_epoch:
            row = training.end_epoch(evaluated=report is not None)
            if report is not None:
                report(row)
        if watch is not None:
            watch(training)
    return training.fit()


class Training:
    """One training of a classifier, step by step (see `trained`). step: how many are done, of `total`."""

    def __init__(self, recipe: Recipe, policy: Policy | None, seed: int) -> None:
        self._recipe, self._seed, device = recipe, seed, recipe.device
        policy = None if policy is None else policy.to(device)
        settings = recipe.settings
        self.classifier, self._stepper, self._batches, self._standard = _begin(recipe, seed)
        self._stepped = cast(nn.Module, torch.compile(self.classifier)) if settings.compile else self.classifier
        self._average: WeightAverage | None = None
        self._generator = local_generator(seed, "train policy draws")
        self._beside = local_generator(seed, "train standard draws")
        self._per_epoch, self.total, self.step = self._batches.batches_per_epoch, recipe.steps, 0
        self._tenths = Tenths(self.total)
        self._graphs = _graphs(recipe, self.classifier)
        self._augment = policy if policy is None or settings.cuda_graphs is False else policy.to_cuda_graphs()
        self._seen: list[tuple[Tensor, Tensor]] = []

    @property
    def ends_epoch(self) -> bool:
        """Whether the steps that are done are whole epochs, or all of them."""
        return self.step % self._per_epoch == 0 or self.step == self.total

    def advance(self) -> None:
        """One step."""
        recipe, settings, step, device = self._recipe, self._recipe.settings, self.step, self._recipe.device
        warmup = settings.warmup_epochs * self._per_epoch
        set_rates(self._stepper, rate_at(step, self.total, settings.schedule, settings.final_rate, warmup))
        batch = self._batches.batch(recipe.splits.train, step)
        images = to_float(batch.images)
        if self._augment is not None:
            with torch.no_grad():
                images = self._augment(images, generator=self._generator)
        images = self._standard.draw(images, self._beside)(images)
        images = _channels_last(images) if settings.channels_last else images
        # A network whose passes are captured draws nothing.
        drawing = nullcontext() if self._graphs.enabled else global_draws(device, self._seed, "train step", step)
        with drawing, _refused_compilations():
            result = backward_on(
                self._stepped,
                images,
                batch.labels,
                settings.autocast,
                settings.label_smoothing,
                self._graphs,
                settings.accumulation_steps,
            )
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.classifier.parameters(), settings.clip_norm)
        self._stepper.step()
        if self._average is not None:
            self._average.update()
        elif settings.ema is not None:
            self._average = WeightAverage(self.classifier, settings.ema)
        self._seen.append((result.loss, result.accuracy))
        self._tenths.see(step, result.loss)
        self.step += 1

    def end_epoch(self, evaluated: bool) -> Row:
        """The metrics row of the epoch that is over, of the validation split only if `evaluated`.

        Raises NonFiniteError for a training loss that is NaN or infinite.
        """
        epoch = -(-self.step // self._per_epoch)
        losses, accuracies = (torch.stack(values) for values in zip(*self._seen, strict=True))
        self._seen = []
        loss = float(losses.mean())
        if not loss < float("inf"):
            raise NonFiniteError(
                f"epoch {epoch}: the training loss is {loss}; lower the learning rate or set train.clip_norm"
            )
        if not evaluated:
            return {"step": self.step, "epoch": epoch, "train_loss": loss}
        with nullcontext() if self._average is None else self._average.inside():
            test = evaluate(self.classifier, self._recipe.splits.validation, self._recipe.settings.autocast)
        return {
            "step": self.step,
            "epoch": epoch,
            "train_loss": loss,
            "train_accuracy": float(accuracies.mean()),
            "val_loss": float(test.loss),
            "val_accuracy": float(test.accuracy),
        }

    def fit(self) -> Fit:
        """What has come of it, after the last step."""
        if self._average is not None:
            self._average.put_in()
        first, middle, last = map(float, self._tenths.means())
        return Fit(self.classifier, last, late_share(first, middle, last))

    def state_dict(self) -> dict[str, Any]:
        """All that it needs to go on, bit for bit: tensors, numbers, lists and dictionaries of them."""
        return {
            "step": self.step,
            "model": self.classifier.state_dict(),
            "buffers": unsaved_buffers(self.classifier),
            "optimizer": self._stepper.state_dict(),
            "average": None if self._average is None else self._average.values,
            "generators": [self._generator.get_state(), self._beside.get_state()],
            "seen": [list(pair) for pair in self._seen],
            "tenths": self._tenths.kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a training of the same recipe, policy and seed. Raises what PyTorch raises for another state."""
        device = self._recipe.device
        self.classifier.load_state_dict(state["model"])
        put_back_buffers(self.classifier, state["buffers"])
        self._stepper.load_state_dict(state["optimizer"])
        if state["average"] is not None:
            self._average = WeightAverage(self.classifier, cast(float, self._recipe.settings.ema))
            self._average.take(state["average"])
        self._generator.set_state(state["generators"][0])
        self._beside.set_state(state["generators"][1])
        self._seen = [(loss.to(device), accuracy.to(device)) for loss, accuracy in state["seen"]]
        self._tenths.kept = [[value.to(device) for value in kept] for kept in state["tenths"]]
        self.step = state["step"]


class Tenths:
    """The mean of a value over the first, the middle and the last tenth of a training's steps."""

    def __init__(self, total: int) -> None:
        self._length = max(total // 10, 1)
        self._begins = 0, (total - self._length) // 2, total - self._length
        self.kept: list[list[Tensor]] = [[], [], []]

    def see(self, step: int, value: Tensor) -> None:
        for begin, kept in zip(self._begins, self.kept, strict=True):
            if begin <= step < begin + self._length:
                kept.append(value)

    def means(self) -> tuple[Tensor, ...]:
        return tuple(torch.stack(kept).mean(0) for kept in self.kept)


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
    require_passes(classifier, to_float(train.images[:1]), batches.batch_size // settings.accumulation_steps)
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
