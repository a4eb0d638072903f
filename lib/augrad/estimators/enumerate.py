"""The exact gradient: the scalar at every outcome of a small policy, for every image."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from augrad.checks import checked
from augrad.errors import UserError
from augrad.estimators.estimate import (
    Estimate,
    Scalar,
    beside_of,
    estimation,
    gradients_of,
    leave_one_out,
    require_pathwise,
)
from augrad.policy import Policy
from augrad.types import PolicyParams, PolicySample, TensorFields


@dataclass(frozen=True)
class Outcomes(TensorFields):
    """All N outcomes that are possible for an image: the sub-policy, and what is applied in each stage, if anything.

    A closed gate, the identity and a missing stage have the same outcome: nothing is applied.
    """

    subpolicy: Int[Tensor, " N"]
    slot: Int[Tensor, "N L"]
    applied: Bool[Tensor, "N L"]

    def __len__(self) -> int:
        return len(self.subpolicy)


def _acting(policy: Policy) -> list[list[list[int]]]:
    """[S][L]: the candidates that change an image. It reads `policy.slots`, not tensors: nothing waits for a GPU."""
    _, stages, _ = policy.shape
    acting = [
        [[k for k, slot in enumerate(stage) if policy.ops[slot.op].kind != "identity"] for stage in subpolicy]
        for subpolicy in policy.slots
    ]
    return [[*subpolicy, *[[]] * (stages - len(subpolicy))] for subpolicy in acting]


def outcome_count(policy: Policy) -> int:
    """N: the sum over sub-policies of the product over stages of 1 + the number of candidates that change an image."""
    return sum(math.prod(1 + len(stage) for stage in subpolicy) for subpolicy in _acting(policy))


def outcomes_of(policy: Policy) -> Outcomes:
    """All outcomes, those of the first sub-policy first."""
    rows = [
        (index, choice)
        for index, subpolicy in enumerate(_acting(policy))
        for choice in itertools.product(*([-1, *stage] for stage in subpolicy))
    ]
    slot = torch.tensor([choice for _, choice in rows])
    outcomes = Outcomes(torch.tensor([index for index, _ in rows]), slot.clamp(min=0), slot >= 0)
    return outcomes.to(policy.device)


def outcome_probabilities(policy: Policy, outcomes: Outcomes) -> Float[Tensor, " N"]:
    """The probability of each outcome, differentiable in the logits. They sum to 1."""
    applied = policy.op_probabilities() * policy.gate_probabilities() * policy.tables.scored_gate
    nothing = 1 - applied.sum(-1)
    of_stage = torch.where(
        outcomes.applied,
        applied[outcomes.subpolicy].gather(-1, outcomes.slot[..., None])[..., 0],
        nothing[outcomes.subpolicy],
    )
    return policy.subpolicy_probabilities()[outcomes.subpolicy] * of_stage.prod(-1)


@checked
@dataclass(frozen=True)
class Enumerate:
    """g = grad sum_o P(o) mean_i s_i(o), the sum over every outcome o of choosing and applying operations.

    With the bilevel objective and `OneStep`, mean_i s_i(o) = < u, grad_w L_o > is the derivative of the validation loss
    with respect to P(o). It is the inner product of DDAS, - eta < grad L_val(w'), grad_w L_o >; the method
    `inner_products` returns these numbers.

    For sub-policies, operations and gates the gradient is exact and has no noise, given the magnitudes. These are drawn
    anew for each image and outcome. magnitude: "score" learns them by the score function of their Gaussian, unbiased,
    with the leave-one-out baseline over the images of an outcome; "pathwise" differentiates through the operations, and
    is biased where the scalar jumps (experiments/strength: in a network with ReLU or max-pooling, not in a smooth one).
    max_outcomes: the largest N that is accepted.
    Cost: N evaluations of the scalar (see `outcome_count`), each on the whole batch. In each of them the images have
    different outcomes in turn, so that every image has every outcome once. Where BatchNorm couples the images, an
    outcome is judged among other images with draws of the policy, drawn anew in each evaluation: the gradient then has
    some noise, an evaluation is one of twice as many images, and "pathwise" takes batches of at most 8.
    Raises UserError for another `magnitude`, and for a policy with more than `max_outcomes`.
    """

    max_outcomes: int = 512
    magnitude: Literal["score", "pathwise"] = "score"

    def __post_init__(self) -> None:
        if not self.max_outcomes >= 1:
            raise UserError(f"max_outcomes: expected at least 1, got {self.max_outcomes}")

    @estimation
    def __call__(
        self, scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None, progress: float
    ) -> Estimate:
        outcomes = self._outcomes(policy)
        pathwise = self.magnitude == "pathwise"
        if pathwise:
            require_pathwise(policy)
        grads = policy.params.map(torch.zeros_like)
        scores, log_densities = [], []
        probabilities = outcome_probabilities(policy, outcomes)
        weights = probabilities.detach()
        for dealt in _deals(len(outcomes), batch_size, weights.device):
            sample = _drawn(policy, outcomes, dealt, generator)
            alone = _among_draws(scalar, policy, batch_size, generator)
            with torch.set_grad_enabled(pathwise):
                found = alone(sample if pathwise else sample.detach())
            if pathwise:
                grads = _sum(grads, gradients_of((weights[dealt] * found).sum() / batch_size, policy))
            else:
                log_densities.append(policy.score_terms(sample).magnitude)
            scores.append(found.detach())
        table = _by_outcome(torch.stack(scores))
        surrogate = (probabilities * table.mean(1)).sum()
        if not pathwise:
            advantage = torch.stack([leave_one_out(row) for row in table])
            surrogate = surrogate + weights @ (advantage * _by_outcome(torch.stack(log_densities))).mean(1)
        return Estimate(_sum(grads, gradients_of(surrogate, policy)), weights @ table.mean(1))

    @estimation
    def inner_products(
        self, scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None = None
    ) -> tuple[Outcomes, Float[Tensor, " N"]]:
        """All outcomes, and the scalar's mean over the batch at each of them, which is d E / d P(o)."""
        outcomes = self._outcomes(policy)
        with torch.no_grad():
            scores = [
                _among_draws(scalar, policy, batch_size, generator)(_drawn(policy, outcomes, dealt, generator))
                for dealt in _deals(len(outcomes), batch_size, policy.device)
            ]
        return outcomes, _by_outcome(torch.stack(scores)).mean(1)

    def _outcomes(self, policy: Policy) -> Outcomes:
        count = outcome_count(policy)
        if count > self.max_outcomes:
            raise UserError(
                f"max_outcomes: an image has {count} possible outcomes under this policy, more than "
                f"{self.max_outcomes}, and each costs one evaluation; take fewer operations, stages or sub-policies, "
                "raise max_outcomes, or take another estimator"
            )
        return outcomes_of(policy)


def _deals(count: int, batch_size: int, device: torch.device) -> list[Int[Tensor, " B"]]:
    """[N] deals of one outcome to each image: image i gets outcome (deal + i) mod N."""
    images = torch.arange(batch_size, device=device)
    return [(images + deal) % count for deal in range(count)]


def _among_draws(scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None) -> Scalar:
    """The scalar of an image among others with draws of the policy, where these matter.

    Outcomes that were dealt do not have the policy's probabilities, and neither would a statistic of the batch.
    """
    beside = beside_of(scalar)
    if beside is None:
        return scalar
    with torch.no_grad():
        return beside(policy.sample(batch_size, generator).detach())


def _by_outcome(dealt: Float[Tensor, "N B"]) -> Float[Tensor, "N B"]:
    """From rows that are deals to rows that are outcomes."""
    count, batch_size = dealt.shape
    images = torch.arange(batch_size, device=dealt.device)
    outcome = torch.arange(count, device=dealt.device)[:, None]
    return dealt[(outcome - images) % count, images]


def _drawn(
    policy: Policy, outcomes: Outcomes, dealt: Int[Tensor, " B"], generator: torch.Generator | None
) -> PolicySample:
    """The outcomes that were dealt, with magnitudes, signs and extra numbers drawn anew."""
    noise = policy.draw_noise(len(dealt), generator)
    return policy.sample_with(outcomes.subpolicy[dealt], outcomes.slot[dealt], outcomes.applied[dealt], noise)


def _sum(one: PolicyParams, other: PolicyParams) -> PolicyParams:
    return PolicyParams(*(a + b for a, b in zip(one.tensors(), other.tensors(), strict=True)))
