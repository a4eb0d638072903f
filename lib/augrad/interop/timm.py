"""Policies from and for timm 1: `timm.data.auto_augment`."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from augrad.checks import checked
from augrad.errors import UserError
from augrad.interop.leaves import require_side, resampled, resamples
from augrad.interop.listing import NOTHING, Step, listed_choices
from augrad.interop.losses import (
    LEFT_OUT,
    LEFT_OUT_HERE,
    ONE_WAY,
    Converted,
    Loss,
    border_losses,
    converted,
    loss_of,
    mean_loss,
    narrowed_loss,
)
from augrad.interop.sources import with_source
from augrad.ops import get
from augrad.policy import Policy
from augrad.policy.required import require_policy
from augrad.policy.slots import MOST_STAGES
from augrad.policy_file import Entry, LogitNormal, Magnitude, PolicyDocument, SubPolicy, Uniform, Value
from augrad.policy_file.convert import document_of, policy_from_document
from augrad.policy_file.quantiles import logistic_of_normals, normals
from augrad.policy_file.refusals import told_in_words
from augrad.policy_file.values import drawn_range, values_of

_TOP = 10.0  # the strongest level
_FACTOR = 1.8 / _TOP


@dataclass(frozen=True)
class _Known:
    """op: ours. value: our magnitude, without its sign, of what timm's level becomes there. level: the other way round.
    signed: either way at random."""

    op: str
    value: Callable[[float], float] = lambda argument: argument
    level: Callable[[float], float] | None = None
    signed: bool = False
    loss: str = ""


def _share(argument: float) -> float:
    # Rounded down: the level of the threshold itself is inverted.
    return min(math.floor(argument / 255 * 1e6) / 1e6, 1.0)


def _cut_off(number: int, most: int) -> float:
    """The level that timm makes this whole number of, of the numbers up to `most`, by cutting off what is beyond."""
    return _TOP * (number + 0.5 if number < most else number) / most


def _size(argument: float) -> float:
    return abs(argument)


def _enhanced(op: str) -> dict[str, _Known]:
    name = op.capitalize()
    return {
        name: _Known(op, lambda factor: factor - 1, lambda s: (s + 0.9) / _FACTOR),
        f"{name}Increasing": _Known(op, lambda factor: abs(factor - 1), lambda s: s / 0.09, signed=True),
    }


KNOWN: Mapping[str, _Known] = {
    "AutoContrast": _Known("auto_contrast"),
    "Equalize": _Known("equalize"),
    "Invert": _Known("invert"),
    "Rotate": _Known("rotate", _size, lambda degrees: degrees / 3, signed=True),
    "ShearX": _Known("shear_x", _size, lambda factor: factor / 0.03, signed=True),
    "ShearY": _Known("shear_y", _size, lambda factor: factor / 0.03, signed=True),
    "TranslateXRel": _Known("translate_x", _size, lambda share: share / 0.045, signed=True),
    "TranslateYRel": _Known("translate_y", _size, lambda share: share / 0.045, signed=True),
    "PosterizeOriginal": _Known("posterize", level=lambda bits: _cut_off(round(bits) - 4, 4)),
    "Posterize": _Known("posterize", level=lambda bits: _cut_off(round(bits), 4)),
    "PosterizeIncreasing": _Known("posterize"),
    "Solarize": _Known(
        "solarize", _share, lambda value: _cut_off(math.ceil(value * 255 - 1e-3) if value < 1 else 256, 256)
    ),
    "SolarizeIncreasing": _Known("solarize", _share),
    "SolarizeAdd": _Known("solarize_add", lambda added: added / 255, lambda added: _cut_off(round(added * 255), 110)),
    **_enhanced("color"),
    **_enhanced("contrast"),
    **_enhanced("brightness"),
    **_enhanced("sharpness"),
    "Desaturate": _Known("color", lambda share: -share),
    "GaussianBlur": _Known("gaussian_blur", level=lambda sigma: (sigma - 0.1) / 0.19, loss="Pillow blurs by boxes"),
}
"""timm's operations by their names."""

_ABSOLUTE = {"TranslateX": "TranslateXRel", "TranslateY": "TranslateYRel"}


