"""Draws of a policy as functions of its parameters, its tables and base draws; and the log-probability of a draw."""

import math
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from augrad.engines.numba.engine import at_hand
from augrad.errors import UserError
from augrad.ops.meaning import may_look
from augrad.policy.distributions import (
    HardNoise,
    RelaxedNoise,
    categorical,
    harden_bernoulli,
    harden_categorical,
    normal_log_probability,
    relaxed_bernoulli,
    relaxed_categorical,
    uniform_up_to_log_probability,
)
from augrad.policy.tables import Tables, at, of_chosen, row_of
from augrad.types import PolicyParams, PolicySample, RelaxedSample


class ScoreTerms(NamedTuple):
    """Log-probability of a hard draw, split by what was drawn; terms of what did not act are zero. Each [B]."""

    subpolicy: Float[Tensor, " B"]
    op: Float[Tensor, " B"]
    gate: Float[Tensor, " B"]
    magnitude: Float[Tensor, " B"]


def masked_op_logits(params: PolicyParams, tables: Tables) -> Float[Tensor, "S L K"]:
    """The op logits, with -1e30 where there is no candidate."""
    # A padded stage has no candidate at all: a finite filler keeps its softmax defined; its draw is the padding.
    return torch.where(tables.present, params.op_logits.to(torch.float64), -1e30)


def _magnitude(latent: Tensor, low: Tensor, high: Tensor, reach: Tensor) -> Tensor:
    return low + (high - low) * (torch.sigmoid(latent) * reach)


def _reach(uniform: Tensor, level: Tensor) -> Float[Tensor, "..."]:
    """The part of the drawn range that is the magnitude: all of it, or, where magnitudes are uniform up to it, that."""
    return torch.where(uniform, level, 1.0)


def _sign(signed: Tensor, uniform: Tensor) -> Float[Tensor, "..."]:
    return torch.where(signed & (uniform < 0.5), -1.0, 1.0).to(torch.float64)


class Entries(NamedTuple):
    """What decides on the magnitude and the operation of chosen candidates.

    row: where they are among all S * L * K. op: 0 where there is no candidate, which is not `there`. reach, sign: see
    `_reach` and `_sign`.
    """

    row: Int[Tensor, " BL"]
    op: Int[Tensor, "B L"]
    there: Bool[Tensor, "B L"]
    low: Float[Tensor, "B L"]
    high: Float[Tensor, "B L"]
    reach: Float[Tensor, "B L"]
    sign: Float[Tensor, "B L"]


def _look_up(tables: Tables, subpolicy: Tensor, slot: Tensor, noise: HardNoise) -> Entries:
    packed, level, of_sign = tables.packed, noise.level, noise.sign
    kernels = at_hand(float64=(packed,), float32=(level, of_sign), int64=(subpolicy, slot))
    if kernels is not None:
        return _entries(kernels.look_up(*_numbers(packed, subpolicy, slot, level, of_sign)))
    row = row_of(tables.present, subpolicy, slot)
    low, high, signed, uniform, one_more = packed.flatten(0, 2).index_select(0, row).view(*slot.shape, -1).unbind(-1)
    op = one_more.to(torch.int64) - 1
    return Entries(row, op.clamp(min=0), op >= 0, low, high, _reach(uniform > 0, level), _sign(signed > 0, of_sign))


def _numbers(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.numpy() for tensor in tensors)


def _entries(found: Iterable[np.ndarray]) -> Entries:
    return Entries(*map(torch.from_numpy, found))


def _weights(logits: Tensor, present: Tensor) -> Float[Tensor, "N L K"]:
    """Softmax of the op logits, up to a factor, 0 where there is no candidate."""
    # Neither softmax nor an index in brackets: for these few numbers, too, PyTorch wakes up all its threads for them.
    weights = torch.where(present, logits, -1e30)
    return (weights - weights.amax(-1, keepdim=True)).exp() * present


