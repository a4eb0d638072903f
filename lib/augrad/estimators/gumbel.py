"""Gumbel-softmax relaxation (Jang et al. 2017; Maddison et al. 2017), soft or straight-through."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.checks import Draws, checked
from augrad.errors import UserError
from augrad.estimators.branch import chosen
from augrad.estimators.estimate import (
    Estimate,
    Scalar,
    advantage_of,
    estimation,
    geometric,
    gradients_of,
    hard_draw,
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
    """Sub-policies, operations and gates are learned through a Gumbel-softmax draw b~ at a temperature.

    relaxation: what is relaxed.
      "straight_through": every image undergoes a hard draw b, and its score s_i is measured. Written with one-hot
        vectors, s_i is a linear function of the choice between candidates, whose coefficients are the scores of the
        candidates. The drawn candidate's score is known; the others' are set to the baseline, the mean score of the
        other images. In the derivative b~ stands in for b:
        g = mean_i (s_i - baseline_i) sum_groups grad E[b~_i[b_i] | b_i], where the expectation is over all b~ whose
        largest entry is b_i (Gumbel-Rao, Paulus et al. 2021, eq. 7), and is the mean of `draws` of them. The scalar is
        never differentiated, so its jumps do no harm. The temperature makes the estimate biased: it is shorter than the
        exact gradient, and its direction is slightly off. Cost: one evaluation of the scalar.
      "soft": every image is the blend of all candidates with weights b~, and the scalar is differentiated through it.
      "straight_through_pixels": the hard draw in the forward pass, the derivative of the blend in the backward pass.
        These two follow the derivative of the scalar with respect to the pixels. It says little about a change as large
        as an operation's, and nothing about the jumps where a unit of the network switches. Cost: one evaluation of the
        scalar and its derivative with respect to the images, and every candidate applied to every image.
    temperature, final_temperature: at the start and at the end of the search; the temperature falls by equal factors.
    magnitude: how magnitudes are learned. "score": by the score function of their Gaussian, with the leave-one-out
      baseline. "pathwise": by differentiating through the operations. The latter is biased where the scalar jumps: s_i
      depends on a gradient of the network, and with ReLU or max-pooling that gradient jumps where a unit switches. With
      SiLU and average pooling it has no bias. For the size of the bias see experiments/strength.
    Raises UserError for other values.
    """

    temperature: float = 1.0
    final_temperature: float = 0.5
    relaxation: Relaxation = "straight_through"
    magnitude: Literal["score", "pathwise"] = "score"
    draws: Draws = 16

    def __post_init__(self) -> None:
        for name in ("temperature", "final_temperature"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}: expected a number above 0, got {getattr(self, name)}")

    def temperature_at(self, progress: float) -> float:
        """The temperature at that progress of the search."""
        return geometric(self.temperature, self.final_temperature, progress)

    @estimation
    def __call__(
        self, scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None, progress: float
    ) -> Estimate:
        if self.magnitude == "pathwise":
            require_pathwise(policy)
        temperature = self.temperature_at(progress)
        if self.relaxation == "straight_through":
            return self._through_the_scores(scalar, policy, batch_size, generator, temperature)
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
            scores = scalar(sample)
        advantage = advantage_of(scalar, scores.detach())
        noise = draw_branch_noise((self.draws, batch_size), policy.shape, generator, advantage.device)
        surrogate = (advantage * drawn_weights(policy, sample, noise, temperature)).mean()
        if pathwise:
            surrogate = surrogate + scores.mean()
        else:
            surrogate = surrogate + (advantage * policy.score_terms(sample).magnitude).mean()
        return Estimate(gradients_of(surrogate, policy), scores.detach().mean())

    def _through_the_pixels(self, scalar: Scalar, policy: Policy, relaxed: RelaxedSample, hard: bool) -> Estimate:
        by_score = self.magnitude == "score"
        shown = replace(relaxed, latent=relaxed.latent.detach(), magnitude=relaxed.magnitude.detach())
        scores = scalar(shown if by_score else relaxed)
        surrogate = scores.mean()
        if by_score:
            surrogate = surrogate + _magnitude_score(policy, relaxed, advantage_of(scalar, scores.detach()), hard)
        return Estimate(gradients_of(surrogate, policy), scores.detach().mean())


def drawn_weights(policy: Policy, sample: PolicySample, noise: BranchNoise, temperature: float) -> Float[Tensor, " B"]:
    """The sum of the relaxed weights of what was drawn: the sub-policy, and each stage's candidate and gate.

    Each weight is the mean over those relaxed draws whose hard draw is `sample`; it is a function of the parameters,
    with the noise held fixed.
    """
    params, count = policy.params, len(noise.gate)

    op = _drawn_weight(policy.masked_op_logits()[sample.subpolicy], sample.slot, noise.op, temperature)
    logit = chosen(params.gate_logits, sample).clamp(-100, 100).expand_as(noise.gate)  # a certain gate: finite, too
    outcome = sample.gate.expand(count, *sample.gate.shape)
    noisy = conditional_logistic(logit.detach(), outcome, noise.gate) - logit.detach()
    gate = torch.sigmoid(torch.where(outcome, 1.0, -1.0) * (logit + noisy) / temperature).mean(0)
    return (
        _drawn_weight(params.subpolicy_logits, sample.subpolicy, noise.subpolicy, temperature)
        + torch.where(chosen(policy.tables.present, sample), op, 0.0).sum(-1)
        + torch.where(chosen(policy.tables.scored_gate, sample), gate, 0.0).sum(-1)
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
        relaxed.latent.detach(),
        location.expand(shape),
        log_scale.expand(shape),
        policy.tables.scored_magnitude.expand(shape),
    )
    acts = torch.ones_like(log_density)
    if hard:  # a candidate that was not drawn did nothing: its score is noise
        acts = acts * (relaxed.subpolicy[:, :, None, None] * relaxed.op * relaxed.gate).detach()
    return (advantage * (acts * log_density).sum((1, 2, 3))).mean()
