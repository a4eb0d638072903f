"""Between the document, which a person reads, and the policy, which draws."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from augrad import ops
from augrad.errors import PolicyFileError, UserError
from augrad.ops.definition import Definition
from augrad.ops.external import definitions_of, external_op
from augrad.ops.spec import Op
from augrad.paths import expanded
from augrad.policy import Policy
from augrad.policy_file.files import read_policy, write_policy
from augrad.policy_file.magnitude import LogitNormal, Magnitude, Uniform, UniformUpTo, Value
from augrad.policy_file.model import Entry, PolicyDocument, SubPolicy
from augrad.policy_file.numbers import rounded
from augrad.policy_file.problems import describe, format_place
from augrad.slots import Slot
from augrad.types import PolicyParams


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
    path = expanded(source)
    if not _is_missing(path):
        return read_policy(path)
    if source in builtin_policies():
        return read_policy(str(files("augrad.policy_file") / "builtin" / f"{source}.json"))
    raise PolicyFileError(
        f"{os.fspath(source)}: no such policy file; give a path, or a built-in policy: {', '.join(builtin_policies())}"
    )


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

    A leading `~` is the user's home. Raises UserError if it cannot be written.
    """
    write_policy(document_of(policy), path)


def policy_from_document(document: PolicyDocument, allow: str | Sequence[str] = ()) -> Policy:
    """The policy that `document` describes; `document_of` gives the document back.

    allow: see `load_policy`. Raises PolicyFileError for an operation of a module that is not allowed, before anything
    is imported, and for one that cannot be made.
    """
    names = list(dict.fromkeys(e.op for sub in document.subpolicies for stage in sub.stages for e in stage))
    _require_allowed(document.definitions, [allow] if isinstance(allow, str) else allow)
    defined = {name: _defined(name, definition) for name, definition in document.definitions.items()}
    table = [defined[name] if name in defined else ops.get(name) for name in names]
    if not any(op.kind == "identity" for op in table):
        table.append(ops.get("identity"))  # what a closed gate amounts to
    slots = tuple(
        tuple(tuple(_slot(entry, names.index(entry.op)) for entry in stage) for stage in sub.stages)
        for sub in document.subpolicies
    )
    stages = max(len(sub) for sub in slots)
    width = max(len(stage) for sub in slots for stage in sub)
    shape = (len(slots), stages, width)
    values = {name: torch.zeros(shape, dtype=torch.float64) for name in PolicyParams.names()[1:]}
    values["op_logits"].fill_(-math.inf)
    for s, sub in enumerate(document.subpolicies):
        for stage_index, stage in enumerate(sub.stages):
            for k, entry in enumerate(stage):
                at = (s, stage_index, k)
                location, scale = _location_and_scale(entry.magnitude)
                values["op_logits"][at] = _log(entry.weight)
                values["gate_logits"][at] = _log(entry.probability) - _log(1 - entry.probability)
                values["magnitude_locations"][at] = location
                values["magnitude_log_scales"][at] = _log(scale)
    weights = torch.tensor([_log(sub.weight) for sub in document.subpolicies], dtype=torch.float64)
    params = PolicyParams(subpolicy_logits=weights, **values)
    return Policy(table, slots, params, document.interpolation, document.fill, document.provenance)


def document_of(policy: Policy, provenance: Mapping[str, Any] | None = None) -> PolicyDocument:
    """The document that describes `policy`, with its own provenance or another one."""
    params = policy.params.map(lambda tensor: tensor.detach().to("cpu", torch.float64))
    weights = _weights(params.subpolicy_logits).tolist()
    op_weights = _weights(params.op_logits).tolist()
    gates = torch.sigmoid(params.gate_logits).tolist()
    locations, scales = params.magnitude_locations.tolist(), params.magnitude_log_scales.exp().tolist()

    def entry(slot: Slot, s: int, stage: int, k: int) -> Entry:
        op = policy.ops[slot.op]
        common = {"op": op.name, "probability": rounded(gates[s][stage][k]), "weight": rounded(op_weights[s][stage][k])}
        if not op.has_magnitude:
            return Entry(**common)
        magnitude = _magnitude(slot, locations[s][stage][k], scales[s][stage][k])
        return Entry(**common, unit=op.unit, magnitude=magnitude, signed=slot.signed)

    used = {slot.op for stages in policy.slots for candidates in stages for slot in candidates}
    return PolicyDocument(
        interpolation=policy.interpolation,
        fill=policy.fill,
        definitions=definitions_of(policy.ops[index] for index in sorted(used)),
        subpolicies=tuple(
            SubPolicy(
                weight=rounded(weights[s]),
                stages=tuple(
                    tuple(entry(slot, s, stage, k) for k, slot in enumerate(candidates))
                    for stage, candidates in enumerate(stages)
                ),
            )
            for s, stages in enumerate(policy.slots)
        ),
        provenance=dict(policy.provenance if provenance is None else provenance),
    )


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
        raise PolicyFileError(
            f"{format_place(('definitions', operation))}: expected operations of allowed modules only "
            f"({', '.join(allow) or 'none'}), got {describe(name)}; if you trust their code, "
            f"allow={json.dumps(modules)}, or policy.allow=[{','.join(modules)}] on the command line"
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
    total = torch.logsumexp(logits, -1, keepdim=True)
    return torch.where(total.abs() < 2e-6, logits.exp(), torch.softmax(logits, -1))


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


def _location_and_scale(magnitude: Magnitude | None) -> tuple[float, float]:
    match magnitude:
        case LogitNormal(location=location, scale=scale) | UniformUpTo(location=location, scale=scale):
            return location, scale
        case Uniform():
            return math.inf, 0.0  # the draw goes all the way up to `high`
        case _:
            return 0.0, 0.0


def _magnitude(slot: Slot, location: float, scale: float) -> Magnitude:
    if scale > 0:
        kind = UniformUpTo if slot.uniform else LogitNormal
        return kind(low=slot.low, high=slot.high, location=rounded(location), scale=rounded(scale))
    fraction = 1 / (1 + math.exp(-location)) if location > -700 else 0.0
    end = rounded(slot.low + (slot.high - slot.low) * fraction)
    return Uniform(low=slot.low, high=end) if slot.uniform else Value(value=end)
