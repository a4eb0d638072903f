"""Which operations have a kernel, and the number by which a kernel knows them."""

from augrad.ops import get
from augrad.ops.spec import Op

_NAMES = (
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "horizontal_flip",
    "vertical_flip",
    "brightness",
    "color",
    "contrast",
    "invert",
    "grayscale",
    "hue",
    "auto_contrast",
    "equalize",
    "solarize",
    "solarize_add",
    "posterize",
    "cutout",
    "sample_pairing",
    "sharpness",
    "gaussian_blur",
)

KINDS = {name: number for number, name in enumerate(_NAMES, 1)}
"""Number of each operation that a kernel knows; 0 copies the image."""

NO_EFFECT = len(_NAMES) + 1
"""Copies the image: its operation has no effect on images of that kind, but a magnitude, which may be NaN."""

_NO_COLOUR = frozenset(("color", "grayscale", "hue"))


def has_kernel(op: Op) -> bool:
    """Whether `op` is an operation of `augrad.ops` (and not another function of the same name) with a kernel."""
    return op.name in KINDS and op.apply is get(op.name).apply


def kinds_of(ops: tuple[Op | None, ...], channels: int, shortest: int) -> tuple[int, ...]:
    """For each operation, and last for none: its kind, 0 where the image stays as it is (NO_EFFECT keeps NaN).

    channels, shortest: of the images; shortest is their shorter side in pixels.
    """

    def kind(op: Op | None) -> int:
        if op is None or not has_kernel(op):
            return 0
        no_effect = (channels == 1 and op.name in _NO_COLOUR) or (shortest < 3 and op.name == "sharpness")
        if no_effect:
            return NO_EFFECT if op.has_magnitude else 0
        return KINDS[op.name]

    return tuple(map(kind, (*ops, None)))
