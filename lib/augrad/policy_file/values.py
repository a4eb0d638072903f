"""A magnitude that is drawn, as values that are not: for means, and for libraries that know fixed ones only."""

from statistics import fmean

from augrad.policy_file.magnitude import LogitNormal, Magnitude, Uniform, UniformUpTo, Value
from augrad.policy_file.model import Entry
from augrad.policy_file.quantiles import quantile

_NODES = 240
"""Of the midpoint rule by which the means of parts of a distribution are taken."""


def values_of(magnitude: Magnitude, count: int) -> list[float]:
    """`count` values, each the mean of an equally likely part of what is drawn, from weak to strong; one of a fixed
    magnitude."""
    if isinstance(magnitude, Value):
        return [magnitude.value]
    return list(dict.fromkeys(_mean_of_part(magnitude, part, count) for part in range(count)))


def _mean_of_part(magnitude: Uniform | LogitNormal | UniformUpTo, part: int, count: int) -> float:
    nodes = range(part * _NODES, (part + 1) * _NODES)
    mean = fmean(quantile(magnitude, (node + 0.5) / (_NODES * count)) for node in nodes)
    rounding = 1e-12 * max(abs(magnitude.low), abs(magnitude.high))
    return mean if abs(mean) > rounding else 0.0


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


def drawn_range(magnitude: Magnitude) -> tuple[float, float] | None:
    """From where to where it is drawn, the weak end first; None where it is always the same.

    An end that is drawn from a normal distribution is the mean of the outermost fortieth of the draws: its own says
    nothing.
    """
    if isinstance(magnitude, Value):
        return None
    low = _mean_of_part(magnitude, 0, 40) if isinstance(magnitude, LogitNormal) else magnitude.low
    high = magnitude.high if isinstance(magnitude, Uniform) else _mean_of_part(magnitude, 39, 40)
    return None if low == high else (low, high)
