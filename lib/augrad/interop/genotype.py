"""The lists in which Fast AutoAugment (Lim et al. 2019) and DADA (Li et al. 2020) publish policies.

A sub-policy is a list of `[operation, probability, level]`, and each image undergoes one of them, all equally likely. A
level from 0 to 1 is lowest + level * (highest - lowest) of the operation's range there; shear, translate and rotate
then go either way at random. Geometry reads the nearest pixel, and what it uncovers is black.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from augrad.checks import PathName, checked
from augrad.errors import UserError
from augrad.interop.leaves import is_number, resampled
from augrad.interop.listing import NOTHING, listed_choices
from augrad.interop.losses import LEFT_OUT, ONE_WAY, Converted, Loss, converted, loss_of, mean_loss, narrowed_loss
from augrad.interop.sources import hint, shortly, text_of, with_source
from augrad.ops import get
from augrad.policy import Policy
from augrad.policy.required import require_policy
from augrad.policy.slots import MOST_STAGES, MOST_SUBPOLICIES
from augrad.policy_file import Entry, PolicyDocument, SubPolicy, Value
from augrad.policy_file.convert import document_of, policy_from_document
from augrad.policy_file.refusals import describe, told_in_words
from augrad.policy_file.values import drawn_range, values_of

Genotype = Sequence[Sequence[Sequence[Any]]]


@dataclass(frozen=True)
class _Range:
    """op: ours. low, high: the magnitude in our unit at level 0 and level 1, before the sign; None without one.
    mirrored: goes either way at random. whole: what is beyond a whole number is cut off."""

    op: str
    low: float | None = None
    high: float | None = None
    mirrored: bool = False
    whole: bool = False


RANGES: Mapping[str, _Range] = {
    "ShearX": _Range("shear_x", -0.3, 0.3, mirrored=True),
    "ShearY": _Range("shear_y", -0.3, 0.3, mirrored=True),
    "TranslateX": _Range("translate_x", -0.45, 0.45, mirrored=True),
    "TranslateY": _Range("translate_y", -0.45, 0.45, mirrored=True),
    "Rotate": _Range("rotate", -30.0, 30.0, mirrored=True),
    "AutoContrast": _Range("auto_contrast"),
    "Invert": _Range("invert"),
    "Equalize": _Range("equalize"),
    "Flip": _Range("horizontal_flip"),
    "Solarize": _Range("solarize", 0.0, 256 / 255),
    "Posterize": _Range("posterize", 4.0, 8.0, whole=True),
    "Contrast": _Range("contrast", -0.9, 0.9),
    "Color": _Range("color", -0.9, 0.9),
    "Brightness": _Range("brightness", -0.9, 0.9),
    "Sharpness": _Range("sharpness", -0.9, 0.9),
    "Cutout": _Range("cutout", 0.0, 0.2),
    "SamplePairing": _Range("sample_pairing", 0.0, 0.4),
}
"""The operations by their names there."""

_NAMES = {known.op: name for name, known in RANGES.items()}
CUTOUT = "the square is grey (125, 123, 114) in the list's own code, and of the policy's fill here"
"""What is different of cutout."""


def from_genotype(genotype: Genotype, strict: bool = False, source: str = "") -> Converted[Policy]:
    """The policy that such a list describes, and what of it is done otherwise here.

    source: where the list is from, for the policy's provenance.
    Raises UserError for a list of another form, ConversionError for a loss if `strict`.
    """
    with told_in_words():
        document, losses = document_of_genotype(genotype)
    told = f"{f'{source}: ' if source else ''}a list of sub-policies, as of Fast AutoAugment and DADA"
    return converted("from_genotype", policy_from_document(with_source(document, told, losses)), losses, strict)


def document_of_genotype(
    genotype: Genotype, provenance: Mapping[str, Any] | None = None
) -> tuple[PolicyDocument, list[Loss]]:
    """The document of the policy that such a list describes, and what of it is done otherwise here."""
    if isinstance(genotype, str) or not isinstance(genotype, Sequence) or not genotype:
        raise UserError(f"genotype: expected a list of sub-policies, got {shortly(genotype)}")
    if len(genotype) > MOST_SUBPOLICIES:  # before an entry is made for each
        raise UserError(f"genotype: expected at most {MOST_SUBPOLICIES} sub-policies, got {len(genotype)}")
    losses: list[Loss] = []
    subpolicies = []
    for s, subpolicy in enumerate(genotype):
        if isinstance(subpolicy, str) or not isinstance(subpolicy, Sequence) or not subpolicy:
            raise UserError(
                f"genotype[{s}]: expected a list of [operation, probability, level], got {shortly(subpolicy)}"
            )
        if len(subpolicy) > MOST_STAGES:
            raise UserError(f"genotype[{s}]: expected at most {MOST_STAGES} operations, got {len(subpolicy)}")
        entries = [_entry(step, f"genotype[{s}][{place}]") for place, step in enumerate(subpolicy)]
        subpolicies.append(
            SubPolicy(weight=1 / len(genotype), stages=tuple((entry,) for entry in entries))  # one operation a stage
        )
        losses += [
            Loss(f"subpolicies[{s}].stages[{place}][0]", CUTOUT)
            for place, entry in enumerate(entries)
            if entry.op == "cutout"
        ]
    document = PolicyDocument(
        interpolation="nearest", fill=0.0, subpolicies=tuple(subpolicies), provenance=dict(provenance or {})
    )
    return document, losses


def _entry(step: Sequence[Any], place: str) -> Entry:
    fits = isinstance(step, list | tuple) and len(step) == 3
    if not fits or not isinstance(step[0], str) or step[0] not in RANGES:
        raise UserError(
            f"{place}: expected [operation, probability, level] with one of {', '.join(RANGES)}, got {shortly(step)}"
        )
    name, probability, level = step
    for what, number in (("probability", probability), ("level", level)):
        if not is_number(number, 0, 1):
            raise UserError(f"{place}: expected a {what} from 0 to 1, got {shortly(number)}")
    known, op = RANGES[name], get(RANGES[name].op)
    if known.low is None or known.high is None:
        return Entry(op=op.name, probability=float(probability))
    value = known.low + float(level) * (known.high - known.low)
    value = math.floor(value + 1e-9) if known.whole else value
    value = abs(value) if known.mirrored else min(value, 1.0) if op.unit == "threshold" else value
    magnitude = Value(value=round(float(value), 9))
    return Entry(op=op.name, unit=op.unit, magnitude=magnitude, signed=known.mirrored, probability=float(probability))


@checked
def to_genotype(policy: Policy, entries: int | None = None, strict: bool = False) -> Converted[list[list[list[Any]]]]:
    """The list that describes `policy`, and what of it the list does otherwise.

    A list has no weights: what a policy chooses with unequal weights stands in it several times, in `entries`
    sub-policies (None: see `augrad.interop.listing.listed_choices`) as nearly in proportion as they can be. Magnitudes
    that are drawn from a range become their mean, and such as are beyond the operation's range its end.
    Raises UserError for a policy of too many different choices to be listed, ConversionError for a loss if `strict`.
    """
    require_policy(policy, "to_genotype")
    document = document_of(policy)
    losses = _resampling_losses(document)
    listed = listed_choices(document, _steps, entries, losses, "to_genotype")
    return converted("to_genotype", listed, losses, strict)


def _resampling_losses(document: PolicyDocument) -> list[Loss]:
    if not resampled(document, _NAMES):
        return []
    lost = []
    if document.interpolation != "nearest":
        lost.append(Loss("interpolation", f"{document.interpolation} becomes nearest"))
    if document.fill != 0:
        lost.append(Loss("fill", "{:g} becomes 0", (document.fill,)))
    return lost


def _steps(entry: Entry, place: str, losses: list[Loss]) -> list[tuple[list[Any], float]]:
    """Steps of the list that do what `entry` does, each with its share of the entry's weight."""
    if entry.op == "identity":
        return [(NOTHING, 1.0)]
    if entry.op not in _NAMES:
        losses.append(loss_of(entry.op, place, LEFT_OUT))
        return [(NOTHING, 1.0)]
    name = _NAMES[entry.op]
    known = RANGES[name]
    if known.low is None or known.high is None or entry.magnitude is None:
        return [([name, entry.probability, 0.0], 1.0)]
    if entry.op == "cutout":
        losses.append(Loss(place, CUTOUT))
    (value,) = values_of(entry.magnitude, 1)
    value = float(round(value)) if known.whole else value  # as the operation itself does
    if ends := drawn_range(entry.magnitude):
        losses.append(mean_loss(entry.unit, place, ends, value))
    if known.mirrored and not entry.signed and value != 0:
        losses.append(loss_of(entry.op, place, ONE_WAY))
    ways = [(value, 0.5), (-value, 0.5)] if entry.signed and not known.mirrored else [(value, 1.0)]
    return [([name, entry.probability, _level(way, known, entry, place, losses)], share) for way, share in ways]


