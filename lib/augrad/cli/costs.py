"""How long a search and what follows it will take, told as soon as its first steps have been measured."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

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
"""Seconds of a step, or a first training of one step, that are measured once: starting up is a small part of them."""
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
    """Told how long the search's steps take, says once what the whole run will."""

    def __init__(self, config: DictConfig, then: Sequence[Trainings], say: Callable[[str], None]) -> None:
        self.config, self.then, self.say = config, then, say
        self._calls = 0

    def measured(self, seconds: float, left: int, policy: Policy) -> None:
        """A search of which `left` steps are left, each of about so many seconds. policy: for the trainings.

        The first measurement counts for slow steps alone: in it, code is compiled and processes start.
        """
        self._calls += 1
        if self._calls == (1 if seconds > _SLOW else 2):
            self._calls += 1  # once and for all
            for words in told(self.config, seconds * left, self.then, policy):
                self.say(words)


def told(config: DictConfig, search: float, then: Sequence[Trainings], policy: Policy) -> Iterator[str]:
    """What is left to do, part by part, in words; where that is long, also by which keys there is less of it.

    search: seconds of it. policy: one with which the trainings are measured.
    """
    parts, step = [("search", search, "")], None
    for trainings in then:
        step = _seconds_of_step(trainings.recipe, policy) if step is None else step
        steps = trainings.recipe.steps
        seconds = step * steps * -(-trainings.count // trainings.processes)
        parts.append((trainings.what, seconds, f" ({trainings.count} trainings x {steps} steps)"))
    total = sum(seconds for _, seconds, _ in parts)
    if total < _SHORT:
        return
    yield f"time left: about {duration(total)}: " + ", ".join(
        f"{what} {duration(seconds)}{more}" for what, seconds, more in parts
    )
    if total > _LONG:
        given = ((key, OmegaConf.select(config, key)) for key in _KEYS)
        keys = ", ".join(f"{key}={value}" for key, value in given if isinstance(value, int))
        quick = "" if config.get("experiment") == "quick" else "; or take experiment=quick"
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
