"""What is measured of the searches of a trial, and when it has passed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from augrad.comparison.differences import difference, value_of
from augrad.comparison.rows import TrainingRow, of_policy
from augrad.comparison.statistics import change, points
from augrad.policy import Policy
from augrad.policy.summary import op_masses
from augrad.show.profile import total_variation

IDENTITY = "identity"
LEARNED, START, NONE = "learned", "initial", "none"
"""The policies of a comparison: what the search exported, what it started from, and no augmentation."""


@dataclass(frozen=True)
class Outcome:
    """What one search came to.

    shares: of the exported policy, see `shares_of`. alone: the share of images that it leaves alone. late: the mean
    shares of the last 100 steps. rows: of the comparison on the division of the search. error: why it, or its
    comparison, did not end; there is nothing else then.
    """

    seed: int
    processor_seconds: float = 0.0
    shares: Mapping[str, float] | None = None
    alone: float = 0.0
    late: Mapping[str, float] | None = None
    rows: Sequence[TrainingRow] = ()
    error: str | None = None


class Value(NamedTuple):
    """Of one search, or of all of them: in words, and whether it is as it should be."""

    words: str
    passed: bool


@dataclass(frozen=True)
class Measure:
    """what: is measured, in words. bar: what passes, in words. each: the value of one search, or together: of all."""

    what: str
    bar: str
    each: Callable[[Outcome], Value] | None = None
    together: Callable[[Sequence[Outcome]], Value] | None = None

    def __call__(self, outcomes: Sequence[Outcome]) -> list[Value]:
        """The values; a search that did not end has not passed."""
        ended = [outcome for outcome in outcomes if outcome.error is None]
        values = [self.together(ended)] if self.together and ended else []
        for outcome in outcomes:
            if outcome.error is not None:
                values.append(Value(f"seed {outcome.seed} did not end", False))
            elif self.each is not None:
                values.append(self.each(outcome))
        return values


def shares_of(policy: Policy) -> dict[str, float]:
    """How often each operation acts on an image in a stage, mean over the stages; the rest is identity's. Sum to 1."""
    masses = {op.name: float(mass) for op, mass in zip(policy.ops, op_masses(policy), strict=True)}
    return completed({name: mass for name, mass in masses.items() if name != IDENTITY})


def completed(masses: Mapping[str, float]) -> dict[str, float]:
    """Masses of operations, with identity's: what they leave of 1."""
    return {**masses, IDENTITY: 1 - sum(masses.values())}


@torch.no_grad()
def left_alone(policy: Policy) -> float:
    """The share of images that a policy does not change: in every stage the identity, or a gate that is closed."""
    acts = policy.op_probabilities() * policy.gate_probabilities() * policy.tables.scored_gate
    return float((policy.subpolicy_probabilities() * (1 - acts.sum(2)).prod(1)).sum())


def mean_shares(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean shares of the operations over those rows of metrics.jsonl that have them."""
    metrics = [row for row in metrics if any(key.startswith("mass/") for key in row)]
    names = [key.removeprefix("mass/") for key in metrics[-1] if key.startswith("mass/")]
    return completed({name: sum(row[f"mass/{name}"] for row in metrics) / len(metrics) for name in names})


def leaves_alone(bar: float) -> Measure:
    """At least this share of images, on every seed."""
    return Measure(
        "share of images that the exported policy leaves alone",
        f"≥ {bar:.2f}",
        lambda one: Value(f"{one.alone:.2f}", one.alone >= bar),
    )


def finds(*planted: str) -> Measure:
    """Each planted operation has a larger share of the exported policy than any other operation."""

    def of(one: Outcome) -> Value:
        shares = {name: share for name, share in (one.shares or {}).items() if name != IDENTITY}
        own = [shares.pop(name, 0.0) for name in planted]
        other = max(shares.values(), default=0.0)
        return Value(f"{' and '.join(f'{share:.2f}' for share in own)} / {other:.2f}", min(own) > other)

    return Measure(f"exported share of {' and of '.join(planted)} / the largest other", "larger", of)


def settles(bar: float) -> Measure:
    """The exported policy is at most this far from the mean of the last 100 steps."""

    def of(one: Outcome) -> Value:
        distance = total_variation(one.shares or {}, one.late or {})
        return Value(f"{distance:.3f}", distance <= bar)

    return Measure(
        "total variation between the exported policy's shares and the mean of the last 100 steps",
        f"≤ {bar:.2f}",
        of,
    )


def not_below_the_start() -> Measure:
    """The 95% interval of learned minus start, over the searches, is not wholly on the bad side."""

    def of(outcomes: Sequence[Outcome]) -> Value:
        rows = [row for outcome in outcomes for row in outcome.rows]
        accuracy, loss = (difference(rows, LEARNED, START, metric) for metric in ("accuracy", "loss"))
        if accuracy is None or loss is None:
            return Value("nothing to compare", False)
        words = f"{points(accuracy.interval)} points, loss {change(loss.interval)}"
        return Value(words, accuracy.clear >= 0 and loss.clear >= 0)

    return Measure(
        "test accuracy and loss, learned minus start, 95% interval over searches", "neither wholly worse", together=of
    )


def closes_the_gap(planted: str, bar: float) -> Measure:
    """Of the gap in test accuracy between no augmentation and the planted transformation, on every seed."""

    def of(one: Outcome) -> Value:
        learned, none, true = (mean_accuracy(one.rows, name) for name in (LEARNED, NONE, planted))
        if true <= none:
            return Value(f"no gap ({100 * none:.1f}% → {100 * true:.1f}%)", False)
        closed = (learned - none) / (true - none)
        return Value(f"{100 * closed:.0f}%", closed >= bar)

    return Measure(
        "gap closed: (learned − none) / (true − none), test accuracy",
        f"≥ {100 * bar:.0f}%",
        of,
    )


def mean_accuracy(rows: Sequence[TrainingRow], name: str) -> float:
    """Of a policy's trainings."""
    values = [value_of(row, "accuracy") for row in of_policy(rows, name)]
    return sum(values) / len(values)
