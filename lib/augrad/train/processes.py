"""Many calls of one function at a time, each in a process of its own on one thread, with the results of one by one."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from joblib import Parallel, delayed

from augrad.checks import require_count

Result = TypeVar("Result")


def processes_for(device: torch.device) -> int:
    """How many trainings to run at a time: as many as there are processors to use, and one on a GPU."""
    if device.type != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def results_of(function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], processes: int) -> Iterator[Result]:
    """`function(*task)` for each task, in their order, each as soon as it and those before it are there.

    Each runs on one thread: sums in another order would be other numbers, and so the results do not depend on
    `processes`, of which the ones that joblib starts stay for the next call. Raises UserError for fewer than 1.
    """
    require_count(processes, "processes")
    if processes == 1 or len(tasks) < 2:
        for task in tasks:
            with one_thread():
                result = function(*task)
            yield result
        return
    jobs = (delayed(_alone)(function, *task) for task in tasks)
    found: Any = Parallel(n_jobs=min(processes, len(tasks)), backend="loky", return_as="generator")(jobs)
    yield from found


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it, PyTorch computes on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _alone(function: Callable[..., Result], *task: Any) -> Result:
    """In a process of its own, which a Ctrl-C at the terminal reaches, too: the caller decides how it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with one_thread():
        return function(*task)
