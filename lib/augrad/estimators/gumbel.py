"""Gumbel-softmax relaxation (Jang et al. 2017; Maddison et al. 2017), soft or straight-through."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.checks import checked
from augrad.errors import UserError
from augrad.estimators.branch import chosen
from augrad.estimators.estimate import (
    Estimate,
    Scalar,
    geometric,
    gradients_of,
    hard_draw,
    leave_one_out,
    require_pathwise,
)
from augrad.policy import Policy
from augrad.policy.distributions import (
    BranchNoise,
    conditional_gumbel,
    conditional_logistic,
    draw_branch_noise,
    normal_log_probability,
)
from augrad.types import PolicySample, RelaxedSample

Relaxation = Literal["straight_through", "straight_through_pixels", "soft"]


@checked
@dataclass(frozen=True)
class Gumbel:
    """Selection and gates are learned through a Gumbel-softmax draw b~ with temperature tau.

    relaxation: what is relaxed.
      "straight_through": every image undergoes its hard draw b. As a function of the one-hot vectors the scalar is
        linear in each, with the scores of the candidates as coefficients: the drawn candidate's is measured, the
        others' are taken to be the baseline, the mean score of the other images. Backward, b~ stands in for b:
        g = mean_i (s_i - baseline_i) sum_groups grad E[b~_i[b_i] | b_i], the expectation over b~ whose argmax is b_i
        (Gumbel-Rao, Paulus et al. 2021, eq. 7) by `draws` of them. Never differentiates the scalar, so its jumps do
        no harm; biased by the temperature only: a little in direction, and shorter than the exact gradient. Cost: one
        evaluation of the scalar.
      "soft": every image is the blend of all candidates with weights b~, and the scalar is differentiated through it.
      "straight_through_pixels": the hard draw forward, the blend's derivative backward.
        Both follow the scalar's slope in the pixels, which tells little about a step as large as an operation's, and
        nothing about the jumps of a network's units. Cost: one evaluation of the scalar with its derivative
        with respect to the images, and every candidate applied to every image.
    temperature falls geometrically from `temperature` to `final_temperature` over the search.
    magnitude: "score" learns magnitudes by the score function of their Gaussian, with the leave-one-out baseline;
      "pathwise" differentiates through the operations. The latter is biased where the scalar jumps: s_i is a function
      of a gradient, and the gradient of a network with ReLU or max-pooling jumps where a unit switches. With SiLU and
      average pooling it has no bias. How much that is: experiments/strength.
    Raises UserError for other values.
    """

    temperature: float = 1.0
    final_temperature: float = 0.5
    relaxation: Relaxation = "straight_through"
    magnitude: Literal["score", "pathwise"] = "score"
    draws: int = 16

    def __post_init__(self) -> None:
        for name in ("temperature", "final_temperature"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}: expected a number above 0, got {getattr(self, name)}")
        if self.draws < 1:
            raise UserError(f"draws: expected at least 1, got {self.draws}")

    def temperature_at(self, progress: float) -> float:
        """The schedule: geometric between the two temperatures."""
        return geometric(self.temperature, self.final_temperature, progress)

    def __call__(
        self, scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None, progress: float
    ) -> Estimate:
        if self.magnitude == "pathwise":
            require_pathwise(policy)
        temperature = self.temperature_at(progress)
        if self.relaxation == "straight_through":
            return self._through_the_scores(scalar, policy, batch_size, generator, temperature)
        with torch.enable_grad():
            noise = policy.draw_relaxed_noise(batch_size, generator)
            hard = self.relaxation == "straight_through_pixels"
            return self._through_the_pixels(scalar, policy, policy.rsample_from(noise, temperature, hard), hard)

    def _through_the_scores(
        self, scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None, temperature: float
    ) -> Estimate:
        pathwise = self.magnitude == "pathwise"
        with torch.set_grad_enabled(pathwise):
            draw = policy.sample if pathwise else partial(hard_draw, scalar, policy)  # a path needs its own draw
            sample = draw(batch_size, generator)
            scores = scalar(sample).to(torch.float64)
        advantage = leave_one_out(scores.detach())
        noise = draw_branch_noise((self.draws, batch_size), policy.shape, generator, advantage.device)
        with torch.enable_grad():
            surrogate = (advantage * drawn_weights(policy, sample, noise, temperature)).mean()
            if pathwise:
                surrogate = surrogate + scores.mean()
            else:
                surrogate = surrogate + (advantage * policy.score_terms(sample).magnitude).mean()
        return Estimate(gradients_of(surrogate, policy), scores.detach().mean())

    def _through_the_pixels(self, scalar: Scalar, policy: Policy, relaxed: RelaxedSample, hard: bool) -> Estimate:
        by_score = self.magnitude == "score"
        shown = replace(relaxed, latent=relaxed.latent.detach(), magnitude=relaxed.magnitude.detach())
        scores = scalar(shown if by_score else relaxed).to(torch.float64)
        surrogate = scores.mean()
        if by_score:
            surrogate = surrogate + _magnitude_score(policy, relaxed, leave_one_out(scores.detach()), hard)
        return Estimate(gradients_of(surrogate, policy), scores.detach().mean())


def drawn_weights(policy: Policy, sample: PolicySample, noise: BranchNoise, temperature: float) -> Float[Tensor, " B"]:
    """The sum of the relaxed weights of what was drawn: sub-policy, and candidate and gate of each of its stages.

    Each is the mean over relaxed draws that harden to `sample`, as a function of the parameters with the noise fixed.
    """
    params, count = policy.params, len(noise.gate)

    op = _drawn_weight(policy.masked_op_logits()[sample.subpolicy], sample.slot, noise.op, temperature)
    logit = chosen(params.gate_logits, sample).clamp(-100, 100).expand_as(noise.gate)  # a certain gate: finite, too
    outcome = sample.gate.expand(count, *sample.gate.shape)
    noisy = conditional_logistic(logit.detach(), outcome, noise.gate) - logit.detach()
    gate = torch.sigmoid(torch.where(outcome, 1.0, -1.0) * (logit + noisy) / temperature).mean(0)
    return (
        _drawn_weight(params.subpolicy_logits, sample.subpolicy, noise.subpolicy, temperature)
        + torch.where(chosen(policy.present, sample), op, 0.0).sum(-1)
        + torch.where(chosen(policy.scored_gate, sample), gate, 0.0).sum(-1)
    )


def _drawn_weight(logits: Tensor, index: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    logits = logits.clamp_min(-1e30).expand_as(uniform)  # a weight of zero: impossible, but finite
    index = index.expand(uniform.shape[:-1])
    noisy = conditional_gumbel(logits.detach(), index, uniform) - logits.detach()
    weights = torch.softmax((logits + noisy) / temperature, -1)
    return weights.gather(-1, index[..., None])[..., 0].mean(0)


def _magnitude_score(policy: Policy, relaxed: RelaxedSample, advantage: Tensor, hard: bool) -> Tensor:
    params = policy.params
    location, log_scale = params.magnitude_locations, params.magnitude_log_scales
    shape = relaxed.latent.shape
    log_density = normal_log_probability(
        relaxed.latent.detach(), location.expand(shape), log_scale.expand(shape), policy.scored_magnitude.expand(shape)
    )
    acts = torch.ones_like(log_density)
    if hard:  # a candidate that was not drawn did nothing: its score is noise
        acts = acts * (relaxed.subpolicy[:, :, None, None] * relaxed.op * relaxed.gate).detach()
    return (advantage * (acts * log_density).sum((1, 2, 3))).mean()