@checked
def from_timm(transform: Any, side: int | None = None, strict: bool = False) -> Converted[Policy]:
    """The policy of a timm transform: a configuration as "rand-m9-mstd0.5-inc1", "original" or "3a", or an object, an
    `AutoAugment` or a `RandAugment`.

    side: of the images, in pixels, which translations in pixels ("TranslateX") need.
    Raises UserError for anything else, and for a configuration where timm is not installed; ConversionError for a loss
    if `strict`.
    """
    if side is not None:
        require_side(side, "from_timm", "translations can be in pixels")
    losses: list[Loss] = []
    made = _object(transform)
    with told_in_words():
        document = _document(made, side, losses)
    source = f"timm: {transform}" if isinstance(transform, str) else f"timm: an object, {type(made).__name__}"
    return converted("from_timm", policy_from_document(with_source(document, source, losses)), losses, strict)


def _object(transform: Any) -> Any:
    library = _library("from_timm")
    if isinstance(transform, str):
        make = library.rand_augment_transform if transform.startswith("rand") else library.auto_augment_transform
        try:
            return make(transform, {})
        except (AssertionError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise UserError(
                f"from_timm: expected a configuration of timm, as 'rand-m9-mstd0.5-inc1', 'original' or '3a', got "
                f"{transform!r:.60}: {str(error)!r:.100}"
            ) from None
    if not isinstance(transform, library.AutoAugment | library.RandAugment):
        raise UserError(
            f"from_timm: expected a configuration, or timm's AutoAugment or RandAugment, got {type(transform).__name__}"
        )
    return transform


def _document(transform: Any, side: int | None, losses: list[Loss]) -> PolicyDocument:
    if hasattr(transform, "policy"):
        rows = [[[(op, 1.0)] for op in steps] for steps in transform.policy]
        ops = [op for steps in transform.policy for op in steps]
        if not ops:
            raise UserError("from_timm: expected at least one operation, got none")
    else:
        count = len(transform.ops)
        weights = [1 / count] * count if transform.choice_weights is None else list(transform.choice_weights)
        if transform.choice_weights is not None and transform.num_layers > 1:
            losses.append(Loss("subpolicies[0]", "no operation comes twice in timm with weights; here it can"))
        ops = transform.ops
        if transform.num_layers < 1 or not ops:
            raise UserError("from_timm: expected at least one layer of operations, got none")
        if transform.num_layers > MOST_STAGES:  # before an entry is made for each
            raise UserError(f"from_timm: expected at most {MOST_STAGES} layers, got more")
        rows = [[list(zip(ops, weights, strict=True))] * transform.num_layers]
    subpolicies = [
        SubPolicy(
            weight=1 / len(rows),
            stages=tuple(
                tuple(
                    _entry(op, float(weight), f"subpolicies[{s}].stages[{place}][{k}]", side, losses)
                    for k, (op, weight) in enumerate(stage)
                )
                for place, stage in enumerate(steps)
            ),
        )
        for s, steps in enumerate(rows)
    ]
    interpolation, fill = _resampling(ops, losses)
    return PolicyDocument(interpolation=interpolation, fill=fill, subpolicies=tuple(subpolicies))


def _resampling(ops: Sequence[Any], losses: list[Loss]) -> tuple[Any, float]:
    """How the operations that resample do so; the others do not count."""
    moving = [op for op in ops if (known := _known(op.name)) is not None and resamples(get(known.op))]
    found = {(_names_of(op.kwargs["resample"]), _fill_of(op.kwargs["fillcolor"])): None for op in moving}
    if not found:
        return "bilinear", 0.0
    (names, values), *others = found
    kept = "nearest" if names == ("nearest",) else "bilinear"
    if names != (kept,):
        losses.append(Loss("interpolation", f"{' or '.join(names)} becomes {kept}"))
    mean = sum(values) / len(values)
    if min(values) != max(values):
        losses.append(Loss("fill", f"{values} becomes {mean:.4g} in every channel"))
    for other, fill in others:
        losses.append(Loss("interpolation", f"{' or '.join(other)} with fill {fill} becomes {kept} with {mean:.4g}"))
    losses += border_losses(kept)
    return kept, round(mean / 255, 9)


def _names_of(modes: Any) -> tuple[str, ...]:
    from PIL.Image import Resampling

    return tuple(Resampling(mode).name.lower() for mode in (modes if isinstance(modes, list | tuple) else [modes]))


def _fill_of(fill: Any) -> tuple[float, ...]:
    return tuple(map(float, fill if isinstance(fill, list | tuple) else [fill]))


def _known(name: str) -> "_Known | None":
    return KNOWN.get(_ABSOLUTE.get(name, name))


def _entry(op: Any, weight: float, place: str, side: int | None, losses: list[Loss]) -> Entry:
    name: str = op.name
    by = require_side(side, "from_timm", f"{name} moves by pixels") if name in _ABSOLUTE else 1
    known = _known(name)
    if known is None:
        losses.append(loss_of(name, place, LEFT_OUT_HERE))
        return Entry(op="identity", weight=weight)
    if known.loss:
        losses.append(loss_of(name, place, known.loss))
    own = get(known.op)
    if op.level_fn is None or own.unit is None:
        return Entry(op=own.name, probability=op.prob, weight=weight)

    def value(level: float) -> float:
        found, other = (known.value(argument) / by for argument in _both_ways(op, level))
        if abs(found - other) > 1e-9:
            words = f"{{:.4g}} {own.unit} one way, and {{:.4g}} the other"
            losses.append(Loss(f"{place}.magnitude", words, (found, other)))
        least, most = own.meaning.within(1e6, known.signed)
        kept = max(least, min(found, most))
        if kept != found:
            losses.append(narrowed_loss(own.unit, place, found, kept))
        return round(kept, 6)

    return Entry(
        op=own.name,
        unit=own.unit,
        magnitude=_magnitude(op, value, place, losses),
        signed=known.signed,
        probability=op.prob,
        weight=weight,
    )


def _both_ways(op: Any, level: float) -> tuple[float, float]:
    """What timm makes of a level, which it negates at random: the two ends of what comes of many calls."""
    before = random.getstate()
    random.seed(0)
    try:
        found = [float(op.level_fn(level, op.hparams)[0]) for _ in range(40)]
    finally:
        random.setstate(before)
    return max(found), min(found)


def _magnitude(op: Any, value: Callable[[float], float], place: str, losses: list[Loss]) -> Magnitude:
    """Of a level that is fixed, uniform from 0 to it, or normal around it and cut at both ends."""
    top = float(op.magnitude_max or _TOP)
    level, deviation = float(op.magnitude), float(op.magnitude_std)
    if deviation == 0 or (deviation < math.inf and value(0.0) == value(top)):
        return Value(value=value(min(level, top)))
    if op.name.startswith("Posterize"):
        losses.append(Loss(f"{place}.magnitude", "bits are cut off to whole ones there, and rounded here"))
    else:
        top = _end(value, top, losses)
    if deviation == math.inf:
        if level <= top:
            return Uniform(low=value(0.0), high=value(level))
        words, drawn = "even up to level {:g}", level * (np.arange(_DRAWS) + 0.5) / _DRAWS
    else:
        words, drawn = "normal around level {:g} with deviation {:g}", level + deviation * normals(_DRAWS)
    shares = drawn.clip(0.0, top) / top
    if shares.std() < _ALIKE:
        return Value(value=value(top * float(shares.mean())))
    losses.append(Loss(f"{place}.magnitude", f"{words}, cut at {top:g}; logit-normal here", (level, deviation)))
    location, scale = _logit_normal(shares)
    return LogitNormal(low=value(0.0), high=value(top), location=round(location, 6), scale=round(scale, 6))


def _end(value: Callable[[float], float], top: float, losses: list[Loss]) -> float:
    """The lowest level whose value is that of `top`: levels beyond it are cut to it."""
    told, low, high, most = len(losses), 0.0, top, value(top)
    while value(0.99 * high) == most and high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if value(middle) == most else (middle, high)
    del losses[told:]  # of what was only looked at
    return high


_DRAWS = 200
_ALIKE = 0.001
"""Deviation of the shares of the range below which they are one."""


def _logit_normal(shares: np.ndarray) -> tuple[float, float]:
    """Location and scale of the logit-normal distribution that has the mean and the deviation of `shares`."""
    mean, deviation = float(shares.mean()), float(shares.std())
    slope = mean * (1 - mean)
    location, scale = math.log(mean / (1 - mean)), deviation / slope
    for _ in range(50):
        found = logistic_of_normals(location, scale, _DRAWS)
        location += (mean - float(found.mean())) / slope / 2
        scale *= (deviation / float(found.std())) ** 0.5
    return location, scale


@checked
def to_timm(policy: Policy, entries: int | None = None, strict: bool = False) -> Converted[Any]:
    """`policy` as timm's `AutoAugment`, for the transforms of timm's data loaders, and what it does otherwise.

    entries: of its list of sub-policies, see `augrad.interop.listing.listed_choices`. A magnitude that is drawn from a
    range becomes its mean.
    Raises UserError where timm is not installed, ConversionError for a loss if `strict`.
    """
    require_policy(policy, "to_timm")
    library, document = _library("to_timm"), document_of(policy)
    losses: list[Loss] = []
    fill = round(255 * document.fill)
    if resampled(document, {known.op for known in KNOWN.values()}):
        if abs(fill / 255 - document.fill) > 1e-6:
            losses.append(Loss("fill", "{:.4g} becomes {:.4g}", (document.fill, fill / 255)))
        losses += border_losses(document.interpolation)
    from PIL.Image import Resampling

    resample = Resampling.NEAREST if document.interpolation == "nearest" else Resampling.BILINEAR
    options = {"translate_pct": 0.45, "translate_const": 250, "img_mean": (fill,) * 3, "interpolation": resample}

    def made(name: str, chance: float, level: float) -> Any:
        return library.AugmentOp(name, prob=chance, magnitude=level, hparams=options)

    listed = listed_choices(document, partial(_steps, made), entries, losses, "to_timm")
    steps = [[made(*step) for step in one] for one in listed]
    return converted("to_timm", library.AutoAugment(steps), losses, strict)


def _steps(made: Callable[..., Any], entry: Entry, place: str, losses: list[Loss]) -> list[tuple[Step, float]]:
    """made: a transform of timm, from its name, probability and level."""
    if entry.op == "identity":
        return [(NOTHING, 1.0)]
    names = [name for name, one in KNOWN.items() if one.op == entry.op and (one.level or get(one.op).unit is None)]
    if not names:
        losses.append(loss_of(entry.op, place, LEFT_OUT))
        return [(NOTHING, 1.0)]
    (value,) = (0.0,) if entry.magnitude is None else values_of(entry.magnitude, 1)
    name = min(names, key=lambda name: (KNOWN[name].signed != entry.signed, _beyond(KNOWN[name], value)))
    known = KNOWN[name]
    if entry.magnitude is None or known.level is None:
        return [([name, entry.probability, 0.0], 1.0)]
    value = float(round(value)) if entry.unit == "bits" else value  # as the operation itself does
    if ends := drawn_range(entry.magnitude):
        losses.append(mean_loss(entry.unit, place, ends, value))
    level = known.level(abs(value) if known.signed else value)
    kept = min(max(level, 0.0), _TOP)
    step: Step = [name, entry.probability, round(kept, 9)]
    if abs(kept - level) > 1e-6:
        if value == get(entry.op).low:
            return [(NOTHING, 1.0)]
        end = known.value(_both_ways(made(*step), kept)[0])
        losses.append(narrowed_loss(entry.unit, place, value, math.copysign(end, value) if known.signed else end))
    if known.loss:
        losses.append(loss_of(name, place, known.loss))
    if known.signed and not entry.signed and value != 0:
        losses.append(loss_of(entry.op, place, ONE_WAY))
    return [(step, 1.0)]


def _beyond(known: _Known, value: float) -> float:
    """How far the level is from those that there are."""
    level = known.level(abs(value) if known.signed else value) if known.level else 0.0
    return max(0.0, -level, level - _TOP)


def _library(taker: str) -> Any:
    try:
        from timm.data import auto_augment
    except ImportError:
        raise UserError(f"{taker}: expected timm, which is not installed; pip install timm") from None
    return auto_augment
