"""Apply what was drawn: each image its own operations, magnitudes and signs.

Two ways, same result up to rounding: on the CPU the images of a stage are sorted by operation and every family of
operations gets its own; on a GPU, or inside `torch.compile`, every family gets the whole batch and the drawn result is
selected, which is a fixed number of launches without a synchronisation.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augrad.ops.families import Arrangement, Settings, apply_family, apply_op
from augrad.ops.numeric import constant
from augrad.ops.routing import join, split
from augrad.ops.spec import Op
from augrad.types import PolicySample, RelaxedSample


def apply_hard(images: Tensor, plan: Arrangement, sample: PolicySample, fill: float, interpolation: str) -> Tensor:
    """The drawn operations one stage after another, differentiable in images and magnitudes.

    images: [B,C,H,W], float or uint8. Operations that mix images take the others as they are in `images`, not as they
    become: what happens to an image depends on its own draw alone.
    """
    settings = Settings(fill, interpolation, images)
    one_stage = _sorted if images.device.type == "cpu" and not torch.compiler.is_compiling() else _selected
    signed = sample.magnitude * sample.sign
    for stage in range(sample.op.shape[1]):
        chosen = torch.where(sample.gate[:, stage], sample.op[:, stage], -1)
        images = one_stage(images, plan, chosen, signed[:, stage], sample.draw[:, stage], settings)
    return images


def _sorted(
    images: Tensor, plan: Arrangement, chosen: Int[Tensor, " B"], magnitude: Tensor, draw: Tensor, settings: Settings
) -> Tensor:
    """chosen: index into the policy's operations, -1 for none."""
    place = constant(plan.places, chosen.dtype, chosen.device)[chosen]
    order = torch.argsort(place, stable=True)
    counts = iter(torch.bincount(place, minlength=len(plan.places)).tolist())
    place, own_magnitude, own_draw = place[order], magnitude.index_select(0, order), draw[order]
    indices, work, start, first = [], [], 0, 0
    for family in plan.families:
        present, stop = {}, start
        for name in family.names:
            if count := next(counts):
                present[name] = slice(stop - start, stop - start + count)
                stop += count
        if present:
            part = slice(start, stop)
            indices.append(order[part])
            work.append((family, own_magnitude[part], place[part] - first, own_draw[part], present))
        start, first = stop, first + len(family.ops)
    if start < len(order):  # nothing happens to the rest
        indices.append(order[start:])
    parts = list(split(images, indices))
    for number, (family, *arguments) in enumerate(work):
        if family.mixes:  # needs every image in its place
            parts[number] = apply_op(family.ops[0], images, magnitude, draw, settings)[indices[number]]
        else:
            parts[number] = apply_family(family, parts[number], *arguments, settings)
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
        # The magnitude of another operation may be far outside this one's range: keep its numbers finite.
        own = torch.where(mine, magnitude, family.ops[0].low or 0.0)
        output = apply_family(family, images, own, member, draw, dict.fromkeys(family.names, everywhere), settings)
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

    slots[s][l][k] is the index into `ops` of each candidate, -1 where there is none. Differentiable in images, weights,
    gates and magnitudes. Costs one evaluation for every candidate of every stage of every sub-policy.
    """
    settings = Settings(fill, interpolation, images)
    signed = sample.magnitude * sample.sign
    mixed = torch.zeros_like(images)
    for s, stages in enumerate(slots):
        current = images
        for stage, candidates in enumerate(stages):
            weights = (sample.op[:, s, stage] * sample.gate[:, s, stage]).to(images.dtype)[..., None, None, None]
            blend = current
            for k, index in enumerate(candidates):
                if index < 0 or ops[index].kind == "identity":
                    continue
                output = apply_op(ops[index], current, signed[:, s, stage, k], sample.draw[:, stage], settings)
                blend = blend + weights[:, k] * (output - current)
            current = blend
        mixed = mixed + sample.subpolicy[:, s].to(images.dtype)[:, None, None, None] * current
    return mixed
