"""Policies for Kornia 0.9."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from augrad.errors import UserError
from augrad.interop.leaves import drawn_magnitudes, refused, require_values
from augrad.interop.losses import Converted, Loss, converted
from augrad.policy import Policy
from augrad.policy.policy import require_policy
from augrad.policy_file import PolicyDocument
from augrad.policy_file.convert import document_of

_RADIUS = 6  # pixels to each side: three standard deviations of the strongest blur


@dataclass(frozen=True)
class Augmentation:
    """make: from `kornia.augmentation`, the magnitude with its sign, and how resampling interpolates. loss, least: see
    `augrad.interop.leaves.Known`. geometric: it uncovers pixels."""

    make: Callable[[Any, float, str], nn.Module]
    loss: str = ""
    least: float = -math.inf
    geometric: bool = False
    most: float = math.inf
    beyond: str = ""


def _plain(name: str, **options: Callable[[float], Any]) -> Augmentation:
    return Augmentation(lambda K, value, _: getattr(K, name)(**{k: of(value) for k, of in options.items()}, p=1.0))


def _pair(value: float) -> tuple[float, float]:
    return value, value


def _translated(K: Any, axis: str, value: float, resample: str) -> nn.Module:
    return K.RandomTranslate(**{f"translate_{axis}": _pair(value)}, p=1.0, resample=resample)  # type: ignore[no-any-return]


def _sheared(axis: str) -> Augmentation:
    def make(K: Any, value: float, resample: str) -> nn.Module:
        angle = math.degrees(math.atan(value))
        shear = (angle, angle, 0.0, 0.0) if axis == "x" else (0.0, 0.0, angle, angle)
        about_the_centre = K.RandomShear(shear=shear, p=1.0, resample=resample, align_corners=False)
        return nn.Sequential(about_the_centre, _translated(K, axis, -value / 2, resample))

    return Augmentation(
        make,
        "two resamplings: about the centre, then back on square images; what leaves the image is lost",
        geometric=True,
    )


def _shifted(axis: str) -> Augmentation:
    return Augmentation(lambda K, value, resample: _translated(K, axis, value, resample), geometric=True)


def _erased(K: Any, value: float, resample: str) -> nn.Module:
    return K.RandomErasing(scale=_pair(min(value * value, 1.0)), ratio=_pair(1.0), p=1.0)  # type: ignore[no-any-return]


_LEVELS = "the same on images of 255 levels; values between are rounded otherwise there"

KNOWN: Mapping[str, Augmentation] = {
    "identity": Augmentation(lambda K, value, _: nn.Identity()),
    "shear_x": _sheared("x"),
    "shear_y": _sheared("y"),
    "translate_x": _shifted("x"),
    "translate_y": _shifted("y"),
    "rotate": Augmentation(
        lambda K, value, resample: K.RandomRotation(_pair(value), p=1.0, resample=resample, align_corners=False),
        geometric=True,
    ),
    "zoom": Augmentation(
        lambda K, value, resample: K.RandomAffine(0.0, scale=_pair(math.exp(value)), p=1.0, resample=resample),
        geometric=True,
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
    "auto_contrast": Augmentation(
        lambda K, value, _: K.RandomAutoContrast(p=1.0), "a channel of one value becomes black there"
    ),
    "equalize": Augmentation(lambda K, value, _: K.RandomEqualize(p=1.0), _LEVELS),
    "solarize": _plain("RandomSolarize", thresholds=_pair, additions=lambda value: _pair(0.0)),
    "posterize": Augmentation(lambda K, value, _: K.RandomPosterize(bits=_pair(value), p=1.0), _LEVELS),
    "gamma": _plain("RandomGamma", gamma=lambda value: _pair(math.exp(value))),
    "gaussian_blur": _plain(
        "RandomGaussianBlur",
        kernel_size=lambda value: (2 * _RADIUS + 1,) * 2,
        sigma=_pair,
        border_type=lambda _: "reflect",
    ),
    "gaussian_noise": Augmentation(
        lambda K, value, _: K.RandomGaussianNoise(std=value, p=1.0), "values beyond black and white are not cut there"
    ),
    "cutout": Augmentation(_erased, "the square lies wholly inside the image there, and is black", 0.0),
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


def to_kornia(policy: Policy, values: int = 9, strict: bool = False) -> Converted[Any]:
    """`policy` as a `KorniaPolicy`, a module of Kornia's augmentations, and what it does otherwise.

    A magnitude that is drawn from a range is one of `values` equally likely ones there, each the mean of its part of
    the range.
    Raises UserError where Kornia is not installed, ConversionError for a loss if `strict`.
    """
    require_policy(policy, "to_kornia")
    require_values(values, "to_kornia")
    library, losses, document = _library(), [], document_of(policy)
    if document.fill and any(KNOWN[e.op].geometric for e in document.entries() if e.op in KNOWN):
        losses.append(Loss("fill", f"{document.fill:g} becomes 0"))
    stages, weights, chances = [], [], []
    used = [(s, sub) for s, sub in enumerate(document.subpolicies) if sub.weight > 0]
    for s, sub in used:
        found: list[list[tuple[nn.Module, float, float]]] = [
            [
                (_made(library, entry.op, value, document, losses), entry.weight * share, entry.probability)
                for k, entry in enumerate(stage)
                if entry.weight > 0
                for value, share in drawn_magnitudes(
                    entry, KNOWN, f"subpolicies[{s}].stages[{place}][{k}]", values, losses
                )
            ]
            for place, stage in enumerate(sub.stages)
        ]
        stages.append([[module for module, _, _ in stage] for stage in found])
        weights.append([[weight for _, weight, _ in stage] for stage in found])
        chances.append([[chance for _, _, chance in stage] for stage in found])
    module = KorniaPolicy(stages, weights, chances, [sub.weight for _, sub in used])
    return converted("to_kornia", module, losses, strict)


def _made(library: Any, op: str, value: float, document: PolicyDocument, losses: list[Loss]) -> nn.Module:
    if math.isnan(value):
        return nn.Identity()
    try:
        return KNOWN[op].make(library, value, document.interpolation)
    except (ValueError, TypeError, RuntimeError, AssertionError):
        losses.append(refused(op, value))
        return nn.Identity()


def _library() -> Any:
    try:
        import kornia.augmentation
    except ImportError:
        raise UserError("to_kornia: expected Kornia, which is not installed; pip install kornia") from None
    return kornia.augmentation
