"""An optimiser whose steps all have the same length, for gradients that have a direction but no useful size."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from augrad.checks import require_number
from augrad.errors import UserError


class NormalizedMomentum(torch.optim.Optimizer):
    """m <- momentum * m + gradient, parameters <- parameters - lr * m / |m|, with the norm over all parameters.

    The step is lr long whatever the loss is measured in, and the parameters share it as the gradient says: an optimiser
    that scales each of them by its own history, such as Adam, would give to noise what it gives to signal. A gradient
    of zero makes no step.

    lr: above 0, in the parameters' units. momentum: from 0 to below 1. Raises UserError for values outside.
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.6, momentum: float = 0.0) -> None:
        require_number(lr, "lr", above=0.0)
        require_number(momentum, "momentum")
        if not 0 <= momentum < 1:
            raise UserError(f"momentum: expected a number from 0 to below 1, got {momentum}")
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step. closure: computes the gradients anew, and its loss is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moves: list[tuple[Tensor, Tensor, float]] = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    momentum = self.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
                    momentum.mul_(group["momentum"]).add_(parameter.grad)
                    moves.append((parameter, momentum, group["lr"]))
        if moves:
            norm = torch.nn.utils.get_total_norm([momentum for _, momentum, _ in moves])
            scale = torch.where(norm > 0, 1 / torch.where(norm > 0, norm, 1.0), 0.0)
            for parameter, momentum, rate in moves:
                parameter.sub_(rate * scale.to(parameter.device) * momentum)
        return loss
