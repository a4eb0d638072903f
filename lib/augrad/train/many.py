"""Many trainings by one recipe, each with a policy of its own."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from augrad.checks import require_count
from augrad.data.types import Splits
from augrad.errors import NonFiniteError, Stopped
from augrad.learning.step import build_classifier, evaluate
from augrad.policy import Policy
from augrad.ranks import Ranks
from augrad.train.loop import Recipe, trained
from augrad.train.processes import processes_for, results_of
from augrad.train.stacked import can_be_stacked, stacked_trainings

WEIGHTS = 32_000_000
"""Of all networks that are trained as one on a GPU by default."""


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
    stacked: int | None = None,
    splits: Sequence[Splits] | None = None,
) -> Iterator[Judged]:
    """A training with each policy, by the seed beside it (see `augrad.train.loop.trained`), in their order.

    Each comes as soon as it and those before it are done.

    Of the first one alone the network's state comes along. processes: how many trainings run at a time, each on one
    thread, in processes that stay for the next call; None: as many as there are processors, and one on a GPU. The
    results do not depend on it. stacked: how many networks are trained as one where that is the same but for rounding
    (see `augrad.train.stacked`); 1: none are; None: 1 on a CPU, and on a GPU at most 32, or as many as have WEIGHTS
    weights in all, as large networks keep it busy one by one. Where the memory is too small for so many, it is half as
    many. stopping: whether to give up; it is asked between two trainings, and more often where several run at a time.
    splits: the data of each training, with as many training images each, in the place of the recipe's. Raises Stopped,
    and UserError for fewer than 1 of either.
    """
    splits = [recipe.splits] * len(seeds) if splits is None else splits
    stacked = _stack_size(recipe) if stacked is None else stacked
    require_count(stacked, "stacked")
    if stacked > 1 and len(policies) > 1 and can_be_stacked(recipe, policies):
        return _in_stacks(recipe, policies, seeds, splits, stacked, stopping)
    if processes is None:
        processes = processes_for(recipe.device)
    tasks = [
        (replace(recipe, splits=own), policy, seed, index == 0)
        for index, (policy, seed, own) in enumerate(zip(policies, seeds, splits, strict=True))
    ]
    return results_of(_judged, tasks, processes, stopping)


def judged_together(
    ranks: Ranks,
    recipe: Recipe,
    policies: Sequence[Policy | None],
    seeds: Sequence[int],
    splits: Sequence[Splits],
    processes: int | None = None,
    stopping: Callable[[], bool] = lambda: False,
    stacked: int | None = None,
) -> list[Judged]:
    """The same trainings, of which each process of `ranks` does its share; all of them get all results.

    processes: of each of them; None: the processors of a machine are divided among those that run there. Raises Stopped
    in all processes where one of them stops, and RankLostError where one of them ends.
    """
    if ranks.alone:
        return list(judged_trainings(recipe, policies, seeds, processes, stopping, stacked, splits))
    if processes is None:
        processes = max(1, processes_for(recipe.device) // int(os.environ.get("LOCAL_WORLD_SIZE", ranks.count)))
    own = slice(ranks.index, None, ranks.count)
    mine: list[Judged] | None = []
    try:
        given = recipe, policies[own], seeds[own], processes, stopping, stacked, splits[own]
        for one in judged_trainings(*given) if policies[own] else ():
            state = {name: tensor.cpu() for name, tensor in one.state.items()} if ranks.leads else {}
            mine.append(replace(one, state=state))
    except Stopped:
        mine = None
    found = [every for every in ranks.gathered(mine) if every is not None]
    if len(found) < ranks.count:
        raise Stopped
    return [found[index % ranks.count][index // ranks.count] for index in range(len(policies))]


def _in_stacks(
    recipe: Recipe,
    policies: Sequence[Policy | None],
    seeds: Sequence[int],
    splits: Sequence[Splits],
    size: int,
    stopping: Callable[[], bool],
) -> Iterator[Judged]:
    tasks = [task for task in zip(policies, seeds, splits, strict=True) if task[0] is not None]
    done = 0
    while done < len(tasks):
        together, with_seeds, data = zip(*tasks[done : done + size], strict=True)
        try:
            networks = stacked_trainings(recipe, together, with_seeds, stopping, data)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            continue
        for found, own in zip(networks, data, strict=True):
            yield _DIVERGED if found is None else _judgement(replace(recipe, splits=own), *found, with_state=done == 0)
            done += 1


def _stack_size(recipe: Recipe) -> int:
    if recipe.device.type == "cpu":
        return 1
    network = build_classifier(recipe.model, recipe.splits, 0, recipe.device)
    return max(1, min(32, WEIGHTS // sum(weights.numel() for weights in network.parameters())))


def _judged(recipe: Recipe, policy: Policy | None, seed: int, with_state: bool) -> Judged:
    try:
        network, _, late = trained(recipe, policy, seed)
        return _judgement(recipe, network, late, with_state)
    except NonFiniteError:
        return _DIVERGED


def _judgement(recipe: Recipe, network: nn.Module, late: float, with_state: bool) -> Judged:
    splits, autocast = recipe.splits, recipe.settings.autocast
    train, held_out = (evaluate(network, split, autocast) for split in (splits.train, splits.validation))
    state = network.state_dict() if with_state else {}
    return Judged(float(train.loss), float(train.accuracy), float(held_out.loss), float(held_out.accuracy), late, state)


_DIVERGED = Judged(math.inf, 0.0, math.inf, 0.0, 0.0, {})
