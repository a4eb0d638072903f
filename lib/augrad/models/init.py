"""Initial weights from a seed, with the global random state left as it was."""

from collections.abc import Callable
from typing import TypeVar

import torch

from augrad.shared_state import generators_kept

Made = TypeVar("Made")


def seeded(build: Callable[[], Made], seed: int) -> Made:
    """`build()` with torch's default generator at `seed`; its state is put back afterwards, also on an error.

    Modules are made on the CPU, whatever the default device: the same weights everywhere. Move the result afterwards.
    """
    # torch.manual_seed would seed the generators of all accelerators too, and nothing would put those back.
    with generators_kept(), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return build()
