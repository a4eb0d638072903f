"""exp and log in single precision, of many values at once.

Those of the C library take one value after another. These are the polynomials of Cephes (Moshier 1989, expf and logf)
without a branch, so that vector instructions take them; less than one rounding step off.
"""

from typing import no_type_check

import numpy as np
from numba import njit

_SINGLE = np.float32
_LOG_2 = _SINGLE(0.693359375), _SINGLE(-2.12194440e-4)
"""In two parts: products of the first with small whole numbers are exact."""
_SMALLEST, _LARGEST = _SINGLE(-86.98), _SINGLE(88.72283)
"""Outside of them an exponential is 0, or so small that it has fewer digits, or infinite."""

_OPTIONS = {"nogil": True, "error_model": "numpy", "forceinline": True, "fastmath": {"contract"}}
"""fastmath, where it is not said, is the first caller's; sums in another order would undo the two parts of log 2."""


@njit(**_OPTIONS)
@no_type_check
def exp(value):
    """e to the power of `value`, float32: a whole power of 2 times e to the power of what is left, which is small."""
    within = (value > _SMALLEST) & (value < _LARGEST)
    shown = value if within else _SINGLE(0)
    whole = np.rint(shown * _SINGLE(1.4426950408889634))
    x = shown - whole * _LOG_2[0] - whole * _LOG_2[1]
    result = _SINGLE(1.9875691500e-4) * x + _SINGLE(1.3981999507e-3)
    result = result * x + _SINGLE(8.3334519073e-3)
    result = result * x + _SINGLE(4.1665795894e-2)
    result = result * x + _SINGLE(1.6666665459e-1)
    result = result * x + _SINGLE(0.5)
    result = result * x * x + x + _SINGLE(1)
    # Half of the power of 2, whose exponent fits in every case.
    half = np.int32((np.int32(whole) + np.int32(126)) << np.int32(23)).view(np.float32)
    beyond = _SINGLE(0) if value <= _SMALLEST else value + _SINGLE(np.inf)  # NaN stays
    return result * half * _SINGLE(2) if within else beyond


@njit(**_OPTIONS)
@no_type_check
def log(value):
    """The natural logarithm of `value`, float32: of its power of 2, and of what is left, which is near 1."""
    tiny = value < _SINGLE(2.0**-126)
    bits = _SINGLE(value * _SINGLE(2.0**24) if tiny else value).view(np.int32)
    share = np.int32((bits & np.int32(0x7FFFFF)) | np.int32(0x3F000000)).view(np.float32)  # from 1/2 to 1
    small = share < _SINGLE(0.70710678)
    power = _SINGLE(np.int32((bits >> np.int32(23)) - np.int32(126)))
    power = power - (_SINGLE(24) if tiny else _SINGLE(0)) - (_SINGLE(1) if small else _SINGLE(0))
    x = (share + share if small else share) - _SINGLE(1)
    result = _SINGLE(7.0376836292e-2) * x + _SINGLE(-1.1514610310e-1)
    result = result * x + _SINGLE(1.1676998740e-1)
    result = result * x + _SINGLE(-1.2420140846e-1)
    result = result * x + _SINGLE(1.4249322787e-1)
    result = result * x + _SINGLE(-1.6668057665e-1)
    result = result * x + _SINGLE(2.0000714765e-1)
    result = result * x + _SINGLE(-2.4999993993e-1)
    result = result * x + _SINGLE(3.3333331174e-1)
    result = result * x * x * x + power * _LOG_2[1] - _SINGLE(0.5) * x * x
    result = x + result + power * _LOG_2[0]
    result = result if value < _SINGLE(np.inf) else value  # NaN stays
    return result if value > 0 else (-_SINGLE(np.inf) if value == 0 else _SINGLE(np.nan))
