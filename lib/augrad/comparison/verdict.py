"""Was it worth it: one policy against the best of the others, in sentences that the numbers carry."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from augrad.comparison.differences import (
    Difference,
    best_of,
    differences,
    share_of_searches,
)
from augrad.comparison.rows import TrainingRow, names_of, of_policy
from augrad.comparison.statistics import (
    ENOUGH_EQUAL,
    Interval,
    change,
    points,
    seeds_to_tell,
    without_interval,
)

FITTED, LATE = 0.8, 0.15
"""A training has not converged whose loss on its own images, as they are, is above the first share of its loss on
images of the same source that it has not seen, and that made more than the second share of its progress in the second
half: it has learned little of what it could, and was still learning."""

_CLEAR = 0.05
_SMALLEST = 0.001
"""Of an accuracy: a tenth of a point, below which nobody asks which is the better."""


@dataclass(frozen=True)
class Verdict:
    """kind: "better" than the best of the others, "mixed", "worse", or "open" (not decided by these numbers).

    headline: a few words. reasons: sentences with the numbers, and what to change where nothing is decided.
    """

    kind: Literal["better", "mixed", "worse", "open"]
    headline: str
    reasons: tuple[str, ...]


def judge(rows: Sequence[TrainingRow], reference: str = "learned", baseline: str = "none") -> Verdict:
    """Compares `reference` with the strongest of the others, by the 95% intervals of the differences (see
    `augrad.comparison.differences`).

    Better is what every interval shows, against each of the others: this takes no correction for their number. That it
    is better or worse than one of them is said after Holm's correction. Nothing is decided where no classifier is
    better than chance, where trainings have not converged (`FITTED`, `LATE`), and by one training or a few equal ones.
    """
    names = [name for name in names_of(rows) if name != reference]
    if not names or not of_policy(rows, reference):
        return Verdict("open", "Not compared yet", ())
    of_all = differences(rows, reference)
    accuracy = {one.against: one for one in of_all if one.metric == "accuracy"}
    loss = {one.against: one for one in of_all if one.metric == "loss"}
    if set(accuracy) != set(names):
        missing = ", ".join(name for name in names if name not in accuracy)
        return Verdict("open", "Not judged on the same seeds", (f"No training in common with {missing}.",))
    best, lowest = best_of(rows, reference, "accuracy") or "", best_of(rows, reference, "loss") or ""
    reasons = _reasons(rows, reference, baseline, best, lowest, accuracy, loss)
    if nothing_learned(rows):
        chance = max(row.chance for row in rows)
        words = f"No classifier is better than one that always names the commonest class ({100 * chance:.1f}%): the "
        words += (
            f"recipe does not learn. Give it more steps ({_more_steps(rows)}), another learning rate, or more images."
        )
        return Verdict("open", "Not decided: nothing was learned", (words, *reasons))
    if names := unfinished(rows, reference):
        return Verdict("open", "Not decided: trainings have not converged", (_unfinished(rows, names), *reasons))
    if _are_alike(rows, reference, best):
        return Verdict("open", f"The same as {_other(best)}", reasons)
    if without_interval(accuracy[best].interval):
        return Verdict("open", "Too few seeds to tell", reasons)
    kind, headline = _decided(accuracy, loss, best, lowest, baseline)
    shown = f"{headline} (n = {accuracy[best].interval.n})"
    if kind == "open" and (alone := [name for name, one in accuracy.items() if one.clear]):
        words = (
            f"The interval against {_listed(alone)} leaves out zero by itself, but one of {len(accuracy)} does so more "
            "often by chance than one in twenty: after Holm's correction nothing is left of it. Twice as many, "
            f"{2 * accuracy[best].interval.n}, would tell more."
        )
        reasons = (*reasons, words)
    return Verdict(kind, shown, reasons if kind in ("better", "worse") else (*reasons, *_more(accuracy[best])))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(map(_other, names))


def _decided(
    accuracy: dict[str, Difference], loss: dict[str, Difference], best: str, lowest: str, baseline: str
) -> tuple[Literal["better", "mixed", "worse", "open"], str]:
    """What the intervals say."""
    most_accurate = all(one.clear > 0 for one in accuracy.values())
    lowest_loss = all(one.clear > 0 for one in loss.values())
    whom = {name: f"the best of the others, {name}" if len(accuracy) > 1 else _other(name) for name in (best, lowest)}
    ahead, behind = _told(accuracy, 1), _told(accuracy, -1)
    if most_accurate:
        if any(one.clear < 0 for one in loss.values()):
            return "mixed", f"More accurate than {whom[best]}, but at a higher loss than {lowest}"
        return "better", f"Better than {whom[best]}"
    if lowest_loss and not behind and not any(one.clear < 0 for one in accuracy.values()):
        if accuracy[best].interval.mean >= 0:
            return "better", f"A lower loss than {whom[lowest]}, and no lower accuracy"
        return "mixed", f"A lower loss than {whom[lowest]}; no difference in accuracy shown"
    if baseline in behind:
        return "worse", "Not worth it: worse than no augmentation"
    if baseline in ahead:
        against = "worse than" if best in behind else "not shown to be better than"
        return "mixed", f"Better than no augmentation, {against} {best}"
    if behind:
        return "worse", f"Not worth it: worse than {best if best in behind else min(behind)}"
    return "open", "No difference shown"


def nothing_learned(rows: Sequence[TrainingRow]) -> bool:
    """Whether no policy's classifiers are better than chance."""
    return not any(_above_chance(rows, name) for name in names_of(rows))


