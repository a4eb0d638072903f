"""Documents of Albumentations, as `A.to_dict` and `A.save` write them and AutoAlbument leaves them, read as policies.

Read are compositions of a choice (`OneOf`) among sequences of choices, which AutoAlbument writes and
`augrad.interop.albumentations.to_albumentations` does. The documents of AutoAlbument name classes and options of
Albumentations 0.5, which today's version does not load.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from augrad.checks import checked
from augrad.errors import UserError
from augrad.interop.albumentations_leaves import DIFFERENCES, Leaf, Lost, leaf_of, other_options
from augrad.interop.leaves import is_number, require_side
from augrad.interop.losses import LEFT_OUT_HERE, Converted, Loss, border_losses, converted, loss_of
from augrad.interop.sources import hint, in_file, shortly, text_of, with_source
from augrad.ops import get
from augrad.policy import Policy
from augrad.policy_file import Entry, Magnitude, PolicyDocument, SubPolicy, Uniform, Value
from augrad.policy_file.convert import policy_from_document
from augrad.policy_file.refusals import describe, told_in_words

_MOST = 100_000
"""Transforms: in YAML a few lines can stand for far more, by naming the same list again and again."""
_LONGEST = 100
"""Characters of a name."""
_EXPECTED = "a composition of one choice (OneOf) among sequences of choices, as AutoAlbument and augrad write it"


@dataclass
class _Context:
    """What a document says once, and what is found on the way. old: it is AutoAlbument's. count: of transforms."""

    side: int | None
    old: bool
    losses: list[Loss]
    count: int = 0
    reads: dict[str, None] = field(default_factory=dict)
    fills: dict[float, None] = field(default_factory=dict)


@checked
def from_albumentations(source: Any, side: int | None = None, strict: bool = False) -> Converted[Policy]:
    """The policy of a document of Albumentations, and what of it is done otherwise here.

    source: a file (JSON, or YAML by its ending), the document as a dictionary, or a pipeline that has `to_dict`.
    side: of the images in pixels, which squares that are given in pixels need. What AutoAlbument searched counts where
    it is not what it exported: scale 2 is twice as large, contrast 2 twice as bright.
    Raises UserError for what is no such document, ConversionError for a loss if `strict`.
    """
    if side is not None:
        require_side(side, "from_albumentations", "squares are in pixels")
    content = _read(source)
    version = given if isinstance(given := content.get("__version__", ""), str) else shortly(given)
    context = _Context(side, version.startswith("0."), [])
    is_file = isinstance(source, str | os.PathLike)
    with in_file(source) if is_file else nullcontext(), told_in_words():
        document = _document(content["transform"], context)
    name = f"{os.path.basename(os.fspath(source))}: " if is_file else ""
    told = f"{name}a document of {'AutoAlbument' if context.old else 'Albumentations'} {version}".rstrip()
    document = with_source(document, told, context.losses)
    return converted("from_albumentations", policy_from_document(document), context.losses, strict)


def _read(source: Any) -> Mapping[str, Any]:
    """The document: its transform, and its version."""
    if hasattr(source, "to_dict") and not isinstance(source, Mapping):
        source = source.to_dict()
    taker = os.fspath(source) if isinstance(source, str | os.PathLike) else "from_albumentations"
    if isinstance(source, str | os.PathLike):
        try:
            text = text_of(source)
            if os.fspath(source).lower().endswith((".yaml", ".yml")):
                import yaml

                try:
                    source = yaml.safe_load(text)
                except yaml.YAMLError as error:
                    words = str(error).encode("ascii", "backslashreplace").decode().split()
                    raise ValueError(f"{' '.join(words):.300}") from None
            else:
                source = json.loads(text)
        except UserError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{taker}: expected a document of Albumentations, got none: {error}") from None
    if not isinstance(source, Mapping) or not isinstance(source.get("transform"), Mapping):
        got = f"an object without it{hint(source)}" if isinstance(source, Mapping) else describe(source)
        raise UserError(f"{taker}: expected a document of Albumentations, an object with a transform, got {got}")
    return source


def _kind(node: object) -> str:
    """The class of a transform, without its module."""
    if not isinstance(node, Mapping) or not isinstance(node.get("__class_fullname__"), str):
        raise UserError(f"from_albumentations: expected transforms with their class, got {shortly(node)}")
    name = str(node["__class_fullname__"]).rpartition(".")[2]
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."


def _inner(node: Mapping[str, Any], what: str) -> Sequence[Mapping[str, Any]]:
    found = node.get("transforms")
    if _kind(node) != what or not isinstance(found, list | tuple) or not found:
        got = f"{what} without transforms" if _kind(node) == what else f"{_kind(node)} where {what} is expected"
        raise UserError(f"from_albumentations: expected {_EXPECTED}; got {got}")
    for one in found:
        _kind(one)  # or it is no transform
    return found


def _chance(node: Mapping[str, Any]) -> float:
    chance = node.get("p", 0.5)
    if not is_number(chance, 0, 1 + 1e-6):
        raise UserError(f"from_albumentations: expected p from 0 to 1, got {shortly(chance)}")
    return min(float(chance), 1.0)


def _shares(nodes: Sequence[Mapping[str, Any]]) -> list[float]:
    chances = [_chance(node) for node in nodes]
    if not sum(chances) > 0:
        raise UserError("from_albumentations: expected a choice with a chance above 0, got none")
    return [chance / sum(chances) for chance in chances]


