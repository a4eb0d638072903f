"""Policies that searches start from, and random policies to compare learned ones with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from augrad.checks import Seed, checked
from augrad.devices import made_on_cpu
from augrad.errors import UserError
from augrad.ops.space import Interpolation, Space, checked_resampling, make_space, named
from augrad.policy.distributions import CERTAIN
from augrad.policy.learnable import learnable
from augrad.policy.parameters import parameters_like
from augrad.policy.policy import Policy
from augrad.policy.required import require_policy
from augrad.policy.slots import (
    MOST_STAGES,
    MOST_SUBPOLICIES,
    Learnable,
    Magnitude,
    Slot,
    Slots,
)

_PARAMETER = {
    "subpolicies": "subpolicy_logits",
    "ops": "op_logits",
    "gates": "gate_logits",
    "magnitudes": "magnitude_locations",
    "magnitude_scales": "magnitude_log_scales",
}


@checked
def initial_policy(
    space: Space,
    subpolicies: Annotated[int, Field(ge=1, le=MOST_SUBPOLICIES)] = 1,
    stages: Annotated[int, Field(ge=1, le=MOST_STAGES)] = 1,
    probability: float = 0.75,
    magnitude: Magnitude = "logit_normal",
    level: float = 0.5,
    scale: float = 1.0,
    learn: Sequence[Learnable] = ("subpolicies", "ops", "gates", "magnitudes"),
    jitter: float = 0.1,
    seed: Seed = 0,
) -> Policy:
    """A policy that chooses evenly among all operations of `space` in every stage; see `Policy.over`.

    subpolicies, stages: S and L. probability: of applying what was chosen, in [0, 1]; operations without effect aside;
    0 (never) and 1 (always) have no gradient and stay. magnitude: "logit_normal", around `level` (a fraction of the
    range in (0, 1)) with spread `scale`; "uniform" from the range's start up to such a draw; "point", exactly `level`.
    learn: what gets a gradient; the rest stays as it is. jitter: standard deviation of the sub-policies' initial op
    logits, which tells sub-policies apart (unused when there is one). seed: of the jitter.
    Raises UserError for values outside these ranges.
    """
    if not 0 <= jitter <= _STRONGEST_JITTER:
        raise UserError(f"policy: expected jitter from 0 to {_STRONGEST_JITTER:g}, got {jitter}")
    stage = _slots_of(space, magnitude)
    slots = ((stage,) * stages,) * subpolicies
    return _started(space, slots, probability, magnitude, level, scale, learn, jitter if subpolicies > 1 else 0.0, seed)


@checked
def pair_policy(
    space: Space,
    probability: float = 0.5,
    magnitude: Magnitude = "logit_normal",
    level: float = 0.5,
    scale: float = 1.0,
    learn: Sequence[Learnable] = ("subpolicies", "gates", "magnitudes"),
    seed: Seed = 0,
) -> Policy:
    """A policy with one sub-policy for each pair of different operations of `space`, evenly weighted (DADA, Li et al.
    2020): K (K - 1) / 2 of them, the two in the order of the space, each a stage without a choice.

    The arguments are those of `initial_policy`; seed decides nothing. Raises UserError for values outside their ranges
    and for a space of a single operation.
    """
    stage = _slots_of(space, magnitude)
    if len(stage) < 2:
        raise UserError("policy: expected a space of at least two operations to make pairs of, got one")
    slots = tuple(((first,), (second,)) for first, second in combinations(stage, 2))
    return _started(space, slots, probability, magnitude, level, scale, learn, 0.0, seed)


@checked
def uniform_policy(
    space: Space,
    subpolicies: Annotated[int, Field(ge=1, le=MOST_SUBPOLICIES)] = 1,
    stages: Annotated[int, Field(ge=1, le=MOST_STAGES)] = 1,
    width: float = 1.0,
    magnitude: Magnitude = "logit_normal",
    scale: float = 1.0,
    learn: Sequence[Learnable] = ("subpolicies", "ops", "gates", "magnitudes"),
    seed: Seed = 0,
) -> Policy:
    """A policy whose numbers are drawn evenly: probabilities and levels from 0 to 1, op logits from 0 to `width`.

    Faster AutoAugment, Hataya et al. 2020, starts so: with softmax(w / 0.05) and w uniform in 0..1, `width` is 20.
    Sub-policies are evenly weighted. The other arguments are those of `initial_policy`; seed: of the draws. Raises
    UserError for values outside their ranges, and for a width that is negative or not finite.
    """
    if not 0 <= width < math.inf:
        raise UserError(f"policy: expected a finite width of at least 0, got {width}")
    policy = initial_policy(space, subpolicies, stages, magnitude=magnitude, scale=scale, learn=learn, jitter=0.0)
    generator = torch.Generator().manual_seed(seed)
    return _with_free(
        policy,
        {
            "op_logits": width * _uniform(policy.op_logits, generator),
            "gate_logits": torch.logit(_uniform(policy.gate_logits, generator)),
            "magnitude_locations": torch.logit(_uniform(policy.magnitude_locations, generator)),
        },
    )


def space_of(given: Any, interpolation: Interpolation | None = None, fill: float | None = None) -> Space:
    """A space, from a space, a mapping of operations to their options, or the names of operations.

    interpolation, fill: of the space that comes back; None: as `given` says. Raises UserError for anything else, and
    for a name that comes twice.
    """
    space = given
    if isinstance(given, Sequence) and not isinstance(given, str):
        given = [named(one) for one in given]
        if len(set(map(repr, given))) < len(given):
            raise UserError(f"space: expected each operation once, got {', '.join(map(str, given))}")
        if strange := [name for name in given if not isinstance(name, str)]:
            raise UserError(f"space: expected names of operations, got {strange[0]!r}")
        space = make_space(dict.fromkeys(given))
    elif isinstance(given, Mapping):
        space = make_space(given)
    if not isinstance(space, Space):
        raise UserError(
            f"space: expected a Space, a mapping such as {{'rotate': {{'high': 20.0}}}} or names of operations, "
            f"got {given!r:.200}"
        )
    interpolation = space.interpolation if interpolation is None else interpolation
    fill = space.fill if fill is None else fill
    try:
        interpolation, fill = checked_resampling(interpolation, fill)
    except UserError as error:
        raise UserError(f"space: {error}") from None
    return replace(space, interpolation=interpolation, fill=fill)


def _slots_of(space: Space, magnitude: Magnitude) -> tuple[Slot, ...]:
    if not isinstance(space, Space):
        raise UserError(f"policy: expected a Space, got {space!r}; augrad.Policy.over takes names and mappings, too")
    return tuple(
        Slot(
            index,
            candidate.low or 0.0,
            candidate.high or 0.0,
            candidate.signed,
            magnitude == "uniform" and candidate.op.has_magnitude,
        )
        for index, candidate in enumerate(space.candidates)
    )


_STRONGEST_JITTER = 1000.0
"""Of logits: beyond, one operation is certain, and nothing is learned of the others."""


@made_on_cpu
def _started(
    space: Space,
    slots: Slots,
    probability: float,
    magnitude: Magnitude,
    level: float,
    scale: float,
    learn: Sequence[Learnable],
    jitter: float,
    seed: int,
) -> Policy:
    if not 0 <= probability <= 1:
        raise UserError(f"policy: expected probability from 0 to 1, got {probability}")
    if not 0 < level < 1:
        raise UserError(f"policy: expected level strictly between 0 and 1, got {level}")
    if not scale > 0:
        raise UserError(
            f"policy: expected scale above 0 and finite, got {scale}; for fixed magnitudes use magnitude=point"
        )
    params = parameters_like(slots)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(params.op_logits.shape, dtype=torch.float64, generator=generator, device="cpu")
    log_scale = -CERTAIN if magnitude == "point" else math.log(scale)
    params = replace(
        params,
        op_logits=params.op_logits + jitter * noise.to(params.op_logits),
        gate_logits=torch.full_like(params.gate_logits, _logit(probability)),
        magnitude_locations=torch.full_like(params.magnitude_locations, _logit(level)),
        magnitude_log_scales=torch.full_like(params.magnitude_log_scales, log_scale),
    )
    policy = Policy([candidate.op for candidate in space.candidates], slots, params, space.interpolation, space.fill)
    learned = {_PARAMETER[name] for name in learn}
    for name, parameter in policy.named_parameters():
        parameter.requires_grad_(name in learned)
    return policy


def _logit(probability: float) -> float:
    if probability in (0, 1):
        return CERTAIN if probability else -CERTAIN
    return math.log(probability / (1 - probability))


def even_policy(policy: Policy, probability: float = 0.75, level: float = 0.5, scale: float = 1.0) -> Policy:
    """A policy over the same candidates, stages and sub-policies that chooses evenly: where `initial_policy` starts.

    The arguments are those of `initial_policy`; what `policy` fixes stays as it is.
    """
    require_policy(policy, "even_policy")
    values = {
        "subpolicy_logits": 0.0,
        "op_logits": 0.0,
        "gate_logits": _logit(probability),
        "magnitude_locations": _logit(level),
        "magnitude_log_scales": math.log(scale),
    }
    moves = learnable(policy)
    parameters = {name: parameter.detach() for name, parameter in policy.named_parameters()}
    even = {name: torch.where(moves[name], value, parameters[name]) for name, value in values.items()}
    return policy.with_params(replace(policy.params, **even))


@checked
def random_policy(policy: Policy, seed: Seed) -> Policy:
    """A policy over the same candidates drawn at random.

    Weights are flat on the simplex, probabilities and levels uniform in (0, 1); what `policy` fixes stays as it is, and
    so does what is learned (`requires_grad`). Raises UserError for what is no policy.
    """
    require_policy(policy, "random_policy")
    generator = torch.Generator().manual_seed(seed)
    return _with_free(
        policy,
        {
            "subpolicy_logits": torch.log(-torch.log(_uniform(policy.subpolicy_logits, generator))),
            "op_logits": torch.log(-torch.log(_uniform(policy.op_logits, generator))),
            "gate_logits": torch.logit(_uniform(policy.gate_logits, generator)),
            "magnitude_locations": torch.logit(_uniform(policy.magnitude_locations, generator)),
        },
    )


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers from 0 to 1, without either, on the CPU."""
    return torch.rand(like.shape, generator=generator, dtype=torch.float64, device="cpu").clamp(1e-6, 1 - 1e-6)


def _with_free(policy: Policy, drawn: Mapping[str, Tensor]) -> Policy:
    """The policy with these numbers, on the CPU, where they can be learned; what is fixed stays as it is."""
    params, moves = policy.params.map(lambda tensor: tensor.detach().cpu()), learnable(policy)
    free = {name: torch.where(moves[name].cpu(), new, getattr(params, name)) for name, new in drawn.items()}
    return policy.with_params(replace(params, **free))
