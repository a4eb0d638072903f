"""What the transforms of Albumentations are among our operations: of today's version, and of AutoAlbument's 0.5."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from augrad.interop.leaves import require_side
from augrad.interop.sources import shortly


class Lost(Exception):
    """What a transform does cannot be carried over; the message says why."""


_WHOLE_PIXELS = "translations are cut to whole pixels there: less than one pixel"
_CORNER = "goes about the centre, then back by whole pixels: less than one pixel on square images, more on others"
DIFFERENCES: Mapping[str, str] = {
    "shear_x": _CORNER,
    "shear_y": _CORNER,
    "translate_x": _WHOLE_PIXELS,
    "translate_y": _WHOLE_PIXELS,
    "color": "up to 2 levels of 255 where most of the colour goes (factors below 0.4)",
    "hue": "OpenCV's hue has steps of 2 degrees: up to some 12 levels of 255",
    "sharpness": "the outermost pixels are sharpened, too",
    "auto_contrast": "up to some 5 levels of 255",
    "equalize": "some levels of 255 on photographs, and far more where an image has few values",
}
"""What today's transforms do otherwise than the operation, however it is drawn, in either direction."""
_INSIDE = "the square lies wholly inside the image there"
IN_SHARES = f"{_INSIDE}, and is as high and wide as a share of the height and width"
WIDEST_BLUR, BEYOND_BLUR = 2.0, "reaches farther than 6 pixels there"


class Leaf(NamedTuple):
    """An operation with the ends of the range that its magnitude is drawn from; None without one. reads, fill: how it
    interpolates, and the value of what it uncovers, where it does. loss: what is done otherwise here."""

    op: str
    ends: tuple[float, float] | None = None
    reads: str | None = None
    fill: float | None = None
    loss: str = ""


def leaf_of(kind: str, options: Mapping[str, Any], side: int | None, old: bool) -> Leaf:
    """What a transform of this class, with these options, is here. side: of the images in pixels. old: AutoAlbument's.

    Raises Lost for what is not known, KeyError and the like for options that are strange, and UserError where `side` is
    needed.
    """
    match kind:
        case "NoOp":
            return Leaf("identity")
        case "HorizontalFlip" | "VerticalFlip":
            return Leaf("horizontal_flip" if kind == "HorizontalFlip" else "vertical_flip")
        case "ToGray":
            return Leaf("grayscale")
        case "InvertImg":
            return Leaf("invert")
        case "AutoContrast":
            return Leaf("auto_contrast")
        case "Equalize":
            return Leaf("equalize")
        case "Solarize":
            if "threshold_range" in options:
                return Leaf("solarize", _of(_ends(options["threshold_range"]), lambda value: round(value, 8)))
            return Leaf("solarize", _of(_ends(options["threshold"]), lambda value: math.floor(value / 255 * 1e6) / 1e6))
        case "Posterize":
            ends = _ends(options["num_bits"])
            return Leaf("posterize", ends, loss="" if ends[0] == ends[1] else "whole bits, all as likely, there")
        case "Sharpen":
            if options.get("method", "kernel") != "kernel" or _ends(options["lightness"]) != (1.0, 1.0):
                raise Lost("other than blending with the smoothed image")
            return Leaf("sharpness", _of(_ends(options["alpha"]), lambda value: 13 * value))
        case "GaussianBlur":
            ends = _ends(options["sigma_limit"])
            return Leaf("gaussian_blur", ends, loss=BEYOND_BLUR if max(ends) > WIDEST_BLUR else "")
        case "RandomGamma":
            return _uneven("gamma", _ends(options["gamma_limit"]), lambda value: math.log(value / 100))
        case "GaussNoise":
            return Leaf("gaussian_noise", _ends(options["std_range"]))
        case "CoarseDropout":
            return _square(options, side)
        case "ColorJitter":
            return _jitter(options)
        case "RandomBrightnessContrast":
            if _ends(options["brightness_limit"]) != (0.0, 0.0):
                raise Lost("a brightness that is added")
            # AutoAlbument searched a factor, and exported it as an addend to 1.
            neutral = 1.0 if old else 0.0
            return Leaf("brightness", _of(_ends(options["contrast_limit"]), lambda value: value - neutral))
        case "Affine":
            return _affine(options)
        case "ShiftScaleRotate":
            return _shift_scale_rotate(options, old)
    raise Lost


