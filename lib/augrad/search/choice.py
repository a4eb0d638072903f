"""What a search leaves: its start, what it learned, or what lies further that way, as fresh trainings decide.

The loss of the classifier that a search trains along is that of all the policies it went through. And the one-step
gradient knows a direction better than a length: on some data its start is the best of the line, on others what lies
beyond the last policy. So the length is decided by what the search is for: classifiers that are trained from start to
end with one policy, on images that they have not seen.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from augrad.comparison.arms import LEARNED
from augrad.comparison.trainings import digest, policy_digest
from augrad.comparison.verdict import above_chance, has_converged
from augrad.data.folds import folds_of, in_turn
from augrad.data.seeding import drawn_seed
from augrad.data.types import Splits, joined
from augrad.errors import NonFiniteError, UserError
from augrad.policy import Policy
from augrad.policy.along import along, always_applies, never_applied
from augrad.policy_file.convert import load_policy
from augrad.settings import ChoiceSettings
from augrad.train.loop import Recipe
from augrad.train.many import judged_trainings


@dataclass(frozen=True)
class Trial:
    """One training: of which candidate, by which seed; its mean loss and accuracy on the images that decide.

    train_loss: on the training images as they are. late: see `augrad.train.loop.Fit`. key: what identifies it: a digest
    of the recipe, the policy and the seed. A training that diverged has infinite losses.
    """

    name: str
    seed: int
    loss: float
    accuracy: float
    train_loss: float
    late: float
    key: str


@dataclass(frozen=True)
class Chosen:
    """policy, name, loss: of the lowest mean loss, or what was learned, where that cannot be told yet.

    decided: whether it can: classifiers are better than chance, and the trainings with it and with the learned policy
    have converged (see `augrad.comparison.verdict.has_converged`). After a few steps policies rank otherwise than at
    the end: what changes the images least is ahead. trials: all of them. images: how many decided, for each seed.
    folds: into how many parts train and validation images were divided, None if they were not.
    """

    policy: Policy
    name: str
    loss: float
    decided: bool
    trials: tuple[Trial, ...]
    images: int
    folds: int | None = None

    @property
    def means(self) -> dict[str, tuple[float, float]]:
        """Mean loss and accuracy of each candidate, in their order."""
        names = dict.fromkeys(trial.name for trial in self.trials)
        return {name: (_mean(self.trials, name, "loss"), _mean(self.trials, name, "accuracy")) for name in names}


def candidates(start: Policy, learned: Policy, choice: ChoiceSettings) -> dict[str, Policy]:
    """What is tried, by name: none, initial, learned, and such as 2 x learned.

    none is not where the start has a probability that is 1 for good: what it fixes stays.
    """
    nothing = {"none": never_applied(start)} if choice.none and not always_applies(start) else {}
    return nothing | dict(_at(start, learned, reach) for reach in choice.reaches)


def further(start: Policy, learned: Policy, choice: ChoiceSettings) -> Iterator[tuple[str, Policy]]:
    """What is tried after the candidates, name and policy, as long as the last one is the best: twice as far each."""
    reach = 2.0 * max(choice.reaches)
    while 0 < reach <= choice.furthest:
        yield _at(start, learned, reach)
        reach *= 2


def _at(start: Policy, learned: Policy, reach: float) -> tuple[str, Policy]:
    name = {0.0: "initial", 1.0: LEARNED}.get(reach, f"{reach:g} x learned")
    return name, along(start, learned, reach)


def others(choice: ChoiceSettings, allow: Sequence[str] = ()) -> dict[str, Policy]:
    """The policies of `also`. allow: the modules of which files may name operations.

    Raises UserError for one that is not there, and for the name of another candidate.
    """
    taken = [name for name in choice.also if name in ("none", "initial") or name.endswith(LEARNED)]
    if taken or len(set(choice.also)) < len(choice.also):
        raise UserError(
            f"choose.also: expected different files and names of built-in policies, got {', '.join(choice.also)}; "
            "none, initial and learned are tried anyway"
        )
    return {name: load_policy(name, allow) for name in choice.also}


def deciding(splits: Splits) -> Splits:
    """The splits with the validation and the selection images together as validation split, which decides."""
    return replace(splits, validation=joined([splits.validation, splits.selection]))


def choose(
    recipe: Recipe,
    tried: Mapping[str, Policy],
    seed: int,
    choice: ChoiceSettings,
    known: Sequence[Trial] = (),
    done: Callable[[Trial], None] | None = None,
    identity: str = "",
    then: Iterable[tuple[str, Policy]] = (),
) -> Chosen:
    """The candidate with which fresh classifiers have the lowest mean loss on the validation and the selection split.

    recipe: of the trainings, on the train split. tried: see `candidates`. seed: of the search; the trainings have seeds
    of their own. known: trials that were done before, which are taken as they are. done: called with each trial, in
    order. identity: of the recipe, a part of the trials' keys. then: one at a time, names and policies that are tried
    too, as long as the last one tried is the best (see `further`). Raises NonFiniteError where every training diverges.
    """
    seeds = [drawn_seed(seed, "choice", n) for n in range(choice.seeds)]
    folds = folds_of(choice.folds, recipe.splits)
    if folds is not None:
        identity = digest(identity, f"{folds} folds")
    data = [deciding(one) for one in in_turn(recipe.splits, folds, range(choice.seeds), seed)]
    recipe = replace(recipe, splits=data[0])
    had = {trial.key: trial for trial in known}
    trials: list[Trial] = []

    def run(policies: Mapping[str, Policy]) -> None:
        plan = [
            (name, policy, one, _key(identity, policy, one), own)
            for one, own in zip(seeds, data, strict=True)
            for name, policy in policies.items()
        ]
        left = {key: (policy, one, own) for _, policy, one, key, own in plan if key not in had}
        results = judged_trainings(
            recipe,
            [policy for policy, _, _ in left.values()],
            [one for _, one, _ in left.values()],
            choice.processes,
            splits=[own for _, _, own in left.values()],
        )
        for name, _, one, key, _ in plan:
            if key not in had:
                judged = next(results)
                had[key] = Trial(name, one, judged.loss, judged.accuracy, judged.train_loss, judged.late, key)
            trials.append(replace(had[key], name=name))
            if done is not None:
                done(trials[-1])

    run(tried)
    tried = dict(tried)
    for name, policy in then:
        if _best(trials, tried) != list(tried)[-1]:
            break
        run({name: policy})
        tried[name] = policy
    name = _best(trials, tried)
    loss = _mean(trials, name, "loss")
    if not math.isfinite(loss):
        raise NonFiniteError(
            "choose: every training has diverged; lower the learning rate (train.optimizer.lr), or set train.clip_norm"
        )
    labels = recipe.splits.validation.labels
    chance = float(labels.bincount().max() / len(labels))
    decided = above_chance(_mean(trials, name, "accuracy"), chance, len(labels))
    decided = decided and all(_converged(trials, one) for one in {name, LEARNED} if one in tried)
    name = name if decided or LEARNED not in tried else LEARNED
    loss, images = _mean(trials, name, "loss"), len(recipe.splits.validation)
    return Chosen(tried[name], name, loss, decided, tuple(trials), images, folds)


def _best(trials: Sequence[Trial], names: Iterable[str]) -> str:
    return min(names, key=lambda name: _mean(trials, name, "loss"))


def _mean(trials: Sequence[Trial], name: str, field: str) -> float:
    own = [getattr(trial, field) for trial in trials if trial.name == name]
    return sum(own) / len(own)


def _converged(trials: Sequence[Trial], name: str) -> bool:
    train_loss, held_out_loss, late = (_mean(trials, name, field) for field in ("train_loss", "loss", "late"))
    return not math.isfinite(held_out_loss) or has_converged(train_loss, held_out_loss, late)


def _key(identity: str, policy: Policy, seed: int) -> str:
    return digest(identity, policy_digest(policy), str(seed))