def _choose(
    params: PolicyParams, tables: Tables, noise: HardNoise, policies: int = 1
) -> tuple[Tensor, Tensor, Entries, float]:
    """subpolicy [B], slot [B, L], what the tables say of them, and NaN if one of the weights is that (where it can be
    looked at), else a number. policies: see `hard_draw`."""
    batch, _ = noise.slot.shape
    logits, present = params.op_logits.detach(), tables.present
    of_each = torch.softmax(params.subpolicy_logits.detach().view(policies, -1), 1)
    chances = of_each.flatten()
    if policies > 1 or len(logits) > batch:  # of many sub-policies only those that were drawn
        own = categorical(of_each.repeat_interleave(batch // policies, 0), noise.subpolicy)
        before = torch.arange(0, len(logits), len(logits) // policies, device=own.device)
        subpolicy = own + before.repeat_interleave(batch // policies)
        weights = _weights(logits.index_select(0, subpolicy), present.index_select(0, subpolicy))
        slot = categorical(weights, noise.slot)
    else:
        weights = _weights(logits, present)
        given, uniform = (chances, weights, tables.packed), (noise.subpolicy, noise.slot, noise.level, noise.sign)
        kernels = at_hand(float64=given, float32=uniform)
        if kernels is not None:
            subpolicy, slot, found, total = kernels.choose(*_numbers(*given, *uniform))
            return torch.from_numpy(subpolicy), torch.from_numpy(slot), _entries(found), total
        subpolicy = categorical(chances.expand(batch, -1), noise.subpolicy)
        slot = categorical(weights.index_select(0, subpolicy), noise.slot)
    total = float(chances.sum()) + float(weights.sum()) if may_look(chances) else 0.0
    return subpolicy, slot, _look_up(tables, subpolicy, slot, noise), total


def hard_draw(params: PolicyParams, tables: Tables, noise: HardNoise, layout: str, policies: int = 1) -> PolicySample:
    """The hard draw that `noise` determines. Raises UserError for parameters that are NaN, where they can be read.

    policies: how many `params` and `tables` hold, all over the same candidates, with their sub-policies one after
    another. `noise` has as many images for each of them, in that order; `subpolicy` counts within each.
    """
    subpolicy, slot, entries, total = _choose(params, tables, noise, policies)
    probability = torch.sigmoid(at(params.gate_logits.detach(), entries.row)).view(slot.shape)
    if may_look(probability) and math.isnan(total + float(probability.sum())):
        raise _no_numbers(params)
    own = subpolicy if policies == 1 else subpolicy % (len(tables.present) // policies)
    return _hard_draw_of(params, own, slot, noise.gate < probability, entries, noise, layout)


def _no_numbers(params: PolicyParams) -> UserError:
    """For a NaN among what decides on a draw: comparisons with it are false, and the draw would be the first candidate,
    or nothing."""
    strange = ", ".join(name for name, values in vars(params).items() if bool(values.isnan().any()))
    got = f"NaN in {strange}" if strange else "no finite weight of a stage"
    return UserError(
        f"policy: expected parameters that are numbers, got {got}; its training diverged, go back to parameters "
        "from before"
    )


class Fixed(NamedTuple):
    """What draws of one image need of parameters that do not change, as NumPy arrays."""

    chances: np.ndarray
    weights: np.ndarray
    packed: np.ndarray
    gate: np.ndarray
    location: np.ndarray
    scale: np.ndarray


def fixed(params: PolicyParams, tables: Tables) -> Fixed:
    """Of these parameters and tables, which are on the CPU."""
    of_each = (
        torch.softmax(params.subpolicy_logits, 0),
        _weights(params.op_logits, tables.present),
        tables.packed,
        params.gate_logits.sigmoid().flatten(),
        params.magnitude_locations.flatten(),
        params.magnitude_log_scales.exp().flatten(),
    )
    return Fixed(*(values.detach().numpy() for values in of_each))  # pyright: ignore[reportCallIssue]


def draw_alone(known: Fixed, noise: HardNoise) -> tuple[np.ndarray, np.ndarray] | None:
    """The operations [L, 1], -1 where none acts, and their magnitudes with signs, of `hard_draw` for one image.

    None where the compiled functions are not at hand, and where something is NaN, which `hard_draw` refuses in words.
    """
    uniform = noise.subpolicy, noise.slot, noise.level, noise.sign
    kernels = at_hand(float32=uniform)
    if kernels is None:
        return None
    _, _, found, total = kernels.choose(known.chances, known.weights, known.packed, *_numbers(*uniform))
    row, op, there, low, high, reach, sign = found
    latent = known.location[row] + known.scale[row] * noise.normal.numpy()[0]
    magnitude = _magnitude(*map(torch.from_numpy, (latent[None], low, high, reach))).numpy() * sign
    if math.isnan(total + float(known.gate[row].sum()) + float(magnitude.sum())):
        return None
    acts = (noise.gate.numpy()[0] < known.gate[row]) & there[0]
    return np.where(acts, op[0], -1)[:, None], magnitude.T.copy()


def hard_draw_with(
    params: PolicyParams, tables: Tables, subpolicy: Tensor, slot: Tensor, gate: Tensor, noise: HardNoise, layout: str
) -> PolicySample:
    """The hard draw with these choices [B], [B, L], [B, L], and magnitudes, signs and extra numbers by `noise`."""
    return _hard_draw_of(params, subpolicy, slot, gate, _look_up(tables, subpolicy, slot, noise), noise, layout)


def _hard_draw_of(
    params: PolicyParams, subpolicy: Tensor, slot: Tensor, gate: Tensor, entries: Entries, noise: HardNoise, layout: str
) -> PolicySample:
    row, op, there, low, high, reach, sign = entries
    scale = at(params.magnitude_log_scales, row).exp()
    latent = (at(params.magnitude_locations, row) + scale * noise.normal.flatten()).view(slot.shape)
    magnitude = _magnitude(latent, low, high, reach)
    return PolicySample(subpolicy, slot, op, gate & there, latent, magnitude, sign, noise.draw, layout)


def relaxed_draw(
    params: PolicyParams, tables: Tables, noise: RelaxedNoise, temperature: float, hard: bool, layout: str
) -> RelaxedSample:
    """The relaxed draw that `noise` determines."""
    subpolicy = relaxed_categorical(params.subpolicy_logits.expand_as(noise.subpolicy), noise.subpolicy, temperature)
    op = relaxed_categorical(masked_op_logits(params, tables).expand_as(noise.op), noise.op, temperature)
    gate = relaxed_bernoulli(params.gate_logits.expand_as(noise.gate), noise.gate, temperature)
    if hard:
        subpolicy, op, gate = harden_categorical(subpolicy), harden_categorical(op), harden_bernoulli(gate)
    latent = params.magnitude_locations + params.magnitude_log_scales.exp() * noise.normal
    magnitude = _magnitude(latent, tables.low, tables.high, _reach(tables.uniform, noise.level))
    sign = _sign(tables.signed, noise.sign)
    return RelaxedSample(subpolicy, op * tables.present, gate, latent, magnitude, sign, noise.draw, layout)


def hardened(tables: Tables, relaxed: RelaxedSample, layout: str) -> PolicySample:
    """The hard draw of the same noise: the largest weights, and the gates above one half."""
    subpolicy = relaxed.subpolicy.to(relaxed.op.dtype).argmax(-1)
    rows = torch.arange(len(relaxed), device=subpolicy.device)
    slot = relaxed.op[rows, subpolicy].argmax(-1)

    def chosen(values: Tensor) -> Tensor:
        return values[rows, subpolicy].gather(-1, slot[..., None])[..., 0]

    op = of_chosen(tables.op_index, subpolicy, slot)
    gate = (chosen(relaxed.gate) > 0.5) & (op >= 0)
    latent, magnitude, sign = chosen(relaxed.latent), chosen(relaxed.magnitude), chosen(relaxed.sign)
    return PolicySample(subpolicy, slot, op.clamp(min=0), gate, latent, magnitude, sign, relaxed.draw, layout)


_ROUNDING = 2 * torch.finfo(torch.float64).eps


def score_terms(params: PolicyParams, tables: Tables, sample: PolicySample) -> ScoreTerms:
    """log p of a hard draw, see `augrad.Policy.score_terms`."""
    present = tables.present[sample.subpolicy].any(-1)
    chosen = partial(of_chosen, subpolicy=sample.subpolicy, slot=sample.slot)
    op = torch.log_softmax(masked_op_logits(params, tables), -1)
    logit = chosen(params.gate_logits)
    gate = torch.where(sample.gate, nn.functional.logsigmoid(logit), nn.functional.logsigmoid(-logit))
    location, log_scale = chosen(params.magnitude_locations), chosen(params.magnitude_log_scales)
    scored, uniform = sample.gate & chosen(tables.scored_magnitude), chosen(tables.uniform)
    low, high = chosen(tables.low), chosen(tables.high)
    span = torch.where(scored, high - low, 1.0)
    # Of a range that does not begin at 0, what rounding may have added to the magnitude is not counted.
    rounding = _ROUNDING * (low / span).abs()
    fraction = ((sample.magnitude.detach() - low) / span - rounding).clamp(min=0.0)
    magnitude = normal_log_probability(sample.latent.detach(), location, log_scale, scored & ~uniform)
    magnitude = magnitude + uniform_up_to_log_probability(fraction, location, log_scale, scored & uniform)
    return ScoreTerms(
        subpolicy=torch.log_softmax(params.subpolicy_logits, 0)[sample.subpolicy],
        op=torch.where(present, chosen(op), 0.0).sum(-1),
        gate=torch.where(chosen(tables.scored_gate), gate, 0.0).sum(-1),
        magnitude=magnitude.sum(-1),
    )
