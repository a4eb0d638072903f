"""One training step of a classifier and its evaluation on a split, for search and training alike."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from augrad.cuda_graphs import NO_GRAPHS, Graphs
from augrad.data.pixels import channel_statistics, to_float
from augrad.data.seeding import global_draws
from augrad.data.standard import StandardAugmentation
from augrad.data.types import Split, Splits
from augrad.devices import in_single_precision
from augrad.errors import UserError
from augrad.learning.classifier import Weights, accuracy_of, evaluating, losses_of, require_derivatives, trainable
from augrad.learning.network import fresh_network, own_copy, ready_to_train
from augrad.models.init import seeded
from augrad.models.normalized import Normalized
from augrad.ranks import parts_of

ModelBuilder = Callable[..., nn.Module]
"""(in_channels=, class_count=) -> network."""
OptimizerBuilder = Callable[..., torch.optim.Optimizer]
"""(parameters) -> optimiser."""


def build_classifier(model: nn.Module | ModelBuilder, splits: Splits, seed: int, device: torch.device) -> nn.Module:
    """The classifier, on `device`: it takes images in [0, 1].

    A module is copied and used as it is. What a builder makes stands behind the standardisation of the training images,
    and the seed decides its weights (see `build_normalized`), as it does those of lazy layers. A network in evaluation
    mode is put in training mode; layers that are alone in evaluation mode stay there.
    Raises UserError for a network that has nothing to train, does not give logits of the classes for such images, or
    cannot be computed with as a function of its weights.
    """
    if isinstance(model, nn.Module):
        return _to_train(own_copy(model), splits, splits.class_count, seed).to(device)
    return build_normalized(model, splits, seed, device)


def build_normalized(
    model: ModelBuilder, splits: Splits, seed: int, device: torch.device, outputs: int | None = None
) -> Normalized:
    """A fresh network behind the standardisation of the training images, on `device`; the seed decides its weights.

    outputs: how many it is to have; None: one for each class. Raises UserError as `build_classifier` does.
    """
    mean, deviation = channel_statistics(splits.train.images)
    channels, _, _ = splits.image_shape
    outputs = splits.class_count if outputs is None else outputs
    with in_single_precision():
        network = fresh_network(lambda: seeded(lambda: model(in_channels=channels, class_count=outputs), seed))
    return Normalized(_to_train(network, splits, outputs, seed), mean, deviation).to(device)


def _to_train(network: nn.Module, splits: Splits, outputs: int, seed: int) -> nn.Module:
    require_derivatives()
    return ready_to_train(network, to_float(splits.train.images[:2]), outputs, seed)


def fitted(standard: StandardAugmentation, train: Split) -> StandardAugmentation:
    """The augmentation for these training images: its cutout takes their mean colour, unless it has a colour already.

    Raises UserError for a padding or a cutout that does not go with the images' size.
    """
    sides = train.images.shape[2:]
    if not standard.crop_padding < min(sides):
        raise UserError(
            f"crop_padding: expected fewer pixels than the images' shorter side, {min(sides)}, got "
            f"{standard.crop_padding}; nothing of an image might be left"
        )
    if standard.cutout > min(sides):
        raise UserError(
            f"cutout: expected at most the images' shorter side, {min(sides)} pixels, got {standard.cutout}"
        )
    if not standard.cutout or standard.fill is not None:
        return standard
    return replace(standard, fill=channel_statistics(train.images)[0].to(train.images.device))


def bfloat16_autocast(enabled: bool, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 when enabled."""
    return torch.autocast(device.type, torch.bfloat16) if enabled else nullcontext()


class StepResult(NamedTuple):
    """Mean loss and accuracy of a batch, before the step, and each image's loss. All stay on the device."""

    loss: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]
    losses: Float[Tensor, " B"]


class TrainingPass(NamedTuple):
    """Mean loss and accuracy of a batch, each image's loss, and the gradients of the mean loss by parameter name.

    A parameter that the loss does not depend on has no gradient here. All stay on the device. Where the pass runs as a
    CUDA graph, the next pass of the same model overwrites `losses` and `gradients`.
    """

    loss: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]
    losses: Float[Tensor, " B"]
    gradients: Weights


def training_pass(
    model: nn.Module,
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, " B"],
    autocast: bool,
    graphs: Graphs = NO_GRAPHS,
    label_smoothing: float = 0.0,
    accumulation_steps: int = 1,
) -> TrainingPass:
    """One forward and one backward pass in the model's present mode.

    The gradients are returned; the parameters' own `.grad` stays as it is. BatchNorm's running statistics move.
    label_smoothing: of the loss that the gradients are of (see `losses_of`); the losses returned are without it.
    accumulation_steps: in how many parts of the batch (see `accumulated`).
    Raises UserError inside `torch.inference_mode()`, and where the loss depends on no parameter that is trained.
    """
    require_derivatives()
    parameters = trainable(model)

    def forward_and_backward(images: Tensor, labels: Tensor) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            with bfloat16_autocast(autocast, images.device):
                logits = model(images)
            losses = losses_of(logits, labels)
            loss = losses.mean()
            minimised = losses_of(logits, labels, label_smoothing).mean() if label_smoothing else loss
        if not loss.requires_grad:
            raise UserError("model: its logits depend on no parameter that is trained (requires_grad True)")
        found = torch.autograd.grad(minimised, list(parameters.values()), allow_unused=True)
        accuracy = accuracy_of(logits.detach(), labels)
        return losses.detach(), loss.detach(), accuracy, *found

    def pass_over(part: slice) -> tuple[Tensor | None, ...]:
        return graphs("training pass", forward_and_backward, images[part], labels[part])

    losses, loss, accuracy, *found = accumulated(pass_over, len(labels), accumulation_steps)
    gradients = {name: gradient for name, gradient in zip(parameters, found, strict=True) if gradient is not None}
    return TrainingPass(loss.clone(), accuracy.clone(), losses, gradients)


