"""Every operation by name: `augrad.ops.rotate(images, magnitude)`; its specification: `augrad.ops.get("rotate")`."""

from difflib import get_close_matches

from augrad.errors import UserError
from augrad.ops.color import (
    auto_contrast,
    brightness,
    color,
    contrast,
    equalize,
    grayscale,
    hue,
    identity,
    invert,
    posterize,
    solarize,
    solarize_add,
)
from augrad.ops.erase import cutout
from augrad.ops.filters import gaussian_blur, sharpness
from augrad.ops.geometric import (
    horizontal_flip,
    rotate,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
    vertical_flip,
)
from augrad.ops.mix import sample_pairing
from augrad.ops.spec import Op

_WARP = ("fill", "interpolation")

_OPS: tuple[Op, ...] = (
    Op("identity", identity, kind="identity"),
    Op("shear_x", shear_x, 0.0, 0.3, "factor", True, "exact", "geometric", options=_WARP),
    Op("shear_y", shear_y, 0.0, 0.3, "factor", True, "exact", "geometric", options=_WARP),
    Op("translate_x", translate_x, 0.0, 0.45, "fraction", True, "exact", "geometric", options=_WARP),
    Op("translate_y", translate_y, 0.0, 0.45, "fraction", True, "exact", "geometric", options=_WARP),
    Op("rotate", rotate, 0.0, 30.0, "degree", True, "exact", "geometric", options=_WARP),
    Op("horizontal_flip", horizontal_flip, kind="geometric"),
    Op("vertical_flip", vertical_flip, kind="geometric"),
    Op("brightness", brightness, 0.0, 0.9, "strength", True, "exact"),
    Op("color", color, 0.0, 0.9, "strength", True, "exact"),
    Op("contrast", contrast, 0.0, 0.9, "strength", True, "exact"),
    Op("sharpness", sharpness, 0.0, 0.9, "strength", True, "exact", "filter"),
    Op("hue", hue, 0.0, 0.5, "fraction", True, "exact"),
    Op("grayscale", grayscale),
    Op("invert", invert),
    Op("auto_contrast", auto_contrast),
    Op("equalize", equalize),
    Op("solarize", solarize, 1.0, 0.0, "threshold", False, "straight_through"),
    Op("solarize_add", solarize_add, 0.0, 0.43, "addend", False, "exact"),
    Op("posterize", posterize, 8.0, 4.0, "bits", False, "straight_through"),
    Op("gaussian_blur", gaussian_blur, 0.0, 2.0, "pixel", False, "exact", "filter"),
    Op("cutout", cutout, 0.0, 0.2, "fraction", False, "straight_through", "erase", draws=2, options=("fill",)),
    Op("sample_pairing", sample_pairing, 0.0, 0.4, "weight", False, "exact", "mix", draws=1, options=("others",)),
)
_BY_NAME = {op.name: op for op in _OPS}


def names() -> tuple[str, ...]:
    """The names of all operations."""
    return tuple(_BY_NAME)


def get(name: str) -> Op:
    """The specification of the operation `name`. Raises UserError, with the closest name, for an unknown one."""
    if not isinstance(name, str):
        raise UserError(f"expected the name of an operation, got {name!r}")
    if name in _BY_NAME:
        return _BY_NAME[name]
    close = get_close_matches(name, _BY_NAME, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known operations: {', '.join(_BY_NAME)}"
    raise UserError(f"unknown operation {name!r}; {hint}")


def is_own(op: Op) -> bool:
    """Whether `op` is the operation that goes by its name here, and not another one of the same name."""
    return _BY_NAME.get(op.name) == op


__all__ = [
    "Op",
    "auto_contrast",
    "brightness",
    "color",
    "contrast",
    "cutout",
    "equalize",
    "gaussian_blur",
    "get",
    "grayscale",
    "horizontal_flip",
    "hue",
    "identity",
    "invert",
    "is_own",
    "names",
    "posterize",
    "rotate",
    "sample_pairing",
    "sharpness",
    "shear_x",
    "shear_y",
    "solarize",
    "solarize_add",
    "translate_x",
    "translate_y",
    "vertical_flip",
]
