"""The policy: the module that has the parameters. It draws, applies its draws, and gives their log-probabilities."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.utils.data
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from augrad.checks import require_count, require_flag, require_number
from augrad.engines.apply import apply_hard, apply_relaxed, check_magnitudes, limits_of
from augrad.engines.choice import plan_of
from augrad.errors import UserError
from augrad.layout import require_same_operations, require_same_places, require_same_ranges
from augrad.ops import with_shape
from augrad.ops.given import fractions_hold
from augrad.ops.meaning import may_look
from augrad.ops.numeric import check_images
from augrad.ops.space import Interpolation, Space, checked_resampling
from augrad.ops.spec import Op
from augrad.ops.targets import Augmented, check_targets, move_targets
from augrad.policy.distributions import (
    HardNoise,
    RelaxedNoise,
    categorical,
    draw_hard_noise,
    draw_relaxed_noise,
    entropy,
    finite_parameters,
    harden_bernoulli,
    harden_categorical,
    is_impossible,
    normal_log_probability,
    relaxed_bernoulli,
    relaxed_categorical,
    require_generator,
    uniform_up_to_log_probability,
)
from augrad.policy.slots import (
    Learnable,
    Magnitude,
    Slot,
    Slots,
    checked_slots,
    grid_of,
    largest_entropy,
    parameters_like,
    slots_layout,
    slots_ranges,
)
from augrad.types import Drawn, PolicyParams, PolicySample, RelaxedSample

__all__ = ["Policy", "ScoreTerms", "Slot", "Slots", "parameters_like"]


_WORKED_OUT = ("_plan", "_limits", "_arrangement")
"""What a policy works out of its operations: not pickled. (Older versions pickled it, the last one by that name.)"""


class ScoreTerms(NamedTuple):
    """Log-probability of a hard draw, split by what was drawn; terms of what did not act are zero. Each [B]."""

    subpolicy: Float[Tensor, " B"]
    op: Float[Tensor, " B"]
    gate: Float[Tensor, " B"]
    magnitude: Float[Tensor, " B"]


class Policy(nn.Module):
    """A distribution over augmentations: S sub-policies of L stages, each stage one of K candidates.

    `policy(images)` draws for every image on its own and applies the draw: images [B, C, H, W], float in [0, 1] or
    uint8, any device. Parameters are unbounded, see `PolicyParams`, and float64 for good (a few hundred numbers, so
    that draws do not depend on the images' type and files round-trip exactly): `to(dtype)`, `half` and their like,
    called here or on a model around the policy, move it and leave its types alone. `provenance` travels with the policy
    into its file.

    Randomness is as in the rest of PyTorch. With `generator=` everything comes from it, and nothing else is touched.
    Without, each call takes one number from the global generator of the CPU, and draws from a stream that begins there:
    `torch.manual_seed` starts the same augmentations again, the saved state of that generator (`get_rng_state`,
    `fork_rng`, `torch.utils.checkpoint`) brings them back, and two policies or two calls are independent. Each process
    has a global generator of its own: the workers of a data loader are seeded apart, ranks of a distributed run draw
    alike only if they are seeded alike.
    """

    subpolicy_logits: nn.Parameter
    op_logits: nn.Parameter
    gate_logits: nn.Parameter
    magnitude_locations: nn.Parameter
    magnitude_log_scales: nn.Parameter
    op_index: Tensor
    low: Tensor
    high: Tensor
    signed: Tensor
    uniform: Tensor
    fixed: Tensor
    present: Tensor
    scored_gate: Tensor
    scored_magnitude: Tensor

    def __init__(
        self,
        ops: Sequence[Op],
        slots: Slots,
        params: PolicyParams,
        interpolation: Interpolation = "bilinear",
        fill: float = 0.0,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        """ops: the different operations. slots: [S][L][K] candidates. params: initial values, shape [S] and [S, L, K]
        with L and K the largest numbers of stages and candidates (what is missing is padded with zeros).

        An infinite value says what is certain, and is kept as `augrad.policy.distributions.CERTAIN`. Raises UserError
        for operations, slots and parameters that do not fit each other, and for parameters that are NaN.
        """
        super().__init__()
        interpolation, fill = checked_resampling(interpolation, fill)
        slots = checked_slots(ops, slots)
        grid = grid_of(slots)
        self.ops, self.slots = tuple(ops), slots
        self.interpolation: Interpolation = interpolation
        self.fill = fill
        if not isinstance(provenance, Mapping | None):
            raise UserError(f"policy: expected provenance as a dictionary, got {type(provenance).__name__}")
        self.provenance: dict[str, Any] = dict(provenance or {})
        self._plan = plan_of(self.ops)
        self._limits = limits_of(self.ops)
        self.layout = slots_layout(self.ops, slots)
        """Which operation is where: what a draw that is replayed must agree with."""
        self._slot_table = [[[slot.op for slot in stage] for stage in subpolicy] for subpolicy in slots]

        def table(read: Any, dtype: torch.dtype) -> Tensor:
            return grid.table(grid.of_each(read, dtype))

        identity = next((index for index, op in enumerate(ops) if op.kind == "identity"), -1)
        of_places = grid.of_each(lambda slot: slot.op, torch.int64)
        # Constants, and no buffers: averages over a module's buffers are to leave them alone.
        self.op_index = grid.table(of_places, padding=-1)
        self.low = table(lambda slot: slot.low, torch.float64)
        self.high = table(lambda slot: slot.high, torch.float64)
        self.signed = table(lambda slot: slot.signed, torch.bool)
        self.uniform = table(lambda slot: slot.uniform, torch.bool)
        # One more than the operation, so that zero is none.
        self.fixed = table(lambda slot: (slot.low, slot.high, slot.signed, slot.uniform, slot.op + 1), torch.float64)
        self.present = table(lambda slot: True, torch.bool)
        self.scored_gate = table(lambda slot: slot.op != identity, torch.bool)
        moving = table(lambda slot: ops[slot.op].has_magnitude and slot.low != slot.high, torch.bool)
        self.scored_magnitude = moving
        _require_params(params, self.shape)
        for name, tensor in zip(PolicyParams.names(), params.tensors(), strict=True):
            own = tensor.detach().to("cpu")
            own = finite_parameters(grid.values(own) if own.dim() == 3 else own)
            if bool(own.isnan().any()):
                raise UserError(f"policy: expected numbers, got NaN in {name}; find out where it comes from")
            self.register_parameter(name, nn.Parameter(grid.table(own) if tensor.dim() == 3 else own))
        possible = [~is_impossible(grid.values(self.op_logits)), ~is_impossible(self.subpolicy_logits)]
        rows = grid.places // self.shape[2]
        if not possible[1].any() or rows[possible[0]].unique().numel() < rows.unique().numel():
            raise UserError("policy: expected a weight above 0 in every choice, got none among those of a stage")
        self.max_selection_entropy = largest_entropy(grid, *possible)
        """The largest value of `selection_entropy`, with weights that are not fixed at 0."""

    @staticmethod
    def over(
        space: Space | Mapping[str, Any] | Sequence[str],
        *,
        subpolicies: int = 1,
        stages: int = 1,
        probability: float = 0.75,
        magnitude: Magnitude = "logit_normal",
        level: float = 0.5,
        scale: float = 1.0,
        learn: Sequence[Learnable] = ("subpolicies", "ops", "gates", "magnitudes"),
        jitter: float = 0.1,
        seed: int = 0,
        interpolation: Interpolation | None = None,
        fill: float | None = None,
    ) -> "Policy":
        """A policy that chooses evenly among the operations of a space: an augmentation as it is, or a search's start.

        space: an `augrad.Space`; the names of operations; or a mapping of names to what is changed of an operation's
        range, as in `{"rotate": {"high": 20.0}, "color": None}` (see `augrad.ops.space.make_space`).
        subpolicies: how many there are, of which one is drawn for each image. stages: how many operations an image
        undergoes, one after another. probability: that a chosen operation is applied, from 0 to 1.
        magnitude: "logit_normal", the magnitude is low + (high - low) * sigmoid(n), n normal with standard deviation
        `scale` around the point where that is `level` of the range; "uniform", it is uniform from low up to such a
        point; "point", it is always the point at `level`. level: in (0, 1). scale: above 0.
        learn: which groups of parameters a search changes. jitter: standard deviation of the operations' first logits
        in each sub-policy, without which all sub-policies would stay alike; unused with one. seed: of the jitter.
        interpolation ("bilinear" or "nearest"), fill (in [0, 1]): how resampling interpolates, and the value of pixels
        from outside the image; None: as the space says, which is bilinear and 0 unless it says otherwise.
        Raises UserError for unknown operations and for values out of range.
        """
        from augrad.policy.initial import initial_policy, space_of

        found = space_of(space, interpolation, fill)
        return initial_policy(found, subpolicies, stages, probability, magnitude, level, scale, learn, jitter, seed)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, L, K): sub-policies, stages, candidates of a stage."""
        subpolicies, stages, width = self.op_index.shape
        return subpolicies, stages, width

    @property
    def extra_draws(self) -> int:
        """D: how many extra uniform numbers the operations may need."""
        return max([0, *(op.draws for op in self.ops)])

    @property
    def params(self) -> PolicyParams:
        """The parameters as one value (the live tensors, not copies)."""
        return PolicyParams(
            self.subpolicy_logits,
            self.op_logits,
            self.gate_logits,
            self.magnitude_locations,
            self.magnitude_log_scales,
        )

    def extra_repr(self) -> str:
        subpolicies, stages, width = self.shape
        names = ", ".join(op.name for op in self.ops)
        return f"{subpolicies} sub-policies x {stages} stages x {width} candidates of ({names})"

    # --- what it is as a module --------------------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Policy":
        def moved(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        for name in _TABLES:
            setattr(self, name, moved(getattr(self, name)))
        return super()._apply(moved, recurse)

    def get_extra_state(self) -> Tensor:
        """The layout with its ranges as UTF-8, for the state_dict; in float64 like the rest, so that one can average
        them all."""
        layout = slots_ranges(self.ops, self.slots)
        return torch.tensor(list(layout.encode()), dtype=torch.float64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Raise UserError if `state` is the layout of a policy with other operations, or with another one, or another
        range, in a place."""
        if not isinstance(state, Tensor):
            raise UserError(f"state_dict: expected _extra_state to be the layout of a policy, got {state!r:.60}")
        layout = bytes(state.round().to(torch.uint8).tolist()).decode(errors="replace")
        expected = "state_dict: expected parameters of a policy over this one's operations"
        require_same_places(layout, self.layout, expected, "load it into a policy over the same operations")
        expected = "state_dict: expected parameters of a policy over this one's ranges"
        own = slots_ranges(self.ops, self.slots)
        require_same_ranges(layout, own, expected, "load it into a policy over the same ranges")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        layout = state_dict.setdefault(f"{prefix}_extra_state", self.get_extra_state())  # older ones have none
        self.set_extra_state(layout)  # first: a state_dict that is refused changes nothing
        for name in PolicyParams.names():
            if isinstance(value := state_dict.get(f"{prefix}{name}"), Tensor):
                if value.device.type == "cpu" and bool(value.isnan().any()):
                    raise UserError(f"state_dict: expected numbers, got NaN in {prefix}{name}; its training diverged")
                state_dict[f"{prefix}{name}"] = finite_parameters(value)  # those of older versions hold infinities
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({key: value for key, value in state.items() if key not in _WORKED_OUT})
        self.ops = tuple(with_shape(op) for op in self.ops)
        self.layout = slots_layout(self.ops, self.slots)  # older versions pickled none
        self._limits, self._plan = limits_of(self.ops), plan_of(self.ops)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in _WORKED_OUT}

    # --- distributions -----------------------------------------------------------------------------------------------

    def masked_op_logits(self) -> Float[Tensor, "S L K"]:
        """The op logits, with -1e30 where there is no candidate."""
        # A padded stage has no candidate at all: a finite filler keeps its softmax defined; its draw is the padding.
        return torch.where(self.present, self.op_logits.to(torch.float64), -1e30)

    def subpolicy_probabilities(self) -> Float[Tensor, " S"]:
        """Weight of each sub-policy."""
        return torch.softmax(self.subpolicy_logits, 0)

    def op_probabilities(self) -> Float[Tensor, "S L K"]:
        """Weight of each candidate within its stage (zero where there is none)."""
        return torch.softmax(self.masked_op_logits(), -1) * self.present

    def gate_probabilities(self) -> Float[Tensor, "S L K"]:
        """Probability that a chosen candidate is applied."""
        return torch.sigmoid(self.gate_logits)

    def _magnitude(self, latent: Tensor, level: Tensor, low: Tensor, high: Tensor, uniform: Tensor) -> Tensor:
        fraction = torch.sigmoid(latent)
        return low + (high - low) * torch.where(uniform, fraction * level, fraction)

    # --- draws -------------------------------------------------------------------------------------------------------

    def draw_noise(self, batch_size: int, generator: torch.Generator | None = None) -> HardNoise:
        """Base draws for `sample_from`."""
        return draw_hard_noise(batch_size, self.shape[1], self.extra_draws, generator, self.low.device)

    def draw_relaxed_noise(self, batch_size: int, generator: torch.Generator | None = None) -> RelaxedNoise:
        """Base draws for `rsample_from`."""
        return draw_relaxed_noise(batch_size, self.shape, self.extra_draws, generator, self.low.device)

    def sample(
        self, batch_size: int, generator: torch.Generator | None = None, same_on_batch: bool = False
    ) -> PolicySample:
        """A hard draw for each of `batch_size` images (one draw for all with `same_on_batch`).

        Magnitudes carry gradients to locations and scales; everything else is discrete.
        """
        require_count(batch_size, "a batch size")
        noise = self.draw_noise(1 if same_on_batch else batch_size, generator)
        sample = self.sample_from(noise)
        return sample.expand(batch_size) if same_on_batch else sample

    def sample_from(self, noise: HardNoise) -> PolicySample:
        """The hard draw that `noise` determines."""
        batch, _ = noise.slot.shape
        subpolicy = categorical(self.subpolicy_probabilities().detach().expand(batch, -1), noise.subpolicy)
        # As op_probabilities, up to a factor. Neither softmax nor an index in brackets: for these few numbers, too,
        # PyTorch wakes up all its threads for them.
        logits, present = self.op_logits.detach(), self.present
        drawn_first = self.shape[0] > batch  # of many sub-policies only those that were drawn
        if drawn_first:
            logits, present = logits.index_select(0, subpolicy), present.index_select(0, subpolicy)
        weights = torch.where(present, logits, -1e30)
        weights = (weights - weights.amax(-1, keepdim=True)).exp() * present
        slot = categorical(weights if drawn_first else weights.index_select(0, subpolicy), noise.slot)
        probability = torch.sigmoid(self._of_chosen(self.gate_logits.detach(), subpolicy, slot))
        self._require_numbers(self.subpolicy_logits.detach(), weights, probability)
        return self.sample_with(subpolicy, slot, noise.gate < probability, noise)

    def _require_numbers(self, *chances: Tensor) -> None:
        """Raise UserError, where it can be looked at, for a NaN among what decides on a draw: comparisons with it are
        false, and the draw would be the first candidate, or nothing."""
        if not may_look(chances[0]):
            return
        if math.isnan(sum(float(chance.sum()) for chance in chances)) and any(
            bool(chance.isnan().any()) for chance in chances
        ):
            strange = ", ".join(name for name, values in vars(self.params).items() if bool(values.isnan().any()))
            got = f"NaN in {strange}" if strange else "no finite weight of a stage"
            raise UserError(
                f"a policy: expected parameters that are numbers, got {got}; its training diverged, go back to "
                "parameters from before"
            )

    def sample_with(self, subpolicy: Tensor, slot: Tensor, gate: Tensor, noise: HardNoise) -> PolicySample:
        """The hard draw with these choices [B], [B, L], [B, L], and magnitudes, signs and extra numbers by `noise`."""
        row = self._row(subpolicy, slot)
        low, high, signed, uniform, one_more = self._at(self.fixed, row).unbind(-1)
        scale = self._at(self.magnitude_log_scales, row).exp()
        latent = self._at(self.magnitude_locations, row) + scale * noise.normal
        magnitude = self._magnitude(latent, noise.level, low, high, uniform > 0)
        sign = torch.where((signed > 0) & (noise.sign < 0.5), -1.0, 1.0).to(torch.float64)
        op = one_more.to(torch.int64) - 1
        gate = gate & (op >= 0)
        return PolicySample(subpolicy, slot, op.clamp(min=0), gate, latent, magnitude, sign, noise.draw, self.layout)

    def _row(self, subpolicy: Tensor, slot: Tensor) -> Tensor:
        """Where the chosen candidates [B, L] are among all S * L * K."""
        _, stages, width = self.shape
        row = torch.arange(0, stages * width, width, device=slot.device) + slot
        return row + (stages * width) * subpolicy[:, None]

    def _at(self, table: Shaped[Tensor, "S L K *features"], row: Tensor) -> Tensor:
        return table.flatten(0, 2).index_select(0, row.flatten()).unflatten(0, row.shape)

    def _of_chosen(self, table: Shaped[Tensor, "S L K *features"], subpolicy: Tensor, slot: Tensor) -> Tensor:
        """The entries [B, L, ...] of the chosen candidates."""
        return self._at(table, self._row(subpolicy, slot))

    def rsample(
        self, batch_size: int, temperature: float = 0.5, hard: bool = False, generator: torch.Generator | None = None
    ) -> RelaxedSample:
        """A relaxed (Gumbel-softmax) draw for each image, with gradients to every parameter.

        temperature > 0: towards 0 draws become one-hot and gradients wild. hard: straight-through, one-hot in the
        forward pass.
        """
        require_number(temperature, "a temperature", above=0.0)
        require_flag(hard, "hard")
        require_count(batch_size, "a batch size")
        return self.rsample_from(self.draw_relaxed_noise(batch_size, generator), temperature, hard)

    def rsample_from(self, noise: RelaxedNoise, temperature: float, hard: bool = False) -> RelaxedSample:
        """The relaxed draw that `noise` determines."""
        params = self.params
        subpolicy = relaxed_categorical(
            params.subpolicy_logits.expand_as(noise.subpolicy), noise.subpolicy, temperature
        )
        op = relaxed_categorical(self.masked_op_logits().expand_as(noise.op), noise.op, temperature)
        gate = relaxed_bernoulli(params.gate_logits.expand_as(noise.gate), noise.gate, temperature)
        if hard:
            subpolicy, op, gate = harden_categorical(subpolicy), harden_categorical(op), harden_bernoulli(gate)
        latent = params.magnitude_locations + params.magnitude_log_scales.exp() * noise.normal
        magnitude = self._magnitude(latent, noise.level, self.low, self.high, self.uniform)
        sign = torch.where(self.signed & (noise.sign < 0.5), -1.0, 1.0).to(torch.float64)
        return RelaxedSample(subpolicy, op * self.present, gate, latent, magnitude, sign, noise.draw, self.layout)

    def harden(self, relaxed: RelaxedSample) -> PolicySample:
        """The hard draw of the same noise: the largest weights, and the gates above one half."""
        self._require_own(relaxed, (RelaxedSample,))
        subpolicy = relaxed.subpolicy.to(relaxed.op.dtype).argmax(-1)
        rows = torch.arange(len(relaxed), device=subpolicy.device)
        slot = relaxed.op[rows, subpolicy].argmax(-1)

        def chosen(values: Tensor) -> Tensor:
            return values[rows, subpolicy].gather(-1, slot[..., None])[..., 0]

        op = self.op_index[subpolicy].gather(-1, slot[..., None])[..., 0]
        gate = (chosen(relaxed.gate) > 0.5) & (op >= 0)
        latent, magnitude, sign = chosen(relaxed.latent), chosen(relaxed.magnitude), chosen(relaxed.sign)
        op = op.clamp(min=0)
        return PolicySample(subpolicy, slot, op, gate, latent, magnitude, sign, relaxed.draw, self.layout)

    def score_terms(self, sample: PolicySample) -> ScoreTerms:
        """log p of a hard draw by what was drawn, as a function of the parameters (the draw itself held fixed).

        Only what acted is scored: the gate of the chosen candidate unless it is the identity, its magnitude if the
        gate is open. Of a magnitude that is uniform up to a drawn range, the magnitude and not the range.
        Raises UserError for a draw of a policy with other operations in its places.
        """
        self._require_own(sample, (PolicySample,), by_place=True)
        params, present = self.params, self.present[sample.subpolicy].any(-1)
        chosen = partial(self._of_chosen, subpolicy=sample.subpolicy, slot=sample.slot)
        op = torch.log_softmax(self.masked_op_logits(), -1)
        logit = chosen(params.gate_logits)
        gate = torch.where(sample.gate, nn.functional.logsigmoid(logit), nn.functional.logsigmoid(-logit))
        location, log_scale = chosen(params.magnitude_locations), chosen(params.magnitude_log_scales)
        scored, uniform = sample.gate & chosen(self.scored_magnitude), chosen(self.uniform)
        low, high = chosen(self.low), chosen(self.high)
        fraction = (sample.magnitude.detach() - low) / torch.where(scored, high - low, 1.0)
        magnitude = normal_log_probability(sample.latent.detach(), location, log_scale, scored & ~uniform)
        magnitude = magnitude + uniform_up_to_log_probability(fraction, location, log_scale, scored & uniform)
        return ScoreTerms(
            subpolicy=torch.log_softmax(params.subpolicy_logits, 0)[sample.subpolicy],
            op=torch.where(present, chosen(op), 0.0).sum(-1),
            gate=torch.where(chosen(self.scored_gate), gate, 0.0).sum(-1),
            magnitude=magnitude.sum(-1),
        )

    def _require_own(
        self, draw: Drawn, kinds: tuple[type[Drawn], ...] = (PolicySample, RelaxedSample), by_place: bool = False
    ) -> None:
        """Raise UserError for what is none of `kinds`, with fields that do not fit each other, and for a draw over
        other operations; relaxed ones, and others `by_place`, in their places."""
        if not isinstance(draw, kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            ways = {PolicySample: "policy.sample", RelaxedSample: "policy.rsample"}
            advice = " and ".join(ways[kind] for kind in kinds)
            raise UserError(f"params: expected a {expected}, got {type(draw).__name__}; {advice} gives one")
        draw.require_kinds()
        relaxed = isinstance(draw, RelaxedSample)
        require = require_same_places if draw.by_place or by_place else require_same_operations
        advice = "draw with this policy, or replay on the one that drew"
        require(draw.layout, self.layout, "params: expected a draw over this policy's operations", advice)
        if relaxed and draw.op.shape[1:] != self.op_index.shape:
            raise UserError(
                f"params: expected a relaxed draw over {self.shape} sub-policies, stages and candidates, "
                f"got {tuple(draw.op.shape[1:])}; {advice}"
            )
        if isinstance(draw, PolicySample):
            self._require_places(draw, by_place)

    def _require_places(self, draw: PolicySample, by_place: bool) -> None:
        """Raise UserError for operations that are none, `by_place` for candidates that are none or have another one,
        and for extra numbers that are missing or not in 0..1. Values are looked at where they can be read."""
        subpolicies, stages, width = self.shape
        if by_place and draw.op.shape[1] != stages:
            raise UserError(f"params: expected a draw of {stages} stages, got {draw.op.shape[1]}")
        if not may_look(draw.op) or not draw.op.numel():
            return
        places = {"op": len(self.ops), **({"subpolicy": subpolicies, "slot": width} if by_place else {})}
        for name, count in places.items():
            low, high = (int(end) for end in torch.aminmax(getattr(draw, name)))
            if not 0 <= low <= high < count:
                raise UserError(
                    f"params: expected {name} from 0 to {count - 1}, got {low if low < 0 else high}; draw with this "
                    "policy, or replay on the one that drew"
                )
        if by_place:
            own = self._of_chosen(self.op_index, draw.subpolicy, draw.slot).clamp(min=0)
            if not bool((own == draw.op).all()):
                raise UserError(
                    "params: expected the operations of the candidates that were drawn, got others in their places; "
                    "draw with this policy"
                )
        extra = draw.draw.shape[2]
        if extra < self.extra_draws:
            for index, op in enumerate(self.ops):
                if op.draws > extra and bool(((draw.op == index) & draw.gate).any()):
                    raise UserError(f"params: expected {op.draws} extra numbers for {op.name}, got {extra}; draw anew")
        if draw.draw.numel() and not fractions_hold(draw.draw):
            raise UserError("params: expected draw as numbers from 0 to 1, got others; draw anew")

    # --- application -------------------------------------------------------------------------------------------------

    def forward(
        self,
        images: Tensor,
        params: PolicySample | RelaxedSample | None = None,
        *,
        masks: Tensor | None = None,
        boxes: Tensor | None = None,
        keypoints: Tensor | None = None,
        same_on_batch: bool = False,
        return_params: bool = False,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Augment `images` [B, C, H, W]; with `return_params` also what was drawn: as `params` it replays bit for bit.

        A relaxed `params` blends the candidates with its weights and needs floating point images.
        With targets the result is a named tuple (images, masks, boxes, keypoints), or (that tuple, what was drawn).
        masks: [B, H, W] or [B, C, H, W], any type; nearest, 0 where nothing was. boxes: [B, N, 4], x1 y1 x2 y2 in
        pixels, 0 and the width being the edges of the image; the hull of the moved corners, clipped to the image, of
        no area where a box has left it. keypoints: [B, N, 2], x y in pixels, (0, 0) being the centre of the first
        pixel; they may leave the image. Boxes and key points carry the magnitudes' gradient; in whole numbers they
        are rounded.
        Raises UserError for images or targets of another shape or type, for `params` of another batch size or drawn
        over other operations, and for targets that an operation of the policy cannot move or with a relaxed `params`.
        """
        given = Augmented(images, masks, boxes, keypoints)
        if not torch.compiler.is_compiling() and torch.utils.data.get_worker_info() is not None:
            # Gradients cannot leave a worker process, and a graph would keep the images from leaving it.
            with torch.no_grad():
                return self._augment(given, params, same_on_batch, return_params, generator)
        return self._augment(given, params, same_on_batch, return_params, generator)

    def _augment(
        self,
        given: Augmented,
        params: PolicySample | RelaxedSample | None,
        same_on_batch: bool,
        return_params: bool,
        generator: torch.Generator | None,
    ) -> Any:
        images = given.images
        check_images(images)
        # What reads pixels as they lie in memory does not know of the bit that stands for a minus.
        if not torch.compiler.is_compiling() and images.is_neg():
            images = images.resolve_neg()
            given = given._replace(images=images)
        require_flag(same_on_batch, "same_on_batch")
        require_flag(return_params, "return_params")
        with_targets = any(target is not None for target in given[1:])
        if with_targets:
            if isinstance(params, RelaxedSample):
                raise UserError("a relaxed draw blends images: targets cannot be in several places; pass a hard draw")
            check_targets(given, self.ops)
        if params is not None and same_on_batch:
            raise UserError("same_on_batch decides how to draw: it cannot go with params, which are drawn already")
        if params is not None:
            require_generator(generator)
            self._require_own(params)
        sample = params if params is not None else self.sample(len(images), generator, same_on_batch)
        if len(sample) != len(images):
            raise UserError(f"params hold {len(sample)} draws, the batch {len(images)} images; slice or redraw")
        if isinstance(params, PolicySample):
            check_magnitudes(self.ops, self._limits, params, images.dtype == torch.uint8)
        if sample.op.device.type == "meta" and images.device.type != "meta":
            raise UserError(
                "expected a draw of numbers, got one of the meta device, which has none; make or load the policy anew "
                "outside of torch.device('meta')"
            )
        sample = sample.to(images.device)
        if isinstance(sample, RelaxedSample):
            if not images.is_floating_point():
                raise UserError(f"a relaxed draw blends images: expected floating point in [0, 1], got {images.dtype}")
            output = apply_relaxed(images, self.ops, self._slot_table, sample, self.fill, self.interpolation)
        else:
            output = apply_hard(images, self._plan, sample, self.fill, self.interpolation)
            if with_targets:
                output = move_targets(given, output, self.ops, sample)
        return (output, sample) if return_params else output

    def selection_entropy(self) -> Float[Tensor, ""]:
        """Entropy, in nats, of what is selected for an image.

        The sub-policy's, plus the mean over sub-policies of the stages'.
        """
        weight = self.subpolicy_probabilities()
        stages = entropy(self.masked_op_logits()).sum(-1)
        return entropy(self.subpolicy_logits) + (weight * stages).sum()

    def with_params(self, params: PolicyParams, slots: Slots | None = None) -> "Policy":
        """A copy with other parameter values, and, where they are given, other slots.

        On the same device, in the same mode (`train`, `eval`), with the same parameters learned (`requires_grad`).
        Raises UserError for parameters of other shapes, or that are NaN.
        """
        slots = self.slots if slots is None else slots
        policy = Policy(self.ops, slots, params, self.interpolation, self.fill, self.provenance).to(self.low.device)
        for own, like in zip(policy.params.tensors(), self.params.tensors(), strict=True):
            own.requires_grad_(like.requires_grad)
        return policy.train(self.training)


def require_policy(policy: object, taker: str) -> None:
    """Raise UserError, which begins with `taker`, for what is no policy."""
    if not isinstance(policy, Policy):
        raise UserError(f"{taker}: expected a policy, got {type(policy).__name__}; augrad.load_policy gives one")


_TABLES = ("op_index", "low", "high", "signed", "uniform", "fixed", "present", "scored_gate", "scored_magnitude")


def _require_params(params: object, shape: tuple[int, int, int]) -> None:
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
