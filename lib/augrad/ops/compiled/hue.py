"""hue on one image, and its derivative. Definition: `augrad.ops.color.hue`."""

from typing import no_type_check

from numba import njit

from augrad.ops.compiled.values import as_written, clip, fraction, real


@njit(nogil=True, inline="always")
@no_type_check
def _wheel(r, g, b):
    """Highest and lowest value, their distance as a divisor, the hue's numerator, and where on the wheel it counts from.

    All five are numbers of one type.
    """
    highest, lowest = max(max(r, g), b), min(min(r, g), b)
    spread = highest - lowest
    divisor = spread if spread > 1e-20 else spread * 0 + 1
    is_red, is_green = highest == r, highest == g
    numerator = g - b if is_red else (b - r if is_green else r - g)
    origin = spread * 0 if is_red else (spread * 0 + 2 if is_green else spread * 0 + 4)
    return highest, spread, divisor, numerator, origin
