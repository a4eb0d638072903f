"""Policies for and from other libraries: one module for each, named as the library is.

`torchvision`, `kornia`, `albumentations`, `timm`, and `genotype`, the lists of Fast AutoAugment and DADA. Each has
`to_...`, `from_...`, or both; they go through absolute units and return `Converted`: what was asked for, and the list
of what could not be carried over, which `in_words` tells in a few sentences. With `strict=True` any loss is refused
(`ConversionError`). A library is imported when it is needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from augrad.interop.losses import ConversionError, Converted, Loss, in_words

if TYPE_CHECKING:
    from augrad.interop import albumentations, genotype, kornia, timm, torchvision

_LIBRARIES = ("albumentations", "genotype", "kornia", "timm", "torchvision")

__all__ = [
    "ConversionError",
    "Converted",
    "Loss",
    "albumentations",
    "genotype",
    "in_words",
    "kornia",
    "timm",
    "torchvision",
]


def __getattr__(name: str) -> Any:
    if name in _LIBRARIES:
        return import_module(f"augrad.interop.{name}")
    raise AttributeError(f"module 'augrad.interop' has no attribute {name!r}")
