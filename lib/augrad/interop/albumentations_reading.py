"""Documents of Albumentations, as `A.to_dict` and `A.save` write them and AutoAlbument leaves them, read as policies.

Read are compositions of a choice (`OneOf`) among sequences of choices, which AutoAlbument writes and
`augrad.interop.albumentations.to_albumentations` does. The documents of AutoAlbument name classes and options of
Albumentations 0.5, which today's version does not load.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from augrad.errors import UserError
from augrad.interop.leaves import require_side
from augrad.interop.losses import Converted, Loss, converted
from augrad.ops import get
from augrad.paths import expanded
from augrad.policy import Policy
from augrad.policy_file import Entry, Magnitude, PolicyDocument, SubPolicy, Uniform, Value
from augrad.policy_file.convert import policy_from_document
from augrad.policy_file.refusals import told_in_words

_LARGEST = 64 * 2**20
"""Bytes of a document: far more than any."""
_EXPECTED = "a composition of one choice (OneOf) among sequences of choices, as AutoAlbument and augrad write it"


class _Lost(Exception):
    """What a transform does cannot be carried over; the message says why."""


class _Leaf(NamedTuple):
    """An operation with the ends of the range that its magnitude is drawn from; None without one. reads, fill: how it
    interpolates, and the value of what it uncovers, where it does. loss: what is done otherwise here."""

    op: str
    ends: tuple[float, float] | None = None
    reads: str | None = None
    fill: float | None = None
    loss: str = ""


@dataclass
class _Context:
    """What a document says once, and what is found on the way. old: it is AutoAlbument's."""

    side: int | None
    old: bool
    losses: list[Loss]
    reads: dict[str, None] = field(default_factory=dict)
    fills: dict[float, None] = field(default_factory=dict)


def from_albumentations(source: Any, side: int | None = None, strict: bool = False) -> Converted[Policy]:
    """The policy of a document of Albumentations, and what of it is done otherwise here.

    source: a file (JSON, or YAML by its ending), the document as a dictionary, or a pipeline that has `to_dict`.
    side: of the images in pixels, which squares that are given in pixels need. What AutoAlbument searched counts where
    it is not what it exported: scale 2 is twice as large, contrast 2 twice as bright.
    Raises UserError for what is no such document, ConversionError for a loss if `strict`.
    """
    if side is not None:
        require_side(side, "from_albumentations", "squares are in pixels")
    content = _read(source)
    context = _Context(side, str(content.get("__version__", "")).startswith("0."), [])
    with told_in_words():
        document = _document(content["transform"], context)
    return converted("from_albumentations", policy_from_document(document), context.losses, strict)


def _read(source: Any) -> Mapping[str, Any]:
    """The document: its transform, and its version."""
    if hasattr(source, "to_dict") and not isinstance(source, Mapping):
        source = source.to_dict()
    if isinstance(source, str | os.PathLike):
        try:
            path = expanded(source)
            if path.stat().st_size > _LARGEST:
                raise UserError(f"{path}: expected at most {_LARGEST >> 20} MiB, got {path.stat().st_size >> 20} MiB")
            text = path.read_text(encoding="utf-8")
            if path.suffix.lower() in (".yaml", ".yml"):
                import yaml

                try:
                    source = yaml.safe_load(text)
                except yaml.YAMLError as error:
                    raise ValueError(str(error)) from None
            else:
                source = json.loads(text)
        except UserError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{os.fspath(source)}: expected a document of Albumentations, got none: {error}") from None
    if not isinstance(source, Mapping) or not isinstance(source.get("transform"), Mapping):
        raise UserError(f"from_albumentations: expected a document with a transform, got {type(source).__name__}")
    return source


def _kind(node: object) -> str:
    """The class of a transform, without its module."""
    if not isinstance(node, Mapping) or not isinstance(node.get("__class_fullname__"), str):
        raise UserError(f"from_albumentations: expected transforms with their class, got {str(node)[:80]}")
    return str(node["__class_fullname__"]).rpartition(".")[2]


