"""A few pictures to look at."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from augrad.checks import PathName, checked
from augrad.data.left_out import LeftOut, told
from augrad.data.listing import list_pictures
from augrad.data.picture import read_picture, square, why_unreadable
from augrad.errors import UserError
from augrad.paths import expanded

_SMALLEST, _LARGEST = 16, 128
"""Pixels of a side."""
_CREDIT = "china.jpg by danielbuechele and flower.jpg by vultilion, on Flickr, CC BY 2.0, cut to squares"


@dataclass(frozen=True)
class Examples:
    """images: N of them, square, in RGB. names: of their files. credit: whose they are. left_out: what is not there."""

    images: UInt8[Tensor, "N 3 S S"]
    names: tuple[str, ...]
    credit: str = ""
    left_out: tuple[LeftOut, ...] = ()


def photographs() -> Examples:
    """The two that come with scikit-learn, a temple and a flower."""
    found = load_sample_images()
    names = tuple(Path(name).name for name in found.filenames)
    return Examples(_squares([Image.fromarray(image) for image in found.images]), names, _CREDIT)


@checked
def examples_of(folder: PathName, count: int = 6) -> Examples:
    """Up to `count` of the pictures in `folder` and the folders below, evenly from the list of their names.

    They are read as a person sees them (see `augrad.data.picture.read_picture`), in RGB, and become squares of the size
    of the smallest one, at least 16 pixels and at most 128. left_out: those that cannot be read, of which others take
    the places, and what is no picture.
    Raises UserError for a folder that cannot be listed, without pictures, or without one that can be read.
    """
    root = expanded(folder)
    files, left_out = list_pictures(root)
    step = math.ceil(len(files) / count)
    pictures: dict[str, Image.Image] = {}
    for file in (file for start in range(step) for file in files[start::step]):
        if len(pictures) == count:
            break
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd metadata, and of pictures that are merely large
                pictures[str(file.relative_to(root))] = read_picture(file, "RGB")
        except Exception as error:  # decoders raise all kinds at damaged files
            left_out.append(LeftOut("pictures that cannot be read", file, why_unreadable(file, error)))
    if not pictures:
        raise UserError(f"{root.absolute()}: expected pictures, found none that can be read: {told(left_out, root)}")
    return Examples(_squares(list(pictures.values())), tuple(pictures), left_out=tuple(left_out))


def _squares(pictures: list[Image.Image]) -> UInt8[Tensor, "N 3 S S"]:
    smallest = min(min(picture.size) for picture in pictures)
    side = min(max(smallest, _SMALLEST), _LARGEST)
    return torch.stack([square(picture, side) for picture in pictures])
