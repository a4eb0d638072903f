"""Where Triton's kernels are tested: on a GPU if there is one, else by Triton's interpreter, if that can run them."""

import pytest
import torch

triton = pytest.importorskip("triton")
language = pytest.importorskip("triton.language")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@triton.jit
def _count(out, turns):
    total = 0
    for _ in range(turns):
        total += 1
    language.store(out, total)


def interprets_loops() -> bool:
    """Whether Triton's interpreter can count to a number that is known when a kernel runs: that of Triton 3.6, which
    comes with torch 2.11, cannot with a NumPy of today."""
    out = torch.zeros(1, dtype=torch.int32)
    try:
        _count[(1,)](out, 3)
    except triton.runtime.errors.InterpreterError:
        return False
    return int(out) == 3


interpreted = pytest.mark.skipif(
    DEVICE == "cpu" and not interprets_loops(), reason="Triton's interpreter is too old for NumPy"
)
