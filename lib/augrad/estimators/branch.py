"""The parameters along the branch of each image's draw: sub-policy, its candidates, their gates, their magnitudes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import one_hot

from augrad.policy import Policy
from augrad.policy.distributions import BranchNoise, HardNoise, gumbel, logistic
from augrad.types import PolicyParams, PolicySample, TensorFields

_EDGE = 1e30  # an impossible candidate's logit: finite, so that its derivatives are numbers


@dataclass(frozen=True)
class Branch(TensorFields):
    """The parameters that each image's draw was made with, a copy for each image, so that each has its own gradient.

    These are the sub-policies' logits, the logits of the drawn sub-policy's candidates, and the drawn candidates' gates
    and magnitudes; nothing of what was not drawn.
    """

    subpolicy_logits: Float[Tensor, "B S"]
    op_logits: Float[Tensor, "B L K"]
    gate_logits: Float[Tensor, "B L"]
    magnitude_locations: Float[Tensor, "B L"]
    magnitude_log_scales: Float[Tensor, "B L"]


def finite_logits(policy: Policy) -> PolicyParams:
    """The parameters, detached. Logits of plus or minus infinity, which stand for certainty, become large numbers."""
    params = policy.params.detach()
    op = torch.where(policy.tables.present, params.op_logits, -_EDGE)
    return PolicyParams(
        params.subpolicy_logits.clamp_min(-_EDGE),
        op.clamp_min(-_EDGE),
        params.gate_logits.clamp(-700.0, 700.0),
        params.magnitude_locations,
        params.magnitude_log_scales,
    )


def chosen(table: Shaped[Tensor, "S L K"], sample: PolicySample) -> Shaped[Tensor, "B L"]:
    """The table's entries at the candidates that were drawn."""
    return table[sample.subpolicy].gather(-1, sample.slot[..., None])[..., 0]


@torch.no_grad()
def draw_branch(policy: Policy, choices: BranchNoise, rest: HardNoise) -> PolicySample:
    """The hard draw b = H(z): the largest of logits plus Gumbel noise, gates with logit plus logistic noise above 0."""
    params = finite_logits(policy)
    subpolicy = (params.subpolicy_logits + gumbel(choices.subpolicy)).argmax(-1)
    slot = (params.op_logits[subpolicy] + gumbel(choices.op)).argmax(-1)
    logit = params.gate_logits[subpolicy].gather(-1, slot[..., None])[..., 0]
    return policy.sample_with(subpolicy, slot, logit + logistic(choices.gate) > 0, rest)


def branch_of(policy: Policy, sample: PolicySample) -> Branch:
    """The branch of each image's draw, as leaves that can be differentiated with respect to."""
    params = finite_logits(policy)
    branch = Branch(
        params.subpolicy_logits.expand(len(sample), -1),
        params.op_logits[sample.subpolicy],
        chosen(params.gate_logits, sample),
        chosen(params.magnitude_locations, sample),
        chosen(params.magnitude_log_scales, sample),
    )
    return branch.map(lambda tensor: tensor.clone().requires_grad_())


def mean_gradient(policy: Policy, sample: PolicySample, found: dict[str, Tensor]) -> PolicyParams:
    """The mean over the batch of each image's gradient, with the entries of its branch at their places in the policy.

    found: gradients by the names of `Branch`; a group that is missing gets zeros.
    """
    subpolicy, slot = one_hots(policy, sample)
    grads = vars(policy.params.map(torch.zeros_like))
    for name, per_image in found.items():
        if name == "subpolicy_logits":
            total = per_image.sum(0)
        else:
            if name != "op_logits":
                per_image = per_image[..., None] * slot
            total = torch.einsum("bs,blk->slk", subpolicy, per_image)  # a sum in a fixed order, on a GPU too
        grads[name] = total / len(sample)
    return PolicyParams(**{name: gradient.detach() for name, gradient in grads.items()})


def one_hots(policy: Policy, sample: PolicySample) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B L K"]]:
    """The drawn sub-policy and candidates as one-hot vectors."""
    subpolicies, _, width = policy.shape
    return (
        one_hot(sample.subpolicy, subpolicies).to(torch.float64),
        one_hot(sample.slot, width).to(torch.float64),
    )
