"""What an engine is, and what it is given: the stages that were drawn for a batch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from jaxtyping import Float, Int
from torch import Tensor

from augrad.errors import UserError
from augrad.ops.spec import Op


@dataclass(frozen=True)
class Settings:
    """How resampling fills and interpolates, and the batch that operations of kind "mix" take other images from."""

    fill: float
    interpolation: str
    others: Tensor


@dataclass(frozen=True, eq=False)
class Plan:
    """What is worked out once for the operations of a policy.

    ops: None stands for one that somebody else computes. prepared: by the name of an engine, what its `prepare` gave.
    rest: by the name of an engine, the plan of the operations that it does not take, None if it takes them all.
    """

    ops: tuple[Op | None, ...]
    prepared: Mapping[str, Any]
    rest: Mapping[str, "Plan | None"]


@dataclass(frozen=True)
class Stages:
    """L stages for a batch, one after another.

    chosen: index into the plan's operations, -1 for none. magnitude: with its sign, in absolute units. draw: extra
    uniform numbers in [0, 1), of which each operation takes the first that it needs. strict: gradients that the engine
    cannot give are refused, not computed in plain PyTorch.
    """

    plan: Plan
    chosen: Int[Tensor, "B L"]
    magnitude: Float[Tensor, "B L"]
    draw: Float[Tensor, "B L D"]
    settings: Settings
    strict: bool = False

    def __len__(self) -> int:
        return self.chosen.shape[1]

    def one(self, stage: int) -> "Stages":
        """A single one of the stages."""
        part = slice(stage, stage + 1)
        return replace(self, chosen=self.chosen[:, part], magnitude=self.magnitude[:, part], draw=self.draw[:, part])


def require_more(stages: Stages, name: str) -> None:
    """Raise UserError where plain PyTorch may not stand in for the engine `name`."""
    if stages.strict:
        raise UserError(
            f"the engine {name} is differentiable once, and this asks for gradients of gradients, or for batches of "
            "gradients; take auto, grouped or reference for the forward pass"
        )


class Engine(Protocol):
    """A way to apply what was drawn.

    Results are those of the operations' own functions up to rounding, and so are their gradients.
    differentiable: how often, in images and magnitudes. Who asks more of an engine gets it from another one where the
    choice is "auto", and a UserError where this one was asked for (`augrad.engines.choice`).
    """

    @property
    def name(self) -> str: ...

    @property
    def differentiable(self) -> Literal["once", "twice"]: ...

    def prepare(self, ops: tuple[Op | None, ...]) -> Any:
        """What `apply` finds in `Plan.prepared`."""
        ...

    def knows(self, op: Op) -> bool:
        """Whether there are images that it takes `op` for."""
        ...

    def refusal(self, images: Tensor) -> str | None:
        """Why it cannot take `images`, as the rest of a sentence and with what to do; None where it can."""
        ...

    def apply(self, images: Tensor, stages: Stages) -> Tensor:
        """What becomes of `images`; operations that it does not know, and those of None, leave them as they are."""
        ...


def apply_op(op: Op, images: Tensor, magnitude: Tensor, draw: Tensor, settings: Settings) -> Tensor:
    """One operation on a batch, by its own function.

    magnitude [B], with its sign, in absolute units; draw [B, D]: the operation takes its share. An operation of kind
    "mix" needs a whole batch, in the order of `settings.others`.
    """
    options = {name: getattr(settings, name) for name in op.options}
    extra = (draw[:, : op.draws],) if op.draws else ()
    return op.apply(images, magnitude, *extra, **options)
