"""From the digits of scikit-learn to those of another source."""

from pathlib import Path

import torch
from torch.nn.functional import interpolate

from augrad.data.digits import load_digits
from augrad.data.npz import read_archive
from augrad.data.stratify import stratified_split
from augrad.data.types import LoadedSplit, joined
from experiments.shared.images import Images

_SIDE = 16
_LABELLED = 300


def digits_to_another_source(seed: int, file: Path) -> Images:
    """Train: all 1,797 digits of scikit-learn. Val: 300 images of the file, drawn by the seed. Test: the rest of them.

    file: grey digits of any size, as `data=arrays` reads train_images and train_labels; they are made 16 x 16 pixels
    as a whole, as the digits of scikit-learn are: where and how large the digit is in its image differs, too.
    """
    digits = load_digits(size=_SIDE)
    parts = digits.train, digits.validation, digits.selection, digits.test
    train = joined(parts)
    other = read_archive(file).train
    small = interpolate(other.images.double(), (_SIDE, _SIDE), mode="bilinear", align_corners=False, antialias=True)
    other = LoadedSplit(small.round().clamp(0, 255).to(torch.uint8), other.labels)
    chosen = stratified_split(other.labels, {"val": _LABELLED}, "test", seed, str(file))
    return {"train": train, "val": other[chosen["val"]], "test": other[chosen["test"]]}
