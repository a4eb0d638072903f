"""A classifier's losses as a pure function of its weights, which leaves no trace in the module."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

Weights = dict[str, Tensor]
"""Parameters by name, as `torch.func.functional_call` takes them."""


def weights_of(model: nn.Module) -> Weights:
    """The model's parameters, detached (the same memory)."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


@contextmanager
def statistics_untouched(model: nn.Module) -> Iterator[None]:
    """Inside, BatchNorm in training mode normalises with the batch's statistics and leaves its running ones alone.

    An in-place update of a buffer would also break forward-mode differentiation.
    """
    tracking = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True


def per_image_losses(
    model: nn.Module, weights: Weights, images: Float[Tensor, "B C H W"], labels: Int[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """Cross-entropy of each image, in float32 or wider, with `weights` in the place of the model's own.

    The model stays in its mode; call it inside `statistics_untouched` when the pass is an extra one.
    """
    logits = functional_call(model, weights, (images,))
    return cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels, reduction="none")
