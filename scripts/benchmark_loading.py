"""Augmented batches from JPEG files: augrad with a store beside torchvision's data loader with its RandAugment.

    python scripts/benchmark_loading.py

The same pictures, batches and number of workers; both resize, cut and draw two operations for each image. Ours reads a
picture once, into a file, and later epochs read that; theirs decodes in every epoch. Images per second, medians of
paired runs in one process.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import augrad
from augrad.data.batches import EpochBatches
from augrad.data.decode import decode
from augrad.data.folder import load_folder
from augrad.data.pixels import to_float
from augrad.data.stored import store_for


def write_pictures(root: Path, count: int) -> None:
    """Smooth noise of 500 x 375 pixels, as large as ImageNet's pictures on average, of some 50 kB each."""
    noise = np.random.default_rng(0)
    for index in range(count):
        folder = root / "train" / f"class{index % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(noise.integers(0, 256, (94, 125, 3), dtype=np.uint8))
        small.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=90)


def seconds(call: Callable[[], object]) -> float:
    """That it takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def measured(root: Path, scratch: Path, count: int, size: int, batch_size: int, workers: int, runs: int) -> dict:
    """Images per second of each way, and how many times theirs ours are."""
    transform = v2.Compose([v2.Resize(size), v2.CenterCrop(size), v2.RandAugment(), v2.PILToTensor()])
    folder = ImageFolder(str(root / "train"), transform)
    loader = DataLoader(folder, batch_size, shuffle=True, num_workers=workers, persistent_workers=True, drop_last=True)
    splits = load_folder(root, size=size, validation_fraction=0.01, selection_fraction=0.01, test_fraction=0.01,
                         store=scratch / "store")  # fmt: skip
    batches, policy = EpochBatches(len(splits.train), batch_size, seed=0), augrad.load_policy("randaugment")
    files, done = sorted(root.glob("train/*/*")), 0

    def theirs() -> None:
        for images, _ in loader:
            to_float(images)

    def ours() -> None:
        nonlocal done
        for _ in range(batches.batches_per_epoch):
            policy(to_float(batches.batch(splits.train, done).images))
            done += 1

    def once() -> None:
        shutil.rmtree(scratch / "once", ignore_errors=True)
        store = store_for(scratch / "once", root, files, {"size": size, "channels": 3, "fit": "crop"})
        decode(files, size, 3, store=store)

    their_count, our_count = len(loader) * batch_size, batches.batches_per_epoch * batch_size
    ways = {"theirs": (theirs, their_count), "ours": (ours, our_count), "ours, once": (once, count)}
    found: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        for run in range(runs + 1):  # the first one compiles, and starts the workers
            for name, (call, images) in ways.items():
                rate = images / seconds(call)
                if run:
                    found[name].append(rate)
    ratios = {
        f"{name} over theirs": median(a / b for a, b in zip(found[name], found["theirs"], strict=True))
        for name in ("ours", "ours, once")
    }
    return {name: median(values) for name, values in found.items()} | ratios


def main() -> None:
    """Prints a table, and writes it as JSON where --json says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2, help="of the loader; threads of ours")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.workers)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "pictures"
        write_pictures(root, options.images)
        found = measured(
            root, Path(scratch), options.images, options.size, options.batch_size, options.workers, options.runs
        )
    for name, value in found.items():
        print(f"{name:24} {value:10.2f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
