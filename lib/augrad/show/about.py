"""What a policy is and where it comes from, in a line or two."""

from collections.abc import Mapping
from typing import Any

from augrad.policy_file import PolicyDocument
from augrad.show.words import number

_LONGEST = 200
"""Characters of a text from a provenance, in which a user may have written anything."""


def describe_shape(document: PolicyDocument) -> str:
    """How the policy is built: "25 sub-policies × 2 stages, interpolation nearest".

    Interpolation and fill are left out where they are bilinear and 0, the default.
    """
    count = len(document.subpolicies)
    lengths = {len(subpolicy.stages) for subpolicy in document.subpolicies}
    stages = f"{min(lengths)} to {max(lengths)} stages" if len(lengths) > 1 else counted(max(lengths), "stage")
    parts = [f"{counted(count, 'sub-policy', 'sub-policies')} × {stages}"]
    if document.interpolation != "bilinear":
        parts.append(f"interpolation {document.interpolation}")
    if document.fill != 0:
        parts.append(f"fill {number(document.fill, 3)}")
    return ", ".join(parts)


def describe_origin(provenance: Mapping[str, Any]) -> str:
    """Where the policy comes from, as far as its provenance says it; empty if it says nothing.

    For a published policy its paper, or else its source, and what it was searched on; for a learned one its data, seed
    and date.
    """
    said = {key: _short(provenance[key]) for key in ("paper", "source", "searched on", "created") if key in provenance}
    data = provenance.get("data")
    learned_on = _short(data["name"]) if isinstance(data, Mapping) and "name" in data else ""
    parts = [
        said.get("paper") or said.get("source", ""),
        f"searched on {said['searched on']}" if said.get("searched on") else "",
        f"learned on {learned_on}" if learned_on else "",
        f"seed {_short(provenance['seed'])}" if learned_on and "seed" in provenance else "",
        said.get("created", ""),
    ]
    return ", ".join(part for part in parts if part)


def counted(count: int, one: str, several: str = "") -> str:
    """A number with its noun: "1 stage", "2 stages"; `several` is the plural that is not `one` with an s."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def _short(value: Any) -> str:
    """A number or a text on one line; empty for anything else."""
    text = " ".join(str(value).split()) if isinstance(value, str | int | float) else ""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
