"""A prior on how often a stage leaves an image unchanged."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.checks import checked
from augrad.policy import Policy
from augrad.regularizers.regularizer import require_share, require_weight


@checked
@dataclass(frozen=True)
class IdentityPrior:
    """weight * KL(Bernoulli(mass) || Bernoulli(m)), where m is the probability that a stage does nothing.

    m is the mean over stages and over sub-policies by their weights. A stage does nothing if the identity is drawn or
    the drawn operation is not applied. The term is 0 at m = mass and goes to infinity at m = 0 and at m = 1. So it
    holds back a policy that always acts, as adversarial ones do, and one that never acts, which is what minimising the
    training loss alone leads to.
    weight: at least 0. mass: strictly between 0 and 1. Raises UserError for other values.
    """

    weight: float = 0.1
    mass: float = 0.5

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)
        require_share("mass", self.mass, inside=True)

    def __call__(self, policy: Policy) -> Float[Tensor, ""]:
        acting = policy.op_probabilities() * policy.gate_probabilities() * policy.tables.scored_gate
        acts = (policy.subpolicy_probabilities()[:, None, None] * acting).sum() / policy.shape[1]
        # Beyond these ends the logarithm is infinite, and there the logits' own gradient is zero.
        acts = acts.clamp(torch.finfo(acts.dtype).tiny, 1 - torch.finfo(acts.dtype).eps)
        q = self.mass
        divergence = q * (math.log(q) - torch.log1p(-acts)) + (1 - q) * (math.log1p(-q) - acts.log())
        return self.weight * divergence
