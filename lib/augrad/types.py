"""Shape names and the plain values everything passes through.

B images of a batch, C channels, H x W pixels; S sub-policies, L stages (operations one after another), K candidate
slots of a stage, O different operations, D extra uniform numbers that an operation may need.
"""

from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from augrad.checks import require_count
from augrad.errors import UserError
from augrad.layout import common_layout

Value = TypeVar("Value", bound="TensorFields")
Draw = TypeVar("Draw", bound="Drawn")

_NUMBERS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_INDICES = (torch.int64, torch.int32)


class TensorFields:
    """Shared helpers of the frozen dataclasses below: map, move, detach."""

    def map(self: Value, function: Callable[[Tensor], Tensor]) -> Value:
        """The same value with `function` applied to every tensor field."""
        changed: dict[str, Any] = {
            field.name: function(value)
            for field in fields(self)  # type: ignore[arg-type]
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **changed)  # type: ignore[type-var]

    def to(self: Value, device: torch.device | str) -> Value:
        """The same value on `device`."""
        device = torch.device(device)
        if all(value.device == device for value in vars(self).values() if isinstance(value, Tensor)):
            return self
        return self.map(lambda tensor: tensor.to(device))

    def detach(self: Value) -> Value:
        """The same value cut from the autograd graph."""
        return self.map(Tensor.detach)


class Drawn(TensorFields):
    """What was drawn, and over which operations.

    layout: the operations, see `augrad.layout.layout_of`; empty where they are not known. It is not among the fields of
    the dataclass, which are tensors, all of them. kinds: what those are that are not floating point numbers.
    """

    op: Tensor
    draw: Tensor
    layout: str
    kinds: ClassVar[dict[str, tuple[torch.dtype, ...]]]
    by_place: ClassVar[bool]
    """Whether what was drawn stands in the places of the policy's candidates."""

    def __post_init__(self, layout: str) -> None:
        object.__setattr__(self, "layout", layout)

    def require_kinds(self) -> None:
        """Raise UserError for tensors of types that cannot be replayed, as indices and gates are no numbers, and of
        shapes that do not fit each other."""
        for field in fields(self):  # type: ignore[arg-type]
            value, kinds = getattr(self, field.name), self.kinds.get(field.name, _NUMBERS)
            if not isinstance(value, Tensor) or value.dtype not in kinds:
                got = value.dtype if isinstance(value, Tensor) else type(value).__name__
                raise UserError(
                    f"{type(self).__name__}: expected {field.name} as a tensor of {' or '.join(map(str, kinds))}, got "
                    f"{got}; leave indices and gates as they are: "
                    "sample.map(lambda t: t.half() if t.is_floating_point() else t)"
                )
        op = tuple(self.op.shape)  # [B, L], by place [B, S, L, K]
        stages = op[2:3] if self.by_place else op[1:2]
        own = {"subpolicy": op[:2] if self.by_place else op[:1], "draw": (*op[:1], *stages, *self.draw.shape[-1:])}
        for field in fields(self):  # type: ignore[arg-type]
            shape, expected = tuple(getattr(self, field.name).shape), own.get(field.name, op)
            if shape != expected or len(op) != 2 + 2 * self.by_place:
                raise UserError(
                    f"{type(self).__name__}: expected fields for the same images, stages and candidates, got "
                    f"{field.name} {shape} beside op {op}; change a draw with sample[3:7], concatenate and expand"
                )

    def __len__(self) -> int:
        return self.draw.shape[0]

    def __getitem__(self: Draw, index: slice | Tensor | list[int] | list[bool]) -> Draw:
        """The draws of some of the images, e.g. `sample[3:7]`, of one alone `sample[3:4]`.

        index: a slice, or indices [N], or booleans [B], as a tensor or a list. Raises UserError for anything else, and
        for images that are not there.
        """
        if isinstance(index, slice) and (index.step is not None and index.step < 1):
            raise UserError(f"expected a slice with a step of at least 1, got {index.step}; sample[[2, 1, 0]] does it")
        rows = index if isinstance(index, slice) else self._rows(index)
        return self.map(lambda tensor: tensor[rows])

    def _rows(self, index: object) -> Tensor:
        try:
            rows = torch.as_tensor(index, device=self.draw.device) if isinstance(index, Tensor | list) else None
        except (TypeError, ValueError, RuntimeError):
            rows = None
        if isinstance(index, list) and not index:
            rows = torch.zeros(0, dtype=torch.int64, device=self.draw.device)
        if rows is None or rows.dim() != 1 or rows.dtype not in (*_INDICES, torch.bool):
            raise UserError(
                "expected a slice, or indices or booleans as a list or a tensor [N], as in sample[3:7] and "
                f"sample[[0, 2]], got sample[{index!r}]"
            )
        count = len(self)
        if rows.dtype == torch.bool:
            fits = len(rows) == count
        else:
            fits = rows.device.type != "cpu" or all(-count <= row < count for row in rows.tolist())
        if not fits:
            raise UserError(f"expected some of {count} images, got sample[{index!r}]")
        return rows

    @property
    def _size(self) -> str:
        """What draws that are joined have in common, in words."""
        places = " x ".join(map(str, self.op.shape[1:]))
        return f"{places} {'candidates' if self.by_place else 'stages'} with {self.draw.shape[2]} draws"

    @classmethod
    def concatenate(cls: type[Draw], samples: Iterable[Draw]) -> Draw:
        """The draws of several batches one after another, e.g. `PolicySample.concatenate([sample[:3], other[3:]])`.

        Raises UserError without samples, for samples of another class, of policies with different numbers of stages or
        extra draws (of relaxed ones, also of sub-policies or candidates), or over different operations.
        """
        if isinstance(samples, Drawn | Tensor) or not isinstance(samples, Iterable) or getattr(samples, "ndim", 1) == 0:
            raise UserError(f"concatenate: expected a list of samples, got {type(samples).__name__}; put it in []")
        samples = list(samples)
        if not samples:
            raise UserError("concatenate: expected at least one sample, got none")
        if others := [type(sample).__name__ for sample in samples if not isinstance(sample, cls)]:
            raise UserError(f"concatenate: expected only {cls.__name__}, got {others[0]}; draw them alike")
        if len(sizes := {sample._size for sample in samples}) > 1:
            raise UserError(
                "concatenate: expected samples with one number of stages and extra draws, got "
                + " and ".join(sorted(sizes))
            )
        joined: dict[str, Any] = {
            field.name: torch.cat([getattr(sample, field.name) for sample in samples])
            for field in fields(cls)  # type: ignore[arg-type]
        }
        joined["layout"] = common_layout((sample.layout for sample in samples), cls.by_place)
        return cls(**joined)


