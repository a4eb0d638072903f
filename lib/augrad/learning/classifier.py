"""A classifier as a pure function of its weights; the module itself stays as it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from augrad.models.batch_norm import batch_norm
from augrad.models.dropout import SeededDropout

Weights = dict[str, Tensor]
"""Parameters by name, as `torch.func.functional_call` takes them."""


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The model's parameters by name, without the frozen ones (`requires_grad` False)."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def weights_of(model: nn.Module) -> Weights:
    """The values of the trainable parameters, detached (the same memory)."""
    return {name: parameter.detach() for name, parameter in trainable(model).items()}


def gradients_of_weights(model: nn.Module) -> Weights:
    """The gradients that are in the trainable parameters, zeros where there is none."""
    kept = {name: parameter.grad for name, parameter in trainable(model).items() if parameter.grad is not None}
    return with_zeros(kept, weights_of(model))


def with_zeros(gradients: Weights, weights: Weights) -> Weights:
    """A gradient for each of the weights, in their order: zeros where `gradients` has none."""
    return {
        name: gradients[name] if name in gradients else torch.zeros_like(weight) for name, weight in weights.items()
    }


def flatten(weights: Weights) -> Float[Tensor, " P"]:
    """All weights in one vector: an operation on it is one kernel on a GPU, not one for each weight."""
    parts = [weight.flatten() for weight in weights.values()]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def unflatten(vector: Float[Tensor, " P"], like: Weights) -> Weights:
    """The inverse of `flatten` for weights of the shapes of `like`."""
    parts = vector.split([weight.numel() for weight in like.values()])
    return {name: part.view_as(like[name]) for name, part in zip(like, parts, strict=True)}


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """A context in which a pass in training mode leaves the model as it was.

    BatchNorm normalises with the batch's statistics and does not update its running ones; an in-place update of a
    buffer would also break forward-mode differentiation. PyTorch's own BatchNorm gets a derivative that can be
    differentiated again (see `augrad.models.batch_norm`). SeededDropout's count of masks is put back at the end: the
    training goes on with the masks that it would have had, and two such passes have the same masks.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    tracking = [module for module in norms if module.track_running_stats]
    native = [module for module in norms if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)]
    counts = [(module, module.count) for module in model.modules() if isinstance(module, SeededDropout)]
    for module in tracking:
        module.track_running_stats = False
    for module in native:
        module.forward = partial(batch_norm, module, native=module.forward)
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
        for module, count in counts:
            module.count = count
        for module in native:
            del module.forward


def logits_with(model: nn.Module, weights: Weights, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
    """The model's logits with `weights` in place of its own, in its present mode; the model itself stays as it is."""
    with untouched(model):
        return functional_call(model, weights, (images,))


def losses_of(logits: Float[Tensor, "B K"], labels: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Cross-entropy of each image, in float32 or wider whatever the logits' type."""
    return cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels, reduction="none")


def accuracy_of(logits: Float[Tensor, "B K"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """Share of images whose largest logit is their label's."""
    return (logits.argmax(-1) == labels).to(torch.float32).mean()
