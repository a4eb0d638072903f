"""Values that mean nothing are refused where they are given, in words."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import augrad
from augrad import Policy, PolicySample, UserError
from augrad.policy import Slot
from problems import shapes_unchecked

POLICY = Policy.over(["rotate", "color"], stages=2, subpolicies=2)
ROTATE = augrad.ops.get("rotate")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: POLICY.sample(4, same_on_batch="no"), "same_on_batch: expected true or false, got 'no'"),
        (lambda: POLICY.sample(4, same_on_batch=np.ones(3)), "same_on_batch: expected true or false"),
        (lambda: POLICY.sample(10**30), "a whole number of at most 2147483647"),
        (lambda: POLICY.draw_noise(0), "a batch size, a whole number of at least 1, got 0"),
        (lambda: POLICY.draw_relaxed_noise("x"), "a batch size, a whole number of at least 1, got 'x'"),
        (lambda: Policy.over(["rotate", "color"], subpolicies=2, jitter=-1.0), "jitter from 0 to 1000, got -1"),
        (lambda: Policy.over(["rotate", "color"], subpolicies=2, jitter=1e21), "jitter from 0 to 1000, got 1e"),
        (lambda: Policy.over(["rotate"], jitter=float("nan")), "jitter"),
        (lambda: Policy(3, (((Slot(0),),),), POLICY.params), "expected ops as operations"),
        (lambda: Policy((op for op in [ROTATE]), (((Slot(0),),),), POLICY.params), "expected ops as operations"),
        (lambda: Policy.over(["rotate"], interpolation=np.ones(2)), "interpolation"),
        (lambda: augrad.load_policy(torch.ones(2)), "expected the path of a policy file, .* got Tensor"),
        (lambda: augrad.load_policy(np.ones(2)), "expected the path of a policy file, .* got ndarray"),
        (lambda: PolicySample.concatenate(torch.tensor(1)), "expected a list of samples, got Tensor"),
        (lambda: augrad.engine([]).__enter__(), "expected one of the engines"),
        (lambda: augrad.engine(np.ones(2)).__enter__(), "expected one of the engines"),
    ],
)
def test_they_are_refused(call: Callable[[], object], said: str) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match=said):
        call()


def test_a_temperature_may_be_any_number_above_0() -> None:
    with shapes_unchecked():
        drawn = POLICY.rsample(2, temperature=10**30, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(drawn.op).all()


IMAGES, LABELS = np.zeros((60, 8, 8), np.uint8) + np.arange(60, dtype=np.uint8)[:, None, None], np.arange(60) % 3


@pytest.mark.parametrize(
    "seed", [0.0, False, None, "0", -1, 10**30, float("nan"), object(), np.random.default_rng(0), torch.Generator()]
)
def test_a_seed_of_a_division_is_a_whole_number(seed: object) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match="seed: expected a whole number"):
        augrad.Splits.from_arrays(IMAGES, LABELS, seed=seed)  # type: ignore[arg-type]


def test_the_same_seed_of_any_kind_of_whole_number_divides_alike() -> None:
    with shapes_unchecked():
        divisions = [augrad.Splits.from_arrays(IMAGES, LABELS, seed=seed).division for seed in (3, np.int64(3))]
    assert divisions[0] == divisions[1]
    assert augrad.Splits.from_arrays(IMAGES, LABELS, seed=4).division != divisions[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"validation_fraction": "x"}, "validation_fraction: expected a number between 0 and 1, got 'x'"),
        ({"test_fraction": None}, "test_fraction: expected a number between 0 and 1, got None"),
        ({"selection_fraction": True}, "selection_fraction: expected a number between 0 and 1, got True"),
        ({"name": None}, "name: expected a text, got None"),
        ({"name": 3}, "name: expected a text, got 3"),
    ],
)
def test_other_arguments_of_a_division_are_looked_at(options: dict, said: str) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match=said):
        augrad.Splits.from_arrays(IMAGES, LABELS, **options)


@pytest.mark.parametrize("given", [None, {}, {"a": 1}, torch.tensor(3.0), 3])
def test_what_is_no_data_set_is_refused(given: object) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match="train: expected a data set with a length and items"):
        augrad.Splits.from_datasets(given)
