"""Parts of a batch on all threads that PyTorch uses."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

import torch

_ALONE = 2**19
"""Numbers of a batch below which one thread is faster than several."""
_PART = 2**17
"""Numbers that take a thread so long that fetching another part does not show."""


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # By process, because a pool does not survive a fork.
    return ThreadPoolExecutor(threads, "augrad")


def on_all_threads(work: Callable[[int, int], None], batch: int, numbers: int) -> None:
    """`work` on images start .. stop - 1, until all of the batch are done."""
    threads = torch.get_num_threads() if numbers >= _ALONE else 1
    # More parts than threads, because images take different times; each thread takes one after another.
    count = min(max(4 * threads if threads > 1 else 1, numbers // _PART), batch)
    parts = deque(pairwise(batch * part // count for part in range(count + 1)))

    def work_on() -> None:
        while True:
            try:
                part = parts.popleft()
            except IndexError:
                return
            work(*part)

    others = [_pool(os.getpid(), threads - 1).submit(work_on) for _ in range(min(threads, count) - 1)]
    work_on()
    for other in others:
        other.result()
