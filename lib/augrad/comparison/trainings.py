"""The trainings of a comparison: the same classifier with each policy, in the same way and on the same seeds."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from augrad.comparison.calibration import calibration_error
from augrad.comparison.rows import Place, TrainingRow
from augrad.data.seeding import local_generator
from augrad.data.types import Split, Splits, joined
from augrad.errors import NonFiniteError
from augrad.learning.step import evaluate, logits_over, measured
from augrad.ops.external import definitions_of
from augrad.policy.policy import Policy
from augrad.train.loop import Recipe, require_finite, trained
from augrad.train.processes import results_of

Arm = Callable[[int], Policy | None]
"""seed -> the policy to train with (None: no augmentation)."""

_MOST_IMAGES = 10_000
"""Of the training images and of the augmented test images that a classifier is measured on: enough for 1%."""
_MOST_PIXELS = _MOST_IMAGES * 64**2
"""Of the images that are augmented at a time."""


def always(policy: Policy | None) -> Arm:
    """The same policy for every seed."""
    return lambda seed: policy


@dataclass(frozen=True)
class Entrant:
    """A policy that is judged. search_seed: of the search that it is from; None: of none that is known.

    split_seed: the one division of the data that it is judged on; None: all of them. Entrants of one name are taken for
    the same method, searched several times.
    """

    name: str
    arm: Arm
    search_seed: int | None = None
    split_seed: int | None = None


@dataclass(frozen=True)
class Planned:
    """A training that is to be done: which, and with what."""

    place: Place
    policy: Policy | None


def planned(entrants: Sequence[Entrant], split_seeds: Sequence[int], seeds: Sequence[int]) -> list[Planned]:
    """Every training of a comparison, seed by seed, so that one that is cut short has whole seeds."""
    return [
        Planned(Place(entrant.name, entrant.search_seed, split_seed, seed), entrant.arm(seed))
        for seed in seeds
        for split_seed in split_seeds
        for entrant in entrants
        if entrant.split_seed in (None, split_seed)
    ]


def training_splits(splits: Splits, with_validation: bool, with_selection: bool = False) -> Splits:
    """What classifiers are trained on: the train split, and with it the validation and the selection split, or neither.

    A search has had the labels of train and validation; so has every policy's classifier with the latter. With the
    selection split, whose images are otherwise those that are held out, the test split takes its place.
    """
    more = [splits.validation] * with_validation + [splits.selection] * with_selection
    if not more:
        return splits
    every = [splits.train, *more]
    return replace(splits, train=joined(every), selection=splits.test if with_selection else splits.selection)


def compare_policies(
    trainings: Sequence[Planned],
    recipes: Mapping[int, Recipe],
    processes: int = 1,
    known: Mapping[Place, TrainingRow] | None = None,
    done: Callable[[TrainingRow], None] | None = None,
) -> list[TrainingRow]:
    """The row of every training, in their order.

    recipes: of each split seed (see `training_splits`). processes: how many trainings run at a time; the results do not
    depend on it. known: rows of trainings that were done before: they are taken as they are, and `done`, which is
    called with each row as it comes, is called for them, too. Raises NonFiniteError for a training that diverges.
    """
    known = known or {}
    alike = {training.place: _what(training) for training in trainings}
    had = {alike[place]: row for place, row in known.items() if place in alike}
    left = {alike[training.place]: training for training in trainings if alike[training.place] not in had}
    tasks = [(recipes[one.place.split_seed], one.place, one.policy, _beside(one, trainings)) for one in left.values()]
    results: Iterator[TrainingRow] = iter(results_of(_train, tasks, processes))
    rows = []
    for training in trainings:
        what = alike[training.place]
        if what not in had:
            had[what] = next(results)
        row = replace(had[what], **training.place._asdict())
        rows.append(row)
        if done is not None:
            done(row)
    return rows


def _what(training: Planned) -> tuple[int, int, str]:
    """What decides a training; policies that are the same under two names are trained with once."""
    return training.place.split_seed, training.place.seed, policy_digest(training.policy)


def policy_digest(policy: Policy | None) -> str:
    """Of everything that decides what a policy does to an image."""
    if policy is None:
        return "none"
    choices = [op.name for op in policy.ops], policy.slots, policy.interpolation, policy.fill
    numbers = policy.params.map(lambda tensor: tensor.detach().to("cpu", torch.float64)).tensors()
    parts = repr(choices), repr(definitions_of(policy.ops)), *(repr(tensor.tolist()) for tensor in numbers)
    return digest(*parts)


def digest(*texts: str) -> str:
    """SHA-256 of the texts."""
    return hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).hexdigest()


def _beside(training: Planned, trainings: Sequence[Planned]) -> list[Policy]:
    """For a training without a policy: those of the same split and seed, whose affinity it measures."""
    if training.policy is not None:
        return []
    place = training.place
    return [
        other.policy
        for other in trainings
        if (other.place.split_seed, other.place.seed) == (place.split_seed, place.seed) and other.policy is not None
    ]


def _train(recipe: Recipe, place: Place, policy: Policy | None, beside: Sequence[Policy]) -> TrainingRow:
    splits, autocast, started = recipe.splits, recipe.settings.autocast, time.perf_counter()
    try:
        fit = trained(recipe, policy, place.seed)
        seconds = time.perf_counter() - started
        logits = logits_over(fit.model, splits.test, autocast)
        test = measured(logits, splits.test.labels)
        require_finite(test)
    except NonFiniteError as error:
        raise NonFiniteError(f"{place.policy}, seed {place.seed}: {error}") from None
    judge = partial(evaluate, fit.model, autocast=autocast)
    return TrainingRow(
        *place,
        accuracy=float(test.accuracy),
        loss=float(test.loss),
        steps=recipe.steps,
        seconds=round(seconds, 3),
        calibration_error=calibration_error(logits, splits.test.labels),
        diversity=fit.loss,
        train_loss=float(judge(some_of(splits.train, place.seed)).loss),
        held_out_loss=float(judge(splits.selection).loss),
        late=fit.late,
        images=len(splits.test),
        chance=float(splits.test.labels.bincount().max() / len(splits.test)),
        digest=policy_digest(policy),
        affinities=_affinities(fit.model, some_of(splits.test, place.seed), beside, place.seed, autocast),
    )


def _affinities(
    network: nn.Module, split: Split, policies: Sequence[Policy], seed: int, autocast: bool
) -> dict[str, float]:
    clean = float(evaluate(network, split, autocast).accuracy) if policies else 0.0
    pieces = torch.arange(len(split)).split(max(1, _MOST_PIXELS // math.prod(split.images.shape[2:])))
    found = {}
    for policy in policies if clean else ():
        policy, generator, right = policy.to(split.images.device), local_generator(seed, "affinity"), 0.0
        for piece in map(split.__getitem__, pieces):
            with torch.no_grad():
                images = policy(piece.images, generator=generator)
            right += len(piece) * float(evaluate(network, Split(images, piece.labels), autocast).accuracy)
        found[policy_digest(policy)] = right / len(split) / clean
    return found


def some_of(split: Split, seed: int) -> Split:
    """At most 10,000 of its images, drawn by the seed."""
    if len(split) <= _MOST_IMAGES:
        return split
    order = torch.randperm(len(split), generator=local_generator(seed, "measured images"), device="cpu")[:_MOST_IMAGES]
    return split.chosen(order.to(split.labels.device))
