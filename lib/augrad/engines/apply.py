"""Apply what was drawn: each image its own operations, magnitudes and signs."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from augrad.engines.choice import require_own_functions, run
from augrad.engines.contract import Plan, Settings, Stages, apply_op
from augrad.ops.meaning import may_look
from augrad.ops.memory_format import in_own_memory
from augrad.ops.spec import Op
from augrad.types import PolicySample, RelaxedSample


def limits_of(ops: Sequence[Op]) -> np.ndarray:
    """[2, O]: the least and the most magnitude that mean something, for each operation; any where there is none."""
    anything = (-np.inf, np.inf)
    return np.array([(op.meaning.least, op.meaning.most) if op.has_magnitude else anything for op in ops]).T


def check_magnitudes(ops: Sequence[Op], limits: np.ndarray, sample: PolicySample, eight_bits: bool) -> None:
    """Raise UserError for magnitudes of operations that act which mean nothing, and for NaN where pixels have 8 bits.

    Only if they can be read without waiting for a device. What a policy draws always means something. limits: see
    `limits_of`.
    """
    if not may_look(sample.magnitude):
        return
    signed, chosen = (sample.magnitude * sample.sign).detach().numpy(), sample.op.numpy()
    least, most = limits[:, chosen]
    if ((signed >= least) & (signed <= most)).all():
        return
    acts = sample.gate.numpy() & np.array([op.has_magnitude for op in ops])[chosen]
    for index in np.unique(chosen[acts]):
        ops[index].meaning.require(signed[acts & (chosen == index)], ops[index].name, eight_bits)


def apply_hard(images: Tensor, plan: Plan, sample: PolicySample, fill: float, interpolation: str) -> Tensor:
    """The drawn operations one stage after another, differentiable in images and magnitudes.

    images: [B,C,H,W], float or uint8. Operations that mix images take the others as they are in `images`, not as they
    become: what happens to an image depends on its own draw alone. The result lies in memory of its own.
    """
    chosen, magnitude = torch.where(sample.gate, sample.op, -1), sample.magnitude * sample.sign

    def compute(images: Tensor) -> Tensor:
        return run(images, Stages(plan, chosen, magnitude, sample.draw, Settings(fill, interpolation, images)))

    return in_own_memory(compute, images)


def apply_relaxed(
    images: Float[Tensor, "B C H W"],
    ops: Sequence[Op],
    slots: Sequence[Sequence[Sequence[int]]],
    sample: RelaxedSample,
    fill: float,
    interpolation: str,
) -> Float[Tensor, "B C H W"]:
    """The expectation over a relaxed draw.

    In each stage sum_k op_k (gate_k T_k(x) + (1 - gate_k) x), then over sub-policies.

    slots[s][l][k] is the index into `ops` of each candidate. Differentiable in images, weights,
    gates and magnitudes. Costs one evaluation for every candidate of every stage of every sub-policy; of one sub-policy
    where the sample has chosen one for each image, and they have the same candidates.
    """
    require_own_functions()
    if sample.subpolicy.dtype == torch.bool and all(stages == slots[0] for stages in slots):
        slots, sample = slots[:1], sample.of_chosen()
    return in_own_memory(lambda images: _blend(images, ops, slots, sample, fill, interpolation), images)


def _blend(
    images: Tensor,
    ops: Sequence[Op],
    slots: Sequence[Sequence[Sequence[int]]],
    sample: RelaxedSample,
    fill: float,
    interpolation: str,
) -> Tensor:
    settings = Settings(fill, interpolation, images)
    signed = sample.magnitude * sample.sign
    mixed = torch.zeros_like(images)
    for s, stages in enumerate(slots):
        current = images
        for stage, candidates in enumerate(stages):
            weights = (sample.op[:, s, stage] * sample.gate[:, s, stage]).to(images.dtype)[..., None, None, None]
            blend = current
            for k, index in enumerate(candidates):
                if ops[index].kind == "identity":
                    continue
                output = apply_op(ops[index], current, signed[:, s, stage, k], sample.draw[:, stage], settings)
                blend = blend + weights[:, k] * (output - current)
            current = blend
        mixed = mixed + sample.subpolicy[:, s].to(images.dtype)[:, None, None, None] * current
    return mixed
