"""Draws of a policy as functions of its parameters, its tables and base draws; and the log-probability of a draw."""

import math
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

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


def _magnitude(latent: Tensor, level: Tensor, low: Tensor, high: Tensor, uniform: Tensor) -> Tensor:
    fraction = torch.sigmoid(latent)
    return low + (high - low) * torch.where(uniform, fraction * level, fraction)


def hard_draw(params: PolicyParams, tables: Tables, noise: HardNoise, layout: str) -> PolicySample:
    """The hard draw that `noise` determines. Raises UserError for parameters that are NaN, where they can be read."""
    batch, _ = noise.slot.shape
    chances = torch.softmax(params.subpolicy_logits.detach(), 0)
    subpolicy = categorical(chances.expand(batch, -1), noise.subpolicy)
    # Softmax of the op logits, up to a factor. Neither softmax nor an index in brackets: for these few numbers, too,
    # PyTorch wakes up all its threads for them.
    logits, present = params.op_logits.detach(), tables.present
    drawn_first = len(logits) > batch  # of many sub-policies only those that were drawn
    if drawn_first:
        logits, present = logits.index_select(0, subpolicy), present.index_select(0, subpolicy)
    weights = torch.where(present, logits, -1e30)
    weights = (weights - weights.amax(-1, keepdim=True)).exp() * present
    slot = categorical(weights if drawn_first else weights.index_select(0, subpolicy), noise.slot)
    probability = torch.sigmoid(of_chosen(params.gate_logits.detach(), subpolicy, slot))
    _require_numbers(params, chances, weights, probability)
    return hard_draw_with(params, tables, subpolicy, slot, noise.gate < probability, noise, layout)


def _require_numbers(params: PolicyParams, *chances: Tensor) -> None:
    """Raise UserError, where it can be looked at, for a NaN among what decides on a draw: comparisons with it are
    false, and the draw would be the first candidate, or nothing."""
    if not may_look(chances[0]) or not math.isnan(sum(float(chance.sum()) for chance in chances)):
        return
    if any(bool(chance.isnan().any()) for chance in chances):  # not only their sum, of infinities
        strange = ", ".join(name for name, values in vars(params).items() if bool(values.isnan().any()))
        got = f"NaN in {strange}" if strange else "no finite weight of a stage"
        raise UserError(
            f"policy: expected parameters that are numbers, got {got}; its training diverged, go back to parameters "
            "from before"
        )


def hard_draw_with(
    params: PolicyParams, tables: Tables, subpolicy: Tensor, slot: Tensor, gate: Tensor, noise: HardNoise, layout: str
) -> PolicySample:
    """The hard draw with these choices [B], [B, L], [B, L], and magnitudes, signs and extra numbers by `noise`."""
    row = row_of(tables.packed, subpolicy, slot)
    low, high, signed, uniform, one_more = at(tables.packed, row).unbind(-1)
    latent = at(params.magnitude_locations, row) + at(params.magnitude_log_scales, row).exp() * noise.normal
    magnitude = _magnitude(latent, noise.level, low, high, uniform > 0)
    sign = torch.where((signed > 0) & (noise.sign < 0.5), -1.0, 1.0).to(torch.float64)
    op = one_more.to(torch.int64) - 1
    return PolicySample(subpolicy, slot, op.clamp(min=0), gate & (op >= 0), latent, magnitude, sign, noise.draw, layout)


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
    magnitude = _magnitude(latent, noise.level, tables.low, tables.high, tables.uniform)
    sign = torch.where(tables.signed & (noise.sign < 0.5), -1.0, 1.0).to(torch.float64)
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
    fraction = (sample.magnitude.detach() - low) / torch.where(scored, high - low, 1.0)
    magnitude = normal_log_probability(sample.latent.detach(), location, log_scale, scored & ~uniform)
    magnitude = magnitude + uniform_up_to_log_probability(fraction, location, log_scale, scored & uniform)
    return ScoreTerms(
        subpolicy=torch.log_softmax(params.subpolicy_logits, 0)[sample.subpolicy],
        op=torch.where(present, chosen(op), 0.0).sum(-1),
        gate=torch.where(chosen(tables.scored_gate), gate, 0.0).sum(-1),
        magnitude=magnitude.sum(-1),
    )
