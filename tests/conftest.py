"""What holds for every test: one thread each, and every shape and type annotation of augrad checked at run time."""

import os
from typing import Any

# Before torch is imported, here and in the processes that the tests start: the test runner has several workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton's kernels on a CPU; read when Triton is imported

# In every worker alike, and before anything imports augrad. (The pytest option of jaxtyping does not reach workers.)
install_import_hook("augrad", "beartype.beartype")

torch.set_num_threads(1)

# An example, and making one, may take long on a busy machine; a test that takes too long shows in its duration.
settings.register_profile("augrad", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("augrad")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say aloud that Triton's kernels were not run, where they were not."""
    reasons = {str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())}
    missing = sorted(reason for reason in reasons if "Triton's interpreter" in reason or "'triton'" in reason)
    if missing:
        terminalreporter.section("Triton's kernels were NOT tested", sep="!", red=True, bold=True)
        terminalreporter.write_line("\n".join(missing))


def pytest_runtest_setup(item: pytest.Item) -> None:
    torch.manual_seed(0)  # policies draw by it: the same in every order of the tests
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
