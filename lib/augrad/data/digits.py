"""The handwritten digits that come with scikit-learn: 1797 images of ten classes, no download."""

import hashlib

import torch
from sklearn import datasets
from torch.nn.functional import interpolate

from augrad.checks import checked
from augrad.data.decode import require_memory
from augrad.data.planted import Plants, plant
from augrad.data.stratify import stratified_split
from augrad.data.types import Split, Splits
from augrad.devices import made_on_cpu
from augrad.errors import UserError

_BYTES = 3 * 8  # for each pixel, while the images are enlarged: three steps in float64


@checked
@made_on_cpu
def load_digits(
    size: int = 16,
    train_size: int = 1000,
    validation_size: int = 300,
    selection_size: int = 150,
    seed: int = 0,
    planted: Plants = None,
) -> Splits:
    """The 8 x 8 digits (levels 0 .. 16), enlarged bilinearly to `size` x `size` pixels, one channel.

    The four splits are disjoint and stratified by class; the test split is what the three sizes leave of the images.
    seed: of the split and of `planted`. sha256 is that of the enlarged images' bytes, before splitting and planting.
    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
    Raises UserError for a size below 16 pixels, for more pixels than memory has room for, and for splits smaller than
    the number of classes.
    """
    if size < 16:
        raise UserError(f"size: expected at least 16 pixels, got {size}; it is the side of a square")
    rows, classes = datasets.load_digits(return_X_y=True)
    require_memory(len(rows), size, 1, bytes_each=_BYTES)
    levels = torch.as_tensor(rows).reshape(-1, 1, 8, 8)
    labels = torch.as_tensor(classes, dtype=torch.int64)
    # In float64 the interpolation of whole levels is exact for sizes such as 16 and 32, and rounds alike everywhere.
    enlarged = interpolate(levels, size=(size, size), mode="bilinear", align_corners=False, antialias=False)
    images = (enlarged * 255 / 16).round().to(torch.uint8)

    sizes = {"train": train_size, "validation": validation_size, "selection": selection_size}
    parts = stratified_split(labels, sizes, "test", seed, source="digits")
    digest = hashlib.sha256(images.numpy().tobytes()).hexdigest()
    whole = Split(images, labels)
    chosen, names = {name: whole[part] for name, part in parts.items()}, tuple(map(str, range(10)))
    splits = Splits("digits", 10, **chosen, sha256=digest, own_validation=False, class_names=names)
    return plant(splits, planted, seed)
