"""Taking up a search from what was saved of it: only where everything that decides the search is the same."""

import hashlib
import inspect
import pkgutil
import re
import reprlib
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.ops.external import definitions_of
from augrad.policy import Policy
from augrad.search.state import SearchParts, SearchState


def origin_of(state: SearchState, parts: SearchParts) -> dict[str, str]:
    """Digests of what a search is about: its data and their division, what its policy chooses from, its network."""
    policy = hashlib.sha256(repr(choices_of(state.policy)).encode()).hexdigest()
    return {**digests_of(parts.data, state.model), "policy": policy}


def digests_of(data: Splits, network: nn.Module) -> dict[str, str]:
    """Of data, of their division, and of how a network is built."""
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(network))  # of functions in it, which are elsewhere each time
    return {
        "data": data.sha256,
        "division": data.division,
        "network": hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest(),
    }


def require_origin(saved: Any, own: Mapping[str, str], start: str) -> None:
    """Raises UserError where one of a run's digests is another one than was saved; what was not saved is not compared.

    start: with which the message begins.
    """
    for what, value in own.items():
        if not isinstance(saved, dict) or saved.get(what, value) != value:
            raise UserError(f"{start} was started with {_OTHER[what]}, or start a new one")


_OTHER = {
    "data": "other content of its data, under the same name; put back what was there",
    "division": "another division of its data into train, validation, selection and test; divide them as before",
    "policy": "other content of its policy, under the same name; put back what was there",
    "network": "another network; put back what was there",
}


def choices_of(policy: Policy) -> tuple[Any, ...]:
    """What a policy chooses from: all of it but its numbers."""
    choices = [op.name for op in policy.ops], policy.slots, policy.interpolation, policy.fill
    definitions = definitions_of(policy.ops)  # of operations that are not augrad's own
    return (*choices, definitions) if definitions else choices


def require_same(
    saved: Any,
    given: Any,
    start: str,
    may_change: Collection[str] = (),
    defaults: Mapping[str, Any] | None = None,
    place: str = "",
) -> None:
    """Raises UserError where what a search was started with differs from what it is given now.

    What was saved before a setting existed lacks it: then the setting's default is what it was. start: with which the
    message begins. may_change: keys at the top that are not compared. defaults: of the settings, by place; those of a
    mapping with a `_target_` are known.
    """
    if isinstance(saved, dict) and isinstance(given, dict):
        known = _defaults_of(given["_target_"]) if "_target_" in given else (defaults or {})
        for key in [*saved, *(key for key in given if key not in saved)]:
            if place or key not in may_change:
                inner = f"{place}.{key}" if place else str(key)
                default = known.get(key)
                was = saved.get(key, None if isinstance(default, dict) else default)
                require_same(
                    was, given.get(key), start, may_change, default if isinstance(default, dict) else {}, inner
                )
    elif saved != given:
        was, now = (value if isinstance(value, str) else reprlib.repr(value) for value in (saved, given))
        raise UserError(f"{start} was started with {place}={was}, got {now}; give it the same, or start a new one")


def _defaults_of(target: str) -> dict[str, Any]:
    """Of the parameters of what a configuration names, as plain values; none for what has no name or no signature."""
    try:
        parameters = inspect.signature(pkgutil.resolve_name(target)).parameters.values()
    except (ImportError, AttributeError, ValueError, TypeError):
        return {}
    told = {one.name: one.default for one in parameters if one.default is not one.empty}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


def take_up(state: SearchState, parts: SearchParts, saved: dict[str, Any], start: str, place: object) -> None:
    """Puts `state` to what was saved: {"state": of `SearchState.state_dict`, "origin": of `origin_of`}.

    start, place: with which messages about the origin and about the state begin. Raises UserError, and leaves `state`
    as it is, where that is the state of another search.
    """
    own = origin_of(state, parts)
    require_origin(saved.get("origin") or own, own, start)  # older checkpoints have none, or not all of it
    step = saved["state"].get("step")
    if isinstance(step, int) and step > parts.settings.steps:
        raise UserError(f"{place}: is of step {step}, and the run has {parts.settings.steps}; start a new run")
    try:
        state.load_state_dict(saved["state"])
    except (UserError, RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{place}: this checkpoint does not fit the run: {reason}; start a new run") from error
