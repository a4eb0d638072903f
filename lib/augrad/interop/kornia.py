"""Policies for Kornia 0.9."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from augrad.checks import checked
from augrad.errors import UserError
from augrad.interop.leaves import Known, is_number, is_whole, require_values, resampled, subpolicies_of
from augrad.interop.losses import LEFT_OUT_HERE, Converted, Loss, converted, loss_of
from augrad.interop.sources import shortly, with_source
from augrad.ops import get
from augrad.policy import Policy
from augrad.policy.required import require_policy
from augrad.policy_file import Entry, PolicyDocument, SubPolicy, Uniform, Value
from augrad.policy_file.convert import document_of, policy_from_document
from augrad.policy_file.refusals import told_in_words

_RADIUS = 6  # pixels to each side: three standard deviations of the strongest blur


def _plain(name: str, **options: Callable[[float], Any]) -> Known:
    return Known(lambda K, value, _: getattr(K, name)(**{k: of(value) for k, of in options.items()}, p=1.0))


def _pair(value: float) -> tuple[float, float]:
    return value, value


def _translated(K: Any, axis: str, value: float, document: PolicyDocument) -> nn.Module:
    return K.RandomTranslate(**{f"translate_{axis}": _pair(value)}, p=1.0, resample=document.interpolation)  # type: ignore[no-any-return]


def _sheared(axis: str) -> Known:
    def make(K: Any, value: float, document: PolicyDocument) -> nn.Module:
        angle = math.degrees(math.atan(value))
        shear = (angle, angle, 0.0, 0.0) if axis == "x" else (0.0, 0.0, angle, angle)
        about_the_centre = K.RandomShear(shear=shear, p=1.0, resample=document.interpolation, align_corners=False)
        return nn.Sequential(about_the_centre, _translated(K, axis, -value / 2, document))

    return Known(
        make,
        "two resamplings: about the centre, then back on square images; what leaves the image is lost",
    )


def _shifted(axis: str) -> Known:
    return Known(lambda K, value, document: _translated(K, axis, value, document))


def _erased(K: Any, value: float, document: PolicyDocument) -> nn.Module:
    return K.RandomErasing(scale=_pair(min(value * value, 1.0)), ratio=_pair(1.0), p=1.0)  # type: ignore[no-any-return]


_ONE_VALUE = "a channel of one value becomes black there"
_LEVELS = "the same on values of 8 bits; those between are rounded otherwise there"

KNOWN: Mapping[str, Known] = {
    "identity": Known(lambda K, value, _: nn.Identity()),
    "shear_x": _sheared("x"),
    "shear_y": _sheared("y"),
    "translate_x": _shifted("x"),
    "translate_y": _shifted("y"),
    "rotate": Known(
        lambda K, value, document: K.RandomRotation(
            _pair(value), p=1.0, resample=document.interpolation, align_corners=False
        )
    ),
    "zoom": Known(
        lambda K, value, document: K.RandomAffine(
            0.0, scale=_pair(math.exp(value)), p=1.0, resample=document.interpolation
        )
    ),
    "horizontal_flip": _plain("RandomHorizontalFlip"),
    "vertical_flip": _plain("RandomVerticalFlip"),
    "brightness": _plain("ColorJitter", brightness=lambda value: _pair(1 + value)),
    "contrast": _plain("ColorJitter", contrast=lambda value: _pair(1 + value)),
    "color": _plain("ColorJitter", saturation=lambda value: _pair(1 + value)),
    "hue": _plain("RandomHue", hue=_pair),
    "sharpness": _plain("RandomSharpness", sharpness=lambda value: _pair(1 + value)),
    "grayscale": _plain("RandomGrayscale"),
    "invert": _plain("RandomInvert"),
    "auto_contrast": Known(lambda K, value, _: K.RandomAutoContrast(p=1.0), _ONE_VALUE),
    "equalize": Known(lambda K, value, _: K.RandomEqualize(p=1.0), _LEVELS),
    "solarize": _plain("RandomSolarize", thresholds=_pair, additions=lambda value: _pair(0.0)),
    "posterize": Known(lambda K, value, _: K.RandomPosterize(bits=_pair(value), p=1.0), _LEVELS),
    "gamma": _plain("RandomGamma", gamma=lambda value: _pair(math.exp(value))),
    "gaussian_blur": _plain(
        "RandomGaussianBlur",
        kernel_size=lambda value: (2 * _RADIUS + 1,) * 2,
        sigma=_pair,
        border_type=lambda _: "reflect",
    ),
    "gaussian_noise": Known(
        lambda K, value, _: K.RandomGaussianNoise(std=value, p=1.0), "values beyond black and white are not cut there"
    ),
    "cutout": Known(
        _erased,
        "the square lies wholly inside the image there, is black, and is larger on images that are not square",
        0.0,
    ),
}
"""What each operation is there."""


class KorniaPolicy(nn.Module):
    """A policy of `kornia.augmentation` modules: each image of a batch has its own draw.

    Images [B, 3, H, W], floating point in [0, 1]. Draws come from PyTorch's global generator. `stages[s][l]` holds the
    modules of a stage, one for each magnitude, `weights[s][l]` their weights, `chances[s][l]` the probabilities that
    they are applied.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[Sequence[nn.Module]]],
        weights: Sequence[Sequence[Sequence[float]]],
        chances: Sequence[Sequence[Sequence[float]]],
        subpolicies: Sequence[float],
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.ModuleList(nn.ModuleList(stage) for stage in one) for one in stages)
        self.weights, self.chances, self.subpolicies = weights, chances, subpolicies

    def forward(self, images: Tensor) -> Tensor:
        """The augmented batch. Raises UserError for anything but floating point [B, 3, H, W]."""
        if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise UserError(
                f"expected images [B, 3, H, W], floating point in [0, 1], got {images.dtype} {tuple(images.shape)}"
            )
        if not len(images):
            return images.clone()
        images, subpolicy = images.clone(), _drawn(self.subpolicies, len(images))
        for s, stages in enumerate(self.stages):
            of_subpolicy = (subpolicy == s).nonzero()[:, 0]
            if not len(of_subpolicy):
                continue
            for place, modules in enumerate(stages):  # type: ignore[arg-type]
                chosen = _drawn(self.weights[s][place], len(of_subpolicy))
                applied = torch.rand(len(of_subpolicy)) < torch.tensor(self.chances[s][place])[chosen]
                for k in chosen[applied].unique().tolist():
                    rows = of_subpolicy[applied & (chosen == k)].to(images.device)
                    images[rows] = modules[k](images[rows])
        return images