def _document(pipeline: Mapping[str, Any], context: _Context) -> PolicyDocument:
    nodes, losses = _inner(pipeline, "Compose"), context.losses
    choices = [node for node in nodes if _kind(node) == "OneOf"]
    if len(choices) != 1:
        raise UserError(f"from_albumentations: expected {_EXPECTED}; got {len(choices)} choices")
    losses += [loss_of(_kind(node), "document", "left out") for node in nodes if node is not choices[0]]
    sequences = _inner(choices[0], "OneOf")
    applied = _chance({"p": 1.0, **pipeline}) * _chance(choices[0])
    subpolicies = [
        SubPolicy(
            weight=share * applied,
            stages=tuple(
                _stage(stage, f"subpolicies[{s}].stages[{place}]", context)
                for place, stage in enumerate(_inner(sequence, "Sequential"))
            ),
        )
        for s, (sequence, share) in enumerate(zip(sequences, _shares(sequences), strict=True))
    ]
    if applied < 1:
        subpolicies.append(SubPolicy(weight=1 - applied, stages=((Entry(op="identity"),),)))
    interpolation, fill = next(iter(context.reads), "bilinear"), next(iter(context.fills), 0.0)
    losses += [Loss("interpolation", f"{other} becomes {interpolation}") for other in list(context.reads)[1:]]
    losses += [Loss("fill", "{:.4g} becomes {:.4g}", (other, fill)) for other in list(context.fills)[1:]]
    losses += border_losses(interpolation) if context.reads and fill > 0 else []
    return PolicyDocument(
        interpolation=interpolation,  # type: ignore[arg-type]
        fill=fill,
        subpolicies=tuple(subpolicies),
    )


def _stage(node: Mapping[str, Any], place: str, context: _Context) -> tuple[Entry, ...]:
    nodes, applied = _inner(node, "OneOf"), _chance(node)
    context.count += len(nodes)
    if context.count > _MOST:
        raise UserError(f"from_albumentations: expected at most {_MOST} transforms, got more")
    entries = [] if applied == 1 else [Entry(op="identity", weight=1 - applied)]
    for k, (one, share) in enumerate(zip(nodes, _shares(nodes), strict=True)):
        probability = 1.0  # what a choice has chosen is applied, whatever its own p
        if _kind(one) == "Sequential":
            (one,) = inner if len(inner := _inner(one, "Sequential")) == 1 else ({"__class_fullname__": "Sequential"},)
            probability = _chance(one)
        if share * applied == 0:
            continue
        try:
            leaf = leaf_of(_kind(one), one, context.side, context.old)
            entry = _entry(leaf, share * applied, probability)
        except UserError:
            raise
        except (Lost, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            why = f": {error}" if isinstance(error, Lost) and str(error) else ""
            context.losses.append(loss_of(_kind(one), f"{place}[{k}]", f"{LEFT_OUT_HERE}{why}"))
            leaf = Leaf("identity")
            entry = _entry(leaf, share * applied, probability)
        here = "" if context.old else DIFFERENCES.get(leaf.op, "")
        told = filter(None, [leaf.loss, here, *other_options(_kind(one), one)])
        context.losses += [loss_of(leaf.op, f"{place}[{k}]", what) for what in told if leaf.op != "identity"]
        if leaf.reads is not None:
            context.reads[leaf.reads] = None
        if leaf.fill is not None:
            context.fills[round(leaf.fill, 9)] = None
        entries.append(entry)
    return _with_signs(entries)


def _entry(leaf: Leaf, weight: float, probability: float) -> Entry:
    op = get(leaf.op)
    if op.unit is None or leaf.ends is None:
        return Entry(op=op.name, weight=weight, probability=1.0 if op.kind == "identity" else probability)
    low, high = (round(end, 9) + 0.0 for end in leaf.ends)
    magnitude: Magnitude = Value(value=low) if low == high else Uniform(low=low, high=high)
    return Entry(op=op.name, unit=op.unit, magnitude=magnitude, weight=weight, probability=probability)


def _with_signs(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """With each two entries that are opposite and equally likely as one that draws its sign, and identities as one."""
    left: list[Entry] = []
    for entry in entries:
        if entry.op == "identity":
            same = next((i for i, one in enumerate(left) if one.op == "identity"), None)
            if same is not None:
                left[same] = left[same].model_copy(update={"weight": left[same].weight + entry.weight})
                continue
        opposite = next((i for i, one in enumerate(left) if _are_opposite(one, entry)), None)
        if opposite is None:
            left.append(entry)
            continue
        one = max(left[opposite], entry, key=lambda found: found.magnitude.value)  # type: ignore[union-attr]
        left[opposite] = one.model_copy(update={"signed": True, "weight": 2 * entry.weight})
    total = math.fsum(entry.weight for entry in left)
    return tuple(entry.model_copy(update={"weight": entry.weight / total}) for entry in left)


def _are_opposite(one: Entry, other: Entry) -> bool:
    if one.op != other.op or one.signed or not get(one.op).signed or one.probability != other.probability:
        return False
    if not isinstance(one.magnitude, Value) or not isinstance(other.magnitude, Value):
        return False
    return one.magnitude.value == -other.magnitude.value != 0 and abs(one.weight - other.weight) < 1e-9
