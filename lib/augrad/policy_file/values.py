"""A magnitude that is drawn, as values that are not: for means, and for libraries that know fixed ones only."""

import math
from statistics import NormalDist, fmean

from augrad.policy_file.magnitude import LogitNormal, Magnitude, Uniform, UniformUpTo, Value
from augrad.policy_file.model import Entry

_NODES = 240
"""Of the midpoint rule by which the means of parts of a distribution are taken."""


def values_of(magnitude: Magnitude, count: int) -> list[float]:
    """`count` values, each the mean of an equally likely part of what is drawn, from weak to strong; one of a fixed
    magnitude."""
    if isinstance(magnitude, Value):
        return [magnitude.value]
    low, high = magnitude.low, magnitude.high
    size = _NODES * count
    shares = sorted(_shares(magnitude, size))
    size = len(shares)
    parts = [shares[size * part // count : size * (part + 1) // count] for part in range(count)]
    return list(dict.fromkeys(low + (high - low) * fmean(part) for part in parts))


def signed_values(entry: Entry, count: int) -> list[tuple[float, float]]:
    """Values of the magnitude with their signs, and the share of the draws that each stands for."""
    assert entry.magnitude is not None
    values = values_of(entry.magnitude, count)
    signs = (1.0, -1.0) if entry.signed else (1.0,)
    found: dict[float, float] = {}
    for value in values:
        for sign in signs:
            signed = sign * value + 0.0  # no minus before a zero
            found[signed] = found.get(signed, 0.0) + 1 / (len(values) * len(signs))
    return list(found.items())


def range_in_words(magnitude: Magnitude) -> str:
    """From where to where it is drawn; "" where it is always the same."""
    if isinstance(magnitude, Value):
        return ""
    values = values_of(magnitude, 40)  # the ends of a normal distribution say nothing
    return "" if len(values) == 1 else f"{values[0]:.3g} to {values[-1]:.3g}"


def _shares(magnitude: Uniform | LogitNormal | UniformUpTo, size: int) -> list[float]:
    """Of the range from low to high, equally likely ones."""
    middles = [(index + 0.5) / size for index in range(size)]
    match magnitude:
        case Uniform():
            return middles
        case LogitNormal(location=location, scale=scale):
            return [_sigmoid(location + scale * NormalDist().inv_cdf(share)) for share in middles]
        case UniformUpTo(location=location, scale=scale):
            few = [(index + 0.5) / _NODES for index in range(_NODES)]
            ends = [_sigmoid(location + scale * NormalDist().inv_cdf(share)) for share in few]
            return [end * share for end in ends for share in few]


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
