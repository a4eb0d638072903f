"""Images that a study makes itself, as a file of `data=arrays`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from augrad.data.types import Split

Images = Mapping[str, Split]
"""What an npz file of one's own holds: train, val and test."""


def write_images(path: Path, images: Images) -> None:
    """As an npz file for `data=arrays`."""
    arrays = {}
    for name, split in images.items():
        arrays[f"{name}_images"] = split[torch.arange(len(split))].images.permute(0, 2, 3, 1).numpy()
        arrays[f"{name}_labels"] = split.labels.numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
