"""Operations as a user writes them, which the tests of the open search space name. Some are wrong on purpose."""

import random

import numpy as np
import torch
from torch import Tensor


def column(magnitude: Tensor) -> Tensor:
    return magnitude[:, None, None, None]


def gamma(images: Tensor, magnitude: Tensor) -> Tensor:
    """Raise to the power 1 + magnitude."""
    return images.clamp_min(1e-6) ** (1 + column(magnitude))


def darken(images: Tensor, magnitude: Tensor) -> Tensor:
    return images * (1 - column(magnitude))


def negative(images: Tensor) -> Tensor:
    return 1 - images


def step(images: Tensor, magnitude: Tensor) -> Tensor:
    """Ten steps of brightness: the derivative is zero where there is one."""
    return images * (1 - (10 * column(magnitude)).round() / 10)


def step_slope(images: Tensor, magnitude: Tensor) -> Tensor:
    return -images


def wrong_slope(images: Tensor, magnitude: Tensor) -> Tensor:
    return images


def own_surrogate(images: Tensor, magnitude: Tensor) -> Tensor:
    fixed = step(images, magnitude).detach()
    smooth = darken(images, magnitude)
    return fixed + (smooth - smooth.detach())


def rain(images: Tensor, magnitude: Tensor, draw: Tensor) -> Tensor:
    """Darken one drawn column of each image."""
    width = images.shape[-1]
    chosen = (draw[:, :1] * width).floor() == torch.arange(width, dtype=draw.dtype, device=draw.device)
    return images * (1 - column(magnitude) * chosen[:, None, None, :].to(images.dtype))


def speckle(images: Tensor, magnitude: Tensor, draw: Tensor) -> Tensor:
    """Towards one drawn grey, in the type that images and drawn numbers have together."""
    return images + column(magnitude) * (draw[:, :, None, None] - images)


class Doubled(torch.autograd.Function):
    """The identity in the forward pass, twice the gradient."""

    @staticmethod
    def forward(context: object, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * gradient


def wrong_derivative(images: Tensor, magnitude: Tensor) -> Tensor:
    return darken(images, Doubled.apply(magnitude))


def detached(images: Tensor, magnitude: Tensor) -> Tensor:
    return darken(images, magnitude.detach())


def through_numpy(images: Tensor, magnitude: Tensor) -> Tensor:
    return torch.from_numpy(images.numpy() * (1 - column(magnitude).numpy()))


def infinite_derivative(images: Tensor, magnitude: Tensor) -> Tensor:
    """images ** magnitude, with the logarithm of 0 in its derivative."""
    return (images.log() * column(magnitude)).exp()


def does_nothing(images: Tensor, magnitude: Tensor) -> Tensor:
    return images + 0 * column(magnitude)


def too_bright(images: Tensor, magnitude: Tensor) -> Tensor:
    return images * (1 + column(magnitude))


def not_finite(images: Tensor, magnitude: Tensor) -> Tensor:
    return images / (1 - images) * column(magnitude)


def smaller(images: Tensor, magnitude: Tensor) -> Tensor:
    return darken(images, magnitude)[..., :-1]


def always_single(images: Tensor, magnitude: Tensor) -> Tensor:
    return darken(images, magnitude).to(torch.float32)


def gives_a_list(images: Tensor, magnitude: Tensor) -> list[Tensor]:
    return list(darken(images, magnitude))


def writes_to_its_input(images: Tensor, magnitude: Tensor) -> Tensor:
    with torch.no_grad():
        images.mul_(0.9)
    return darken(images, magnitude)


def draws_by_itself(images: Tensor, magnitude: Tensor) -> Tensor:
    return darken(images, magnitude) * (0.5 + 0.5 * torch.rand(len(images), 1, 1, 1, dtype=images.dtype))


def draws_elsewhere(images: Tensor, magnitude: Tensor) -> Tensor:
    return darken(images, magnitude) * (1 - 0.5 * random.random())


def same_for_all(images: Tensor, magnitude: Tensor) -> Tensor:
    return images * (1 - magnitude[0])


def batch_statistics(images: Tensor, magnitude: Tensor) -> Tensor:
    return images + column(magnitude) * (images.mean() - images)


def only_colour(images: Tensor, magnitude: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    return torch.stack([red * (1 - magnitude[:, None, None]), green, blue], 1)


def magnitude_as_it_is(images: Tensor, magnitude: Tensor) -> Tensor:
    return images * magnitude


def fails(images: Tensor, magnitude: Tensor) -> Tensor:
    raise KeyError("nothing here")


def three_arguments(images: Tensor, magnitude: Tensor, more: Tensor) -> Tensor:
    return images


class Gamma:
    """Not a function."""


TABLE = np.arange(3)
