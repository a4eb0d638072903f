"""Documents from documents: several policies as one, and a policy without what it hardly ever does."""

from collections import defaultdict
from collections.abc import Sequence, Set
from typing import Any

from augrad.checks import checked, require_number
from augrad.errors import UserError
from augrad.policy_file.model import Entry, PolicyDocument, SubPolicy
from augrad.policy_file.refusals import told_in_words


@checked
def merged(documents: Sequence[PolicyDocument], weights: Sequence[float] | None = None) -> PolicyDocument:
    """The policy that, for each image, is one of these: their sub-policies, with the weights of their policies.

    weights: of the policies, at least 0; None: all alike. The provenance is theirs, as a list below "merged".
    Raises UserError for none, for weights that are not as many, and for policies that resample differently.
    """
    if not documents:
        raise UserError("merge: expected at least one policy, got none")
    given = [1.0] * len(documents) if weights is None else [float(weight) for weight in weights]
    if len(given) != len(documents) or min(given) < 0 or not 0 < sum(given) < float("inf"):
        raise UserError(
            f"merge: expected {len(documents)} weights of at least 0 and not all 0, one for each policy, got {given}"
        )
    first = documents[0]
    for document in documents:
        for name in ("interpolation", "fill"):
            if (came := getattr(document, name)) != (known := getattr(first, name)):
                raise UserError(
                    f"merge: expected policies with one {name}, got {known} in the first and {came} in policy "
                    f"{documents.index(document) + 1}"
                )
    definitions: dict[str, Any] = {}
    for document in documents:
        for name, one in document.definitions.items():
            if definitions.setdefault(name, one) != one:
                raise UserError(f"merge: expected one definition of {name}, got two; give one a new name")
    subpolicies = [
        sub.model_copy(update={"weight": sub.weight * weight / sum(given)})
        for document, weight in zip(documents, given, strict=True)
        for sub in document.subpolicies
    ]
    with told_in_words():
        return PolicyDocument(
            interpolation=first.interpolation,
            fill=first.fill,
            definitions=definitions,
            subpolicies=tuple(subpolicies),
            provenance={"merged": [document.provenance for document in documents], "weights": given},
        )


@checked
def pruned(document: PolicyDocument, below: float) -> PolicyDocument:
    """The policy without the operations that images meet less often than this, in all stages and sub-policies
    together, and without the sub-policies that are chosen for less.

    below: from 0 to 1. In the place of an operation comes the identity: the others act as often as before. The
    sub-policies that are left keep their proportions; a stage of which nothing is left is dropped, and a sub-policy
    without a stage leaves images as they are.
    Raises UserError if nothing would be left, and for a share out of range.
    """
    require_number(below, "a share")
    if not 0 <= below <= 1:
        raise UserError(f"prune: expected a share from 0 to 1, got {below:g}")
    kept = [sub for sub in document.subpolicies if sub.weight >= below and sub.weight > 0]
    if not kept:
        heaviest = max(sub.weight for sub in document.subpolicies)
        raise UserError(f"prune: expected a share of at most {heaviest:.4g}, the heaviest sub-policy's, got {below:g}")
    total = sum(sub.weight for sub in kept)
    met: dict[str, float] = defaultdict(float)
    for sub in document.subpolicies:
        for entry in (entry for stage in sub.stages for entry in stage):
            met[entry.op] += sub.weight * entry.weight * entry.probability
    dropped = {op for op, often in met.items() if often < below and op != "identity"}
    subpolicies = tuple(_without(dropped, sub, sub.weight / total) for sub in kept)
    used = {entry.op for sub in subpolicies for stage in sub.stages for entry in stage}
    changed: dict[str, Any] = {
        "subpolicies": subpolicies,
        "definitions": {name: one for name, one in document.definitions.items() if name in used},
        "provenance": {**document.provenance, "pruned below": below},
    }
    return PolicyDocument(**{**dict(document), **changed})


def _without(dropped: Set[str], sub: SubPolicy, weight: float) -> SubPolicy:
    """The sub-policy with the identity in the place of what is dropped."""
    stages = []
    for stage in sub.stages:
        left = [entry for entry in stage if entry.op not in dropped and entry.weight > 0]
        gone = sum(entry.weight for entry in stage if entry.op in dropped)
        if any(entry.op != "identity" for entry in left):
            stages.append((*left, *([Entry(op="identity", weight=gone)] if gone > 0 else [])))
    return SubPolicy(weight=weight, stages=tuple(stages) or ((Entry(op="identity"),),))
