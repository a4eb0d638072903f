"""Was it worth it: one policy against the best of the others, in sentences that the numbers carry."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from augrad.comparison.differences import (
    Difference,
    best_of,
    differences,
    interval_of,
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

CONVERGED = 0.8
"""A training whose loss on its own images, as they are, is above this share of its loss on images of the same source
that it has not seen has learned little of what it could: with more steps the difference grows."""

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
    """Compares `reference` with the best of the others: in accuracy with the most accurate, in loss with the lowest.

    By the paired 95% t interval of the difference (see `augrad.comparison.differences`). To be better than the best of
    several, whichever that turns out to be, takes no correction for their number; that it is better or worse than one
    of the others is said after Holm's correction. Nothing is decided where no classifier is clearly better than chance,
    where trainings have not converged (`CONVERGED`), and by one training or a few equal ones.
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
    best, lowest = best_of(rows, names, "accuracy"), best_of(rows, names, "loss")
    reasons = _reasons(rows, reference, baseline, best, lowest, accuracy, loss)
    if not any(_above_chance(rows, name) for name in (*names, reference)):
        chance = max(row.chance for row in rows)
        words = f"No classifier is clearly better than chance ({100 * chance:.1f}%): the recipe does not learn. "
        words += "Give it more steps (train.steps, train.epochs), another learning rate, or more images."
        return Verdict("open", "Not decided: nothing was learned", (words, *reasons))
    if unfinished := [name for name in dict.fromkeys((best, reference)) if not _converged(rows, name)]:
        return Verdict("open", "Not decided: trainings have not converged", (_unfinished(rows, unfinished), *reasons))
    if without_interval(accuracy[best].interval):
        return Verdict("open", "Too few seeds to tell", reasons)
    ahead, behind = _told(accuracy, 1), _told(accuracy, -1)
    n = _n(accuracy[best].interval)
    if accuracy[best].clear > 0 and loss[lowest].clear >= 0:
        whom = f"the best of the others, {best}" if len(names) > 1 else _other(best)
        return Verdict("better", f"Better than {whom} ({n})", reasons)
    if loss[lowest].clear > 0 and accuracy[best].clear >= 0:
        whom = f"the best of the others, {lowest}" if len(names) > 1 else _other(lowest)
        return Verdict("better", f"A lower loss than {whom}; as accurate ({n})", reasons)
    if accuracy[best].clear > 0:
        return Verdict("mixed", f"More accurate than {best}, but at a higher loss than {lowest} ({n})", reasons)
    if baseline in behind:
        return Verdict("worse", f"Not worth it: worse than no augmentation ({n})", reasons)
    if baseline in ahead:
        against = "worse than" if accuracy[best].clear < 0 else "not shown to be better than"
        return Verdict(
            "mixed", f"Better than no augmentation, {against} {best} ({n})", (*reasons, *_more(accuracy[best]))
        )
    if accuracy[best].clear < 0 or behind:
        worse = best if accuracy[best].clear < 0 else sorted(behind)[0]
        return Verdict("worse", f"Not worth it: worse than {worse} ({n})", reasons)
    return Verdict("open", f"No difference shown ({n})", (*reasons, *_more(accuracy[best])))


def unconverged(rows: Sequence[TrainingRow]) -> list[str]:
    """The policies whose trainings have not converged."""
    return [name for name in names_of(rows) if not _converged(rows, name)]


def _told(found: dict[str, Difference], sign: int) -> set[str]:
    """Those that the reference is better (1) or worse (-1) than, after Holm's correction."""
    return {
        name
        for name, one in found.items()
        if one.clear == sign and one.holm is not None and one.holm <= _CLEAR and not without_interval(one.interval)
    }


def _above_chance(rows: Sequence[TrainingRow], name: str) -> bool:
    interval = interval_of(rows, name, "accuracy")
    chance = max(row.chance for row in of_policy(rows, name))
    return (interval.mean if interval.low is None else interval.low) > chance


def has_converged(train_loss: float, held_out_loss: float) -> bool:
    """Whether a classifier has learned its own images as they are better than others of the same source."""
    return train_loss <= CONVERGED * held_out_loss


def _converged(rows: Sequence[TrainingRow], name: str) -> bool:
    own = of_policy(rows, name)
    return has_converged(sum(row.train_loss for row in own), sum(row.held_out_loss for row in own))


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
        f"({'; '.join(words)}): after so few steps ({max(row.steps for row in rows)}) policies rank otherwise than at "
        "the end. Give the trainings more steps (train.steps or train.epochs)."
    )


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
    named = [name for name in dict.fromkeys((best, baseline, "initial")) if name in accuracy]
    reasons = [_reason(name, accuracy[name].interval, several and name == best) for name in named]
    if without_interval(loss[lowest].interval) is None:
        whose = f"{_other(lowest)}, the lowest of the others" if several else _other(lowest)
        mean, _, rest = change(loss[lowest].interval).partition(" (")
        reasons.append(f"Loss {mean} against {whose} (95% interval {rest}.")
    share = share_of_searches(rows, reference, "accuracy")
    if share is not None:
        reasons.append(f"{100 * share:.0f}% of the variance of a training's accuracy is from search to search.")
    if accuracy[best].interval.n == 2:
        reasons.append("Two values only: their interval is wide, and its width itself hardly known.")
    return tuple(reasons)


def _more(one: Difference) -> tuple[str, ...]:
    """How many more would tell, where the interval is too wide."""
    count = seeds_to_tell(one.interval, _SMALLEST)
    if one.clear or count is None or count <= one.interval.n:
        return ()
    size = max(abs(one.interval.mean), _SMALLEST)
    number = "more than 10,000" if count >= 10_000 else f"some {count}"
    return (f"A difference of {100 * size:.1f} points would take {number} seeds to tell; these are {one.interval.n}.",)


def _n(interval: Interval) -> str:
    return f"n = {interval.n}"


def _other(name: str) -> str:
    return {"none": "no augmentation", "random": "a random policy", "initial": "the start of the search"}.get(
        name, name
    )


def _reason(name: str, interval: Interval, best: bool) -> str:
    other = _other(name) + (", the best of the others" if best else "")
    mean, _, rest = points(interval).partition(" (")
    if without_interval(interval) is None:
        return f"{mean} percentage points over {other} (95% interval {rest[:-1]}, {_n(interval)})."
    advice = "" if interval.n == 1 else f" This does not tell how much it varies; {ENOUGH_EQUAL} seeds would."
    return f"{mean} percentage points over {other} ({rest}.{advice}"
