"""Where the draws of a magnitude lie: its quantiles, in the operation's unit."""

import math
from functools import cache, lru_cache
from statistics import NormalDist

import numpy as np

from augrad.policy_file.magnitude import LogitNormal, Magnitude, Uniform, UniformUpTo, Value

_ENDS = 400
"""Equally likely ends that stand for the drawn end of a uniform range."""


def quantile(magnitude: Magnitude, level: float) -> float:
    """The magnitude, without its sign, that a share `level` of the draws does not go beyond; level in (0, 1).

    What is beyond is closer to the range's `high`, the strong end, even where that is the smaller number.
    """
    match magnitude:
        case Value(value=value):
            return value
        case Uniform(low=low, high=high):
            return low + (high - low) * level
        case LogitNormal():
            return end_at(magnitude, NormalDist().inv_cdf(level))
        case UniformUpTo(low=low, high=high):
            return low + (high - low) * _below_a_drawn_end(magnitude, level)
    raise AssertionError(magnitude)


def end_at(magnitude: LogitNormal | UniformUpTo, normal: float) -> float:
    """The logit-normal magnitude, or end of a range, that the standard normal draw `normal` gives."""
    latent = magnitude.location + magnitude.scale * normal
    power = math.exp(-min(abs(latent), 700.0))
    fraction = (1.0 if latent > 0 else power) / (1 + power)
    return magnitude.low + (magnitude.high - magnitude.low) * fraction


def _below_a_drawn_end(magnitude: UniformUpTo, level: float) -> float:
    """The quantile of u * s, u uniform in [0, 1], s the logit-normal end as a fraction of the range."""
    passed, ends = _passed(magnitude.location, magnitude.scale)
    return float(np.interp(level, passed, ends))


@lru_cache(maxsize=4096)
def _passed(location: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the draws u * s below each of some equally likely ends s, and these ends; both begin at 0."""
    ends = logistic_of_normals(location, scale, _ENDS).clip(min=1e-300)
    # At u * s = ends[k] all smaller ends are passed, and of each larger one the share ends[k] / end.
    larger = np.append(np.cumsum((1 / ends)[::-1])[::-1][1:], 0.0)
    passed = (np.arange(1, _ENDS + 1) + ends * larger) / _ENDS
    return np.append(0.0, passed), np.append(0.0, ends)


def logistic_of_normals(location: float, scale: float, count: int) -> np.ndarray:
    """`count` equally likely draws of a logit-normal distribution on [0, 1], from the least to the largest."""
    return np.exp(-np.logaddexp(0.0, -(location + scale * normals(count))))


@cache
def normals(count: int) -> np.ndarray:
    """`count` equally likely draws of the standard normal distribution, from the least to the largest."""
    return np.array([NormalDist().inv_cdf((index + 0.5) / count) for index in range(count)])