def _drawn(weights: Sequence[float], count: int) -> Tensor:
    return torch.multinomial(torch.tensor(weights, dtype=torch.float64), count, replacement=True)


@checked
def to_kornia(policy: Policy, values: int = 9, strict: bool = False) -> Converted[Any]:
    """`policy` as a `KorniaPolicy`, a module of Kornia's augmentations, and what it does otherwise.

    A magnitude that is drawn from a range is one of `values` equally likely ones there, each the mean of its part of
    the range.
    Raises UserError where Kornia is not installed, ConversionError for a loss if `strict`.
    """
    require_policy(policy, "to_kornia")
    require_values(values, "to_kornia")
    library, losses, document = _library(), [], document_of(policy)
    if document.fill and resampled(document, KNOWN):
        losses.append(Loss("fill", "{:g} becomes 0", (document.fill,)))
    subpolicies = subpolicies_of(document, library, KNOWN, nn.Identity, values, losses)

    def of_each(name: str) -> list[list[list[Any]]]:
        return [[[getattr(leaf, name) for leaf in leaves] for leaves in stages] for _, stages in subpolicies]

    module = KorniaPolicy(
        of_each("transform"), of_each("weight"), of_each("probability"), [weight for weight, _ in subpolicies]
    )
    return converted("to_kornia", module, losses, strict)


_BINS = 10
_ABOUT_THE_CENTRE = "goes about the centre there, and about the corner here"
_PRESETS = ("imagenet", "cifar10", "svhn")


@dataclass(frozen=True)
class _Listed:
    """An operation of Kornia's lists. low, high: at both ends of the bins, in its own unit. value: ours of that one."""

    op: str
    low: float = 0.0
    high: float = 0.0
    value: Callable[[float], float] = lambda given: given
    loss: str = ""


def _turned(given: float) -> float:
    return math.tan(math.radians(180 * given))


