"""Images and their labels as arrays: what they must be, said with the name that their owner gave them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from augrad.data.types import LoadedSplit
from augrad.errors import UserError

_SMALLEST_SIDE = 8


class Given(NamedTuple):
    """A set of images and labels as it came. image_name, label_name: what a message calls the two."""

    images: np.ndarray
    labels: np.ndarray
    image_name: str
    label_name: str


def labelled_sets(given: Mapping[str, Given], source: str) -> tuple[dict[str, LoadedSplit], int]:
    """The sets as splits, by the names of `given`, and the number of classes, which "train", the first, has all.

    Images: uint8, or float in [0, 1] (rounded to 8 bits), [N, H, W, C] with C = 1 or 3, or [N, H, W]; 8 or more pixels
    on a side. Labels: integers [N], 0 .. n - 1 in train without gaps, n > 1; other sets may lack classes.
    source: with which an error begins. Raises UserError for everything else.
    """
    splits = {}
    for name, one in given.items():
        images = _checked_images(one.images, one.image_name, source)
        splits[name] = LoadedSplit(images, _checked_labels(one.labels, one.label_name, len(images), source))
    train, first = splits["train"], given["train"]
    class_count = _count_classes(train.labels, first.label_name, source)
    for name, split in splits.items():
        if split.images.shape[1:] != train.images.shape[1:]:
            raise UserError(
                f"{source}: expected {given[name].image_name} of the same size as {first.image_name}, "
                f"channels x height x width {_times(train.images.shape[1:])}, got {_times(split.images.shape[1:])}; "
                "resize or convert them"
            )
        if split.labels.max() >= class_count:
            raise UserError(
                f"{source}: expected {given[name].label_name} in 0 .. {class_count - 1}, the classes of "
                f"{first.label_name}, got {split.labels.max()}; remove these images or add this class to train"
            )
    return splits, class_count


def as_numbers(name: str) -> str:
    """How to make a numeric array of one of objects or texts."""
    if name.endswith("labels"):
        return (
            "number the classes: classes, train_labels = numpy.unique(train_labels.astype(str), return_inverse=True), "
            "then numpy.searchsorted(classes, val_labels.astype(str)), and test_labels alike"
        )
    return "images of several sizes have to be resized to one, and then stacked with numpy.stack"


def _checked_images(array: np.ndarray, key: str, source: str) -> UInt8[Tensor, "N C H W"]:
    if array.ndim not in (3, 4):
        hint = f"{key}.reshape(-1, height, width)" if array.ndim == 2 else "reshape it"
        raise UserError(f"{source}: expected {key} [N, H, W, C] or [N, H, W], got shape {array.shape}; {hint}")
    if 0 in array.shape:
        raise UserError(f"{source}: expected at least one image in {key}, got shape {array.shape}; add images")
    if array.ndim == 3:
        array = array[..., None]
    if array.shape[3] not in (1, 3):
        turned = "numpy.moveaxis(images, 1, -1) makes it so, of one image numpy.moveaxis(image, 0, -1)"
        hint = turned if array.shape[1] in (1, 3) else "convert the images to grey or RGB"
        raise UserError(f"{source}: expected {key} [N, H, W, C] with C = 1 or 3, got shape {array.shape}; {hint}")
    if min(array.shape[1:3]) < _SMALLEST_SIDE:
        raise UserError(
            f"{source}: expected {key} of at least {_SMALLEST_SIDE} x {_SMALLEST_SIDE} pixels, got "
            f"{_times(array.shape[1:3])}; enlarge them"
        )
    if array.dtype.kind == "f":
        low, high = array.min(), array.max()  # NaN if any value is
        if not (low >= 0 and high <= 1):
            got = "NaN" if np.isnan(low) else f"{low} .. {high}"
            raise UserError(f"{source}: expected floats of {key} in 0 .. 1, got {got}; rescale or repair them")
        array = np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise UserError(
            f"{source}: expected {key} of type uint8, or float in 0 .. 1, got {array.dtype}; {_as_uint8(array, key)}"
        )
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def _as_uint8(array: np.ndarray, key: str) -> str:
    """What makes images of another type of numbers acceptable, as far as their range tells."""
    if array.dtype.kind == "b":
        return f"convert them: {key}.astype(numpy.uint8) * 255"
    if array.dtype.kind not in "iu":
        return "convert them to numbers"
    low, high = int(array.min()), int(array.max())
    if low >= 0 and high <= 255:
        return f"convert them: {key}.astype(numpy.uint8)"
    if low >= 0 and high <= 65535:
        return f"convert them: ({key} / 65535).astype(numpy.float32) if 65535 is white"
    return f"they go from {low} to {high}: rescale them to float in 0 .. 1"


def _checked_labels(array: np.ndarray, key: str, count: int, source: str) -> Int64[Tensor, " N"]:
    if array.ndim != 1:
        flat = array.ndim == 2 and 1 in array.shape
        hint = f"{key}.reshape(-1)" if flat else "one-hot labels become numbers with .argmax(axis=1)"
        raise UserError(f"{source}: expected {key} [N], one class per image, got shape {array.shape}; {hint}")
    if array.dtype.kind not in "iu":
        whole = array.dtype.kind == "b" or (array.dtype.kind == "f" and bool((array == np.rint(array)).all()))
        hint = "convert it with .astype(numpy.int64)" if whole else as_numbers(key)
        raise UserError(f"{source}: expected integers in {key}, got {array.dtype}; {hint}")
    if len(array) != count:
        raise UserError(
            f"{source}: expected {count} {key}, one for each image, got {len(array)}; make the lengths equal"
        )
    if array.min() < 0:
        raise UserError(f"{source}: expected {key} from 0 up, got {array.min()}; number the classes 0 .. n - 1")
    if array.max() > np.iinfo(np.int64).max:
        raise UserError(f"{source}: expected {key} from 0 up, got {array.max()}; number the classes 0 .. n - 1")
    return torch.from_numpy(array.astype(np.int64))


def _count_classes(labels: Int64[Tensor, " N"], name: str, source: str) -> int:
    """n, when the labels are 0 .. n - 1 with none missing, n > 1."""
    classes = labels.unique().tolist()
    highest = classes[-1]
    if len(classes) != highest + 1:
        # Looking at so many numbers finds the first five gaps, however high the labels go.
        present = set(classes)
        missing = [str(label) for label in range(min(highest, len(classes) + 5)) if label not in present][:5]
        more = highest + 1 - len(classes) - len(missing)
        raise UserError(
            f"{source}: expected {name} 0 .. n - 1 without gaps, got labels up to {highest} without "
            f"{', '.join(missing)}{f' and {more} more' if more else ''}; renumber the classes"
        )
    if len(classes) < 2:
        raise UserError(f"{source}: expected at least two classes in {name}, got only class 0; add another class")
    return len(classes)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)
