"""Optimiser steps as pure functions of weights, state and gradients, which `OneStep` and `Unrolled` differentiate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from augrad.errors import UserError
from augrad.learning.classifier import Weights, flatten, trainable, unflatten

OptimizerState = dict[str, dict[str, Tensor]]
"""The optimiser's tensors for each parameter, such as momentum, by the parameter's name."""

_Step = Callable[[Tensor, Tensor, dict[str, Any], dict[str, Tensor], float], tuple[Tensor, dict[str, Tensor]]]


def clip_factor(gradients: Weights, limit: float) -> Float[Tensor, ""]:
    """The factor, at most 1, by which `clip_grad_norm_` multiplies gradients so that their norm is at most `limit`."""
    return (limit / (torch.linalg.vector_norm(flatten(gradients)) + 1e-6)).clamp(max=1.0)


@dataclass(frozen=True)
class PureOptimizer:
    """`clip_grad_norm_(clip_norm); optimizer.step()` as a pure function, with the optimiser's present settings.

    kind: the optimiser's class. groups: its parameter groups, each with its settings and the parameters' names. state:
    its present state, not copied. counts: how many steps each parameter has had, which Adam depends on.
    """

    kind: type[torch.optim.Optimizer]
    groups: tuple[tuple[dict[str, Any], tuple[str, ...]], ...]
    state: OptimizerState
    counts: dict[str, float]
    clip_norm: float | None

    def step(
        self, weights: Weights, state: OptimizerState, gradients: Weights, ahead: int = 0
    ) -> tuple[Weights, OptimizerState]:
        """Weights and state after the step that is `ahead` steps after the next one; changes nothing in place.

        A weight without a gradient stays as it is, with its state: no decay, no momentum. Follows momentum, dampening,
        Nesterov, weight decay, bias correction and clipping of SGD, Adam and AdamW. Differentiable in all three.
        Raises UserError for any other optimiser and for amsgrad.
        """
        one = _STEPS.get(self.kind)
        if one is None:
            raise UserError(
                f"this hypergradient method follows SGD, Adam and AdamW, got {self.kind.__name__}; choose one of "
                "these, or hypergradient=neumann, cg or t1t2, which do not look at the optimiser"
            )
        factor = None if self.clip_norm is None else clip_factor(gradients, self.clip_norm)
        stepped: Weights = {}
        remembered: OptimizerState = {}
        for group, names in self.groups:
            for together in self._alike([name for name in names if name in gradients], weights, state):
                own = {name: weights[name] for name in together}
                keys = state[together[0]]
                # As one long vector: a few operations, not a few for each of a hundred weights.
                gradient = flatten({name: gradients[name] for name in together})
                weight, kept = one(
                    flatten(own),
                    gradient if factor is None else gradient * factor,
                    group,
                    {key: flatten({name: state[name][key] for name in together}) for key in keys},
                    self.counts[together[0]] + ahead + 1,
                )
                stepped.update(unflatten(weight, own))
                parts = {key: unflatten(vector, own) for key, vector in kept.items()}
                remembered.update({name: {key: part[name] for key, part in parts.items()} for name in together})
        return (  # in the order of `weights`, whatever the groups'
            {name: stepped.get(name, weight) for name, weight in weights.items()},
            {name: remembered.get(name, own) for name, own in state.items()},
        )

    def _alike(self, names: list[str], weights: Weights, state: OptimizerState) -> list[list[str]]:
        """The names in groups of the same type, device, count of steps and kind of state: one step serves a group.

        On a CPU each is alone: there copying them into one vector takes longer than calling an operation for each.
        """
        found: dict[Any, list[str]] = {}
        for name in names:
            weight = weights[name]
            alone = name if weight.device.type == "cpu" else ""
            key = (alone, weight.dtype, weight.device, self.counts[name], tuple(state[name]))
            found.setdefault(key, []).append(name)
        return list(found.values())

    @property
    def decay(self) -> dict[str, float]:
        """Each parameter's weight decay where it acts as a quadratic penalty, half of it times |w|^2 (else 0)."""
        return dict.fromkeys(self.state, 0.0) | {
            name: 0.0 if group.get("decoupled_weight_decay") else float(group.get("weight_decay", 0.0))
            for group, names in self.groups
            for name in names
        }


def pure_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float | None = None) -> PureOptimizer:
    """The optimiser's present settings and state, by the names of the model's trainable parameters.

    A frozen parameter has no gradient, and an optimiser leaves it as it is: it is in none of the groups.
    Raises UserError for a trainable parameter that the optimiser does not have.
    """
    names = {parameter: name for name, parameter in trainable(model).items()}
    groups = tuple(
        (
            {key: value for key, value in group.items() if key != "params"},
            tuple(names[parameter] for parameter in group["params"] if parameter in names),
        )
        for group in optimizer.param_groups
    )
    stepped = {name for _, group in groups for name in group}
    if left := [name for name in names.values() if name not in stepped]:
        raise UserError(
            f"optimizer: expected it to have every parameter that is trained, got one without {left[0]}; add that, or "
            "freeze it: requires_grad_(False)"
        )
    state: OptimizerState = {}
    counts: dict[str, float] = {}
    for parameter, name in names.items():
        own = optimizer.state.get(parameter, {})
        # The step counter lives on the CPU (except when capturable or fused), where reading it waits for nothing.
        counts[name] = float(own["step"]) if "step" in own else 0.0
        state[name] = {key: value for key, value in own.items() if isinstance(value, Tensor) and key != "step"}
    return PureOptimizer(type(optimizer), groups, state, counts, clip_norm)


def _sgd(
    weight: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Tensor], count: float
) -> tuple[Tensor, dict[str, Tensor]]:
    gradient = -gradient if group["maximize"] else gradient
    direction = gradient + group["weight_decay"] * weight
    if group["momentum"]:
        buffer = state.get("momentum_buffer")
        velocity = direction if buffer is None else group["momentum"] * buffer + (1 - group["dampening"]) * direction
        direction = direction + group["momentum"] * velocity if group["nesterov"] else velocity
        state = {"momentum_buffer": velocity}
    return weight - group["lr"] * direction, state


def _adam(
    weight: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Tensor], count: float
) -> tuple[Tensor, dict[str, Tensor]]:
    if group["amsgrad"]:
        raise UserError("this hypergradient method does not follow amsgrad; use Adam or AdamW without it")
    gradient = -gradient if group["maximize"] else gradient
    if group.get("decoupled_weight_decay"):
        weight = weight * (1 - group["lr"] * group["weight_decay"])
    else:
        gradient = gradient + group["weight_decay"] * weight
    beta1, beta2 = group["betas"]
    first = beta1 * state.get("exp_avg", torch.zeros_like(weight)) + (1 - beta1) * gradient
    second = beta2 * state.get("exp_avg_sq", torch.zeros_like(weight)) + (1 - beta2) * gradient**2
    correction1, correction2 = 1 - beta1**count, 1 - beta2**count
    # The square root's derivative at an exact zero (a weight without any gradient) would be infinite times zero.
    root = torch.where(second == 0, 0.0, torch.where(second == 0, 1.0, second).sqrt())
    stepped = weight - group["lr"] / correction1 * first / (root / correction2**0.5 + group["eps"])
    return stepped, {"exp_avg": first, "exp_avg_sq": second}


_STEPS: dict[type[torch.optim.Optimizer], _Step] = {
    torch.optim.SGD: _sgd,
    torch.optim.Adam: _adam,
    torch.optim.AdamW: _adam,
}
