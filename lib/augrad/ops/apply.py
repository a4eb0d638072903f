"""Apply what was drawn: each image its own operations, magnitudes and signs.

Four ways, same result up to rounding. On a CPU, compiled code takes one part of the batch after another through all
stages. Where there is none, the images of a stage are sorted by operation and every family of operations gets its own.
On a GPU a stage is one kernel (`augrad.ops.fused`). Inside `torch.compile`, and on a GPU without Triton, every family
gets the whole batch and the drawn result is selected. The last two are a fixed number of launches without a
synchronisation.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from augrad.ops.compiled.engine import apply_compiled, is_available
from augrad.ops.engine import takes_kernels
from augrad.ops.families import Arrangement, Family, Settings, apply_family, apply_op
from augrad.ops.fused.stage import OneStage, fused_stage
from augrad.ops.meaning import may_look
from augrad.ops.memory_format import in_own_memory
from augrad.ops.numeric import constant, is_known, transformed
from augrad.ops.routing import join, split
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


def apply_hard(images: Tensor, plan: Arrangement, sample: PolicySample, fill: float, interpolation: str) -> Tensor:
    """The drawn operations one stage after another, differentiable in images and magnitudes.

    images: [B,C,H,W], float or uint8. Operations that mix images take the others as they are in `images`, not as they
    become: what happens to an image depends on its own draw alone. The result lies in memory of its own.
    """
    return in_own_memory(lambda images: _stages(images, plan, sample, fill, interpolation), images)


def _stages(images: Tensor, plan: Arrangement, sample: PolicySample, fill: float, interpolation: str) -> Tensor:
    settings = Settings(fill, interpolation, images)
    one_stage = _way(images, sample.op)
    signed = sample.magnitude * sample.sign
    if one_stage is _compiled and not (plan.rest and plan.rest.families):
        chosen = torch.where(sample.gate, sample.op, -1)
        return _all_compiled(images, plan, chosen, signed, sample.draw, settings)
    for stage in range(sample.op.shape[1]):
        chosen = torch.where(sample.gate[:, stage], sample.op[:, stage], -1)
        images = one_stage(images, plan, chosen, signed[:, stage], sample.draw[:, stage], settings)
    return images


def _way(images: Tensor, op: Tensor) -> OneStage:
    if torch.compiler.is_compiling():
        return _selected
    if takes_kernels(images):
        return _fused
    if images.device.type != "cpu":
        return _selected
    # What transforms must see into is not compiled. Double precision is for proofs, seldom and small.
    if transformed() or images.dtype == torch.float64 or not is_available():
        return _sorted if is_known(op) else _selected
    return _compiled


def _all_compiled(
    images: Tensor, plan: Arrangement, chosen: Int[Tensor, "B L"], magnitude: Tensor, draw: Tensor, settings: Settings
) -> Tensor:
    """All stages at once. chosen: index into the policy's operations, -1 for none."""
    codes = torch.from_numpy(np.array(plan.codes, np.int64)[chosen.t().numpy()])
    stages = (codes, magnitude.t(), draw.transpose(0, 1))
    return apply_compiled(images, *stages, settings.fill, settings.interpolation, settings.others)


def _compiled(
    images: Tensor, plan: Arrangement, chosen: Int[Tensor, " B"], magnitude: Tensor, draw: Tensor, settings: Settings
) -> Tensor:
    """chosen: index into the policy's operations, -1 for none."""
    images = _all_compiled(images, plan, chosen[:, None], magnitude[:, None], draw[:, None], settings)
    if plan.rest is not None and plan.rest.families:
        images = _sorted(images, plan.rest, chosen, magnitude, draw, settings)
    return images


def _fused(
    images: Tensor, plan: Arrangement, chosen: Int[Tensor, " B"], magnitude: Tensor, draw: Tensor, settings: Settings
) -> Tensor:
    """chosen: index into the policy's operations, -1 for none."""
    return fused_stage(images, plan, chosen, magnitude, draw, settings, plain=_selected)


def _sorted(
    images: Tensor, plan: Arrangement, chosen: Int[Tensor, " B"], magnitude: Tensor, draw: Tensor, settings: Settings
) -> Tensor:
    """chosen: index into the policy's operations, -1 for none."""
    place = constant(plan.places, chosen.dtype, chosen.device)[chosen]
    order = torch.argsort(place, stable=True)
    counts = iter(torch.bincount(place, minlength=len(plan.places)).tolist())
    place, own_magnitude, own_draw = place[order], magnitude.index_select(0, order), draw[order]
    groups: list[tuple[Family, slice, int, dict[str, slice]]] = []
    start, first = 0, 0
    for family in plan.families:
        present, stop = {}, start
        for name in family.names:
            if count := next(counts):
                present[name] = slice(stop - start, stop - start + count)
                stop += count
        if present:
            groups.append((family, slice(start, stop), first, present))
        start, first = stop, first + len(family.ops)
    # What nothing happens to comes last.
    indices = [order[part] for _, part, _, _ in groups] + ([order[start:]] if start < len(order) else [])
    parts = list(split(images, indices))
    for number, (family, part, first, present) in enumerate(groups):
        if family.mixes:  # needs every image in its place
            own = torch.where(place == first, own_magnitude, family.ops[0].low or 0.0)[order.argsort()]
            parts[number] = apply_op(family.ops[0], images, own, draw, settings)[indices[number]]
            continue
        member = place[part] - first
        parts[number] = apply_family(
            family, parts[number], own_magnitude[part], member, own_draw[part], present, settings
        )
    return join(parts, indices)


def _selected(
    images: Tensor, plan: Arrangement, chosen: Int[Tensor, " B"], magnitude: Tensor, draw: Tensor, settings: Settings
) -> Tensor:
    """chosen: index into the policy's operations, -1 for none."""
    place = constant(plan.places, chosen.dtype, chosen.device)[chosen]
    everywhere = slice(0, len(images))
    result, first = images, 0
    for family in plan.families:
        member = place - first
        mine = (member >= 0) & (member < len(family.ops))
        first += len(family.ops)
        # The magnitude of another operation may be far outside this one's range, and an image that another operation
        # takes may hold NaN: keep all numbers finite, or gradients of 0 become NaN.
        own = torch.where(mine, magnitude, family.ops[0].low or 0.0)
        shown = images if family.mixes else torch.where(mine[:, None, None, None], images, 0)
        output = apply_family(family, shown, own, member, draw, dict.fromkeys(family.names, everywhere), settings)
        result = torch.where(mine[:, None, None, None], output, result)
    return result


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
