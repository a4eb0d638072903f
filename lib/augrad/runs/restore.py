"""Saved values that are to be put back: what does not fit, or is not a number, is refused in words."""

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from augrad.errors import UserError


def require_like(saved: Any, expected: Any, place: str) -> None:
    """Raises `UserError`, naming the place, unless `saved` is built like `expected` and holds no NaN.

    Dictionaries have the same keys, lists and tuples the same length, tensors the same type and shape; numbers are
    numbers, and everything else is of the same type. Infinite values pass: a logit may be.
    """
    if isinstance(expected, Tensor):
        if not isinstance(saved, Tensor) or (saved.dtype, saved.shape) != (expected.dtype, expected.shape):
            raise UserError(f"{place}: expected {_words(expected)}, got {_words(saved)}")
        if saved.is_floating_point() and bool(saved.isnan().any()):
            raise UserError(f"{place}: holds values that are not a number (NaN)")
    elif isinstance(expected, Mapping):
        _require_keys(saved, expected, place)
        for key, value in expected.items():
            require_like(saved[key], value, f"{place}.{key}")
    elif isinstance(expected, list | tuple):
        if type(saved) is not type(expected) or len(saved) != len(expected):
            raise UserError(f"{place}: expected {_words(expected)}, got {_words(saved)}")
        for index, (one, other) in enumerate(zip(saved, expected, strict=True)):
            require_like(one, other, f"{place}[{index}]")
    elif type(saved) is not type(expected) and not (_is_number(saved) and _is_number(expected)):
        raise UserError(f"{place}: expected {_words(expected)}, got {_words(saved)}")
    elif isinstance(saved, float) and math.isnan(saved):
        raise UserError(f"{place}: is not a number (NaN)")


def require_optimizer(saved: Any, optimizer: torch.optim.Optimizer, place: str, has_stepped: bool) -> None:
    """As `require_like`, for what `optimizer.state_dict()` gives later in the run that `optimizer` begins.

    Settings are equal, but for the learning rate, which was its present value once (`peak_lr`, see `set_rates`).
    has_stepped: whether something must be kept for the parameters, if this optimiser keeps anything.
    """
    fresh = optimizer.state_dict()
    _require_keys(saved, fresh, place)
    groups, kept = saved["param_groups"], saved["state"]
    if not isinstance(groups, list) or len(groups) != len(fresh["param_groups"]):
        raise UserError(f"{place}.param_groups: expected {_words(fresh['param_groups'])}, got {_words(groups)}")
    for index, (group, expected) in enumerate(zip(groups, fresh["param_groups"], strict=True)):
        here = f"{place}.param_groups[{index}]"
        _require_keys(group, expected, here, allowed=("peak_lr",))
        require_like(group["lr"], expected["lr"], f"{here}.lr")
        first = {**group, "lr": group.get("peak_lr", group["lr"])}
        for key, value in expected.items():
            require_like(first[key], value, f"{here}.{key}")
            if first[key] != value:
                raise UserError(f"{here}.{key}: expected {value}, got {first[key]}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    _require_keys(kept, {}, f"{place}.state", allowed=range(len(parameters)))
    names = _kept_for_a_parameter(optimizer)
    if has_stepped and names and not kept:
        raise UserError(f"{place}.state: lacks {', '.join(names)} of every parameter")
    for index, values in kept.items():
        shape = parameters[index].shape
        expected = {
            name: value.new_empty(shape) if isinstance(value, Tensor) and value.shape else value
            for name, value in (names or values).items()
        }
        require_like(values, expected, f"{place}.state[{index}]")


def _kept_for_a_parameter(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What such an optimiser keeps for a parameter of one number after a step; {} if nothing, or nobody can tell."""
    parameter = nn.Parameter(optimizer.param_groups[0]["params"][0].detach().cpu().new_zeros(1))
    parameter.grad = torch.zeros_like(parameter)
    known = inspect.signature(type(optimizer)).parameters
    try:
        twin = type(optimizer)([parameter], **{key: value for key, value in optimizer.defaults.items() if key in known})
        twin.step()
    except (TypeError, ValueError, RuntimeError):  # an optimiser of the user's, made in another way
        return {}
    return dict(twin.state[parameter])


def _require_keys(saved: Any, expected: Mapping[Any, Any], place: str, allowed: Iterable[Any] = ()) -> None:
    if not isinstance(saved, Mapping):
        raise UserError(f"{place}: expected names with values, got {_words(saved)}")
    if missing := [str(key) for key in expected if key not in saved]:
        raise UserError(f"{place}: lacks {', '.join(missing[:5])}")
    if unknown := [str(key)[:80] for key in saved if key not in expected and key not in allowed]:
        raise UserError(f"{place}: holds {', '.join(unknown[:5])}, which is unknown here")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return "nothing" if value is None else f"a {type(value).__name__}"
