"""Documents from documents: several policies as one, and a policy without what it hardly ever does."""

from collections.abc import Sequence
from typing import Any

from augrad.checks import require_number
from augrad.errors import UserError
from augrad.policy_file.model import Entry, PolicyDocument, SubPolicy
from augrad.policy_file.refusals import told_in_words


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
                raise UserError(f"merge: expected policies with one {name}, got {known} and {came}")
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


def pruned(document: PolicyDocument, below: float) -> PolicyDocument:
    """The policy without the operations that act on less than this share of the images, and without the sub-policies
    that are chosen for less.

    below: from 0 to 1. What is left of a stage keeps its proportions, and so do the sub-policies that are left; a stage
    of which nothing is left is dropped, and a sub-policy without a stage leaves images as they are.
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
    subpolicies = tuple(_pruned(sub, sub.weight / total, below) for sub in kept)
    used = {entry.op for sub in subpolicies for stage in sub.stages for entry in stage}
    changed: dict[str, Any] = {
        "subpolicies": subpolicies,
        "definitions": {name: one for name, one in document.definitions.items() if name in used},
        "provenance": {**document.provenance, "pruned below": below},
    }
    return PolicyDocument(**{**dict(document), **changed})


def _pruned(sub: SubPolicy, weight: float, below: float) -> SubPolicy:
    stages = []
    for stage in sub.stages:
        # The identity, too, is something that a stage does: leaving it out would make the others more frequent.
        left = [e for e in stage if e.op == "identity" or sub.weight * e.weight * e.probability >= below]
        left = [entry for entry in left if entry.weight > 0]
        total = sum(entry.weight for entry in left)
        if total > 0:
            stages.append(tuple(entry.model_copy(update={"weight": entry.weight / total}) for entry in left))
    return SubPolicy(weight=weight, stages=tuple(stages) or ((Entry(op="identity"),),))
