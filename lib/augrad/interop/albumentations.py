"""Policies for Albumentations 2 (the last version under the MIT licence is 2.0.8)."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from augrad.checks import checked
from augrad.errors import UserError
from augrad.interop.albumentations_leaves import BEYOND_BLUR, DIFFERENCES, IN_SHARES, WIDEST_BLUR
from augrad.interop.albumentations_reading import from_albumentations
from augrad.interop.leaves import Known, Leaf, require_values, resampled, subpolicies_of
from augrad.interop.losses import Converted, Loss, border_losses, converted
from augrad.policy import Policy
from augrad.policy.required import require_policy
from augrad.policy_file import PolicyDocument
from augrad.policy_file.convert import document_of

__all__ = ["KNOWN", "from_albumentations", "serialized", "to_albumentations"]

_NEAREST, _BILINEAR = 0, 1  # of OpenCV
_SAME = (1.0, 1.0)
_JITTER: Mapping[str, Any] = {"brightness": _SAME, "contrast": _SAME, "saturation": _SAME, "hue": (0.0, 0.0)}
_SHARPEN = 13  # times the blend of Sharpen is the strength, with lightness 1


def _known(name: str, options: Callable[[float], dict[str, Any]], **more: Any) -> Known:
    """name: of the class there. options: of the magnitude with its sign."""
    return Known(lambda A, value, _: getattr(A, name)(**options(value), p=1.0), **more)


def _affine(**options: Callable[[float], Any]) -> Known:
    def make(A: Any, value: float, document: PolicyDocument) -> Any:
        return A.Affine(
            **{name: of(value) for name, of in options.items()},
            interpolation=_NEAREST if document.interpolation == "nearest" else _BILINEAR,
            mask_interpolation=_NEAREST,
            fill=255 * document.fill,
            p=1.0,
        )

    return Known(make)


def _jitter(name: str, shift: float = 1.0) -> Known:
    return _known("ColorJitter", lambda value: {**_JITTER, name: (shift + value, shift + value)})


_LARGEST_HOLE = 0.9999
"""A side of 1 would be one of a pixel."""


def _erased(A: Any, value: float, document: PolicyDocument) -> Any:
    value = min(value, _LARGEST_HOLE)
    sides = {"hole_height_range": (value, value), "hole_width_range": (value, value)}
    return A.CoarseDropout(num_holes_range=(1, 1), **sides, fill=255 * document.fill, p=1.0)


def _along(axis: str, by: float = 1.0) -> Callable[[float], dict[str, tuple[float, float]]]:
    other = {"x": "y", "y": "x"}[axis]
    return lambda value: {axis: (by * value, by * value), other: (0.0, 0.0)}


def _sheared(axis: str) -> Callable[[float], dict[str, tuple[float, float]]]:
    return lambda value: _along(axis)(math.degrees(math.atan(value)))


_KNOWN: Mapping[str, Known] = {
    "identity": _known("NoOp", lambda _: {}),
    "shear_x": _affine(shear=_sheared("x"), translate_percent=_along("x", -0.5)),
    "shear_y": _affine(shear=_sheared("y"), translate_percent=_along("y", -0.5)),
    "translate_x": _affine(translate_percent=_along("x")),
    "translate_y": _affine(translate_percent=_along("y")),
    "rotate": _affine(rotate=lambda value: (value, value)),
    "zoom": _affine(scale=lambda value: (math.exp(value), math.exp(value))),
    "horizontal_flip": _known("HorizontalFlip", lambda _: {}),
    "vertical_flip": _known("VerticalFlip", lambda _: {}),
    "brightness": _jitter("brightness"),
    "contrast": _jitter("contrast"),
    "color": _jitter("saturation"),
    "hue": _jitter("hue", 0.0),
    "sharpness": _known(
        "Sharpen",
        lambda value: {"alpha": (value / _SHARPEN, value / _SHARPEN), "lightness": _SAME, "method": "kernel"},
        least=0.0,
    ),
    "grayscale": _known("ToGray", lambda _: {}),
    "invert": _known("InvertImg", lambda _: {}),
    "auto_contrast": _known("AutoContrast", lambda _: {"method": "pil"}),
    "equalize": _known(
        "Equalize",
        lambda _: {"mode": "pil"},
    ),
    # A little less: a level that is the threshold is inverted, whatever rounding makes of it.
    "solarize": _known("Solarize", lambda value: {"threshold_range": (max(value - 1e-9, 0.0),) * 2}),
    "posterize": _known("Posterize", lambda value: {"num_bits": round(value)}),
    "gaussian_blur": _known(
        "GaussianBlur",
        lambda value: {"sigma_limit": (value, value), "blur_limit": 0},
        most=WIDEST_BLUR,
        beyond=BEYOND_BLUR,
    ),
    "gamma": _known("RandomGamma", lambda value: {"gamma_limit": (100 * math.exp(value), 100 * math.exp(value))}),
    "gaussian_noise": _known("GaussNoise", lambda value: {"std_range": (value, value)}),
    "cutout": Known(
        _erased,
        IN_SHARES,
        most=_LARGEST_HOLE,
        beyond="ends below the whole side there",
    ),
}
KNOWN = {op: replace(known, loss=DIFFERENCES.get(op, known.loss)) for op, known in _KNOWN.items()}
"""What each operation is there."""


@checked
def to_albumentations(policy: Policy, values: int = 9, strict: bool = False) -> Converted[Any]:
    """`policy` as an `albumentations.Compose`, and what it does otherwise.

    `A.to_dict` and `A.save` of it are its document in JSON or YAML, which `A.from_dict` and `A.load` read. Images are
    NumPy arrays [H, W, 3] or [H, W] of uint8. A magnitude that is drawn from a range is one of `values` equally likely
    ones there, each the mean of its part of the range; the transforms have no logit-normal draws, and not every range
    of theirs is even in our units.
    Raises UserError where Albumentations is not installed, ConversionError for a loss if `strict`.
    """
    require_policy(policy, "to_albumentations")
    require_values(values, "to_albumentations")
    library, document = _library(), document_of(policy)
    mixes = document.fill > 0 and resampled(document, KNOWN)
    losses: list[Loss] = border_losses(document.interpolation) if mixes else []

    def nothing() -> Any:
        return library.NoOp(p=1.0)

    def chosen(leaves: Sequence[Leaf]) -> Any:
        choices = []
        for leaf in leaves:
            leaf.transform.p = leaf.probability
            choices.append(library.Sequential([leaf.transform], p=leaf.weight))
        return library.OneOf(choices, p=1.0)

    subpolicies = [
        library.Sequential([chosen(leaves) for leaves in stages], p=weight)
        for weight, stages in subpolicies_of(document, library, KNOWN, nothing, values, losses)
    ]
    pipeline = library.Compose([library.OneOf(subpolicies, p=1.0)])
    return converted("to_albumentations", pipeline, losses, strict)


def serialized(pipeline: Any, form: Literal["json", "yaml"] = "json") -> str:
    """The document of a pipeline, as `albumentations.load` reads it. Raises UserError for what is none."""
    if form not in ("json", "yaml"):
        raise UserError(f"serialized: expected json or yaml, got {form!r}")
    if not isinstance(pipeline, _library().BasicTransform | _library().BaseCompose):
        raise UserError(f"serialized: expected a pipeline of Albumentations, got {type(pipeline).__name__}")
    document = _library().to_dict(pipeline)
    if form == "yaml":
        import yaml

        return yaml.safe_dump(document, sort_keys=False)  # type: ignore[no-any-return]
    return f"{json.dumps(document, indent=1)}\n"


def _library() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # on import it would ask the network for a newer version
    try:
        import albumentations
    except ImportError:
        raise UserError(
            "to_albumentations: expected Albumentations 2, which is not installed; pip install albumentations==2.0.8"
        ) from None
    return albumentations
