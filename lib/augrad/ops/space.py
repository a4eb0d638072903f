"""What a policy chooses from: operations with their ranges, and how resampling fills what it uncovers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from augrad.errors import UserError
from augrad.ops import get
from augrad.ops.spec import Op

Interpolation = Literal["bilinear", "nearest"]


@dataclass(frozen=True)
class Candidate:
    """An operation with the range its magnitude is drawn from; low and high are None for operations without one."""

    op: Op
    low: float | None
    high: float | None
    signed: bool


@dataclass(frozen=True)
class Space:
    """Ordered candidates, and the settings of resampling. Ranges belong to the space, not to the operation."""

    candidates: tuple[Candidate, ...]
    interpolation: Interpolation = "bilinear"
    fill: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(candidate.op.name for candidate in self.candidates)


def make_candidate(name: str, options: Mapping[str, float | bool] | None = None) -> Candidate:
    """The operation `name` with its default range, or with `low`, `high`, `signed` replaced by those of `options`.

    Raises UserError for an unknown operation or option, a range on an operation without a magnitude, or a sign it
    cannot have.
    """
    op = get(name)
    if options is not None and not isinstance(options, Mapping):
        raise UserError(f"space: {name}: expected low, high or signed, as in {name}: {{high: 0.5}}, got {options!r}")
    options = dict(options or {})
    unknown = set(options) - {"low", "high", "signed"}
    if unknown:
        raise UserError(
            f"space: {name}: expected only low, high and signed, got {', '.join(sorted(map(str, unknown)))}"
        )
    if not op.has_magnitude:
        if options:
            raise UserError(f"space: {name} has no magnitude; remove {', '.join(options)}")
        return Candidate(op, None, None, False)
    signed = options.get("signed", op.signed)
    if signed and not op.signed:
        raise UserError(f"space: {name} cannot be signed; its magnitude has one direction only")
    bounds = [options.get("low", op.low), options.get("high", op.high)]
    for bound in bounds:
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
            raise UserError(f"space: {name}: expected finite numbers as low and high, in {op.unit}, got {bound!r}")
    return Candidate(op, float(bounds[0]), float(bounds[1]), bool(signed))  # type: ignore[arg-type]


def make_space(
    ops: Mapping[str, Mapping[str, float | bool] | None], interpolation: Interpolation = "bilinear", fill: float = 0.0
) -> Space:
    """A space from a mapping of operation names to their options (None or empty: the default range), in order.

    An operation whose options are False is left out, so that one word on the command line removes it:
    `space.ops.invert=false`.
    Raises UserError for bad entries, an empty space, an interpolation other than bilinear or nearest, a fill outside
    0..1.
    """
    chosen = {name: options for name, options in ops.items() if options is not False}
    if not chosen:
        raise UserError("space: expected at least one operation, got none")
    if interpolation not in ("bilinear", "nearest"):
        raise UserError(f"space: expected interpolation bilinear or nearest, got {interpolation!r}")
    if not isinstance(fill, int | float) or not 0.0 <= fill <= 1.0:
        raise UserError(f"space: expected a fill in 0..1, got {fill!r}")
    return Space(tuple(make_candidate(name, options) for name, options in chosen.items()), interpolation, float(fill))
