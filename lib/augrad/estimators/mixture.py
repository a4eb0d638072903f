"""The softmax mixture of Faster AutoAugment (Hataya et al. 2020)."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch.nn.functional import one_hot

from augrad.checks import checked
from augrad.errors import UserError
from augrad.estimators.estimate import Estimate, Scalar, estimation, geometric, gradients_of, require_pathwise
from augrad.policy import Policy
from augrad.policy.distributions import categorical
from augrad.types import RelaxedSample


@checked
@dataclass(frozen=True)
class Mixture:
    """Every image is a blend of all candidates, and the scalar is differentiated through the blend.

    A stage is x -> sum_k softmax(w / temperature)_k op_k(x) (Hataya et al. 2020, section 3.2), with no noise in the
    weights. op_k(x) is gate_k T_k(x) + (1 - gate_k) x, where gate_k is a relaxed Bernoulli draw at `gate_temperature`.
    Magnitudes are learned through the operations.

    subpolicy: "weight" blends the sub-policies with their weights softmax(w), which are learned. "uniform" sends each
    image through one sub-policy that is drawn evenly, as in the paper; their weights are not learned.
    The estimate is biased: it is the gradient for blended images, which the finished policy never makes. At a low
    temperature the blend is nearly the likeliest candidate alone, and the gradient of the others' weights is nearly 0.
    Where the scalar jumps (a network with ReLU or max-pooling under the bilevel objective) the gradient misses the
    jumps (experiments/strength). A critic's output, which density matching follows, does not jump.
    temperature, final_temperature: at the start and at the end of the search; the temperature falls by equal factors.
    Cost: one evaluation of the scalar and its derivative with respect to the images, and every candidate applied to
    every image; with "uniform", every candidate of the image's own sub-policy.
    Raises UserError for temperatures that are not above 0, and another `subpolicy`.
    """

    temperature: float = 0.05
    final_temperature: float = 0.05
    gate_temperature: float = 0.1
    subpolicy: Literal["weight", "uniform"] = "weight"

    def __post_init__(self) -> None:
        for name in ("temperature", "final_temperature", "gate_temperature"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}: expected a number above 0, got {getattr(self, name)}")

    @estimation
    def __call__(
        self, scalar: Scalar, policy: Policy, batch_size: int, generator: torch.Generator | None, progress: float
    ) -> Estimate:
        require_pathwise(policy)
        scores = scalar(self.draw(policy, batch_size, generator, progress))
        return Estimate(gradients_of(scores.mean(), policy), scores.detach().mean())

    def draw(
        self, policy: Policy, batch_size: int, generator: torch.Generator | None, progress: float
    ) -> RelaxedSample:
        """The blend's weights and gates for each image, differentiable in the parameters."""
        noise = policy.draw_relaxed_noise(batch_size, generator)
        drawn = policy.rsample_from(noise, self.gate_temperature)
        temperature = geometric(self.temperature, self.final_temperature, progress)
        op = torch.softmax(policy.masked_op_logits() / temperature, -1) * policy.tables.present
        weight = policy.subpolicy_probabilities().expand(batch_size, -1)
        if self.subpolicy == "uniform":
            subpolicies, _, _ = policy.shape
            even = torch.full_like(weight, 1 / subpolicies)
            weight = one_hot(categorical(even.detach(), noise.subpolicy[:, 0]), subpolicies) > 0
        return replace(drawn, subpolicy=weight, op=op.expand_as(drawn.op))
