"""From a part of the configuration to what it names, its values held against what that takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from augrad.checks import annotations_of, check_value
from augrad.errors import UserError

_KEYS = {
    **{name: f"search.{name}" for name in ("optimizer", "policy_optimizer", "policy_rates", "batch_size")},
    **{name: f"standard.{name}" for name in ("crop_padding", "cutout")},
    "derivative": "objective.derivative",
    "max_outcomes": "estimator.max_outcomes",
}
"""Where the configuration has the arguments whose values are checked when they are used, not when they are read."""


def built(node: Any, place: str) -> Any:
    """What `node`, the part of the configuration at `place`, names with `_target_`.

    Raises UserError, with the key, where there is no such name, and for a value of another type than augrad's own
    functions and classes say in their annotations.
    """
    if not isinstance(node, DictConfig) or not isinstance(node.get("_target_"), str):
        raise UserError(f"{place}: expected a part with a _target_, as the options of this group have, got {node!r}")
    _check(OmegaConf.to_container(node, resolve=True, throw_on_missing=False), place)
    try:
        return instantiate(node)
    except InstantiationException as error:
        # A message that begins with an argument's name gets the key of the part before it.
        name = str(error.__cause__).partition(":")[0]
        if isinstance(error.__cause__, UserError) and name in node:
            raise UserError(f"{place}.{error.__cause__}") from error
        raise


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


def require_boolean(value: Any, place: str) -> bool:
    """The value. Raises UserError unless it is true or false: `no` and `off` are words to Hydra, and words are true."""
    if not isinstance(value, bool):
        raise UserError(f"{place}: expected true or false, got {value!r}")
    return value


def _check(node: Any, place: str) -> None:
    if not isinstance(node, dict):
        return
    hints = _annotations(str(node.get("_target_", "")))
    for key, value in node.items():
        inner = f"{place}.{key}"
        if isinstance(value, dict) and "_target_" in value:
            _check(value, inner)
        elif key in hints and value != "???":
            check_value(value, hints[key], inner)


def _annotations(target: str) -> dict[str, Any]:
    """The types of the arguments that one of augrad's own, or an optimiser of PyTorch's, takes; none of others'."""
    is_optimizer = target.startswith("torch.optim.")
    if not is_optimizer and not target.startswith("augrad."):
        return {}
    try:
        hints = annotations_of(get_object(target))
    except (HydraException, ImportError, AttributeError, ValueError):
        return {}  # what is wrong is said when it is built
    # Of an optimiser what is null is left out (see `augrad.learning.step.build_optimizer`).
    return {name: hint | None for name, hint in hints.items()} if is_optimizer else hints
