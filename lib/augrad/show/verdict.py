"""Was it worth it: one learned policy against its rivals, in a sentence that the numbers carry."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from augrad.show.statistics import (
    ENOUGH_EQUAL,
    ComparisonRow,
    Interval,
    difference,
    find_row,
    mean_interval,
    points,
    without_interval,
)


@dataclass(frozen=True)
class Verdict:
    """kind: "better" than every rival, "mixed", "worse" than no augmentation, or "open" (not decided by these numbers).

    headline: a few words. reasons: sentences with the numbers.
    """

    kind: Literal["better", "mixed", "worse", "open"]
    headline: str
    reasons: tuple[str, ...]


def judge(rows: Sequence[ComparisonRow], reference: str = "learned", baseline: str = "none") -> Verdict:
    """Compares `reference` with every other row by the paired 95% t interval of the difference in accuracy.

    Intervals are taken one by one, without a correction for their number. A few seeds of which all give the same
    difference decide nothing (`augrad.show.statistics.without_interval`). Raises `UserError` for a row without a finite
    accuracy.
    """
    row, rivals = find_row(rows, reference), [row for row in rows if row.name != reference]
    if row is None or not rivals:
        return Verdict("open", "Not compared yet", ())
    differences = {rival.name: difference(rows, rival.name, reference) for rival in rivals}
    best = max(rivals, key=lambda rival: mean_interval(rival.accuracies).mean).name
    named = list(dict.fromkeys(name for name in (baseline, "random", best) if name in differences))
    reasons = tuple(_reason(name, differences[name], best=name == best and len(rivals) > 1) for name in named)
    if any(d is None or without_interval(d) for d in differences.values()):
        return Verdict("open", "Too few seeds to tell", reasons)
    wins = {name for name, d in differences.items() if d is not None and d.low is not None and d.low > 0}
    losses = {name for name, d in differences.items() if d is not None and d.high is not None and d.high < 0}
    if len(wins) == len(rivals):
        return Verdict("better", "Worth it: better than all it was compared with", reasons)
    if baseline in losses:
        return Verdict("worse", "Not worth it: worse than no augmentation", reasons)
    if baseline in wins:
        against = "worse than" if best in losses else "not shown to be better than"
        return Verdict("mixed", f"Better than no augmentation, {against} {best}", reasons)
    if losses:
        return Verdict("worse", f"Not worth it: worse than {best if best in losses else min(losses)}", reasons)
    return Verdict("open", "No difference shown", reasons)


def _reason(name: str, interval: Interval | None, best: bool) -> str:
    other = {"none": "no augmentation", "random": "a random policy"}.get(name, name)
    other += ", the best of the others" if best else ""
    if interval is None:
        return f"Against {other}: not judged on the same seeds."
    mean, _, rest = points(interval).partition(" (")
    if without_interval(interval) is None:
        return f"{mean} percentage points over {other} (95% interval {rest}."
    advice = "" if interval.n == 1 else f" This does not tell how much it varies; {ENOUGH_EQUAL} seeds would."
    return f"{mean} percentage points over {other} ({rest}.{advice}"
