"""What a user gives as a classifier, or what a builder makes: held against what is expected, before it is trained."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from weakref import WeakValueDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy

from augrad.data.seeding import global_draws
from augrad.errors import UserError
from augrad.learning.classifier import device_of, evaluating, trainable, untouched
from augrad.models.dropout import random_layers
from augrad.models.init import seeded

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, torch.jit.ScriptModule)
"""Modules that `torch.func.functional_call` does not take."""


def own_copy(model: nn.Module) -> nn.Module:
    """A copy of a user's network. Raises UserError for one that cannot be copied, or computed with as it is."""
    _require_functional(model)
    # PyTorch's own copying knows parameters without a shape, but no such buffers.
    lazy = (buffer for buffer in model.buffers() if is_lazy(buffer))
    memo = {
        id(buffer): UninitializedBuffer(device=buffer.device, dtype=buffer.dtype)  # type: ignore[call-arg]
        for buffer in lazy
    }
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise UserError(
            f"model: it is copied, which this network does not allow: {_reason(error)}; give what builds it "
            "when called as model(in_channels=..., class_count=...), or, in place of the old "
            "torch.nn.utils.weight_norm, take torch.nn.utils.parametrizations.weight_norm"
        ) from error


def fresh_network(build: Callable[[], nn.Module]) -> nn.Module:
    """A copy of what `build` makes: a user's function may return the same network each time, and a training that
    began where another one ended would be compared with it.

    A network that cannot be copied is returned itself. Raises UserError the second time that one of its parameters
    would be.
    """
    network = build()
    if not isinstance(network, nn.Module):
        raise UserError(
            f"model: expected what it builds to be a torch.nn.Module, got {type(network).__name__}; return the network"
        )
    try:
        return own_copy(network)
    except UserError:
        if any(_GIVEN_OUT.get(id(parameter)) is parameter for parameter in network.parameters()):
            raise UserError(
                "model: expected a new network from each call of what builds it, got one that has been trained "
                "already, or shares weights with it; make it within that function"
            ) from None
        _GIVEN_OUT.update((id(parameter), parameter) for parameter in network.parameters())
        return network


_GIVEN_OUT: WeakValueDictionary[int, nn.Parameter] = WeakValueDictionary()
"""By `id`, the parameters of networks that could not be copied: they may have been trained since."""


def ready_to_train(network: nn.Module, images: Float[Tensor, "B C H W"], outputs: int, seed: int) -> nn.Module:
    """`network` in training mode, its lazy layers with shapes by `images` and weights by `seed`; nothing else changes.

    Raises UserError unless it has something to train and gives at least `outputs` logits for each of `images`, in
    evaluation mode and in training mode.
    """
    _require_functional(network)
    images = images.to(device_of(network))
    if any(is_lazy(tensor) for tensor in (*network.parameters(), *network.buffers())):
        seeded(lambda: _passed(network, images), seed)
    if not trainable(network):
        raise UserError(
            "model: expected parameters to train, got a network that has none, or has them all frozen "
            "(requires_grad False); leave at least its last layer free"
        )
    if not network.training:  # as a whole; layers that are alone in evaluation mode stay there
        network.train()
    for training in (False, True):
        with untouched(network):
            logits = _passed(network, images, training)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < outputs:
            got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            when = " in training mode" if training else ""
            raise UserError(
                f"model: expected logits [B, {outputs}], one for each class, got {got}{when}; give the network as "
                "many outputs as there are classes, and let it return the logits alone (aux_logits=False)"
            )
    return network


def require_passes(network: nn.Module, images: Float[Tensor, "B C H W"], smallest: int) -> None:
    """Raises UserError for a network that cannot be trained with passes of one image, where the smallest one is that.

    smallest: how many images the smallest batch, or part of one, has. A layer of BatchNorm1d cannot, for example: one
    value has no variance.
    """
    if smallest > 1:
        return
    try:
        with untouched(network):
            _passed(network, images[:1].to(device_of(network)), training=True)
    except UserError as error:
        raise UserError(
            f"{error}; it is trained by one image at a time: take larger batches (batch_size), or fewer parts of them "
            "(accumulation_steps)"
        ) from error


def drawn_by(network: nn.Module, images: Float[Tensor, "B C H W"]) -> str | None:
    """What draws random numbers in training mode, so that two passes differ; None: nothing that is seen.

    The name of a layer, if it is one of PyTorch's or augrad's; otherwise passes of the images with other states of
    PyTorch's global generators are compared, where the network can be called with them and returns a tensor. It stays
    as it is, and so do the generators.
    """
    if known := random_layers(network):
        return known[0]
    device = device_of(network)
    many = images[torch.arange(32) % len(images)].to(device)  # a rare draw shows, too

    def drawn(seed: int) -> object:
        with torch.no_grad(), global_draws(device, seed, "does it draw"), untouched(network):
            return network(many)

    try:
        one, other = drawn(0), drawn(1)
    except (RuntimeError, ValueError, TypeError):
        return None
    if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
        return None
    return None if torch.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True) else "its forward pass"


@torch.no_grad()
def _passed(network: nn.Module, images: Tensor, training: bool = False) -> object:
    """What a pass returns. Raises UserError for a network that does not take such images."""
    try:
        with nullcontext() if training else evaluating(network):
            return network(images)
    except Exception as error:
        raise UserError(
            f"model: cannot take a batch of this data's images, {list(images.shape)} in [0, 1]"
            f"{', in training mode' if training else ''}: {_reason(error)}"
        ) from error


def _require_functional(network: nn.Module) -> None:
    """Raises UserError for what a pass with other weights, and gradients as functions of them, would leave out."""
    for name, module in network.named_modules():
        if isinstance(module, _WRAPPERS):
            raise UserError(
                f"model: a search computes with other weights than the network's own, which {_named(name, module)} "
                "does not allow; give the network that it was made of (of DataParallel its .module)"
            )
        if module._backward_hooks or module._backward_pre_hooks:
            _refuse_hook(f"the backward hook of {_named(name, module)}")
    for name, parameter in network.named_parameters():
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            _refuse_hook(f"the gradient hook of {name}")


def _refuse_hook(what: str) -> None:
    raise UserError(
        f"model: gradients are computed as functions of the weights, where hooks do not act, got {what}; remove it. "
        "What it does to a gradient, a parametrization does to the weight (torch.nn.utils.parametrize), and "
        "requires_grad_(False) freezes a whole one"
    )


def _named(name: str, module: nn.Module) -> str:
    return f"{name} ({type(module).__name__})" if name else f"a {type(module).__name__}"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def unsaved_buffers(network: nn.Module) -> dict[str, Tensor]:
    """The buffers that `state_dict` leaves out (`persistent=False`), by name: a network may change these, too."""
    kept = network.state_dict().keys()
    return {name: buffer for name, buffer in network.named_buffers() if name not in kept}


@torch.no_grad()
def put_back_buffers(network: nn.Module, saved: dict[str, Tensor]) -> None:
    """Gives them the values of `saved`, by the same names."""
    for name, buffer in unsaved_buffers(network).items():
        buffer.copy_(saved[name])
