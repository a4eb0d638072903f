"""What a policy does on average, operation by operation, and how far several policies are apart."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from augrad import ops
from augrad.ops.spec import Unit
from augrad.policy_file import Entry, Magnitude, PolicyDocument, Value
from augrad.policy_file.values import values_of
from augrad.show.words import describe_amount, operation_masses

_PARTS = 40
"""Into so many equally likely values a magnitude is divided whose sign may change."""


@dataclass(frozen=True)
class Profile:
    """A policy on average.

    shares: how often an image meets each operation in a stage, mean over the stages, with identity's; they sum to 1.
    strengths: of each operation with a magnitude the mean of what is drawn, in its unit, and without the sign where the
    operation goes both ways. units: of these. applied: how many operations an image meets, on average.
    """

    shares: Mapping[str, float]
    strengths: Mapping[str, float]
    units: Mapping[str, Unit]
    applied: float


def profile_of(document: PolicyDocument) -> Profile:
    """Of every operation that is applied at all."""
    mass: dict[str, float] = defaultdict(float)
    total: dict[str, float] = defaultdict(float)
    units: dict[str, Unit] = {}
    for subpolicy in document.subpolicies:
        for entry in (entry for stage in subpolicy.stages for entry in stage):
            one = subpolicy.weight * entry.weight * entry.probability
            if one > 0 and entry.magnitude is not None and entry.unit is not None:
                total[entry.op] += one * _mean(entry, entry.magnitude)
                mass[entry.op] += one
                units[entry.op] = entry.unit
    shares = {name: value for name, value in operation_masses(document).items() if value > 0}
    stages = max(len(subpolicy.stages) for subpolicy in document.subpolicies)
    strengths = {name: total[name] / mass[name] for name in mass}
    return Profile(shares, strengths, units, stages * (1 - shares.get("identity", 0.0)))


def _mean(entry: Entry, magnitude: Magnitude) -> float:
    both_ways = entry.signed or (entry.op in ops.names() and ops.get(entry.op).signed)
    if not both_ways:
        return values_of(magnitude, 1)[0]
    crosses = not isinstance(magnitude, Value) and min(magnitude.low, magnitude.high) < 0
    return fmean(map(abs, values_of(magnitude, _PARTS if crosses else 1)))


def strength_in_words(profile: Profile, op: str) -> str:
    """The mean magnitude of an operation; a dash where it has none, or is not in the policy."""
    return describe_amount(op, profile.units[op], profile.strengths[op]) if op in profile.strengths else "–"


def total_variation(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Half the sum of the absolute differences of two distributions: from 0, alike, to 1, nothing in common."""
    return sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in {*one, *other}) / 2


def mean_shares(profiles: Sequence[Profile]) -> dict[str, float]:
    """The mean over the policies, the largest first, of every operation in one of them."""
    names = dict.fromkeys(name for profile in profiles for name in profile.shares)
    means = {name: fmean(profile.shares.get(name, 0.0) for profile in profiles) for name in names}
    return dict(sorted(means.items(), key=lambda item: -item[1]))
