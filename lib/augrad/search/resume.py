"""Taking up a search from what was saved of it: only where everything that decides the search is the same."""

import hashlib
import reprlib
from collections.abc import Collection
from typing import Any

from augrad.errors import UserError
from augrad.ops.external import definitions_of
from augrad.policy import Policy
from augrad.search.state import SearchParts, SearchState


def origin_of(state: SearchState, parts: SearchParts) -> dict[str, str]:
    """Digests of what a search is about: its data, and what its policy chooses from."""
    return {"data": parts.data.sha256, "policy": hashlib.sha256(repr(choices_of(state.policy)).encode()).hexdigest()}


def choices_of(policy: Policy) -> tuple[Any, ...]:
    """What a policy chooses from: all of it but its numbers."""
    choices = [op.name for op in policy.ops], policy.slots, policy.interpolation, policy.fill
    definitions = definitions_of(policy.ops)  # of operations that are not augrad's own
    return (*choices, definitions) if definitions else choices


def require_same(saved: Any, given: Any, start: str, may_change: Collection[str] = (), place: str = "") -> None:
    """Raises UserError where what a search was started with differs from what it is given now.

    start: with which the message begins. may_change: keys at the top that are not compared.
    """
    if isinstance(saved, dict) and isinstance(given, dict):
        for key in [*saved, *(key for key in given if key not in saved)]:
            if place or key not in may_change:
                inner = f"{place}.{key}" if place else str(key)
                require_same(saved.get(key), given.get(key), start, may_change, inner)
    elif saved != given:
        was, now = (value if isinstance(value, str) else reprlib.repr(value) for value in (saved, given))
        raise UserError(f"{start} was started with {place}={was}, got {now}; give it the same, or start a new one")


def take_up(state: SearchState, parts: SearchParts, saved: dict[str, Any], start: str, place: object) -> None:
    """Puts `state` to what was saved: {"state": of `SearchState.state_dict`, "origin": of `origin_of`}.

    start, place: with which messages about the origin and about the state begin. Raises UserError, and leaves `state`
    as it is, where that is the state of another search.
    """
    own = origin_of(state, parts)
    origin = saved.get("origin") or own  # older checkpoints have none
    for what, value in own.items():
        if not isinstance(origin, dict) or origin.get(what) != value:
            raise UserError(
                f"{start} was started with other content of its {what}, under the same name; put back what was there, "
                "or start a new one"
            )
    step = saved["state"].get("step")
    if isinstance(step, int) and step > parts.settings.steps:
        raise UserError(f"{place}: is of step {step}, and the run has {parts.settings.steps}; start a new run")
    try:
        state.load_state_dict(saved["state"])
    except (UserError, RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{place}: this checkpoint does not fit the run: {reason}; start a new run") from error
