"""What keeps a policy from collapsing: scores are normalised, and steps shrink when the scores carry little signal."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Normalization:
    """Divides scores by their standard deviation over the batch (for `augrad.estimators.estimate.MappedScalar`).

    `spread` is the standard deviation at the first evaluation. All later evaluations are divided by it, too, so that an
    estimator that evaluates the scalar more than once sees one function. As the divisor depends on the draws, an
    unbiased estimate gets a small bias, of the order of 1 / batch size.
    """

    def __init__(self) -> None:
        self.spread = torch.zeros(())
        self._evaluated = False

    def __call__(self, scores: Float[Tensor, " B"], count: int) -> Float[Tensor, " B"]:
        if not self._evaluated:
            self.spread, self._evaluated = scores.detach().std(correction=0), True
        spread = self.spread
        return torch.where(spread > 0, scores / torch.where(spread > 0, spread, 1.0), 0.0)  # equal scores say nothing


_DECAY = 0.9
_SETTLED = 1 - _DECAY**10  # the weight of ten measurements: enough for the average to count as a peak


@dataclass(frozen=True)
class Signal:
    """The moving average of the scores' standard deviation (decay 0.9), and the largest value that it has had.

    The largest value is that of the average, because otherwise a single unusual batch would decide the pace of the
    whole search.
    """

    average: Float[Tensor, ""]
    weight: Float[Tensor, ""]
    peak: Float[Tensor, ""]

    @torch.no_grad()
    def after(self, spread: Float[Tensor, ""]) -> "Signal":
        """The signal after one more measurement; the peak is recorded from the tenth measurement on."""
        average = _DECAY * self.average + (1 - _DECAY) * spread.to(self.average)
        weight = _DECAY * self.weight + (1 - _DECAY)
        peak = torch.where(weight > _SETTLED - 1e-5, torch.maximum(self.peak, average / weight), self.peak)
        return Signal(average, weight, peak)

    def share(self, spread: Float[Tensor, ""], floor: float) -> Float[Tensor, ""]:
        """The factor of the policy's step: min(1, spread / (floor * peak))^2, and 1 before there is a peak.

        It is squared because noise of constant size is assumed: the ratio of signal to noise in a step is then
        proportional to the variance of the scores.
        """
        enough = floor * self.peak
        tiny = torch.finfo(enough.dtype).tiny
        return torch.where(spread.to(enough) < enough, (spread.to(enough) / enough.clamp_min(tiny)).square(), 1.0)


def no_signal(device: torch.device) -> Signal:
    """The signal before the first measurement."""
    return Signal(*(torch.zeros((), device=device) for _ in range(3)))


@torch.no_grad()
def damped_step(
    optimizer: torch.optim.Optimizer, share: Tensor, moves: Mapping[Tensor, Bool[Tensor, "..."]] | None = None
) -> None:
    """A step of the optimiser, of which the parameters take the share `share`, a tensor from 0 to 1.

    moves: for a parameter, which of its entries may move. The others keep their values, infinite ones included; the
    optimiser sees zeros with a gradient of zero in their place.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    before = [parameter.clone() for parameter in parameters]
    moves = moves or {}
    for parameter in parameters:
        if parameter in moves:
            for tensor in (parameter, parameter.grad):
                if tensor is not None:
                    tensor.masked_fill_(~moves[parameter], 0.0)
    optimizer.step()
    for parameter, old in zip(parameters, before, strict=True):
        stepped = torch.lerp(old, parameter, share.to(parameter))
        parameter.copy_(torch.where(moves[parameter], stepped, old) if parameter in moves else stepped)
