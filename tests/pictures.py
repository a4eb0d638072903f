"""Images of several kinds, magnitudes over the whole range, and what torchvision and PIL do: tests of operations share
these."""

import functools
import math

import PIL.Image
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from augrad import ops

KINDS = ["noise", "smooth", "constant", "two-valued", "saturated", "photograph"]


@functools.cache
def photographs() -> list[Tensor]:
    """The two of scikit-learn, uint8 [427, 640, 3]."""
    return [torch.from_numpy(image.copy()) for image in load_sample_images().images]


def make_images(kind: str, batch: int = 6, channels: int = 3, height: int = 17, width: int = 22) -> Tensor:
    """8-bit valued images in [0, 1] of several kinds."""
    generator = torch.Generator().manual_seed(3)
    shape = (batch, channels, height, width)
    if kind == "photograph":
        crops = [photographs()[i % 2][40 * i : 40 * i + height, 60 * i : 60 * i + width] for i in range(batch)]
        return torch.stack(crops).permute(0, 3, 1, 2)[:, :channels].float() / 255
    levels = {
        "noise": lambda: torch.randint(0, 256, shape, generator=generator),
        "smooth": lambda: (
            torch.linspace(0, 255, width).expand(shape) * torch.linspace(0.3, 1, height)[:, None]
        ).round(),
        "constant": lambda: torch.full(shape, 130),
        "two-valued": lambda: 255 * torch.randint(0, 2, shape, generator=generator),
        "saturated": lambda: torch.full(shape, 255),
    }
    return levels[kind]().float() / 255


def every_kind(channels: int, height: int = 17, width: int = 22) -> Tensor:
    """Two images of each kind, one batch."""
    return torch.cat([make_images(kind, 2, channels, height, width) for kind in KINDS])


def in_levels(images: Tensor) -> Tensor:
    """8-bit valued images in [0, 1] as uint8."""
    return (images * 255).round().to(torch.uint8)


WIDEST = {
    "shear_x": 0.99,
    "shear_y": 0.99,
    "translate_x": 1.0,
    "translate_y": 1.0,
    "rotate": 180.0,
    "brightness": 0.99,
    "color": 0.99,
    "contrast": 0.99,
    "sharpness": 0.99,
    "solarize_add": 1.0,
    "posterize": 1.0,
    "cutout": 1.5,
    "sample_pairing": 1.0,
}
"""The far end of the widest range in use, where it is not the operation's own."""


def magnitudes(name: str, count: int = 7, ties: bool = True) -> list[float]:
    """The operation's own range, then the widest in use, and both signs where there are two.

    ties: whether positions halfway between two pixels may be among them, which rounding may take either way.
    """
    op = ops.get(name)
    if not op.has_magnitude:
        return [0.0]
    ends = [op.high, WIDEST[name]] if name in WIDEST else [op.high]
    steps = torch.linspace(0, 1, count, dtype=torch.float64) if ties else (torch.arange(count) + 0.6180339887) / count
    values = [op.low + (end - op.low) * step for end in ends for step in steps.tolist()]
    values = list(dict.fromkeys(values))
    return [*values, *(-value for value in values if value)] if op.signed else values


def call_reference(
    name: str,
    images: Tensor | PIL.Image.Image,
    magnitude: float,
    interpolation: str = "bilinear",
    fill: float | None = None,
) -> Tensor | PIL.Image.Image:
    """What torchvision does; pixels, and `fill`, in the images' own type."""
    height, width = reference.get_size(images)
    channels = reference.get_num_channels(images)
    warp = {"interpolation": InterpolationMode(interpolation), "fill": None if fill is None else [fill] * channels}

    def affine(
        translate: tuple[float, float] = (0, 0), shear: tuple[float, float] = (0, 0), scale: float = 1.0
    ) -> Tensor:
        degrees = [math.degrees(math.atan(value)) for value in shear]
        centre = {"center": [0, 0]} if any(shear) else {}
        return reference.affine(images, 0, list(translate), scale, degrees, **warp, **centre)

    eight_bits = not isinstance(images, Tensor) or images.dtype == torch.uint8
    match name:
        case "identity":
            return images
        case "rotate":
            return reference.rotate(images, magnitude, **warp)
        case "shear_x":
            return affine(shear=(magnitude, 0))
        case "shear_y":
            return affine(shear=(0, magnitude))
        case "zoom":
            return affine(scale=math.exp(magnitude))
        case "translate_x":
            return affine(translate=(magnitude * width, 0))
        case "translate_y":
            return affine(translate=(0, magnitude * height))
        case "horizontal_flip" | "vertical_flip" | "invert":
            return getattr(reference, name)(images)
        case "auto_contrast":
            return reference.autocontrast(images)
        case "brightness" | "contrast" | "sharpness":
            return getattr(reference, f"adjust_{name}")(images, 1 + magnitude)
        case "color":
            return reference.adjust_saturation(images, 1 + magnitude)
        case "solarize":
            return reference.solarize(images, magnitude * 255 if eight_bits else magnitude)
        case "posterize":
            return reference.posterize(images, round(magnitude))
        case "gamma":
            return reference.adjust_gamma(images, math.exp(magnitude))
        case "hue":
            return reference.adjust_hue(images, magnitude)
        case "grayscale":
            return reference.rgb_to_grayscale(images, num_output_channels=channels)
        case "equalize":
            return reference.equalize(images)
        case "gaussian_blur":
            return reference.gaussian_blur(images, [13, 13], [magnitude, magnitude]) if magnitude else images
    raise AssertionError(name)