def unfinished(rows: Sequence[TrainingRow], reference: str) -> list[str]:
    """Those of `reference` and the best of the others, in accuracy and in loss, whose trainings have not converged."""
    best = (best_of(rows, reference, metric) for metric in ("accuracy", "loss"))
    return [name for name in dict.fromkeys((*best, reference)) if name and not _converged(rows, name)]


def unconverged(rows: Sequence[TrainingRow]) -> list[str]:
    """The policies whose trainings have not converged."""
    return [name for name in names_of(rows) if not _converged(rows, name)]


def _told(found: dict[str, Difference], sign: int) -> set[str]:
    """Those that the reference is better (1) or worse (-1) than, after Holm's correction."""
    return {name for name, one in found.items() if one.clear == sign and one.holm is not None and one.holm <= _CLEAR}


def _above_chance(rows: Sequence[TrainingRow], name: str) -> bool:
    own = of_policy(rows, name)
    chance, images = max(row.chance for row in own), min(row.images for row in own)
    return above_chance(sum(row.accuracy for row in own) / len(own), chance, images)


def above_chance(accuracy: float, chance: float, images: int) -> bool:
    """Whether an accuracy on so many images is above the share of the largest class by two standard errors of that."""
    return accuracy > chance + 2 * math.sqrt(chance * (1 - chance) / images)


def has_converged(train_loss: float, held_out_loss: float, late: float) -> bool:
    """Whether a classifier has learned its own images as they are better than others of the same source, or was no
    longer learning. late: the share of its progress in the second half of the training."""
    return train_loss <= FITTED * held_out_loss or late <= LATE


def _converged(rows: Sequence[TrainingRow], name: str) -> bool:
    own = of_policy(rows, name)
    means = (
        sum(values) / len(own) for values in zip(*((r.train_loss, r.held_out_loss, r.late) for r in own), strict=True)
    )
    return has_converged(*means)


def _unfinished(rows: Sequence[TrainingRow], names: Sequence[str]) -> str:
    words = []
    for name in names:
        own = of_policy(rows, name)
        fitted, held_out = (
            sum(values) / len(own) for values in zip(*((r.train_loss, r.held_out_loss) for r in own), strict=True)
        )
        words.append(f"{name} {fitted:.3f} against {held_out:.3f}")
    return (
        "The loss on the training images themselves is hardly below that on images that were held out "
        f"({'; '.join(words)}), and the trainings were still learning: after so few steps "
        f"({max(row.steps for row in rows)}) policies rank otherwise than at the end. Give the trainings more steps "
        f"({_more_steps(rows)})."
    )


def _more_steps(rows: Sequence[TrainingRow]) -> str:
    return f"train.steps={steps_to_try(rows)}, say"


