"""How long a search and what follows it will take, told as soon as its first steps have been measured."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from augrad.errors import NonFiniteError, UserError
from augrad.policy import Policy
from augrad.show.progress import duration
from augrad.train import Recipe
from augrad.train.loop import trained
from augrad.train.processes import results_of

_SHORT, _LONG = 60, 15 * 60
"""Seconds: what takes less is not worth a word, what takes more is worth the keys that make it less."""
_FEWEST, _MOST = 4, 50
"""Steps of a training that are measured, beside a first one: as many as take about a second."""
_SLOW = 5.0
"""Seconds of a first training of one step that are measured once: starting up is a small part of them."""
_SHORT_TRAINING = 200
"""Steps below which a training may well end before it has converged."""
_KEYS = ("search.steps", "search.batch_size", "objective.pairs", "data.size", "choose.seeds", "train.steps",
         "train.epochs", "compare.seeds")  # fmt: skip
"""What a run may do less of."""


@dataclass(frozen=True)
class Trainings:
    """What follows a search: `count` trainings by a recipe, `processes` at a time. what: "choice" or "comparison"."""

    what: str
    count: int
    recipe: Recipe
    processes: int


class Costs:
    """Learns how long the search's steps take, and says once what the whole run will."""

    def __init__(self, config: DictConfig, then: Sequence[Trainings], say: Callable[[str], None]) -> None:
        self.then = then
        self._config, self._say = config, say
        # Of what runs beside it, as it does little so far; some systems do not tell.
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        self._measurements, self._is_said = 0, False

    def measured(self, seconds: float, left: int, policy: Policy) -> None:
        """A step took so many seconds, and `left` are left. policy: with which trainings are measured.

        The first measurement does not count: in it, code is compiled and processes start.
        """
        self._measurements += 1
        if self._is_said or self._measurements == 1:
            return
        self._is_said = True
        for words in time_left(self._config, seconds * left, self.then, policy):
            self._say(words)
        for words in crowded(self._load, os.cpu_count() or 1, torch.get_num_threads()):
            self._say(words)


def crowded(load: float, processors: int, threads: int) -> Iterator[str]:
    """What to say where the threads of a run have no processors to themselves, and wait for each other.

    load: how many processors other programs use. processors: how many there are. threads: of this run.
    """
    if threads > 1 and round(load) + threads > processors and "OMP_NUM_THREADS" not in os.environ:
        yield (
            f"time left: other programs use {min(round(load), processors)} of {processors} processors, and {threads} "
            "threads here wait for each other: OMP_NUM_THREADS=1 before the command may make it several times faster"
        )


def too_short(then: Sequence[Trainings]) -> Iterator[str]:
    """What to say, before a search, of trainings after it that are too short for a verdict."""
    for steps in sorted({one.recipe.steps for one in then if one.recipe.steps < _SHORT_TRAINING}):
        yield (
            f"trainings of {steps} steps: they may end before they have converged, and then nothing is decided; a "
            "budget in steps means the same for few images as for many, as in train.steps=1000"
        )


def time_left(config: DictConfig, search: float, then: Sequence[Trainings], policy: Policy) -> Iterator[str]:
    """What is left to do, part by part, in words; where that is long, also by which keys there is less of it.

    search: seconds of it. policy: one with which the trainings are measured.
    """
    parts = [("search", search, "")]
    step_seconds: dict[int, float] = {}  # by the batch size
    for trainings in then:
        recipe = trainings.recipe
        if recipe.batch_size not in step_seconds:
            step_seconds[recipe.batch_size] = _seconds_of_step(recipe, policy)
        one = step_seconds[recipe.batch_size] * recipe.steps
        seconds = one * math.ceil(trainings.count / trainings.processes)
        parts.append((trainings.what, seconds, f" ({trainings.count} trainings x {recipe.steps} steps)"))
    total = sum(seconds for _, seconds, _ in parts)
    if total < _SHORT:
        return
    yield f"time left: about {duration(total)}: " + ", ".join(
        f"{what} {duration(seconds)}{more}" for what, seconds, more in parts
    )
    if total > _LONG:
        given = ((key, OmegaConf.select(config, key)) for key in _KEYS)
        keys = ", ".join(f"{key}={value}" for key, value in given if isinstance(value, int))
        recipe = HydraConfig.get().runtime.choices.get("experiment") if HydraConfig.initialized() else None
        quick = "; or take experiment=quick" if recipe is None else ""  # which would be no recipe any more
        yield f"time left: less of any of these makes it shorter: {keys}{quick}"


def _seconds_of_step(recipe: Recipe, policy: Policy) -> float:
    """Of a training on one thread, as all of them are; 0 for one that fails, which is told when its turn comes."""
    try:
        first = _seconds_of(recipe, policy, 1)
        if first > _SLOW:
            return first
        # Again, as the first one of all may have compiled something. The difference is without what begins a training.
        one = _seconds_of(recipe, policy, 1)
        steps = min(max(int(1 / one), _FEWEST), _MOST)
        return max(_seconds_of(recipe, policy, 1 + steps) - one, 0.0) / steps
    except (NonFiniteError, UserError):
        return 0.0


def _seconds_of(recipe: Recipe, policy: Policy, steps: int) -> float:
    short = replace(recipe, settings=replace(recipe.settings, steps=steps))
    begun = time.perf_counter()
    for _ in results_of(trained, [(short, policy, 0)], 1):
        pass
    return time.perf_counter() - begun