@dataclass(frozen=True)
class PolicyParams(TensorFields):
    """The learnable numbers of a policy, all unbounded; bounded quantities are logits (sigmoid inside), never clamped.

    subpolicy_logits: softmax gives the sub-policies' weights.
    op_logits: softmax over the slots of a stage gives the operations' weights.
    gate_logits: sigmoid gives the probability that the chosen operation is applied.
    magnitude_locations, magnitude_log_scales: the drawn magnitude is
        low + (high - low) * sigmoid(location + exp(log_scale) * n), n standard normal.
    """

    subpolicy_logits: Float[Tensor, " S"]
    op_logits: Float[Tensor, "S L K"]
    gate_logits: Float[Tensor, "S L K"]
    magnitude_locations: Float[Tensor, "S L K"]
    magnitude_log_scales: Float[Tensor, "S L K"]

    @staticmethod
    def names() -> tuple[str, ...]:
        """The names of the parameter groups, in a fixed order."""
        return ("subpolicy_logits", "op_logits", "gate_logits", "magnitude_locations", "magnitude_log_scales")

    def tensors(self) -> tuple[Tensor, ...]:
        """The parameter groups in the order of `names`."""
        return tuple(getattr(self, name) for name in self.names())


@dataclass(frozen=True)
class PolicySample(Drawn):
    """What was drawn for each image of a batch: a value that replays bit for bit, from `torch.save` and `load` too.

    subpolicy: which sub-policy. slot: which candidate of each stage. op: the operation in that slot (index into
    `Policy.ops`). gate: whether it is applied. latent: location + scale * n, the Gaussian behind the magnitude.
    magnitude: in the operation's absolute unit, without its sign. sign: +1 or -1. draw: extra uniform numbers in
    [0, 1). layout: what it was drawn over, see `Drawn`.
    """

    subpolicy: Int[Tensor, " B"]
    slot: Int[Tensor, "B L"]
    op: Int[Tensor, "B L"]
    gate: Bool[Tensor, "B L"]
    latent: Float[Tensor, "B L"]
    magnitude: Float[Tensor, "B L"]
    sign: Float[Tensor, "B L"]
    draw: Float[Tensor, "B L D"]
    layout: InitVar[str] = ""
    kinds: ClassVar = {"subpolicy": _INDICES, "slot": _INDICES, "op": _INDICES, "gate": (torch.bool,)}
    by_place: ClassVar = False

    def expand(self, batch_size: int) -> "PolicySample":
        """One draw repeated for a whole batch. Raises UserError for a sample that is not of one image, and for a size
        that is not a whole number of at least 1."""
        require_count(batch_size, "a batch size")
        if len(self) != 1:
            raise UserError(f"expand: expected the draw of one image, got {len(self)}; take one, as in sample[:1]")
        return self.map(lambda tensor: tensor.expand(batch_size, *tensor.shape[1:]))


@dataclass(frozen=True)
class RelaxedSample(Drawn):
    """A Gumbel-softmax draw for each image of a batch, with gradients to every policy parameter.

    subpolicy: weights over sub-policies. op: weights over the slots of each stage. gate: in [0, 1].
    Soft draws lie inside the simplex; straight-through draws are one-hot (0 or 1) with the soft draw's gradient.
    latent: location + scale * n, the Gaussian behind each magnitude. magnitude: absolute unit, without sign.
    A subpolicy of booleans, one true for each image, is a choice that is made: the other sub-policies are not computed.
    layout: what it was drawn over, see `Drawn`.
    """

    subpolicy: Float[Tensor, "B S"] | Bool[Tensor, "B S"]
    op: Float[Tensor, "B S L K"]
    gate: Float[Tensor, "B S L K"]
    latent: Float[Tensor, "B S L K"]
    magnitude: Float[Tensor, "B S L K"]
    sign: Float[Tensor, "B S L K"]
    draw: Float[Tensor, "B L D"]
    layout: InitVar[str] = ""
    kinds: ClassVar = {"subpolicy": (*_NUMBERS, torch.bool)}
    by_place: ClassVar = True

    def of_chosen(self) -> "RelaxedSample":
        """The draw with each image's own sub-policy as the only one, S = 1, of a subpolicy of booleans."""
        chosen = self.subpolicy.to(torch.int8).argmax(-1)
        rows = torch.arange(len(self), device=chosen.device)
        op, gate, latent, magnitude, sign = (
            values[rows, chosen][:, None] for values in (self.op, self.gate, self.latent, self.magnitude, self.sign)
        )
        return RelaxedSample(self.subpolicy.any(-1, keepdim=True), op, gate, latent, magnitude, sign, self.draw)


# A draw is tensors alone: torch.load(..., weights_only=True), the default, may read it where augrad is imported.
torch.serialization.add_safe_globals([PolicySample, RelaxedSample])
