"""Gumbel-softmax relaxation (Jang et al. 2017; Maddison et al. 2017), soft or straight-through."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from augrad.errors import UserError
from augrad.estimators.estimate import Estimate, Scalar, gradients_of, leave_one_out
from augrad.policy import Policy
from augrad.relaxation import normal_log_probability
from augrad.types import RelaxedSample


@dataclass(frozen=True)
class Gumbel:
    """The scalar is evaluated at a relaxed draw and differentiated through it.

    temperature falls geometrically from `temperature` to `final_temperature` over the search.
    hard: straight-through: one-hot forward, the soft draw's gradient backward.
    magnitude: "score" learns magnitudes by the score function of their Gaussian (with the leave-one-out baseline);
    "pathwise" differentiates through the operations, which is biased wherever the scalar jumps: s_i is a function of a
    gradient, and the gradient of a network with ReLU or max-pooling jumps where a unit switches.
    The selection is relaxed, hence biased, in both cases. Cost: one evaluation of the scalar with its derivative
    with respect to the images, and one evaluation of every candidate.
    """

    temperature: float = 0.5
    final_temperature: float = 0.5
    hard: bool = False
    magnitude: Literal["score", "pathwise"] = "score"

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and self.final_temperature > 0):
            raise UserError(f"expected temperatures above 0, got {self.temperature} and {self.final_temperature}")

    def temperature_at(self, progress: float) -> float:
        """The schedule: geometric between the two temperatures."""
        return self.temperature * (self.final_temperature / self.temperature) ** progress

    def __call__(
        self, scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None, progress: float
    ) -> Estimate:
        with torch.enable_grad():
            sample = policy.rsample(batch_size, self.temperature_at(progress), self.hard, generator)
            by_score = self.magnitude == "score"
            shown = _magnitudes_fixed(sample) if by_score else sample
            scores = scalar(shown).to(torch.float64)
            surrogate = scores.mean()
            if by_score:
                surrogate = surrogate + _magnitude_score(policy, sample, leave_one_out(scores.detach()), self.hard)
        return Estimate(gradients_of(surrogate, policy), scores.detach().mean())


def _magnitudes_fixed(sample: RelaxedSample) -> RelaxedSample:
    return RelaxedSample(
        sample.subpolicy,
        sample.op,
        sample.gate,
        sample.latent.detach(),
        sample.magnitude.detach(),
        sample.sign,
        sample.draw,
    )


def _magnitude_score(policy: Policy, sample: RelaxedSample, advantage: Tensor, hard: bool) -> Tensor:
    params = policy.params
    log_scale = torch.where(policy.scored_magnitude, params.magnitude_log_scales, 0.0)
    log_density = normal_log_probability(sample.latent.detach(), params.magnitude_locations, log_scale)
    acts = policy.scored_magnitude.to(log_density.dtype).expand_as(log_density)
    if hard:  # a candidate that was not drawn did nothing: its score is noise
        acts = acts * (sample.subpolicy[:, :, None, None] * sample.op * sample.gate).detach()
    return (advantage * (acts * log_density).sum((1, 2, 3))).mean()
