"""Which operations have a kernel, and the number by which a kernel knows them."""

from functools import lru_cache

from augrad.ops import is_own, shape_of
from augrad.ops.spec import Op, Warp

_NAMES = (
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "warp",
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
    "gamma",
    "cutout",
    "sample_pairing",
    "gaussian_noise",
    "sharpness",
    "gaussian_blur",
)

KINDS = {name: number for number, name in enumerate(_NAMES, 1)}
"""Number of each operation that a kernel knows; "warp" stands for every other affine map of coordinates, whose matrix
the kernel is given. 0 copies the image."""

NO_EFFECT = len(_NAMES) + 1
"""Copies the image: its operation has no effect on images of that kind, but a magnitude, which may be NaN."""

_NO_COLOUR = frozenset(("color", "grayscale", "hue"))


def has_kernel(op: Op) -> bool:
    """Whether `op` is an operation of `augrad.ops` (and not another function of the same name) with a kernel, or an
    affine map of coordinates."""
    return is_warp(op) or (op.name in KINDS and is_own(op))


def is_warp(op: Op | None) -> bool:
    """Whether `op` goes by its matrix, because no kernel knows it otherwise."""
    return op is not None and isinstance(shape_of(op), Warp) and op.name not in KINDS


@lru_cache
def warps_of(ops: tuple[Op | None, ...]) -> tuple[Op, ...]:
    """Those that go by their matrix."""
    return tuple(op for op in ops if op is not None and is_warp(op))


@lru_cache  # a stage that waits for Python to look at sixteen operations leaves the GPU idle
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
        return KINDS["warp" if is_warp(op) else op.name]

    return tuple(map(kind, (*ops, None)))