def _ends(value: Any) -> tuple[float, float]:
    low, high = value if isinstance(value, list | tuple) else (value, value)
    if not math.isfinite(float(low)) or not math.isfinite(float(high)):
        raise ValueError(value)
    return float(low), float(high)


def _by_axis(value: Any, neutral: float) -> dict[str, tuple[float, float]]:
    """The ends of each axis, of what is given for both or by axis; neutral: of one that is not given then."""
    return {axis: _ends(value.get(axis, neutral) if isinstance(value, Mapping) else value) for axis in "xy"}


def _of(ends: tuple[float, float], function: Any) -> tuple[float, float]:
    return function(ends[0]), function(ends[1])


def _uneven(op: str, ends: tuple[float, float], function: Any, **more: Any) -> Leaf:
    """Of a range that is even before `function`, and after it is not."""
    loss = "" if ends[0] == ends[1] else "the range is drawn evenly in another unit there"
    return Leaf(op, _of(ends, function), loss=loss, **more)


def _reads(value: Any) -> str:
    if value not in (0, 1):
        raise Lost(f"interpolation {shortly(value)}")
    return "nearest" if value == 0 else "bilinear"


def _fill(value: Any) -> float:
    """In 0..1; of several numbers, which are one."""
    values = set(value) if isinstance(value, list | tuple) else {0.0 if value is None else value}
    if len(values) != 1 or not isinstance(one := values.pop(), int | float):
        raise Lost(f"fill {shortly(value)}")
    return float(one) / 255


def _jitter(options: Mapping[str, Any]) -> Leaf:
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
        raise Lost("several changes at once, in a random order")
    name, ends = next(iter(found.items()), ("hue", (0.0, 0.0)))
    op, neutral = known[name]
    return Leaf(op, _of(ends, lambda value: value - neutral))


def _affine(options: Mapping[str, Any]) -> Leaf:
    if any(ends != (0.0, 0.0) for ends in _by_axis(options.get("translate_px") or 0.0, 0.0).values()):
        raise Lost("a translation in pixels")
    shift = _by_axis(options.get("translate_percent") or 0.0, 0.0)
    scale, shear = _by_axis(options["scale"], 1.0), _by_axis(options["shear"], 0.0)
    found: list[Leaf] = []
    if (ends := _ends(options["rotate"])) != (0.0, 0.0):
        found.append(Leaf("rotate", ends))
    if any(ends != (1.0, 1.0) for ends in scale.values()):
        if scale["x"] != scale["y"]:
            raise Lost("another scale in each direction")
        zoom = _uneven("zoom", scale["x"], math.log)
        together = options.get("keep_ratio", False) or scale["x"][0] == scale["x"][1]
        apart = "" if together else "another scale in each direction is drawn there"
        found.append(zoom._replace(loss="; ".join(filter(None, [zoom.loss, apart]))))
    for axis in "xy":
        by, moved = shear[axis], shift[axis]
        leaf = _uneven(f"shear_{axis}", by, lambda value: math.tan(math.radians(value)))
        if by != (0.0, 0.0):
            found.append(leaf)
            factors = leaf.ends or by
            back = tuple(moved[end] + factors[end] / 2 for end in (0, 1))
            if max(map(abs, back)) > 1e-6:
                raise Lost("a shear that is not about the corner")
        elif moved != (0.0, 0.0):
            found.append(Leaf(f"translate_{axis}", moved))
    if len(found) > 1:
        raise Lost("several movements at once")
    leaf = found[0] if found else Leaf("rotate", (0.0, 0.0))
    told = "; ".join(filter(None, [leaf.loss, _other_border(options)]))
    return leaf._replace(reads=_reads(options["interpolation"]), fill=_fill(options.get("fill")), loss=told)


def _other_border(options: Mapping[str, Any]) -> str:
    return "the image goes on beyond its border there, and is filled here" if options.get("border_mode", 0) != 0 else ""


def _shift_scale_rotate(options: Mapping[str, Any], old: bool) -> Leaf:
    parts = {
        "translate_x": _ends(options["shift_limit_x"]),
        "translate_y": _ends(options["shift_limit_y"]),
        "zoom": _ends(options["scale_limit"]),
        "rotate": _ends(options["rotate_limit"]),
    }
    found = [(op, ends) for op, ends in parts.items() if ends != (0.0, 0.0)]
    if len(found) > 1:
        raise Lost("several movements at once")
    op, ends = found[0] if found else ("rotate", (0.0, 0.0))
    leaf = Leaf(op, ends)
    if op == "zoom":  # AutoAlbument searched a factor, and exported it as an addend to 1
        leaf = _uneven("zoom", ends, lambda value: math.log(value if old else 1 + value))
    border = _other_border(options)
    fill = None if border else _fill(options.get("fill", options.get("value")))
    return leaf._replace(
        reads=_reads(options.get("interpolation", 1)), fill=fill, loss="; ".join(filter(None, [leaf.loss, border]))
    )


