"""A search in two processes, which torchrun starts, finds what one process finds: every estimator, every method."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CASES = (
    "gumbel, one_step",
    "shared difference",
    "pathwise, unrolled",
    "pixels",
    "rebar, cg",
    "relax, neumann",
    "reinforce, t1t2, two draws",
    "enumerate, difference",
)
DIFFERENCES = ("shared difference", "enumerate, difference")
"""Scores that are differences of nearly equal losses: what is rounded otherwise shows a thousandfold."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "lib")}
    command = [*launcher, "tests/ranks_search.py", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_find_what_one_finds(found: list[dict[str, Any]], case: str) -> None:
    alone, together, other = found[0][case]["alone"], found[0][case]["together"], found[1][case]["together"]
    # Adam's first steps divide a gradient by itself: of a small one its rounding shows.
    assert together["policy"] == pytest.approx(alone["policy"], abs=2e-3 if case in DIFFERENCES else 1e-4)
    assert together["model"] == pytest.approx(alone["model"], abs=2e-6)
    for row, expected in zip(together["rows"], alone["rows"], strict=True):
        assert row == pytest.approx(expected, abs=5e-6)
    assert other["policy"] == together["policy"]  # to the last bit: nothing brings them together again
    assert other["model"] == together["model"]


def test_a_population_in_two_processes_is_that_of_one_bit_for_bit(found: list[dict[str, Any]]) -> None:
    alone, together, other = (
        found[rank]["population"][key] for rank, key in ((0, "alone"), (0, "together"), (1, "together"))
    )
    assert together == alone
    assert other == alone
    assert len({tuple(policy) for policy in alone["policies"]}) == 2


def test_who_is_stopped_stops_all(found: list[dict[str, Any]]) -> None:
    """Asked in one of two processes, amid a generation: neither has a step."""
    assert [one["stopped"] for one in found] == [True, True]


def test_the_policy_moves(found: list[dict[str, Any]]) -> None:
    policies = [tuple(found[0][case]["together"]["policy"]) for case in CASES]
    assert len(set(policies)) == len(CASES)
