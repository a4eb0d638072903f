"""Many trainings at once: one in each of several processes, with the results of one after another."""

import math
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from joblib import Parallel, delayed
from torch import Tensor

from augrad.checks import require_count
from augrad.data.standard import NO_STANDARD, StandardAugmentation
from augrad.data.types import Splits
from augrad.errors import NonFiniteError
from augrad.learning.step import ModelBuilder, OptimizerBuilder, evaluate
from augrad.policy import Policy
from augrad.settings import TrainSettings
from augrad.train.loop import trained


@dataclass(frozen=True)
class Recipe:
    """What all the trainings have in common. splits: on the CPU or on a GPU, where the trainings then run."""

    splits: Splits
    model: ModelBuilder
    optimizer: OptimizerBuilder
    settings: TrainSettings
    standard: StandardAugmentation = NO_STANDARD


@dataclass(frozen=True)
class Judged:
    """A training's end: mean loss and accuracy on the train and the validation split, and the network's state.

    A training that diverged has an infinite loss and an accuracy of 0.
    """

    train_loss: float
    train_accuracy: float
    loss: float
    accuracy: float
    state: dict[str, Tensor]


def judged_trainings(
    recipe: Recipe, policies: Sequence[Policy], seeds: Sequence[int], processes: int | None = None
) -> list[Judged]:
    """A training with each policy, by the seed beside it (see `augrad.train.loop.trained`), in their order.

    processes: how many trainings run at a time, each on one thread, in processes that stay for the next call; None: as
    many as there are processors, and one on a GPU. The results do not depend on it. Raises UserError for fewer than 1.
    """
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        processes = processes if recipe.splits.train.images.device.type == "cpu" else 1
    require_count(processes, "processes")
    tasks = zip(policies, seeds, strict=True)
    if processes == 1:
        return [_judged(recipe, policy, seed) for policy, seed in tasks]
    found: Any = Parallel(n_jobs=processes, pre_dispatch="all")(delayed(_alone)(recipe, *task) for task in tasks)
    return list(found)


def _alone(recipe: Recipe, policy: Policy, seed: int) -> Judged:
    """In a process of its own, which a Ctrl-C at the terminal reaches, too: the caller decides how it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _judged(recipe, policy, seed)


def _judged(recipe: Recipe, policy: Policy, seed: int) -> Judged:
    splits, settings, device = recipe.splits, recipe.settings, recipe.splits.train.images.device
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order would give another network
    try:
        network, _ = trained(
            splits, recipe.model, recipe.optimizer, policy, settings, seed, device, standard=recipe.standard
        )
        train, held_out = (evaluate(network, split, settings.autocast) for split in (splits.train, splits.validation))
    except NonFiniteError:
        return Judged(math.inf, 0.0, math.inf, 0.0, {})
    finally:
        torch.set_num_threads(threads)
    return Judged(
        float(train.loss), float(train.accuracy), float(held_out.loss), float(held_out.accuracy), network.state_dict()
    )
