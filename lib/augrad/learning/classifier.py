"""A classifier as a pure function of its weights; the module itself stays as it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from augrad.data.seeding import global_draws_kept
from augrad.errors import UserError
from augrad.models.batch_norm import BatchNorm2d, Shares, batch_norm
from augrad.models.written_out import instance_norm, layer_norm

Weights = dict[str, Tensor]
"""Parameters by name, as `torch.func.functional_call` takes them."""


def require_derivatives() -> None:
    """Raises UserError inside `torch.inference_mode()`."""
    if torch.is_inference_mode_enabled():
        raise UserError("nothing can be differentiated inside torch.inference_mode(); call this outside")


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The model's parameters by name, without the frozen ones (`requires_grad` False)."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def weights_of(model: nn.Module) -> Weights:
    """The values of the trainable parameters, detached (the same memory)."""
    return {name: parameter.detach() for name, parameter in trainable(model).items()}


def gradients_of_weights(model: nn.Module) -> Weights:
    """The gradients that a backward pass left in the trainable parameters; nothing where it left none."""
    return {name: parameter.grad for name, parameter in trainable(model).items() if parameter.grad is not None}


def with_zeros(gradients: Weights, weights: Weights) -> Weights:
    """A gradient for each of the weights, in their order: zeros where `gradients` has none."""
    return {
        name: gradients[name] if name in gradients else torch.zeros_like(weight) for name, weight in weights.items()
    }


def gradients_of_loss(loss: Float[Tensor, ""], weights: Weights, again: bool = False) -> Weights:
    """The gradients of `loss` with respect to the weights that it depends on; again: they have derivatives, too."""
    found = torch.autograd.grad(loss, list(weights.values()), create_graph=again, allow_unused=True)
    return {name: gradient for name, gradient in zip(weights, found, strict=True) if gradient is not None}


def leaves_of(weights: Weights) -> Weights:
    """The same values, as tensors that a loss can be differentiated with respect to."""
    require_derivatives()
    return {name: weight.detach().requires_grad_() for name, weight in weights.items()}


def flatten(weights: Weights) -> Float[Tensor, " P"]:
    """All weights in one vector: an operation on it is one kernel on a GPU, not one for each weight."""
    parts = [weight.flatten() for weight in weights.values()]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def unflatten(vector: Float[Tensor, " P"], like: Weights) -> Weights:
    """The inverse of `flatten` for weights of the shapes of `like`."""
    parts = vector.split([weight.numel() for weight in like.values()])
    return {name: part.view_as(like[name]) for name, part in zip(like, parts, strict=True)}


_LAYERS: dict[Any, Callable[..., Tensor]] = {
    _BatchNorm.forward: batch_norm,
    _InstanceNorm.forward: instance_norm,
    nn.LayerNorm.forward: layer_norm,
}
"""PyTorch's own layers, by their forward pass, that need another derivative."""
_NO_STATISTICS = (_BatchNorm.forward, BatchNorm2d.forward)
"""Of layers that write to no buffer where track_running_stats is False."""


def couples(model: nn.Module) -> bool:
    """Whether BatchNorm of PyTorch or augrad couples the images of a batch in a pass inside `untouched`."""
    return any(
        module.training or module.running_mean is None
        for module in model.modules()
        if getattr(type(module), "forward", None) in _NO_STATISTICS
    )


@contextmanager
def untouched(model: nn.Module, shares: Shares | None = None) -> Iterator[None]:
    """A context in which a pass in training mode leaves the model, and PyTorch's global generators, as they were.

    BatchNorm normalises with the batch's statistics and does not update its running ones. Other layers write to copies
    of their buffers, and what a `forward` changes in its module's attributes is put back at the end. So the training
    goes on with the dropout masks that it would have had, and two such passes have the same masks. PyTorch's own
    normalisations get a derivative that can be differentiated again (see `augrad.models.batch_norm` and `written_out`).
    shares: the images' shares in the statistics of BatchNorm, see `augrad.models.batch_norm.Shares`; None: even ones.
    """
    modules = list(model.modules())
    kept = [vars(module).copy() for module in modules]
    with global_draws_kept(device_of(model)):
        try:
            for module in modules:
                attributes = vars(module)  # not by setattr, which takes ten times as long
                if attributes.get("track_running_stats") and isinstance(module, _BatchNorm):
                    attributes["track_running_stats"] = False
                forward = getattr(type(module), "forward", None)
                if shares is not None and isinstance(module, _BatchNorm) and forward in _NO_STATISTICS:
                    attributes["forward"] = partial(batch_norm, module, native=module.forward, shares=shares)
                elif forward in _LAYERS:
                    attributes["forward"] = partial(_LAYERS[forward], module, native=module.forward)
                if module._buffers and forward not in _NO_STATISTICS:
                    attributes["_buffers"] = {
                        name: None if buffer is None else buffer.clone() for name, buffer in module._buffers.items()
                    }
            yield
        finally:
            for module, before in zip(modules, kept, strict=True):
                attributes = vars(module)
                attributes.update(before)
                if len(attributes) > len(before):
                    for name in attributes.keys() - before.keys():
                        del attributes[name]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A context in which the model is in evaluation mode; afterwards each of its layers has its own mode again."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter; the CPU for a model without parameters."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def logits_with(
    model: nn.Module, weights: Weights, images: Float[Tensor, "B C H W"], shares: Shares | None = None
) -> Float[Tensor, "B K"]:
    """The model's logits with `weights` in place of its own, in its present mode; the model itself stays as it is.

    shares: the images' shares in the statistics of BatchNorm (see `untouched`).
    """
    with untouched(model, shares):
        return functional_call(model, weights, (images,))


def losses_of(
    logits: Float[Tensor, "B K"], labels: Int[Tensor, " B"], label_smoothing: float = 0.0
) -> Float[Tensor, " B"]:
    """Cross-entropy of each image, in float32 or wider whatever the logits' type.

    label_smoothing: the share of each label that is spread evenly over all classes (Szegedy et al., Rethinking the
    Inception Architecture for Computer Vision, 2016, section 7).
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return cross_entropy(wide, labels, reduction="none", label_smoothing=label_smoothing)


def accuracy_of(logits: Float[Tensor, "B K"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """Share of images whose largest logit is their label's."""
    return (logits.argmax(-1) == labels).to(torch.float32).mean()
