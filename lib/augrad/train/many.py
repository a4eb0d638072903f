"""Many trainings by one recipe, each with a policy of its own."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from augrad.errors import NonFiniteError
from augrad.learning.step import evaluate
from augrad.policy import Policy
from augrad.train.loop import Recipe, trained
from augrad.train.processes import processes_for, results_of


@dataclass(frozen=True)
class Judged:
    """A training's end: mean loss and accuracy on the train and the validation split, and the network's state.

    late: see `augrad.train.loop.Fit`.

    A training that diverged has an infinite loss, an accuracy of 0 and no state.
    """

    train_loss: float
    train_accuracy: float
    loss: float
    accuracy: float
    late: float
    state: dict[str, Tensor]


def judged_trainings(
    recipe: Recipe,
    policies: Sequence[Policy | None],
    seeds: Sequence[int],
    processes: int | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Judged]:
    """A training with each policy, by the seed beside it (see `augrad.train.loop.trained`), in their order.

    Each comes as soon as it and those before it are done.

    Of the first one alone the network's state comes along. processes: how many trainings run at a time, each on one
    thread, in processes that stay for the next call; None: as many as there are processors, and one on a GPU. The
    results do not depend on it. stopping: whether to give up; it is asked between two trainings, and more often where
    several run at a time. Raises Stopped then, and UserError for fewer processes than 1.
    """
    if processes is None:
        processes = processes_for(recipe.device)
    tasks = [
        (recipe, policy, seed, index == 0) for index, (policy, seed) in enumerate(zip(policies, seeds, strict=True))
    ]
    return results_of(_judged, tasks, processes, stopping)


def _judged(recipe: Recipe, policy: Policy | None, seed: int, with_state: bool) -> Judged:
    splits, autocast = recipe.splits, recipe.settings.autocast
    try:
        network, _, late = trained(recipe, policy, seed)
        train, held_out = (evaluate(network, split, autocast) for split in (splits.train, splits.validation))
    except NonFiniteError:
        return Judged(math.inf, 0.0, math.inf, 0.0, 0.0, {})
    state = network.state_dict() if with_state else {}
    return Judged(float(train.loss), float(train.accuracy), float(held_out.loss), float(held_out.accuracy), late, state)
