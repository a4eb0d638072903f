"""One optimiser step as a pure function of the gradients: what the one-step hypergradient differentiates."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from augrad.classifier import Weights
from augrad.errors import UserError

Update = Callable[[Weights], Weights]
"""gradients -> weights after the step."""


def clip_by_norm(gradients: Weights, limit: float | None) -> Weights:
    """Gradients scaled down to the total norm `limit` when they exceed it (None: never), as `clip_grad_norm_` does."""
    if limit is None:
        return gradients
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients.values()]))
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    return {name: gradient * factor for name, gradient in gradients.items()}


def next_weights(model: nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float | None = None) -> Update:
    """The pure twin of `clip_grad_norm_(clip_norm); optimizer.step()` at the optimiser's present state.

    Follows momentum, dampening, Nesterov, weight decay, bias correction and clipping of SGD, Adam and AdamW.
    Raises UserError for any other optimiser or for amsgrad.
    """
    if type(optimizer) not in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        raise UserError(
            f"hypergradient one_step follows SGD, Adam and AdamW, got {type(optimizer).__name__}; choose one of these"
        )
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = [(group, [(names[p], p) for p in group["params"]]) for group in optimizer.param_groups]
    step = _sgd if isinstance(optimizer, torch.optim.SGD) else _adam

    def update(gradients: Weights) -> Weights:
        clipped = clip_by_norm(gradients, clip_norm)
        return {
            name: step(parameter.detach(), clipped[name], group, optimizer.state.get(parameter, {}))
            for group, members in groups
            for name, parameter in members
        }

    return update


def _sgd(weight: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
    gradient = -gradient if group["maximize"] else gradient
    direction = gradient + group["weight_decay"] * weight
    if group["momentum"]:
        buffer = state.get("momentum_buffer")
        velocity = direction if buffer is None else group["momentum"] * buffer + (1 - group["dampening"]) * direction
        direction = direction + group["momentum"] * velocity if group["nesterov"] else velocity
    return weight - group["lr"] * direction


def _adam(weight: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
    if group["amsgrad"]:
        raise UserError("hypergradient one_step does not follow amsgrad; use Adam or AdamW without it")
    gradient = -gradient if group["maximize"] else gradient
    if group.get("decoupled_weight_decay"):
        weight = weight * (1 - group["lr"] * group["weight_decay"])
    else:
        gradient = gradient + group["weight_decay"] * weight
    beta1, beta2 = group["betas"]
    # The step counter lives on the CPU (except when capturable), where reading it waits for nothing.
    count = state["step"].item() + 1 if "step" in state else 1.0
    first = beta1 * state.get("exp_avg", torch.zeros_like(weight)) + (1 - beta1) * gradient
    second = beta2 * state.get("exp_avg_sq", torch.zeros_like(weight)) + (1 - beta2) * gradient**2
    correction1, correction2 = 1 - beta1**count, 1 - beta2**count
    # The square root's derivative at an exact zero (a weight without any gradient) would be infinite times zero.
    root = torch.where(second == 0, 0.0, torch.where(second == 0, 1.0, second).sqrt())
    return weight - group["lr"] / correction1 * first / (root / correction2**0.5 + group["eps"])
