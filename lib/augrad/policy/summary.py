"""A few numbers that describe a policy, for the metrics."""

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.policy.policy import Policy

PER_OPERATION = ("mass/", "probability/", "strength/")
"""With which the names of what there is of each operation begin."""


@torch.no_grad()
def op_masses(policy: Policy) -> Float[Tensor, " O"]:
    """Probability that each operation of the policy acts on an image in a stage (mean over stages).

    The identity's includes closed gates.
    """
    weight = policy.subpolicy_probabilities()[:, None, None] * policy.op_probabilities() / policy.shape[1]
    applied = weight * policy.gate_probabilities()
    mass = torch.zeros(len(policy.ops), dtype=torch.float64, device=weight.device)
    mass.scatter_add_(0, policy.tables.op_index.clamp(min=0).flatten(), applied.flatten())
    identity = next((index for index, op in enumerate(policy.ops) if op.kind == "identity"), None)
    if identity is not None:
        mass[identity] += 1 - mass.sum()
    return mass


@torch.no_grad()
def policy_summary(policy: Policy) -> dict[str, Tensor]:
    """selection_entropy (nat), identity_mass, and three numbers for each operation, on the policy's device.

    mass/<op>: the probability that it acts in a stage (mean over stages). probability/<op>: of being applied when
    chosen. strength/<op>: the median magnitude as a share of its range (halved for uniform ones) for operations that
    have one. Means over candidates are weighted by how often they are chosen.
    """
    masses = op_masses(policy)
    chosen = (policy.subpolicy_probabilities()[:, None, None] * policy.op_probabilities()).flatten()
    index = policy.tables.op_index.clamp(min=0).flatten()
    total = torch.zeros_like(masses).scatter_add_(0, index, chosen).clamp_min(1e-300)

    def mean(values: Tensor) -> Tensor:
        return torch.zeros_like(masses).scatter_add_(0, index, chosen * values.flatten()) / total

    probabilities = mean(policy.gate_probabilities())
    strengths = mean(torch.sigmoid(policy.magnitude_locations) * torch.where(policy.tables.uniform, 0.5, 1.0))
    result = {"selection_entropy": policy.selection_entropy()}
    for position, op in enumerate(policy.ops):
        if op.kind == "identity":
            result["identity_mass"] = masses[position]
            continue
        result[f"mass/{op.name}"] = masses[position]
        result[f"probability/{op.name}"] = probabilities[position]
        if op.has_magnitude:
            result[f"strength/{op.name}"] = strengths[position]
    return result
