"""A policy's parameters as they are given to it, by values or by a state_dict, and as it keeps them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.errors import UserError
from augrad.layout import require_same_places, require_same_ranges
from augrad.ops.spec import Op
from augrad.policy.distributions import finite_parameters, is_impossible
from augrad.policy.slots import Grid, Slots, grid_of, slots_layout, slots_ranges
from augrad.types import PolicyParams


def parameters_like(slots: Slots) -> PolicyParams:
    """Zeros (uniform weights, even gates, middle magnitudes, scale 1) of the shape that `slots` need."""
    zeros = torch.zeros(grid_of(slots).shape, dtype=torch.float64)
    return PolicyParams(zeros[:, 0, 0], zeros, zeros, zeros, zeros)


def kept_parameters(params: PolicyParams, grid: Grid) -> dict[str, Tensor]:
    """The parameters by their names: float64, on the CPU, zeros where there is no candidate, and `CERTAIN` in the place
    of infinity.

    Raises UserError for parameters of other shapes, for NaN, and where no candidate of a choice has a weight above 0.
    """
    _require_shapes(params, grid.shape)
    kept = {}
    for name, tensor in vars(params).items():
        own = tensor.detach().to("cpu")
        own = finite_parameters(grid.values(own) if own.dim() == 3 else own)
        if bool(own.isnan().any()):
            raise UserError(f"policy: expected numbers, got NaN in {name}; find out where it comes from")
        kept[name] = grid.table(own) if tensor.dim() == 3 else own
    possible = ~is_impossible(grid.values(kept["op_logits"]))
    stages = grid.places // grid.shape[2]
    in_each = stages[possible].unique().numel() == stages.unique().numel()
    if bool(is_impossible(kept["subpolicy_logits"]).all()) or not in_each:
        raise UserError("policy: expected a weight above 0 in every choice, got none among those of a stage")
    return kept


def largest_entropy(grid: Grid, op_logits: Float[Tensor, "S L K"], subpolicy_logits: Float[Tensor, " S"]) -> float:
    """The largest entropy, in nats, of a choice among the sub-policies and among the candidates of each, less those
    whose weight is 0."""
    count, stages, width = grid.shape
    choices = torch.zeros(count * stages, dtype=torch.float64)
    choices.index_add_(0, grid.places // width, (~is_impossible(grid.values(op_logits))).to(torch.float64))
    ways = choices.clamp_min(1).log().unflatten(0, (count, stages)).sum(-1)
    return float(ways[~is_impossible(subpolicy_logits)].logsumexp(0))


def layout_state(ops: Sequence[Op], slots: Slots) -> Tensor:
    """The layout with its ranges as UTF-8, for a state_dict; in float64 like the rest, so that one can average all."""
    return torch.tensor(list(slots_ranges(ops, slots).encode()), dtype=torch.float64, device="cpu")


def require_layout_state(state: object, ops: Sequence[Op], slots: Slots) -> None:
    """Raise UserError unless `state` is the `layout_state` of a policy with these operations and ranges by place."""
    if not isinstance(state, Tensor):
        raise UserError(f"state_dict: expected _extra_state to be the layout of a policy, got {state!r:.60}")
    layout = bytes(state.round().to(torch.uint8).tolist()).decode(errors="replace")
    expected = "state_dict: expected parameters of a policy over this one's"
    advice = "load it into a policy over the same"
    require_same_places(layout, slots_layout(ops, slots), f"{expected} operations", f"{advice} operations")
    require_same_ranges(layout, slots_ranges(ops, slots), f"{expected} ranges", f"{advice} ranges")


def loaded_parameters(state_dict: Mapping[str, Any], prefix: str) -> dict[str, Tensor]:
    """The parameters of a state_dict by their keys, as a policy keeps them. Raises UserError for NaN."""
    found = {}
    for name in PolicyParams.names():
        if isinstance(value := state_dict.get(f"{prefix}{name}"), Tensor):
            if value.device.type == "cpu" and bool(value.isnan().any()):
                raise UserError(f"state_dict: expected numbers, got NaN in {prefix}{name}; its training diverged")
            found[f"{prefix}{name}"] = finite_parameters(value)  # those of older versions hold infinities
    return found


def _require_shapes(params: object, shape: tuple[int, int, int]) -> None:
    if not isinstance(params, PolicyParams):
        raise UserError(
            f"policy: expected PolicyParams, got {type(params).__name__}; "
            "augrad.policy.parameters_like(slots) makes them"
        )
    for name, tensor in vars(params).items():
        expected = shape[:1] if name == "subpolicy_logits" else shape
        fits = isinstance(tensor, Tensor) and tensor.layout == torch.strided and not tensor.is_complex()
        if not fits or tuple(tensor.shape) != expected:
            got = f"{tensor.dtype} {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise UserError(f"policy: expected parameters {name} as a tensor of numbers {expected}, got {got}")
