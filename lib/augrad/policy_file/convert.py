"""Between the document, which a person reads, and the policy, which draws."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from augrad import ops
from augrad.checks import check_value
from augrad.devices import made_on_cpu
from augrad.errors import PolicyFileError, UserError
from augrad.ops.definition import Definition
from augrad.ops.external import definitions_of, external_op
from augrad.ops.spec import Op
from augrad.paths import expanded
from augrad.policy import Policy
from augrad.policy.slots import Slot, grid_of
from augrad.policy_file.files import read_policy, write_policy
from augrad.policy_file.magnitude import LogitNormal, Magnitude, Uniform, UniformUpTo, Value
from augrad.policy_file.model import Entry, PolicyDocument, SubPolicy
from augrad.policy_file.numbers import rounded, written_sum
from augrad.policy_file.refusals import (
    EXPECTED,
    LARGEST,
    MOST_SUBPOLICIES,
    TOLERANCE,
    describe,
    first_refusal,
    format_place,
    refusal,
)
from augrad.types import PolicyParams

_LONGEST_ADVICE = 200
"""Characters that name modules in a message."""


def builtin_policies() -> tuple[str, ...]:
    """The names that `load_policy` knows besides files."""
    folder = files("augrad.policy_file") / "builtin"
    return tuple(sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".json")))


def load_policy(source: str | os.PathLike[str], allow: str | Sequence[str] = ()) -> Policy:
    """The policy in the file `source`, or the built-in one of that name (a file of that name goes first).

    A leading `~` is the user's home.

    allow: the modules, or packages with all their modules, of which the file may name operations, e.g.
    `["mypackage.ops", "kornia.augmentation"]`. Nothing that is not augrad's own is imported otherwise.
    Raises PolicyFileError, with the place of the first problem, for a file that cannot be accepted.
    """
    document = read_document(source)
    try:
        return policy_from_document(document, allow)
    except PolicyFileError as error:
        raise PolicyFileError(f"{error} [in {os.fspath(source)}]") from error.__cause__


def read_document(source: str | os.PathLike[str]) -> PolicyDocument:
    """The document in the file `source`, or of the built-in policy of that name; nothing that it names is imported.

    Raises PolicyFileError, with the place of the first problem, for a file that cannot be accepted.
    """
    if not isinstance(source, str | os.PathLike):
        raise PolicyFileError(
            f"expected the path of a policy file, or the name of a built-in policy, got {type(source).__name__}"
        )
    is_builtin = source in builtin_policies()
    path = expanded(source) if source else None
    if path is not None and not (_is_missing(path) or (is_builtin and path.is_dir())):
        return read_policy(path)
    if is_builtin:
        return read_policy(str(files("augrad.policy_file") / "builtin" / f"{source}.json"))
    what = f"{os.fspath(source)}: no such policy file" if source else "expected a policy file, got an empty name"
    raise PolicyFileError(f"{what}; give a path, or a built-in policy: {', '.join(builtin_policies())}")


def _is_missing(path: Path) -> bool:
    """Whether nothing is there; not, where it cannot be told: reading says why."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def save_policy(policy: Policy, path: str | os.PathLike[str]) -> None:
    """Write the policy's document to `path`, atomically; the same policy gives the same bytes.

    A leading `~` is the user's home. Raises UserError if it cannot be written, and for what is no policy.
    """
    if not isinstance(policy, Policy):
        raise UserError(f"save_policy: expected a policy and then a path, got {type(policy).__name__}")
    write_policy(document_of(policy), path)


@made_on_cpu
def policy_from_document(document: PolicyDocument, allow: str | Sequence[str] = ()) -> Policy:
    """The policy that `document` describes; `document_of` gives the document back, with what is always the same as one
    value.

    allow: see `load_policy`. Raises PolicyFileError for an operation of a module that is not allowed, before anything
    is imported, and for one that cannot be made; UserError for an `allow` that is neither text nor a list of it.
    """
    names = list(dict.fromkeys(e.op for sub in document.subpolicies for stage in sub.stages for e in stage))
    allow = check_value(allow, str | Sequence[str], "allow")
    _require_allowed(document.definitions, [allow] if isinstance(allow, str) else allow)
    defined = {name: _defined(name, definition) for name, definition in document.definitions.items()}
    table = [defined[name] if name in defined else ops.get(name) for name in names]
    if not any(op.kind == "identity" for op in table):
        table.append(ops.get("identity"))  # what a closed gate amounts to
    index = {name: place for place, name in enumerate(names)}
    slots = tuple(
        tuple(tuple(_slot(entry, index[entry.op]) for entry in stage) for stage in sub.stages)
        for sub in document.subpolicies
    )
    numbers = [_numbers(entry) for sub in document.subpolicies for stage in sub.stages for entry in stage]
    grid, groups = grid_of(slots), torch.tensor(numbers, dtype=torch.float64).unbind(-1)
    weights = torch.tensor([_log(sub.weight) for sub in document.subpolicies], dtype=torch.float64)
    params = PolicyParams(weights, *(grid.table(values) for values in groups))
    return Policy(table, slots, params, document.interpolation, document.fill, document.provenance)