def _inner(node: Mapping[str, Any], what: str) -> Sequence[Mapping[str, Any]]:
    found = node.get("transforms")
    if _kind(node) != what or not isinstance(found, list | tuple) or not found:
        raise UserError(f"from_albumentations: expected {_EXPECTED}; got {_kind(node)} where {what} is expected")
    return found


def _chance(node: Mapping[str, Any]) -> float:
    chance = node.get("p", 0.5)
    if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1 + 1e-6:
        raise UserError(f"from_albumentations: expected p from 0 to 1, got {chance!r}")
    return min(float(chance), 1.0)


def _shares(nodes: Sequence[Mapping[str, Any]]) -> list[float]:
    chances = [_chance(node) for node in nodes]
    if not sum(chances) > 0:
        raise UserError("from_albumentations: expected a choice with a chance above 0, got none")
    return [chance / sum(chances) for chance in chances]


def _document(pipeline: Mapping[str, Any], context: _Context) -> PolicyDocument:
    nodes, losses = _inner(pipeline, "Compose"), context.losses
    choices = [node for node in nodes if _kind(node) == "OneOf"]
    if len(choices) != 1:
        raise UserError(f"from_albumentations: expected {_EXPECTED}; got {len(choices)} choices")
    losses += [Loss("document", f"{_kind(node)} is left out") for node in nodes if node is not choices[0]]
    sequences = _inner(choices[0], "OneOf")
    applied = _chance({"p": 1.0, **pipeline}) * _chance(choices[0])
    subpolicies = [
        SubPolicy(
            weight=share * applied,
            stages=tuple(
                _stage(stage, f"subpolicies[{s}].stages[{place}]", context)
                for place, stage in enumerate(_inner(sequence, "Sequential"))
            ),
        )
        for s, (sequence, share) in enumerate(zip(sequences, _shares(sequences), strict=True))
    ]
    if applied < 1:
        subpolicies.append(SubPolicy(weight=1 - applied, stages=((Entry(op="identity"),),)))
    interpolation, fill = next(iter(context.reads), "bilinear"), next(iter(context.fills), 0.0)
    losses += [Loss("interpolation", f"{other} becomes {interpolation}") for other in list(context.reads)[1:]]
    losses += [Loss("fill", f"{other:.4g} becomes {fill:.4g}") for other in list(context.fills)[1:]]
    losses += mixed_border(interpolation, fill) if context.reads else []
    return PolicyDocument(
        interpolation=interpolation,  # type: ignore[arg-type]
        fill=fill,
        subpolicies=tuple(subpolicies),
    )


def mixed_border(interpolation: str, fill: float) -> list[Loss]:
    """OpenCV mixes the fill into pixels that lie half outside of the image; torchvision, as augrad, dims them first."""
    mixed = interpolation == "bilinear" and fill > 0
    return [Loss("fill", "a row of pixels beside filled ones is mixed otherwise")] if mixed else []


