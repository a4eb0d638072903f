"""Calls of one function, several at a time, each in a process of its own on one thread."""

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import torch

from augrad.checks import require_count
from augrad.errors import Stopped, UserError

Result = TypeVar("Result")

_SIGNALS = signal.SIGINT, signal.SIGTERM
_PATIENCE = 0.1
"""Seconds between two looks at whether to stop."""
_EACH = 8
"""Processes for each processor, at most."""
_IDLE = 300
"""Seconds after which a process that has nothing to do ends."""


def processes_for(device: torch.device) -> int:
    """How many trainings to run at a time: as many as there are processors to use, and one on a GPU."""
    if device.type != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_processes(count: int, place: str = "processes") -> None:
    """Raises UserError unless so many processes may run at a time: at least 1, and at most 8 for each processor.

    More would be slower, and each takes a few hundred megabytes.
    """
    require_count(count, place)
    most = _EACH * processes_for(torch.device("cpu"))
    if count > most:
        raise UserError(
            f"{place}: expected at most {most} processes, {_EACH} for each processor, got {count}; leave it out for "
            "one on each"
        )


def results_of(
    function: Callable[..., Result],
    tasks: Sequence[tuple[Any, ...]],
    processes: int,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Result]:
    """`function(*task)` for each task, in their order, each as soon as it and those before it are there.

    Each runs on one thread: sums in another order would be other numbers, and so the results do not depend on
    `processes`, which stay for the next call. stopping: whether to give up; it is asked between two tasks, and more
    often where several run at a time. Raises Stopped then, and what `require_processes` raises.
    """
    require_processes(processes)
    processes = min(processes, len(tasks))
    if processes > 1 and len(tasks) > 1:
        yield from _side_by_side(function, tasks, processes, stopping)
        return
    for task in tasks:
        if stopping():
            raise Stopped
        yield _on_one_thread(function, *task)


def _side_by_side(
    function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], processes: int, stopping: Callable[[], bool]
) -> Iterator[Result]:
    from joblib.externals.loky import get_reusable_executor  # not everybody needs it

    executor = get_reusable_executor(processes, timeout=_IDLE, initializer=_begin_process, initargs=(os.getpid(),))
    try:
        with _signals_wait():
            futures: list[Future[Result]] = [executor.submit(_on_one_thread, function, *task) for task in tasks]
        for future in futures:
            while not future.done():
                if stopping():
                    raise Stopped
                wait([future], _PATIENCE)
            yield future.result()
    except BaseException:  # also where nobody asks for the rest
        with warnings.catch_warnings():  # of systems without pgrep, where processes are killed all the same
            warnings.simplefilter("ignore")
            executor.shutdown(kill_workers=True)
        raise


def _on_one_thread(function: Callable[..., Result], *task: Any) -> Result:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return function(*task)
    finally:
        torch.set_num_threads(before)


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
