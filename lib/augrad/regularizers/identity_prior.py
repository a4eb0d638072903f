"""A prior on how often a stage leaves an image as it is."""

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
    """weight * KL(Bernoulli(mass) || Bernoulli(m)), m the probability that a stage does nothing.

    m is the mean over sub-policies (by their weights) and stages; the identity and a closed gate count alike. The term
    is 0 at m = mass and grows without bound towards m = 0 and m = 1: neither a policy that always acts (an adversarial
    one) nor one that never does (a training loss alone prefers it) is free.
    Raises UserError for a negative weight and a mass that is not strictly between 0 and 1.
    """

    weight: float = 0.1
    mass: float = 0.5

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)
        require_share("mass", self.mass, inside=True)

    def __call__(self, policy: Policy) -> Float[Tensor, ""]:
        acting = policy.op_probabilities() * policy.gate_probabilities() * policy.scored_gate
        acts = (policy.subpolicy_probabilities()[:, None, None] * acting).sum() / policy.shape[1]
        # Beyond these ends the logarithm is infinite, and there the logits' own gradient is zero.
        acts = acts.clamp(torch.finfo(acts.dtype).tiny, 1 - torch.finfo(acts.dtype).eps)
        q = self.mass
        divergence = q * (math.log(q) - torch.log1p(-acts)) + (1 - q) * (math.log1p(-q) - acts.log())
        return self.weight * divergence