def accumulated(one: Callable[[slice], Sequence[Any]], size: int, accumulation_steps: int) -> Sequence[Any]:
    """What `one` gives for a batch of `size` images, from what it gives for parts of it, one after another.

    Its first tensor has a row for each image; the others are means over the images. None, for a part that does not
    depend on it, is 0, unless it is None for all of them.
    """
    parts = parts_of(size, accumulation_steps)
    if len(parts) == 1:
        return one(parts[0])
    rows: list[Tensor] = []
    means: list[Tensor | None] = []
    for part in parts:
        own, *found = one(part)
        rows.append(own.clone())  # the next part may be written where this one is
        weighted = [None if value is None else value * ((part.stop - part.start) / size) for value in found]
        means = [
            value if before is None else before if value is None else before + value
            for before, value in zip(means or [None] * len(weighted), weighted, strict=True)
        ]
    return torch.cat(rows), *means


def set_gradients(model: nn.Module, gradients: Weights) -> None:
    """Make each gradient the `.grad` of the parameter of that name, without a copy; the other parameters get None."""
    for name, parameter in model.named_parameters():
        parameter.grad = gradients.get(name)


def backward_on(
    model: nn.Module,
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, " B"],
    autocast: bool,
    label_smoothing: float = 0.0,
    graphs: Graphs = NO_GRAPHS,
    accumulation_steps: int = 1,
) -> StepResult:
    """A `training_pass` that leaves its gradients in the parameters, where `optimizer.step()` finds them."""
    found = training_pass(model, images, labels, autocast, graphs, label_smoothing, accumulation_steps)
    set_gradients(model, found.gradients)
    return StepResult(found.loss, found.accuracy, found.losses)


def evaluate(model: nn.Module, split: Split, autocast: bool = False, batch_size: int | None = None) -> StepResult:
    """Mean loss and accuracy over a split, in evaluation mode; see `logits_over`."""
    return measured(logits_over(model, split, autocast, batch_size), split.labels)


def measured(logits: Float[Tensor, "N K"], labels: Int[Tensor, " N"]) -> StepResult:
    """Mean loss and accuracy of these logits, and each image's loss."""
    losses, hits = losses_of(logits, labels), (logits.argmax(-1) == labels).float()
    return StepResult(losses.mean(), hits.mean(), losses)


@torch.no_grad()
def logits_over(
    model: nn.Module, split: Split, autocast: bool = False, batch_size: int | None = None
) -> Float[Tensor, "N K"]:
    """The logits of every image of a split, in evaluation mode; every layer's own mode is put back.

    What a network draws at random even so, it draws alike in every call; PyTorch's global generators stay as they are.
    batch_size: of the passes; None: 1,024, and of images larger than 64 x 64 as many as have the same number of pixels.
    """
    if batch_size is None:
        height, width = split.images.shape[2:]
        batch_size = max(1, min(1024, 1024 * 64**2 // (height * width)))
    found = []
    with evaluating(model), global_draws(split.images.device, 0, "evaluation"):
        for images in split.images.split(batch_size):
            with bfloat16_autocast(autocast, images.device):
                found.append(model(to_float(images)))
    return torch.cat(found)


def build_optimizer(
    builder: OptimizerBuilder, parameters: Iterable[nn.Parameter] | list[dict[str, Any]], place: str
) -> torch.optim.Optimizer:
    """The optimiser; values that it refuses become a UserError that names `place` in the configuration.

    A setting that is None is left out: what one optimiser has and another one, named in its place, has not.
    """
    if isinstance(builder, partial):
        given = {name: value for name, value in builder.keywords.items() if value is not None}
        builder = partial(builder.func, *builder.args, **given)
    try:
        optimizer = builder(parameters)
    except (ValueError, TypeError) as error:
        raise UserError(f"{place}: {error}") from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UserError(
            f"{place}: expected what makes a torch.optim.Optimizer of the parameters, as in "
            f"functools.partial(torch.optim.SGD, lr=0.1), got {type(optimizer).__name__} from it"
        )
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise UserError(
            f"{place}: {type(optimizer).__name__} computes its gradients itself, several times a step, and training "
            "computes them once; take another one, as torch.optim.SGD or torch.optim.AdamW"
        )
    if isinstance(optimizer, torch.optim.SparseAdam):
        raise UserError(
            f"{place}: SparseAdam takes sparse gradients alone, which no layer here has; take torch.optim.Adam"
        )
    return optimizer


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate to `factor` times what it was built with."""
    for group in optimizer.param_groups:
        group.setdefault("peak_lr", group["lr"])
        group["lr"] = group["peak_lr"] * factor
