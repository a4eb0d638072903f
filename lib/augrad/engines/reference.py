"""The operations' own functions, on the images that drew each: what every other engine is held against."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augrad.engines.contract import Settings, Stages, apply_op
from augrad.engines.grouped.routing import join, split
from augrad.errors import UserError
from augrad.ops.numeric import is_known
from augrad.ops.spec import Op


@dataclass(frozen=True)
class Reference:
    """One operation after another, each on the images that drew it. Reads what was drawn: on a GPU the host waits."""

    name: str = "reference"
    differentiable: Literal["once", "twice"] = "twice"

    def prepare(self, ops: tuple[Op | None, ...]) -> tuple[Op | None, ...]:
        return ops

    def knows(self, op: Op) -> bool:
        return True

    def refusal(self, images: Tensor) -> str | None:
        if torch.compiler.is_compiling():
            return "reads what was drawn, which torch.compile does not know; take grouped, or auto"
        return None

    def apply(self, images: Tensor, stages: Stages) -> Tensor:
        if not is_known(stages.chosen):
            raise UserError(
                "the engine reference reads what was drawn, which is several draws at once under torch.func.vmap; "
                "take grouped, or auto"
            )
        for chosen, magnitude, draw in zip(
            stages.chosen.unbind(1), stages.magnitude.unbind(1), stages.draw.unbind(1), strict=True
        ):
            images = _one_stage(images, stages.plan.ops, chosen, magnitude, draw, stages.settings)
        return images


def _one_stage(
    images: Tensor,
    ops: tuple[Op | None, ...],
    chosen: Int[Tensor, " B"],
    magnitude: Float[Tensor, " B"],
    draw: Float[Tensor, "B D"],
    settings: Settings,
) -> Tensor:
    present = chosen.unique()
    indices = [(chosen == number).nonzero()[:, 0] for number in present]
    parts = list(split(images, indices))
    for place, (number, index) in enumerate(zip(present.tolist(), indices, strict=True)):
        op = ops[number] if number >= 0 else None
        if op is None or op.kind == "identity":
            continue
        if op.kind == "mix":  # needs every image in its place
            own = torch.where(chosen == number, magnitude, op.low or 0.0)
            parts[place] = apply_op(op, images, own, draw, settings).index_select(0, index)
        else:
            parts[place] = apply_op(op, parts[place], magnitude.index_select(0, index), draw[index], settings)
    return join(parts, indices)


REFERENCE = Reference()
