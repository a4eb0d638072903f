"""A joint space small enough to sum over: its exact gradient is what every estimator is held against. float64."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from augrad.estimators.control import Control, estimate_with
from augrad.estimators.estimate import Estimate, Estimator
from augrad.ops.space import make_space
from augrad.policy import Policy
from augrad.policy.initial import Learnable, initial_policy, random_policy
from augrad.types import PolicyParams, PolicySample, RelaxedSample

S, L, K = 2, 2, 3
_EVERYTHING: list[Learnable] = ["subpolicies", "ops", "gates", "magnitudes", "magnitude_scales"]


def _table() -> Tensor:
    """[S, K + 1, K + 1]: what a joint outcome costs, without structure. Column 0: nothing is applied."""
    return torch.randn(S, K + 1, K + 1, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def _policy() -> Policy:
    space = make_space({"rotate": {"high": 2.0}, "identity": {}, "brightness": {}})
    return random_policy(initial_policy(space, S, L, scale=0.7, learn=_EVERYTHING), seed=3)


@dataclass(frozen=True)
class JointSpace:
    """f of sub-policy, what is applied in each of two stages, and the magnitudes: nonlinear and not separable.

    jump: height of a step in each magnitude, which a derivative of f does not see. offset: added to f.
    """

    policy: Policy = field(default_factory=_policy)
    jump: float = 0.7
    offset: float = 0.0
    table: Tensor = field(default_factory=_table)
    slope: Tensor = field(default_factory=lambda: torch.tensor([1.5, 0.0, -2.0], dtype=torch.float64))

    def __call__(self, sample: PolicySample | RelaxedSample) -> Tensor:
        return self.offset + (self._hard(sample) if isinstance(sample, PolicySample) else self._relaxed(sample))

    def _bent(self, magnitude: Tensor, latent: Tensor) -> Tensor:
        return torch.sin(2 * magnitude) + self.jump * (latent > 0)

    def _hard(self, sample: PolicySample) -> Tensor:
        applied = sample.gate & (sample.op != 1)
        outcome = torch.where(applied, sample.slot + 1, 0)
        bent = self._bent(sample.magnitude, sample.latent) * self.slope[sample.slot] * applied
        return self.table[sample.subpolicy, outcome[:, 0], outcome[:, 1]] + bent.sum(1) + 0.8 * bent.prod(1)

    def _relaxed(self, sample: RelaxedSample) -> Tensor:
        """The multilinear extension: it agrees with the hard scalar at the corners."""
        applied = sample.op * sample.gate * torch.tensor([1.0, 0.0, 1.0])
        outcome = torch.cat([1 - applied.sum(-1, keepdim=True), applied], -1)
        bent = (applied * self._bent(sample.magnitude, sample.latent) * self.slope).sum(-1)
        value = torch.einsum("bsk,bsl,skl->bs", outcome[:, :, 0], outcome[:, :, 1], self.table)
        return (sample.subpolicy * (value + bent.sum(-1) + 0.8 * bent.prod(-1))).sum(-1)

    def value(self) -> Tensor:
        """E f, differentiable in the parameters: a sum over choices and gates, quadrature over magnitudes.

        In a stage that a sub-policy lacks nothing is chosen, and nothing applied.
        """
        policy = self.policy
        nodes, weights = (torch.from_numpy(array) for array in np.polynomial.hermite_e.hermegauss(60))
        scale = policy.magnitude_log_scales.exp()
        latent = policy.magnitude_locations[..., None] + scale[..., None] * nodes
        low, high = policy.tables.low[..., None], policy.tables.high[..., None]
        magnitude = low + (high - low) * torch.sigmoid(latent)
        smooth = (torch.sin(2 * magnitude) * weights / weights.sum()).sum(-1)
        drawn = scale > 0  # otherwise the latent is its location
        above = torch.special.ndtr(torch.where(drawn, policy.magnitude_locations, 0.0) / torch.where(drawn, scale, 1.0))
        above = torch.where(drawn, above, (policy.magnitude_locations > 0).to(torch.float64))
        bent = (smooth + self.jump * above) * self.slope
        subpolicy, op = policy.subpolicy_probabilities(), policy.op_probabilities()
        op = torch.where(policy.tables.present.any(-1, keepdim=True), op, torch.eye(K, dtype=torch.float64)[0])
        gate = policy.gate_probabilities() * policy.tables.present
        total = torch.zeros((), dtype=torch.float64)
        for s, k1, k2, g1, g2 in itertools.product(range(S), range(K), range(K), (0, 1), (0, 1)):
            open1, open2 = gate[s, 0, k1], gate[s, 1, k2]
            probability = subpolicy[s] * op[s, 0, k1] * op[s, 1, k2]
            probability = probability * (open1 if g1 else 1 - open1) * (open2 if g2 else 1 - open2)
            a1, a2 = g1 * (k1 != 1), g2 * (k2 != 1)
            one, two = a1 * bent[s, 0, k1], a2 * bent[s, 1, k2]
            total = total + probability * (self.table[s, a1 * (k1 + 1), a2 * (k2 + 1)] + one + two + 0.8 * one * two)
        return total + self.offset

    def exact(self) -> PolicyParams:
        """The exact gradient of E f."""
        return PolicyParams(*torch.autograd.grad(self.value(), self.policy.params.tensors()))

    def estimates(
        self,
        estimator: Estimator,
        count: int,
        batch: int = 64,
        control: Control | None = None,
        train: bool = False,
        seed: int = 0,
        progress: float = 0.0,
    ) -> list[Estimate]:
        """`count` estimates of `batch` draws each; with `train` the control steps after each. seed: of the draws."""
        generator, found = torch.Generator().manual_seed(seed), []
        for _ in range(count):
            found.append(estimate_with(control, estimator, self, self.policy, batch, generator, progress))
            if train and control is not None:
                control.step(found[-1].control_loss)
        return found
