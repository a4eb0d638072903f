"""The ways to apply a policy to grey images: augrad's own engine, and each library as its users would.

Kornia, Albumentations and timm get three equal channels, of which one is taken back: some of their transforms take
nothing else.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from augrad.data.pixels import to_float, to_uint8
from augrad.data.seeding import local_generator
from augrad.interop.albumentations import to_albumentations
from augrad.interop.kornia import to_kornia
from augrad.interop.losses import Loss
from augrad.interop.timm import to_timm
from augrad.policy import Policy
from augrad.shared_state import generators_kept

OWN, NONE = "augrad", "none"

Apply = Callable[[Tensor, int], Tensor]
"""Images [B, 1, H, W] in [0, 1] and a seed to augmented images of the same shape."""


@dataclass(frozen=True)
class Way:
    """words: what it is, for the page. made: from a policy, how it is applied, and what the conversion lost."""

    words: str
    made: Callable[[Policy], tuple[Apply, tuple[Loss, ...]]]


class Applied(nn.Module):
    """A policy applied by one of the ways, for `augrad.train.loop.trained` in the place of the policy itself."""

    def __init__(self, apply: Apply) -> None:
        super().__init__()
        self._apply_to = apply

    def forward(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The augmented images. All global generators that libraries draw from are seeded by one number from
        `generator`; PyTorch's are put back."""
        seed = int(torch.randint(2**31, (), generator=generator))
        with generators_kept():
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002  what timm draws from
            return self._apply_to(images, seed)


def _others(policy: Policy) -> tuple[Apply, tuple[Loss, ...]]:
    return lambda images, seed: policy(images, generator=local_generator(seed, "other draws")), ()


def _torchvision(of_picture: Callable[[np.ndarray], Tensor | Image.Image]) -> Callable[..., tuple[Apply, tuple[()]]]:
    def made(policy: Policy) -> tuple[Apply, tuple[()]]:
        transform = policy.to_torchvision()
        return _each(lambda picture: np.asarray(transform(of_picture(picture))).reshape(picture.shape)), ()

    return made


def _kornia(policy: Policy) -> tuple[Apply, tuple[Loss, ...]]:
    module, losses = to_kornia(policy)
    return lambda images, seed: module(images.expand(-1, 3, -1, -1))[:, :1], losses


def _albumentations(policy: Policy) -> tuple[Apply, tuple[Loss, ...]]:
    pipeline, losses = to_albumentations(policy)
    each = _each(lambda picture: pipeline(image=np.stack([picture] * 3, axis=2))["image"][..., 0])

    def apply(images: Tensor, seed: int) -> Tensor:
        pipeline.set_random_seed(seed)
        return each(images, seed)

    return apply, losses


def _timm(policy: Policy) -> tuple[Apply, tuple[Loss, ...]]:
    augment, losses = to_timm(policy)
    return _each(lambda picture: np.asarray(augment(Image.fromarray(picture).convert("RGB")).convert("L"))), losses


def _each(change: Callable[[np.ndarray], np.ndarray]) -> Apply:
    """Picture by picture: each [H, W] of uint8, as a data set has it."""

    def apply(images: Tensor, seed: int) -> Tensor:
        pictures = np.stack([change(picture) for picture in to_uint8(images)[:, 0].numpy()])
        return to_float(torch.from_numpy(pictures)[:, None])

    return apply


WAYS: Mapping[str, Way] = {
    "augrad, other draws": Way("augrad's engine on the batch, with other draws", _others),
    "torchvision, tensor": Way(
        "`policy.to_torchvision()` on each image, a tensor of 8 bits",
        _torchvision(lambda picture: torch.from_numpy(picture.copy())[None]),
    ),
    "torchvision, PIL": Way("`policy.to_torchvision()` on each image, a PIL image", _torchvision(Image.fromarray)),
    "Kornia": Way("`to_kornia(policy)` on the batch", _kornia),
    "Albumentations": Way("`to_albumentations(policy)` on each image, a NumPy array", _albumentations),
    "timm": Way("`to_timm(policy)` on each image, a PIL image", _timm),
}
"""Beside `OWN`, augrad's engine on the batch, and `NONE`, no augmentation."""
