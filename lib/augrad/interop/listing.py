"""Policies as lists of sub-policies that are all equally likely, each of one operation after another."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from augrad.errors import UserError
from augrad.interop.leaves import is_whole
from augrad.interop.losses import Loss
from augrad.policy_file import Entry, PolicyDocument

Step = list[Any]
"""One operation as a library lists it: JSON."""
NOTHING: Step = ["AutoContrast", 0.0, 0.0]
"""Stands for an operation that leaves images as they are, which neither the lists nor timm have."""
Steps = Callable[[Entry, str, list[Loss]], list[tuple[Step, float]]]
"""Steps that do what an entry does, each with its share of the entry's weight; its place is for the losses."""

_MOST_CHOICES = 100_000
_LONGEST = 1000


def listed_choices(
    document: PolicyDocument, steps_of: Steps, entries: int | None, losses: list[Loss], taker: str
) -> list[list[Step]]:
    """The choices that the policy has, each as often as its weight says: once where all weigh the same.

    entries: how many there are in all, by largest remainders; None: as few as say all weights exactly, and 1,000 where
    more would be needed. losses: what this changes is added. taker: begins the message of the UserError for a policy of
    too many different choices, or a wrong `entries`.
    """
    if entries is not None and not is_whole(entries, 1, _MOST_CHOICES):
        raise UserError(f"{taker}: expected entries as a whole number from 1 to {_MOST_CHOICES}, got {entries!r}")
    choices: list[tuple[list[Step], float]] = []
    for s, sub in enumerate(document.subpolicies):
        if sub.weight == 0:
            continue
        stages = [
            [
                (step, entry.weight * share)
                for k, entry in enumerate(stage)
                if entry.weight > 0
                for step, share in steps_of(
                    entry, f"subpolicies[{s}].stages[{place}][{k}]", losses if entry.probability > 0 else []
                )
            ]
            for place, stage in enumerate(sub.stages)
        ]
        if (count := len(choices) + math.prod(map(len, stages))) > _MOST_CHOICES:
            raise UserError(f"{taker}: expected at most {_MOST_CHOICES} choices to list, got {count} and more")
        for steps in itertools.product(*stages):
            weight = sub.weight * math.prod(share for _, share in steps)
            if weight > 0:
                choices.append(([step for step, _ in steps], weight))
    total = math.fsum(weight for _, weight in choices)
    known = [(listed, weight / total) for listed, weight in choices]
    if entries is None and max(share for _, share in known) - min(share for _, share in known) < 1e-9:
        return [listed for listed, _ in known]
    known = _joined(known)
    shares = [share for _, share in known]
    counts = _counts(shares, entries or _enough(shares))
    for (listed, share), count in zip(known, counts, strict=True):
        names = " then ".join("identity" if step == NOTHING else str(step[0]) for step in listed)
        if count == 0:
            losses.append(Loss("subpolicies", "{}: chance {:.4g} becomes 0", (names, share)))
        elif abs(share - (given := count / sum(counts))) > 1e-6:
            losses.append(Loss("subpolicies", "{}: chance {:.4g} becomes {:.4g}", (names, share, given)))
    return [listed for (listed, _), count in zip(known, counts, strict=True) for _ in range(count)]


def _joined(choices: Sequence[tuple[list[Step], float]]) -> list[tuple[list[Step], float]]:
    """Each different choice once, with the sum of its shares."""
    found: dict[str, tuple[list[Step], float]] = {}
    for listed, share in choices:
        key = json.dumps(listed)
        found[key] = (listed, share + (found[key][1] if key in found else 0.0))
    return list(found.values())


def _enough(shares: Sequence[float]) -> int:
    for count in range(len(shares), _LONGEST + 1):
        if all(abs(share * count - max(round(share * count), 1)) < 1e-6 * count for share in shares):
            return count
    return _LONGEST


def _counts(shares: Sequence[float], entries: int) -> list[int]:
    counts = [math.floor(share * entries + 1e-9) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda index: counts[index] - shares[index] * entries)
    for index in by_remainder[: entries - sum(counts)]:
        counts[index] += 1
    return counts
