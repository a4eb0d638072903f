"""What a policy does on average, operation by operation, and how far several policies are apart."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from augrad.ops.spec import Unit
from augrad.policy_file import Magnitude, PolicyDocument, Value
from augrad.policy_file.values import values_of
from augrad.show.tracks import goes_both_ways
from augrad.show.words import describe_amount, most_stages, operation_masses

_PARTS = 40
"""Into so many equally likely values a magnitude is divided whose sign may change."""


@dataclass(frozen=True)
class Profile:
    """A policy on average: of every operation that is applied at all.

    shares: how often an image meets each operation in a stage, mean over the stages, with identity's; they sum to 1.
    strengths: of each operation with a magnitude the mean of what is drawn, in its unit, and without the sign where the
    operation goes both ways. units: of these. applied: how many operations an image meets, on average.
    """

    shares: Mapping[str, float]
    strengths: Mapping[str, float]
    units: Mapping[str, Unit]
    applied: float


def profiles_of(*documents: PolicyDocument) -> list[Profile]:
    """Of policies that are compared: all as if they had the stages of the longest."""
    stages = most_stages(*documents)
    return [_profile_of(document, stages) for document in documents]


def _profile_of(document: PolicyDocument, stages: int) -> Profile:
    mass: dict[str, float] = defaultdict(float)
    total: dict[str, float] = defaultdict(float)
    units: dict[str, Unit] = {}
    for subpolicy in document.subpolicies:
        for entry in (entry for stage in subpolicy.stages for entry in stage):
            one = subpolicy.weight * entry.weight * entry.probability
            if one > 0 and entry.magnitude is not None and entry.unit is not None:
                both_ways = goes_both_ways(entry, document.definitions)
                total[entry.op] += one * _mean(entry.magnitude, both_ways)
                mass[entry.op] += one
                units[entry.op] = entry.unit
    shares = {name: value for name, value in operation_masses(document, stages).items() if value > 0}
    strengths = {name: total[name] / mass[name] for name in mass}
    return Profile(shares, strengths, units, stages * (1 - shares.get("identity", 0.0)))


def _mean(magnitude: Magnitude, both_ways: bool) -> float:
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
