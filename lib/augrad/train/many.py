"""Many trainings at once: one in each of several processes, with the results of one after another."""

import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker

import torch
from torch import Tensor

from augrad.checks import require_count
from augrad.data.standard import NO_STANDARD, StandardAugmentation
from augrad.data.types import Splits
from augrad.errors import NonFiniteError, Stopped
from augrad.learning.step import ModelBuilder, OptimizerBuilder, evaluate
from augrad.policy import Policy
from augrad.settings import TrainSettings
from augrad.train.loop import trained

_SIGNALS = signal.SIGINT, signal.SIGTERM
_PATIENCE = 0.1
"""Seconds between two looks at whether to stop."""
_IDLE = 300
"""Seconds after which a process that has nothing to do ends."""


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

    A training that diverged has an infinite loss, an accuracy of 0 and no state.
    """

    train_loss: float
    train_accuracy: float
    loss: float
    accuracy: float
    state: dict[str, Tensor]


def judged_trainings(
    recipe: Recipe,
    policies: Sequence[Policy],
    seeds: Sequence[int],
    processes: int | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> list[Judged]:
    """A training with each policy, by the seed beside it (see `augrad.train.loop.trained`), in their order.

    Of the first one alone the network's state comes along. processes: how many trainings run at a time, each on one
    thread, in processes that stay for the next call; None: as many as there are processors, and one on a GPU. The
    results do not depend on it. stopping: whether to give up; it is asked between two trainings, and more often where
    several run at a time. Raises Stopped then, and UserError for fewer processes than 1.
    """
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        processes = processes if recipe.splits.train.images.device.type == "cpu" else 1
    require_count(processes, "processes")
    tasks = [
        (recipe, policy, seed, index == 0) for index, (policy, seed) in enumerate(zip(policies, seeds, strict=True))
    ]
    if processes > 1:
        return _side_by_side(tasks, processes, stopping)
    found = []
    for task in tasks:
        if stopping():
            raise Stopped
        found.append(_judged(*task))
    return found


def _side_by_side(
    tasks: Sequence[tuple[Recipe, Policy, int, bool]], processes: int, stopping: Callable[[], bool]
) -> list[Judged]:
    from joblib.externals.loky import get_reusable_executor  # not everybody needs it

    executor = get_reusable_executor(processes, timeout=_IDLE, initializer=_begin_process, initargs=(os.getpid(),))
    try:
        with _signals_wait():
            futures: list[Future[Judged]] = [executor.submit(_judged, *task) for task in tasks]
        left = set(futures)
        while left:
            if stopping():
                raise Stopped
            done, left = wait(left, _PATIENCE)
            for future in done:
                future.result()
        return [future.result() for future in futures]
    except BaseException:
        with warnings.catch_warnings():  # of systems without pgrep, where processes are killed all the same
            warnings.simplefilter("ignore")
            executor.shutdown(kill_workers=True)
        raise


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Processes that are started within never get the signals that end a run: the one that starts them decides."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it comes with the first process, and would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_process(parent: int) -> None:
    """In a process of its own: it ends with the one that started it, however that ends, and not by a signal."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _judged(recipe: Recipe, policy: Policy, seed: int, with_state: bool) -> Judged:
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
    state = network.state_dict() if with_state else {}
    return Judged(float(train.loss), float(train.accuracy), float(held_out.loss), float(held_out.accuracy), state)