def _level(value: float, known: _Range, entry: Entry, place: str, losses: list[Loss]) -> float:
    assert known.low is not None
    assert known.high is not None
    level = (value - known.low) / (known.high - known.low)
    if known.op == "solarize" and value == 1.0:
        level = 1.0
    kept = min(max(level, 0.0), 1.0)
    if abs(level - kept) > 1e-9:
        end = known.low + kept * (known.high - known.low)
        losses.append(narrowed_loss(entry.unit, place, value, end))
    return round(kept, 12)


_PUBLISHED = "dada", "fast_autoaugment"


def published(name: str) -> tuple[dict[str, Any], dict[str, Genotype]]:
    """What was published by "dada" or "fast_autoaugment": where it comes from, and the lists by their names.

    Raises UserError for another name.
    """
    if name not in _PUBLISHED:
        raise UserError(f"published: expected {' or '.join(_PUBLISHED)}, got {name!r}")
    text = files("augrad.interop").joinpath("published", f"{name}.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return {"source": content["source"]}, content["policies"]


@checked
def read_genotype(path: PathName) -> Genotype:
    """The list in a JSON file. Raises UserError for what is none."""
    try:
        found = json.loads(text_of(path))
    except UserError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{os.fspath(path)}: expected a JSON list of sub-policies, got none: {error}") from None
    if not isinstance(found, list):
        raise UserError(f"{os.fspath(path)}: expected a JSON list of sub-policies, got {describe(found)}{hint(found)}")
    return found