def seeds_to_try(rows: Sequence[TrainingRow], reference: str) -> int | None:
    """How many would tell `reference` from the best of the others; None where it is told, or nothing can be said.

    Twice as many where only Holm's correction takes what the interval tells.
    """
    best = best_of(rows, reference, "accuracy")
    found = [one for one in differences(rows, reference) if (one.metric, one.against) == ("accuracy", best)]
    if found and found[0].clear and judge(rows, reference).kind == "open":
        return 2 * found[0].interval.n
    return _enough(found[0]) if found else None


def _enough(one: Difference) -> int | None:
    count = seeds_to_tell(one.interval, _SMALLEST)
    return None if one.clear or count is None or count <= one.interval.n else count


def steps_to_try(rows: Sequence[TrainingRow]) -> int:
    """Of trainings, where so many as these had do not tell which policy is the best in the end."""
    return 4 * max(row.steps for row in rows)


def _reasons(
    rows: Sequence[TrainingRow],
    reference: str,
    baseline: str,
    best: str,
    lowest: str,
    accuracy: dict[str, Difference],
    loss: dict[str, Difference],
) -> tuple[str, ...]:
    several = len(accuracy) > 1
    alike = [name for name in accuracy if _are_alike(rows, reference, name)]
    named = [name for name in dict.fromkeys((best, baseline, "initial")) if name in accuracy and name not in alike]
    reasons = [
        f"{reference} does what {_other(name)} does: on every seed their classifiers are the same, and more seeds "
        "would not tell them apart."
        for name in alike
    ]
    reasons += [_reason(name, accuracy[name].interval, several and name == best) for name in named]
    if without_interval(loss[lowest].interval) is None:
        whose = f"{_other(lowest)}, the lowest of the others" if several else _other(lowest)
        mean, _, rest = change(loss[lowest].interval).partition(" (")
        reasons.append(f"Loss {mean} against {whose} (95% interval {rest}.")
    share = share_of_searches(rows, reference, best, "accuracy")
    if share is not None:
        own = of_policy(rows, reference)
        splits = {(row.search_seed, row.split_seed) for row in own}
        divided = len({row.split_seed for row in own}) == len(splits) > 1
        what = "from search to search" + (", each on its own division of the data" if divided else "")
        reasons.append(f"{100 * share:.0f}% of the variance of a difference to {best} is {what}.")
    if accuracy[best].interval.n == 2:
        reasons.append("Two values only: their interval is wide, and its width itself hardly known.")
    return tuple(reasons)


def _are_alike(rows: Sequence[TrainingRow], reference: str, name: str) -> bool:
    """Whether the trainings with both policies, on all seeds that they share, two at least, end the same to the bit."""
    ends: dict[tuple[int, int], set[tuple[float, float]]] = {}
    shared = set[tuple[int, int]]()
    for one in (reference, name):
        keys = {(row.split_seed, row.seed) for row in of_policy(rows, one)}
        shared = keys if one == reference else shared & keys
    for row in (*of_policy(rows, reference), *of_policy(rows, name)):
        ends.setdefault((row.split_seed, row.seed), set()).add((row.accuracy, row.loss))
    return len(shared) > 1 and all(len(ends[key]) == 1 for key in shared)


def _more(one: Difference) -> tuple[str, ...]:
    """How many more would tell, where the interval is too wide."""
    count = _enough(one)
    if count is None:
        return ()
    size = max(abs(one.interval.mean), _SMALLEST)
    number = "more than 10,000" if count >= 10_000 else f"some {count}"
    return (
        f"A difference of {100 * size:.1f} points would take {number} {one.unit} to tell; these are {one.interval.n}.",
    )


def _other(name: str) -> str:
    return {"none": "no augmentation", "random": "a random policy", "initial": "the start of the search"}.get(
        name, name
    )


def _reason(name: str, interval: Interval, best: bool) -> str:
    other = _other(name) + (", the best of the others" if best else "")
    mean, _, rest = points(interval).partition(" (")
    over = "against" if mean.startswith("−") else "over"
    if without_interval(interval) is None:
        return f"{mean} percentage points {over} {other} (95% interval {rest[:-1]}, n = {interval.n})."
    advice = "" if interval.n == 1 else f" This does not tell how much it varies; {ENOUGH_EQUAL} seeds would."
    return f"{mean} percentage points {over} {other} ({rest}.{advice}"
