"""A search in two processes, or in parts of its batches, finds what one process finds: every estimator and method."""

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


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "lib")}
    command = [*launcher, "tests/ranks_search.py", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


COUPLED = (
    "BatchNorm, gumbel, one_step",
    "BatchNorm, shared difference",
    "BatchNorm, pathwise, unrolled",
    "BatchNorm, rebar, cg",
    "BatchNorm, reinforce, t1t2, two draws",
)


def require_alike(found: dict[str, Any], expected: dict[str, Any], case: str) -> None:
    # Adam's first steps divide a gradient by itself: of a small one its rounding shows. Scores that are differences of
    # nearly equal losses show it a thousandfold.
    assert found["policy"] == pytest.approx(expected["policy"], abs=2e-3 if "difference" in case else 1e-4)
    assert found["model"] == pytest.approx(expected["model"], abs=2e-6)
    for row, other in zip(found["rows"], expected["rows"], strict=True):
        assert row == pytest.approx(other, abs=5e-6)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_find_what_one_finds(found: list[dict[str, Any]], case: str) -> None:
    alone, together, other = found[0][case]["alone"], found[0][case]["together"], found[1][case]["together"]
    require_alike(together, alone, case)
    assert other["policy"] == together["policy"]  # to the last bit: nothing brings them together again
    assert other["model"] == together["model"]


@pytest.mark.parametrize("case", CASES)
def test_a_batch_in_three_parts_is_that_of_one(found: list[dict[str, Any]], case: str) -> None:
    parts, alone = found[0][case]["in parts"], found[0][case]["alone"]
    require_alike(parts, alone, case)
    draws = 2 if "two draws" in case else 1
    assert alone["largest"] == max(13, 11 * draws)  # a validation batch, and the draws of a training batch
    assert parts["largest"] == max(5, 4 * draws)  # the largest of their thirds: what the activations are of


@pytest.mark.parametrize("case", COUPLED)
def test_parts_and_processes_normalise_alike(found: list[dict[str, Any]], case: str) -> None:
    """With BatchNorm, whose statistics are those of a part: two parts find what two processes find, and one another."""
    alone, parts, together = (found[0][case][key] for key in ("alone", "in parts", "together"))
    require_alike(together, parts, case)
    assert alone["model"] != pytest.approx(parts["model"], abs=1e-3)


def test_layers_that_a_process_skips_stay_the_same_in_all(found: list[dict[str, Any]]) -> None:
    """Each draws by itself which layers it takes; a gradient that one lacks is 0 there."""
    one, other = (found[rank]["skipping"]["together"] for rank in range(2))
    assert one["model"] == other["model"]
    assert one["policy"] == other["policy"]


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
