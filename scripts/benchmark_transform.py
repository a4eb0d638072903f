"""A policy as a torchvision transform beside torchvision's RandAugment, one image at a time, as a loader's worker does.

    python scripts/benchmark_transform.py

Both draw and apply two operations of RandAugment's. Median processor time of an image over paired runs in one process:
a run times every contender after the other. One thread, as workers of a data loader have.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

import augrad

SIDES = (32, 64, 224)


def seconds(call: Callable[[], object], calls: int) -> float:
    """Of one call."""
    begun = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - begun) / calls


def measured(side: int, runs: int, calls: int) -> dict[str, float]:
    """Microseconds for an image of `side` x `side`, 8 bits, RGB."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    picture, image = Image.fromarray(pixels), torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    ours, theirs = augrad.load_policy("randaugment").to_torchvision(), v2.RandAugment()
    contenders: dict[str, Callable[[], object]] = {
        "torchvision, PIL image": lambda: theirs(picture),
        "augrad, PIL image": lambda: ours(picture),
        "torchvision, tensor": lambda: theirs(image),
        "augrad, tensor": lambda: ours(image),
    }
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for run in range(runs + 1):  # the first one compiles
        for name, call in contenders.items():
            value = seconds(call, calls)
            if run:
                found[name].append(value)
    ratios = {
        f"augrad over torchvision, {kind}": median(
            a / b for a, b in zip(found[f"augrad, {kind}"], found[f"torchvision, {kind}"], strict=True)
        )
        for kind in ("PIL image", "tensor")
    }
    return {name: 1e6 * median(values) for name, values in found.items()} | ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21, help="paired runs (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=300, help="calls of a run (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sides = {side: measured(side, options.runs, options.calls) for side in SIDES}
    names = list(sides[SIDES[0]])
    print(f"|  | {' | '.join(f'{side} x {side}' for side in SIDES)} |")
    print(f"| --- |{' --- |' * len(SIDES)}")
    for name in names:
        unit = "" if " over " in name else ", µs"
        print(f"| {name}{unit} | {' | '.join(f'{sides[side][name]:.3g}' for side in SIDES)} |")
    if options.json:
        options.json.write_text(json.dumps(sides, indent=1) + "\n")


if __name__ == "__main__":
    main()
