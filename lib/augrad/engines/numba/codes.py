"""The numbers by which compiled code knows operations: their places in the table of all."""

import numpy as np

from augrad.ops import get, names
from augrad.ops.spec import AffineColor, Curve, Warp

TABLE = tuple(get(name) for name in names())
NONE = len(TABLE)
"""No operation: the image stays as it is."""

_CODES = {op.name: code for code, op in enumerate(TABLE)}
AUTO_CONTRAST, EQUALIZE = _CODES["auto_contrast"], _CODES["equalize"]
SHARPNESS, CUTOUT = _CODES["sharpness"], _CODES["cutout"]
HUE, GAUSSIAN_BLUR = _CODES["hue"], _CODES["gaussian_blur"]
SAMPLE_PAIRING, GAUSSIAN_NOISE = _CODES["sample_pairing"], _CODES["gaussian_noise"]

COPIED, WARPED, RECOLORED, CURVED, OWN, SEPARATE = range(6)
_KERNELS = {
    **dict.fromkeys((AUTO_CONTRAST, EQUALIZE, SHARPNESS, CUTOUT), OWN),
    **dict.fromkeys((HUE, GAUSSIAN_BLUR, SAMPLE_PAIRING, GAUSSIAN_NOISE), SEPARATE),
}
_SHAPES = {Warp: WARPED, AffineColor: RECOLORED, Curve: CURVED}
KINDS = np.array([_SHAPES.get(type(op.shape), _KERNELS.get(code, COPIED)) for code, op in enumerate(TABLE)] + [COPIED])
"""By which kernel an operation is computed, by its code: that of its shape, or its own. SEPARATE: one of those that
take no time to compile where nobody draws them."""

TAKES = np.array([*(op.has_magnitude for op in TABLE), False])
"""Whether an operation has a magnitude, by its code."""