def _square(options: Mapping[str, Any], side: int | None) -> Leaf:
    if "num_holes_range" in options:
        if _ends(options["num_holes_range"]) != (1.0, 1.0):
            raise Lost("several squares")
        given = [list(options[f"hole_{name}_range"]) for name in ("height", "width")]
    else:
        if (options["min_holes"], options["max_holes"]) != (1, 1):
            raise Lost("several squares")
        given = [[options[f"min_{name}"], options[f"max_{name}"]] for name in ("height", "width")]
    in_pixels = given[0][1] >= 1
    if in_pixels:
        side = require_side(side, "from_albumentations", "squares are in pixels")
        given = [[value / side for value in pair] for pair in given]
    height, width = map(_ends, given)
    if height != width:
        raise Lost("a rectangle")
    fill = _fill(options.get("fill", options.get("fill_value")))
    words = _INSIDE if in_pixels else IN_SHARES
    words += "" if height[0] == height[1] else "; height and width are drawn apart there"
    return Leaf("cutout", height, fill=fill, loss=words)


_USUAL: Mapping[str, Mapping[str, Any]] = {
    "ToGray": {"method": "weighted_average", "num_output_channels": 3},
    "AutoContrast": {"method": "pil", "cutoff": 0.0, "ignore": None},
    "Equalize": {"mode": "pil", "by_channels": True, "mask": None},
    "GaussianBlur": {"blur_limit": [0, 0]},
    "GaussNoise": {"mean_range": [0.0, 0.0], "per_channel": True, "noise_scale_factor": 1.0},
    "Affine": {"fit_output": False, "balanced_scale": False},
    "RandomBrightnessContrast": {"ensure_safe_range": False},
}
"""Options of today's transforms that decide what is done here; others than these are done otherwise."""
_OF_ALL = ("__class_fullname__", "p", "always_apply", "transforms")
_OF_MASKS = ("fill_mask", "mask_interpolation", "mask_fill_value", "mask_value", "rotate_method")
_READ: Mapping[str, tuple[str, ...]] = {
    "Solarize": ("threshold", "threshold_range"),
    "Posterize": ("num_bits",),
    "Sharpen": ("alpha", "lightness", "method", "kernel_size", "sigma"),
    "GaussianBlur": ("sigma_limit",),
    "RandomGamma": ("gamma_limit", "eps"),
    "GaussNoise": ("std_range",),
    "CoarseDropout": (
        *("num_holes_range", "hole_height_range", "hole_width_range", "min_holes", "max_holes"),
        *("min_height", "max_height", "min_width", "max_width", "fill", "fill_value"),
    ),
    "ColorJitter": ("brightness", "contrast", "saturation", "hue"),
    "RandomBrightnessContrast": ("brightness_limit", "contrast_limit", "brightness_by_max"),
    "Affine": (
        *("rotate", "scale", "shear", "translate_percent", "translate_px", "keep_ratio"),
        *("interpolation", "border_mode", "fill"),
    ),
    "ShiftScaleRotate": (
        *("shift_limit_x", "shift_limit_y", "scale_limit", "rotate_limit", "interpolation", "border_mode", "fill"),
        "value",
    ),
}
"""Options that `leaf_of` reads, or that change nothing of what it reads."""


def other_options(kind: str, options: Mapping[str, Any]) -> list[str]:
    """In words, the options that are done otherwise here, and those that nobody here knows.

    An option that is not known, of an older version, say, or a later one, may decide anything.
    """
    usual = {key: value for key, value in _USUAL.get(kind, {}).items() if key in options}
    given = {key: list(options[key]) if isinstance(options[key], tuple) else options[key] for key in usual}
    told = [f"{key}={shortly(given[key])} there is {value} here" for key, value in usual.items() if given[key] != value]
    known = {*_OF_ALL, *_OF_MASKS, *_READ.get(kind, ()), *usual}
    more = [key for key in options if key not in known]
    return told + [f"{key!s:.40}={shortly(options[key])} there is not known here" for key in more]
