"""Policies from and for torchvision."""

from collections.abc import Mapping
from typing import Any

from torchvision.transforms import v2

from augrad.checks import checked
from augrad.errors import UserError
from augrad.interop.leaves import is_whole, require_side
from augrad.interop.losses import Converted, Loss, converted, loss_of
from augrad.interop.sources import with_source
from augrad.ops import get
from augrad.policy import Policy
from augrad.policy.required import require_policy
from augrad.policy.slots import MOST_STAGES
from augrad.policy.transform import PolicyTransform
from augrad.policy_file import Entry, Magnitude, PolicyDocument, SubPolicy, Uniform, Value
from augrad.policy_file.convert import policy_from_document
from augrad.policy_file.refusals import told_in_words

NAMES = {
    "Identity": "identity",
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    "AutoContrast": "auto_contrast",
}
"""Torchvision's names of operations, where they are not ours in capitals."""

_PRESETS = ("AutoAugment", "RandAugment", "TrivialAugmentWide")
_BINS_OF_AUTO_AUGMENT = 10
_MOST_BINS = 10_000
_TRANSLATIONS = "goes to the nearest whole pixel; torchvision cuts off what is beyond a whole pixel"


def to_torchvision(policy: Policy) -> PolicyTransform:
    """See `augrad.Policy.to_torchvision`, which this is."""
    require_policy(policy, "to_torchvision")
    return policy.to_torchvision()


@checked
def from_torchvision(transform: Any, side: int | None = None, strict: bool = False) -> Converted[Policy]:
    """The policy of an `AutoAugment`, a `RandAugment` or a `TrivialAugmentWide` of torchvision (v1 or v2).

    side: of the images, in pixels. TrivialAugmentWide needs it, whose translations are in pixels.
    Raises UserError for another transform, ConversionError for a loss if `strict`.
    """
    with told_in_words():
        document, losses = document_of_transform(transform, side)
    document = with_source(document, f"torchvision.transforms.{type(transform).__name__}", losses)
    return converted("from_torchvision", policy_from_document(document), losses, strict)


def document_of_transform(
    transform: Any, side: int | None = None, provenance: Mapping[str, Any] | None = None
) -> tuple[PolicyDocument, list[Loss]]:
    """The document of the policy, and what of it is done otherwise here; see `from_torchvision`."""
    name = type(transform).__name__
    if name not in _PRESETS or not type(transform).__module__.startswith("torchvision.transforms"):
        raise UserError(f"from_torchvision: expected {', '.join(_PRESETS)} of torchvision, got {name}")
    if side is not None or name == "TrivialAugmentWide":
        require_side(side, "from_torchvision", "the translations of TrivialAugmentWide are in pixels")
    space, losses, pixels = getattr(v2, name)._AUGMENTATION_SPACE, [], side or 1
    if own := [name for name in ("_AUGMENTATION_SPACE", "_augmentation_space") if name in vars(transform)]:
        raise UserError(f"from_torchvision: expected torchvision's own operations of {name}, got others in {own[0]}")
    bins = getattr(transform, "num_magnitude_bins", _BINS_OF_AUTO_AUGMENT)
    if name != "AutoAugment" and not is_whole(bins, 2, _MOST_BINS):
        raise UserError(f"from_torchvision: expected 2 to {_MOST_BINS} num_magnitude_bins, got {bins!r}")
    if name == "RandAugment" and not (
        is_whole(transform.magnitude, 0, bins - 1) and is_whole(transform.num_ops, 1, MOST_STAGES)
    ):
        raise UserError(
            f"from_torchvision: expected a whole magnitude from 0 to {bins - 1} and 1 to {MOST_STAGES} operations, got "
            f"magnitude {transform.magnitude} and num_ops {transform.num_ops}"
        )

    def entry(known: str, bin_: int | None, probability: float, weight: float, place: str) -> Entry:
        """bin_: which of the magnitudes; None: any."""
        op, (magnitudes, signed) = get(NAMES.get(known, known.lower())), space[known]
        found = magnitudes(bins, pixels, pixels)
        common: dict[str, Any] = {"op": op.name, "probability": probability, "weight": weight}
        if found is None or op.unit is None:
            return Entry(**common)
        values = (found.double() / (pixels if known.startswith("Translate") else 1)).tolist()
        magnitude: Magnitude
        if bin_ is None:
            magnitude = Uniform(low=round(values[0], 6), high=round(values[-1], 6))
            losses.append(Loss(f"{place}.magnitude", f"uniform; torchvision draws one of {bins} values of the range"))
        else:
            magnitude = Value(value=round(values[bin_], 6))
        if op.name == "solarize" and values[bin_ or 0] >= 1:
            losses.append(loss_of(op.name, place, "at its weakest, threshold 1, white becomes black there"))
        if known.startswith("Translate"):
            losses.append(Loss(place, f"{{}} {_TRANSLATIONS}", (op.name,)))
        return Entry(**common, unit=op.unit, magnitude=magnitude, signed=signed)

    if name == "AutoAugment":
        policies = transform._policies if hasattr(transform, "_policies") else transform.policies
        if not policies or not all(is_whole(bin_ or 0, 0, bins - 1) for steps in policies for _, _, bin_ in steps):
            raise UserError(f"from_torchvision: expected sub-policies with bins from 0 to {bins - 1}, got others")
        stages = [
            [
                (entry(known, bin_ or 0, p, 1.0, f"subpolicies[{s}].stages[{place}][0]"),)
                for place, (known, p, bin_) in enumerate(steps)
            ]
            for s, steps in enumerate(policies)
        ]
    else:
        bin_ = getattr(transform, "magnitude", None)
        stages = [
            [
                tuple(
                    entry(known, bin_, 1.0, 1 / len(space), f"subpolicies[0].stages[{place}][{k}]")
                    for k, known in enumerate(space)
                )
                for place in range(getattr(transform, "num_ops", 1))
            ]
        ]
    interpolation, fill = _resampling(transform, losses)
    document = PolicyDocument(
        interpolation=interpolation,
        fill=fill,
        subpolicies=tuple(SubPolicy(weight=1 / len(stages), stages=tuple(one)) for one in stages),
        provenance=dict(provenance or {}),
    )
    return document, losses


def _resampling(transform: Any, losses: list[Loss]) -> tuple[Any, float]:
    interpolation = getattr(transform.interpolation, "value", transform.interpolation)
    if interpolation not in ("nearest", "bilinear"):
        losses.append(Loss("interpolation", f"{interpolation} becomes bilinear"))
        interpolation = "bilinear"
    given = transform.fill
    values = list(given) if isinstance(given, list | tuple) else [0 if given is None else given]
    if isinstance(given, dict) or not values or not all(isinstance(v, int | float) and 0 <= v <= 255 for v in values):
        raise UserError(
            f"from_torchvision: expected fill as a number from 0 to 255, or one for each channel, got {given!r}"
        )
    fill = sum(values) / len(values) / 255
    if max(values) != min(values):
        losses.append(Loss("fill", f"{values} becomes {fill * 255:g} in every channel"))
    return interpolation, round(fill, 9)