@made_on_cpu
def document_of(policy: Policy, provenance: Mapping[str, Any] | None = None) -> PolicyDocument:
    """The document that describes `policy`, with its own provenance or another one.

    Raises PolicyFileError for a policy that no document describes: too large, or not a number somewhere.
    """
    if (count := len(policy.slots)) > MOST_SUBPOLICIES:  # before an entry is made for each of their candidates
        raise refusal(("subpolicies",), EXPECTED["subpolicies"], f"a list of {count}")
    params = policy.params.map(lambda tensor: tensor.detach().to("cpu", torch.float64))
    weights = _weights(params.subpolicy_logits).tolist()
    op_weights = _weights(torch.where(policy.tables.present.cpu(), params.op_logits, -math.inf))
    columns = op_weights, params.gate_logits, params.magnitude_locations, params.magnitude_log_scales
    weight, gate, location, log_scale = map(grid_of(policy.slots).values, columns)
    numbers = iter(torch.stack([weight, _probabilities(gate), location, log_scale.exp()], -1).tolist())

    def entry(slot: Slot) -> Entry:
        op = policy.ops[slot.op]
        weight, probability, location, scale = next(numbers)
        common = {"op": op.name, "probability": rounded(probability), "weight": rounded(weight)}
        if not op.has_magnitude:
            return Entry(**common)
        return Entry(**common, unit=op.unit, magnitude=_magnitude(slot, location, scale), signed=bool(slot.signed))

    used = {slot.op for stages in policy.slots for candidates in stages for slot in candidates}
    try:
        return PolicyDocument(
            interpolation=policy.interpolation,
            fill=policy.fill,
            definitions=definitions_of(policy.ops[index] for index in sorted(used)),
            subpolicies=tuple(
                SubPolicy(
                    weight=rounded(weight), stages=tuple(tuple(entry(slot) for slot in stage) for stage in stages)
                )
                for weight, stages in zip(weights, policy.slots, strict=True)
            ),
            provenance=dict(policy.provenance if provenance is None else provenance),
        )
    except ValidationError as error:
        raise first_refusal(error) from None


def _require_allowed(definitions: Mapping[str, Definition], allow: Sequence[str]) -> None:
    refused = [
        (operation, name)
        for operation, definition in definitions.items()
        for name in (operation, *definition.other_names())
        if not any(name == allowed or name.startswith(f"{allowed}.") for allowed in allow)
    ]
    if refused:
        operation, name = refused[0]
        modules = list(dict.fromkeys([*allow, *(name.rpartition(".")[0] for _, name in refused)]))
        advice = f"allow={json.dumps(modules)}, or policy.allow=[{','.join(modules)}] on the command line"
        if len(advice) > _LONGEST_ADVICE:
            advice = f"allow=[...] with the {len(modules)} modules, or policy.allow=[...] on the command line"
        raise PolicyFileError(
            f"{format_place(('definitions', operation))}: expected operations of allowed modules only "
            f"({', '.join(allow) or 'none'}), got {describe(name)}; if you trust their code, {advice} "
            "(--allow of augrad policy)"
        )


def _defined(name: str, definition: Definition) -> Op:
    try:
        return external_op(name, definition.given())[0]
    except UserError as error:
        raise PolicyFileError(f"{format_place(('definitions', name))}: {error}") from error.__cause__


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _weights(logits: torch.Tensor) -> torch.Tensor:
    # Logarithms of weights that a file gave, which sum to 1 within its tolerance, go back as they came.
    weights = logits.exp()
    off = (weights.sum(-1, keepdim=True) - 1).abs() - TOLERANCE
    as_given = off < 0
    for place in (off.abs() < 1e-9).nonzero()[:, :-1].tolist():  # so near that rounding decides
        as_given[tuple(place)] = abs(written_sum(weights[tuple(place)].tolist()) - 1) <= TOLERANCE
    return torch.where(as_given, weights, torch.softmax(logits, -1))


def _probabilities(logits: torch.Tensor) -> torch.Tensor:
    # Where 1 + exp(-logit) is infinite, the smallest probabilities are the odds themselves.
    return torch.where(logits < -700, logits.exp(), logits.sigmoid())


def _slot(entry: Entry, op: int) -> Slot:
    match entry.magnitude:
        case None:
            return Slot(op)
        case Value(value=value):
            return Slot(op, value, value, entry.signed)
        case Uniform(low=low, high=high) | UniformUpTo(low=low, high=high):
            return Slot(op, low, high, entry.signed, uniform=True)
        case LogitNormal(low=low, high=high):
            return Slot(op, low, high, entry.signed)


def _numbers(entry: Entry) -> tuple[float, float, float, float]:
    """Of the groups of `PolicyParams` after the first, in their order."""
    location, scale = _location_and_scale(entry.magnitude)
    gate = _log(entry.probability) - _log(1 - entry.probability)
    return _log(entry.weight), gate, location, _log(scale)


def _location_and_scale(magnitude: Magnitude | None) -> tuple[float, float]:
    match magnitude:
        case LogitNormal(location=location, scale=scale) | UniformUpTo(location=location, scale=scale):
            return location, scale
        case Uniform():
            return math.inf, 0.0  # the draw goes all the way up to `high`
        case _:
            return 0.0, 0.0


def _magnitude(slot: Slot, location: float, scale: float) -> Magnitude:
    low, high = float(slot.low), float(slot.high)
    if scale > 0:
        kind = UniformUpTo if slot.uniform else LogitNormal
        location, scale = min(max(location, -LARGEST), LARGEST), min(scale, LARGEST)
        return kind(low=low, high=high, location=rounded(location), scale=rounded(scale))
    fraction = 1 / (1 + math.exp(-location)) if location > -700 else 0.0
    end = rounded(low + (high - low) * fraction)
    return Uniform(low=low, high=end) if slot.uniform else Value(value=end)