_LISTED: Mapping[str, _Listed] = {
    "shear_x": _Listed("shear_x", -0.3, 0.3, _turned, _ABOUT_THE_CENTRE),
    "shear_y": _Listed("shear_y", -0.3, 0.3, _turned, _ABOUT_THE_CENTRE),
    "translate_x": _Listed("translate_x", -0.5, 0.5),
    "translate_y": _Listed("translate_y", -0.5, 0.5),
    "rotate": _Listed("rotate", -30.0, 30.0),
    "auto_contrast": _Listed("auto_contrast", loss=_ONE_VALUE),
    "invert": _Listed("invert"),
    "equalize": _Listed("equalize", loss=_LEVELS),
    "solarize": _Listed("solarize", 0.0, 1.0),
    "posterize": _Listed("posterize", 4.0, 8.0, loss=_LEVELS),
    # Kornia's contrast of a preset multiplies all values, without their mean: brightness here.
    "contrast": _Listed("brightness", 0.1, 1.9, lambda factor: factor - 1),
    "sharpness": _Listed("sharpness", 0.1, 1.9, lambda factor: factor - 1),
    "color": _Listed("color", 0.1, 1.9, lambda factor: factor - 1, "is the saturation of HSV there"),
}
"""By their names in `kornia.augmentation.auto.AutoAugment`."""


@checked
def from_kornia(policy: Any, strict: bool = False) -> Converted[Policy]:
    """The policy of Kornia's `AutoAugment`: "imagenet", "cifar10" or "svhn", or a list of sub-policies of
    `(operation, probability, bin)`.

    A bin, from 0 to 9, is a tenth of the operation's range, from which the magnitude is drawn evenly, its sign in it.
    Raises UserError for anything else, and for a name where Kornia is not installed; ConversionError for a loss if
    `strict`.
    """
    source = f"kornia.augmentation.auto.AutoAugment({policy!r})" if isinstance(policy, str) else "Kornia: a list"
    if isinstance(policy, str):
        if policy not in _PRESETS:
            raise UserError(f"from_kornia: expected a list, or one of {', '.join(_PRESETS)}, got {shortly(policy)}")
        _library()
        presets = import_module("kornia.augmentation.auto.autoaugment.autoaugment")
        policy = getattr(presets, f"{policy}_policy")
    if not isinstance(policy, list | tuple) or not policy or not all(isinstance(s, list | tuple) and s for s in policy):
        raise UserError(f"from_kornia: expected a list of sub-policies, got {shortly(policy)}")
    losses = [Loss("subpolicies", "one for the whole batch there, and for each image here")]
    with told_in_words():
        document = PolicyDocument(
            interpolation="bilinear",
            fill=0.0,
            subpolicies=tuple(
                SubPolicy(
                    weight=1 / len(policy),
                    stages=tuple(
                        (_listed(step, f"subpolicies[{s}].stages[{place}][0]", losses),)
                        for place, step in enumerate(steps)
                    ),
                )
                for s, steps in enumerate(policy)
            ),
        )
    return converted("from_kornia", policy_from_document(with_source(document, source, losses)), losses, strict)


def _listed(step: Any, place: str, losses: list[Loss]) -> Entry:
    fits = isinstance(step, list | tuple) and len(step) == 3 and isinstance(step[0], str)
    if not fits or not is_number(step[1], 0, 1):
        raise UserError(f"from_kornia: {place}: expected (operation, probability, bin), got {shortly(step)}")
    name, probability, bin_ = step
    if name == "brightness":
        losses.append(loss_of(name, place, f"adds to all values there; {LEFT_OUT_HERE}"))
        return Entry(op="identity")
    if name not in _LISTED:
        raise UserError(f"from_kornia: {place}: expected one of brightness, {', '.join(_LISTED)}, got {shortly(name)}")
    known, op = _LISTED[name], get(_LISTED[name].op)
    if known.loss:
        losses.append(loss_of(op.name, place, known.loss))
    if op.unit is None:
        return Entry(op=op.name, probability=float(probability))
    if not is_whole(bin_, 0, _BINS - 1):
        raise UserError(f"from_kornia: {place}: expected a bin from 0 to {_BINS - 1}, got {shortly(bin_)}")
    width = (known.high - known.low) / _BINS
    ends = known.low + width * bin_, known.low + width * (bin_ + 1)
    low, high = (round(float(known.value(end)), 9) + 0.0 for end in ends)
    if known.value is _turned:
        losses.append(Loss(f"{place}.magnitude", "the range is drawn evenly in degrees there"))
    magnitude = Value(value=low) if low == high else Uniform(low=low, high=high)
    return Entry(op=op.name, unit=op.unit, magnitude=magnitude, probability=float(probability))


def _library() -> Any:
    try:
        import kornia.augmentation
    except ImportError:
        raise UserError("expected Kornia, which is not installed; pip install kornia") from None
    return kornia.augmentation
