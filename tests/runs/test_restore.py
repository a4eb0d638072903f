"""What is put back is what was expected: structure, sizes, numbers that are numbers."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from augrad.errors import UserError
from augrad.runs.restore import require_like, require_optimizer

EXPECTED = {"weights": torch.zeros(2, 3), "step": 3, "loss": float("inf"), "names": ["a", None], "flag": True}


def test_other_numbers_are_what_restoring_is_for():
    saved = {"weights": torch.full((2, 3), -torch.inf), "step": 9, "loss": 1, "names": ["b", None], "flag": False}
    require_like(saved, EXPECTED, "state")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("weights", torch.zeros(3, 2), r"state.weights: expected float32 \[2, 3\], got float32 \[3, 2\]"),
        ("weights", torch.zeros(2, 3, dtype=torch.float64), "got float64"),
        ("weights", [[0.0] * 3] * 2, r"expected float32 \[2, 3\], got a list of 2"),
        ("weights", torch.tensor([[0.0, 1.0, torch.nan]] * 2), r"state.weights: .*NaN"),
        ("loss", float("nan"), r"state.loss: .*NaN"),
        ("loss", None, "state.loss: expected a float, got nothing"),
        ("step", "3", "expected a int, got a str"),
        ("step", True, "state.step"),
        ("flag", 1, "state.flag"),
        ("names", ["a"], r"state.names: expected a list of 2, got a list of 1"),
        ("names", ("a", None), r"got a tuple of 2"),
        ("names", ["a", "b"], r"state.names\[1\]: expected nothing, got a str"),
    ],
)
def test_what_does_not_fit_is_named(key: str, value: Any, words: str):
    with pytest.raises(UserError, match=words):
        require_like({**EXPECTED, key: value}, EXPECTED, "state")


def test_missing_and_unknown_keys():
    with pytest.raises(UserError, match="state: lacks weights"):
        require_like({key: value for key, value in EXPECTED.items() if key != "weights"}, EXPECTED, "state")
    with pytest.raises(UserError, match="state: holds more, which is unknown"):
        require_like({**EXPECTED, "more": 1}, EXPECTED, "state")
    with pytest.raises(UserError, match="state: expected names with values, got a list of 0"):
        require_like([], EXPECTED, "state")


def optimizer_of(kind: str) -> torch.optim.Optimizer:
    parameters = [nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(4))]
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "SGD": lambda: torch.optim.SGD(parameters, lr=0.1),
        "SGD with momentum": lambda: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
        "Adam": lambda: torch.optim.Adam(parameters, lr=0.1),
        "Adam with amsgrad": lambda: torch.optim.Adam(parameters, lr=0.1, amsgrad=True),
        "AdamW": lambda: torch.optim.AdamW(parameters, lr=0.1),
        "RMSprop": lambda: torch.optim.RMSprop(parameters, lr=0.1),
    }
    return makers[kind]()


KINDS = ["SGD", "SGD with momentum", "Adam", "Adam with amsgrad", "AdamW", "RMSprop"]


def after_steps(kind: str) -> dict[str, Any]:
    optimizer = optimizer_of(kind)
    for group in optimizer.param_groups:
        group["peak_lr"], group["lr"] = group["lr"], 0.03
    for _ in range(2):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    return deepcopy(optimizer.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_that_went_on(kind: str):
    require_optimizer(after_steps(kind), optimizer_of(kind), "optimizer", has_stepped=True)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_step_keeps_something(kind: str):
    saved = {**after_steps(kind), "state": {}}
    require_optimizer(saved, optimizer_of(kind), "optimizer", has_stepped=False)
    with pytest.raises(UserError, match=r"optimizer.state: lacks .* of every parameter"):
        require_optimizer(saved, optimizer_of(kind), "optimizer", has_stepped=True)


def damage(saved: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    at = saved
    for key in place[:-1]:
        at = at[key]
    if value is KeyError:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return saved


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("state",), KeyError, "lacks state"),
        (("param_groups",), [], "param_groups: expected a list of 1, got a list of 0"),
        (("param_groups", 0, "lr"), KeyError, "lacks lr"),
        (("param_groups", 0, "lr"), float("nan"), "lr.*NaN"),
        (("param_groups", 0, "peak_lr"), KeyError, "lr: expected 0.1, got 0.03"),
        (("param_groups", 0, "betas"), (0.5, 0.999), "betas"),
        (("param_groups", 0, "params"), [1, 0], "params"),
        (("param_groups", 0, "params"), [0], "params: expected a list of 2"),
        (("state", 5), {}, "holds 5, which is unknown"),
        (("state", 0, "exp_avg"), torch.zeros(3), r"state\[0\].exp_avg: expected float32 \[2, 3\]"),
        (("state", 0, "exp_avg"), torch.full((2, 3), torch.nan), "NaN"),
        (("state", 1, "exp_avg_sq"), KeyError, "lacks exp_avg_sq"),
        (("state", 1), [], "expected names with values"),
    ],
)
def test_an_optimizer_that_does_not_fit(place: tuple[Any, ...], value: Any, words: str):
    with pytest.raises(UserError, match=words):
        require_optimizer(damage(after_steps("Adam"), place, value), optimizer_of("Adam"), "optimizer", True)


def test_of_another_optimizer():
    with pytest.raises(UserError, match="optimizer"):
        require_optimizer(after_steps("Adam"), optimizer_of("SGD with momentum"), "optimizer", True)
