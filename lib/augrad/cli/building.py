"""From a part of the configuration to what it names, its values held against what that takes."""

import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from augrad.checks import annotations_of, check_value
from augrad.cli.allowed_code import require_allowed
from augrad.errors import UserError

_KEYS = {
    **{
        name: f"search.{name}"
        for name in ("optimizer", "policy_optimizer", "policy_rates", "batch_size", "cuda_graphs")
    },
    **{name: f"standard.{name}" for name in ("crop_padding", "cutout")},
    "derivative": "objective.derivative",
    "max_outcomes": "estimator.max_outcomes",
}
"""Where the configuration has the arguments whose values are checked when they are used, not when they are read."""
_FLAGS = {
    "_target_": str,
    "_partial_": bool,
    "_recursive_": bool,
    "_convert_": Literal["none", "partial", "object", "all"],
}
"""Hydra's own keys of a part."""
_EARLY = ("data", "space", "objective", "estimator", "hypergradient", "tracker", "standard")
_LATE = ("model", "policy", "search.optimizer", "search.policy_optimizer", "train.optimizer")
"""The places whose parts are made before the run begins, and those that a run completes: `_partial_: true`."""


def built(node: Any, place: str) -> Any:
    """What `node`, the part of the configuration at `place`, names with `_target_`.

    Raises UserError, with the key, where there is no such name, for code that is not allowed (see
    `augrad.cli.allowed_code`), and for a value of another type than the function or class says in its annotations and
    defaults.
    """
    if not isinstance(node, DictConfig) or not isinstance(node.get("_target_"), str):
        raise UserError(f"{place}: expected a part with a _target_, as the options of this group have, got {node!r}")
    part = OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
    require_allowed(part, place)
    _check(part, place)
    if node.get("_partial_") and place in _EARLY:
        raise UserError(f"{place}._partial_: expected false, got true; this part is made before the run begins")
    try:
        # Lists arrive as lists, unless the part says otherwise.
        made = instantiate(node) if "_convert_" in node else instantiate(node, _convert_="partial")
    except InstantiationException as error:
        # A message that begins with an argument's name gets the key of the part before it.
        name = str(error.__cause__).partition(":")[0]
        if isinstance(error.__cause__, UserError) and name in node:
            raise UserError(f"{place}.{error.__cause__}") from error
        raise
    if place in _LATE and not callable(made):
        raise UserError(f"{place}._partial_: expected true, got {node.get('_partial_')!r}; the run completes this part")
    return made


@contextmanager
def key_added(place: str) -> Iterator[None]:
    """Writes `place` before the argument with whose name a UserError begins."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}.{error}") from error


@contextmanager
def keys_added() -> Iterator[None]:
    """Writes the key in place of the argument's name at the beginning of a UserError."""
    try:
        yield
    except UserError as error:
        name, colon, words = str(error).partition(":")
        if name in _KEYS:
            raise UserError(f"{_KEYS[name]}{colon}{words}") from error
        raise


def require_group(node: Any, place: str) -> DictConfig:
    """The group of settings at `place`. Raises UserError for anything else."""
    if not isinstance(node, DictConfig):
        raise UserError(f"{place}: expected a group of settings, as in {place}.KEY=VALUE, got {node!r}")
    return node


def require_keys(group: DictConfig, keys: Sequence[str], place: str) -> None:
    """Raises UserError for a key that the group at `place` does not have."""
    for key in group:
        if key not in keys:
            raise UserError(f"{place}.{key}: no such key; there are {', '.join(keys)}")


def _check(node: Any, place: str) -> None:
    if not isinstance(node, dict):
        return
    target = str(node.get("_target_", ""))
    takes, is_optimizer = _taken(target), target.startswith("torch.optim.") or place.endswith("optimizer")
    for key, value in node.items():
        inner = f"{place}.{key}"
        if key in _FLAGS:
            check_value(value, _FLAGS[key], inner)
        elif isinstance(value, dict) and "_target_" in value:
            _check(value, inner)
        elif isinstance(value, list) and any(isinstance(item, dict) and "_target_" in item for item in value):
            for index, item in enumerate(value):
                _check(item, f"{inner}[{index}]")
        elif key in takes and value != "???":
            # Of an optimiser what is null is left out (see `augrad.learning.step.build_optimizer`).
            left_out = value is None and is_optimizer
            annotation, default = takes[key]
            if not left_out and not (type(value) is type(default) and value == default):
                check_value(value, annotation, inner)


def _taken(target: str) -> dict[str, tuple[Any, Any]]:
    """The arguments that a target takes, each with its type and its default; those of which no type is known are out.

    Where there is no annotation, what is true or false by default is nothing else.
    """
    try:
        made = pkgutil.resolve_name(target)
        parameters = inspect.signature(made).parameters
    except Exception:  # of whatever is imported; what is wrong is said when it is built
        return {}
    types = annotations_of(made)
    switches = {name: bool for name, parameter in parameters.items() if isinstance(parameter.default, bool)}
    return {name: (types.get(name, bool), parameters[name].default) for name in types | switches if name in parameters}
