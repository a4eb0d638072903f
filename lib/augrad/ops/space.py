"""What a policy chooses from: operations with their ranges, and how resampling fills what it uncovers."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from augrad import ops as augrad_ops
from augrad.checks import checked, plain
from augrad.errors import AugradWarning, UserError
from augrad.ops import get, names
from augrad.ops.definition import OPTIONS
from augrad.ops.external import external_op
from augrad.ops.given import check_interpolation, checked_fill
from augrad.ops.imported import name_of
from augrad.ops.spec import Op
from augrad.paths import config_directory

Interpolation = Literal["bilinear", "nearest"]


@checked
@dataclass(frozen=True)
class Candidate:
    """An operation with the range its magnitude is drawn from; low and high are None for operations without one."""

    op: Op
    low: float | None
    high: float | None
    signed: bool


@checked
@dataclass(frozen=True)
class Space:
    """Ordered candidates, and the settings of resampling. Ranges belong to the space, not to the operation."""

    candidates: tuple[Candidate, ...]
    interpolation: Interpolation = "bilinear"
    fill: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(candidate.op.name for candidate in self.candidates)


def make_candidate(name: str, options: Any = None) -> Candidate:
    """The operation `name` with its default range, or with `low`, `high`, `signed` replaced by those of `options`.

    A dotted name stands for an operation that is not augrad's own: it is imported and checked, see
    `augrad.ops.external.external_op`. It warns where the weak end of its range is not the identity.
    Raises UserError for an unknown operation or option, a range on an operation without a magnitude, a sign it
    cannot have, or an operation that fails its checks.
    """
    if "." in name:
        return _external_candidate(name, options)
    op = get(name)
    if options is not None and not isinstance(options, Mapping):
        raise UserError(f"space: {name}: expected low, high or signed, as in {name}: {{high: 0.5}}, got {options!r}")
    options = plain(dict(options or {}))
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
    if not isinstance(signed, bool):
        raise UserError(f"space: {name}: expected signed to be true or false, got {signed!r}")
    if signed and not op.signed:
        raise UserError(f"space: {name} cannot be signed; its magnitude has one direction only")
    low, high = options.get("low", op.low), options.get("high", op.high)
    try:
        op.check_range(low, high, signed)
    except UserError as error:
        raise UserError(f"space: {error}") from None
    return Candidate(op, float(low), float(high), signed)


def _external_candidate(name: str, options: Any) -> Candidate:
    if isinstance(options, Mapping) and callable(options.get("surrogate")):
        options = {**options, "surrogate": named(options["surrogate"])}
    try:
        op, finding = external_op(name, options)
    except UserError as error:
        raise UserError(f"space: {name}: {error}") from error.__cause__
    if finding.change_at_low > 1.5 / 255:
        warnings.warn(
            f"space: {name}: at the weak end of its range, {op.low} {op.unit}, pixels change by up to "
            f"{finding.change_at_low:.2g}; a strength of 0 does not leave images as they are",
            AugradWarning,
            stacklevel=3,
        )
    return Candidate(op, op.low, op.high, op.signed)


def make_space(ops: Mapping[Any, Any], interpolation: Interpolation = "bilinear", fill: float = 0.0) -> Space:
    """A space from a mapping of operation names to their options (None or empty: the default range), in order.

    An operation whose options are False is left out, so that one word on the command line removes it:
    `space.ops.invert=false`. A function stands for its name, as in
    `{gamma: {"low": 0.0, "high": 0.9, "unit": "strength"}}`; so does one that is the surrogate. A dotted name may be
    given part by part, as the command line does (`+space.ops.mypackage.ops.gamma.high=0.5`); options of the same
    operation add up, the later ones win.
    Raises UserError for bad entries, an empty space, an interpolation other than bilinear or nearest, a fill outside
    0..1.
    """
    if not isinstance(ops, Mapping):
        raise UserError(f"space: expected a mapping of operations to their options, as {{'rotate': None}}, got {ops!r}")
    entries: dict[str, Any] = {}
    for name, options in _by_dotted_name(ops):
        both = isinstance(entries.get(name), Mapping) and isinstance(options, Mapping)
        entries[name] = {**entries[name], **options} if both else options
    chosen = {name: options for name, options in entries.items() if options is not False}
    if not chosen:
        raise UserError("space: expected at least one operation, got none")
    try:
        interpolation, fill = checked_resampling(interpolation, fill)
    except UserError as error:
        raise UserError(f"space: {error}") from None
    return Space(tuple(make_candidate(name, options) for name, options in chosen.items()), interpolation, fill)


def checked_resampling(interpolation: Any, fill: Any) -> tuple[Interpolation, float]:
    """How resampling interpolates and fills, if it can be so.

    Raises UserError for an interpolation other than bilinear or nearest, and for a fill that is not one number in 0..1.
    """
    check_interpolation(interpolation)
    return interpolation, checked_fill(fill)


def named(operation: Any) -> Any:
    """The name of an operation that is given as a function, augrad's own or another; anything else as it is.

    Raises UserError for a function that no name stands for.
    """
    if not callable(operation):
        return operation
    own = next((name for name in names() if getattr(augrad_ops, name, None) is operation), None)
    try:
        return own or name_of(operation)
    except UserError as error:
        raise UserError(f"space: {error}") from None


def _by_dotted_name(ops: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The entries, those of `{mypackage: {ops: {gamma: {...}}}}` as `mypackage.ops.gamma`."""
    for key, options in ops.items():
        if not before and callable(key):
            yield named(key), options
            continue
        name = f"{before}{key}"
        deeper = isinstance(options, Mapping) and len(options) > 0 and name not in names()
        if deeper and not set(options) & set(OPTIONS) and not any(_is_value(option) for option in options.values()):
            yield from _by_dotted_name(options, f"{name}.")
        else:
            yield name, options


def _is_value(option: object) -> bool:
    """Whether it can only be the value of an option, not the options of an operation."""
    return not isinstance(option, Mapping) and option is not None and option is not False


def published_space(name: str) -> Space:
    """The space of the configuration file `configs/space/<name>.yaml`, e.g. "wide" or "randaugment".

    Raises UserError for a name that is none of them.
    """
    import yaml  # here: who names operations does not wait for it

    folder = Path(config_directory()) / "space"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in names:
        raise UserError(f"space: expected one of {', '.join(names)}, got {name!r}")
    settings = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    return make_space(**{key: value for key, value in settings.items() if not key.startswith("_")})