def _stage(node: Mapping[str, Any], place: str, context: _Context) -> tuple[Entry, ...]:
    nodes, applied = _inner(node, "OneOf"), _chance(node)
    entries = [] if applied == 1 else [Entry(op="identity", weight=1 - applied)]
    for k, (one, share) in enumerate(zip(nodes, _shares(nodes), strict=True)):
        probability = 1.0  # what a choice has chosen is applied, whatever its own p
        if _kind(one) == "Sequential":
            (one,) = inner if len(inner := _inner(one, "Sequential")) == 1 else ({"__class_fullname__": "Sequential"},)
            probability = _chance(one)
        if share * applied == 0:
            continue
        try:
            leaf = _leaf(_kind(one), one, context)
            entry = _entry(leaf, share * applied, probability)
        except UserError:
            raise
        except (_Lost, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            why = f": {error}" if isinstance(error, _Lost) and str(error) else ""
            context.losses.append(Loss(f"{place}[{k}]", f"{_kind(one)} is not known here, and is left out{why}"))
            leaf = _Leaf("identity")
            entry = _entry(leaf, share * applied, probability)
        told = filter(None, [leaf.loss, *_other_options(_kind(one), one)])
        context.losses += [Loss(f"{place}[{k}]", f"{leaf.op}: {what}") for what in told if leaf.op != "identity"]
        if leaf.reads is not None:
            context.reads[leaf.reads] = None
        if leaf.fill is not None:
            context.fills[round(leaf.fill, 9)] = None
        entries.append(entry)
    return _with_signs(entries)


_USUAL: Mapping[str, Mapping[str, Any]] = {
    "ToGray": {"method": "weighted_average"},
    "AutoContrast": {"method": "pil", "cutoff": 0.0, "ignore": None},
    "Equalize": {"mode": "pil", "by_channels": True, "mask": None},
    "GaussianBlur": {"blur_limit": [0, 0]},
    "GaussNoise": {"mean_range": [0.0, 0.0], "per_channel": True, "noise_scale_factor": 1.0},
    "Affine": {"fit_output": False, "keep_ratio": False},
}
"""Options of today's transforms that decide what is done here; others than these are done otherwise."""


def _other_options(kind: str, options: Mapping[str, Any]) -> list[str]:
    usual = {key: value for key, value in _USUAL.get(kind, {}).items() if key in options}
    given = {key: list(options[key]) if isinstance(options[key], tuple) else options[key] for key in usual}
    return [f"{key}={given[key]} there is {value} here" for key, value in usual.items() if given[key] != value]


def _entry(leaf: _Leaf, weight: float, probability: float) -> Entry:
    op = get(leaf.op)
    if op.unit is None or leaf.ends is None:
        return Entry(op=op.name, weight=weight, probability=1.0 if op.kind == "identity" else probability)
    low, high = (round(end, 9) + 0.0 for end in leaf.ends)
    magnitude: Magnitude = Value(value=low) if low == high else Uniform(low=low, high=high)
    return Entry(op=op.name, unit=op.unit, magnitude=magnitude, weight=weight, probability=probability)


def _with_signs(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """With each two entries that are opposite and equally likely as one that draws its sign, and identities as one."""
    left: list[Entry] = []
    for entry in entries:
        if entry.op == "identity":
            same = next((i for i, one in enumerate(left) if one.op == "identity"), None)
            if same is not None:
                left[same] = left[same].model_copy(update={"weight": left[same].weight + entry.weight})
                continue
        opposite = next((i for i, one in enumerate(left) if _are_opposite(one, entry)), None)
        if opposite is None:
            left.append(entry)
            continue
        one = max(left[opposite], entry, key=lambda found: found.magnitude.value)  # type: ignore[union-attr]
        left[opposite] = one.model_copy(update={"signed": True, "weight": 2 * entry.weight})
    total = math.fsum(entry.weight for entry in left)
    return tuple(entry.model_copy(update={"weight": entry.weight / total}) for entry in left)


def _are_opposite(one: Entry, other: Entry) -> bool:
    if one.op != other.op or one.signed or not get(one.op).signed or one.probability != other.probability:
        return False
    if not isinstance(one.magnitude, Value) or not isinstance(other.magnitude, Value):
        return False
    return one.magnitude.value == -other.magnitude.value != 0 and abs(one.weight - other.weight) < 1e-9


def _leaf(kind: str, options: Mapping[str, Any], context: _Context) -> _Leaf:
    """What a transform is here. Raises _Lost for what is not known, and KeyError and the like for strange options."""
    match kind:
        case "NoOp":
            return _Leaf("identity")
        case "HorizontalFlip" | "VerticalFlip":
            return _Leaf("horizontal_flip" if kind == "HorizontalFlip" else "vertical_flip")
        case "ToGray":
            return _Leaf("grayscale")
        case "InvertImg":
            return _Leaf("invert")
        case "AutoContrast":
            return _Leaf("auto_contrast")
        case "Equalize":
            return _Leaf("equalize")
        case "Solarize":
            if "threshold_range" in options:
                return _Leaf("solarize", _of(_ends(options["threshold_range"]), lambda value: round(value, 8)))
            return _Leaf(
                "solarize", _of(_ends(options["threshold"]), lambda value: math.floor(value / 255 * 1e6) / 1e6)
            )
        case "Posterize":
            ends = _ends(options["num_bits"])
            return _Leaf("posterize", ends, loss="" if ends[0] == ends[1] else "whole bits, all as likely, there")
        case "Sharpen":
            if options.get("method", "kernel") != "kernel" or _ends(options["lightness"]) != (1.0, 1.0):
                raise _Lost("other than blending with the smoothed image")
            return _Leaf("sharpness", _of(_ends(options["alpha"]), lambda value: 13 * value))
        case "GaussianBlur":
            return _Leaf("gaussian_blur", _ends(options["sigma_limit"]))
        case "RandomGamma":
            return _uneven("gamma", _ends(options["gamma_limit"]), lambda value: math.log(value / 100))
        case "GaussNoise":
            return _Leaf("gaussian_noise", _ends(options["std_range"]))
        case "CoarseDropout":
            return _square(options, context)
        case "ColorJitter":
            return _jitter(options)
        case "RandomBrightnessContrast":
            if _ends(options["brightness_limit"]) != (0.0, 0.0):
                raise _Lost("a brightness that is added")
            # AutoAlbument searched a factor, and exported it as an addend to 1.
            neutral = 1.0 if context.old else 0.0
            return _Leaf("brightness", _of(_ends(options["contrast_limit"]), lambda value: value - neutral))
        case "Affine":
            return _affine(options)
        case "ShiftScaleRotate":
            return _shift_scale_rotate(options, context)
    raise _Lost


def _ends(value: Any) -> tuple[float, float]:
    low, high = value if isinstance(value, list | tuple) else (value, value)
    if not math.isfinite(float(low)) or not math.isfinite(float(high)):
        raise ValueError(value)
    return float(low), float(high)


def _of(ends: tuple[float, float], function: Any) -> tuple[float, float]:
    return function(ends[0]), function(ends[1])


def _uneven(op: str, ends: tuple[float, float], function: Any, **more: Any) -> _Leaf:
    """Of a range that is even before `function`, and after it is not."""
    loss = "" if ends[0] == ends[1] else "the range is drawn evenly in another unit there"
    return _Leaf(op, _of(ends, function), loss=loss, **more)


def _reads(value: Any) -> str:
    if value not in (0, 1):
        raise _Lost(f"interpolation {value}")
    return "nearest" if value == 0 else "bilinear"


def _fill(value: Any) -> float:
    """In 0..1; of several numbers, which are one."""
    values = set(value) if isinstance(value, list | tuple) else {0.0 if value is None else value}
    if len(values) != 1 or not isinstance(one := values.pop(), int | float):
        raise _Lost(f"fill {value}")
    return float(one) / 255


def _jitter(options: Mapping[str, Any]) -> _Leaf:
    known = {
        "brightness": ("brightness", 1.0),
        "contrast": ("contrast", 1.0),
        "saturation": ("color", 1.0),
        "hue": ("hue", 0.0),
    }
    found = {
        name: _ends(options[name]) for name, (_, neutral) in known.items() if _ends(options[name]) != (neutral,) * 2
    }
    if len(found) > 1:
        raise _Lost("several changes at once, in a random order")
    name, ends = next(iter(found.items()), ("hue", (0.0, 0.0)))
    op, neutral = known[name]
    return _Leaf(op, _of(ends, lambda value: value - neutral))


def _affine(options: Mapping[str, Any]) -> _Leaf:
    pixels = options.get("translate_px") or {}
    if any(_ends(value) != (0.0, 0.0) for value in pixels.values()):
        raise _Lost("a translation in pixels")
    shift = options.get("translate_percent") or {"x": (0.0, 0.0), "y": (0.0, 0.0)}
    found: list[_Leaf] = []
    if (ends := _ends(options["rotate"])) != (0.0, 0.0):
        found.append(_Leaf("rotate", ends))
    scale = {axis: _ends(options["scale"][axis]) for axis in "xy"}
    if any(ends != (1.0, 1.0) for ends in scale.values()):
        if scale["x"] != scale["y"]:
            raise _Lost("another scale in each direction")
        found.append(_uneven("zoom", scale["x"], math.log))
    for axis in "xy":
        by, moved = _ends(options["shear"][axis]), _ends(shift[axis])
        leaf = _uneven(f"shear_{axis}", by, lambda value: math.tan(math.radians(value)))
        if by != (0.0, 0.0):
            found.append(leaf)
            factors = leaf.ends or by
            back = tuple(moved[end] + factors[end] / 2 for end in (0, 1))
            if max(map(abs, back)) > 1e-6:
                raise _Lost("a shear that is not about the corner")
        elif moved != (0.0, 0.0):
            found.append(_Leaf(f"translate_{axis}", moved))
    if len(found) > 1:
        raise _Lost("several movements at once")
    leaf = found[0] if found else _Leaf("rotate", (0.0, 0.0))
    told = "; ".join(filter(None, [leaf.loss, _other_border(options)]))
    return leaf._replace(reads=_reads(options["interpolation"]), fill=_fill(options.get("fill")), loss=told)


def _other_border(options: Mapping[str, Any]) -> str:
    return "the image goes on beyond its border there, and is filled here" if options.get("border_mode", 0) != 0 else ""


def _shift_scale_rotate(options: Mapping[str, Any], context: _Context) -> _Leaf:
    parts = {
        "translate_x": _ends(options["shift_limit_x"]),
        "translate_y": _ends(options["shift_limit_y"]),
        "zoom": _ends(options["scale_limit"]),
        "rotate": _ends(options["rotate_limit"]),
    }
    found = [(op, ends) for op, ends in parts.items() if ends != (0.0, 0.0)]
    if len(found) > 1:
        raise _Lost("several movements at once")
    op, ends = found[0] if found else ("rotate", (0.0, 0.0))
    leaf = _Leaf(op, ends)
    if op == "zoom":  # AutoAlbument searched a factor, and exported it as an addend to 1
        leaf = _uneven("zoom", ends, lambda value: math.log(value if context.old else 1 + value))
    border = _other_border(options)
    fill = None if border else _fill(options.get("fill", options.get("value")))
    return leaf._replace(
        reads=_reads(options.get("interpolation", 1)), fill=fill, loss="; ".join(filter(None, [leaf.loss, border]))
    )


def _square(options: Mapping[str, Any], context: _Context) -> _Leaf:
    if "num_holes_range" in options:
        if _ends(options["num_holes_range"]) != (1.0, 1.0):
            raise _Lost("several squares")
        given = [list(options[f"hole_{name}_range"]) for name in ("height", "width")]
    else:
        if (options["min_holes"], options["max_holes"]) != (1, 1):
            raise _Lost("several squares")
        given = [[options[f"min_{name}"], options[f"max_{name}"]] for name in ("height", "width")]
    if any(isinstance(value, int) for pair in given for value in pair):
        side = require_side(context.side, "from_albumentations", "squares are in pixels")
        given = [[value / side for value in pair] for pair in given]
    height, width = map(_ends, given)
    if height != width:
        raise _Lost("a rectangle")
    fill = _fill(options.get("fill", options.get("fill_value")))
    return _Leaf("cutout", height, fill=fill, loss="the square lies wholly inside the image there")
