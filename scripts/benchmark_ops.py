"""How fast policies are applied on a CPU, beside torchvision and Kornia. Prints tables; ratios are what counts.

    python scripts/benchmark_ops.py --json benchmark.json

Every figure is a median over paired runs in one process: a run times each contender after the other, several calls
each, so that a slow moment of the machine meets them all. A policy of two stages chooses evenly among sixteen
operations (and applies what it chose with probability 0.75); its draw is part of the time.
"""

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import kornia.augmentation.auto
import numpy as np
import torch
import torchvision
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torchvision.transforms import v2

from augrad.ops.space import make_space
from augrad.policy import Policy
from augrad.policy.initial import initial_policy

OPERATIONS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "color", "contrast", "sharpness", "invert", "auto_contrast"),
    *("equalize", "solarize", "posterize", "cutout"),
)
SIZES = ((128, 32), (32, 224))
Call = Callable[[], object]


def policy_of(operations: Sequence[str] = OPERATIONS, subpolicies: int = 1) -> Policy:
    """Two stages over `operations`."""
    return initial_policy(make_space(dict.fromkeys(operations)), subpolicies, stages=2)


def photographs(batch: int, side: int) -> Tensor:
    """A batch of smooth random images, uint8 [batch, 3, side, side]."""
    coarse = torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    return (images * 255).round().to(torch.uint8)


def paired(
    contenders: Mapping[str, Call], runs: int, calls: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, np.ndarray]:
    """Milliseconds of one call, by contender: [runs], each the mean of `calls` calls."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        call()
    for _ in range(runs):
        for name, call in contenders.items():
            start = clock()
            for _ in range(calls):
                call()
            times[name].append((clock() - start) / calls * 1e3)
    return {name: np.array(values) for name, values in times.items()}


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> float:
    """The median of the runs' ratios."""
    return float(np.median(numerator / denominator))


def median(values: np.ndarray) -> float:
    return float(np.median(values))


def without_gradients(policy: Policy, images: Tensor) -> Call:
    def call() -> Tensor:
        with torch.no_grad():
            return policy(images)

    return call


def with_gradients(policy: Policy, images: Tensor, weights: Tensor) -> Call:
    """Forward and backward to images and magnitudes, from the gradient `weights`."""

    def call() -> None:
        leaf = images.detach().requires_grad_()
        policy.magnitude_locations.grad = None
        policy(leaf).backward(weights)

    return call


def peers(batch: int, side: int, runs: int) -> dict[str, float]:
    """Forward against torchvision's loop and Kornia's batch."""
    eight_bits = photographs(batch, side)
    floats = eight_bits.to(torch.float32) / 255
    policy = policy_of()
    one_by_one = v2.RandAugment()
    on_the_batch = kornia.augmentation.auto.RandAugment(n=2, m=9)
    times = paired(
        {
            "torchvision": lambda: torch.stack([one_by_one(image) for image in eight_bits]),
            "augrad_uint8": without_gradients(policy, eight_bits),
            "kornia": lambda: on_the_batch(floats),
            "augrad_float": without_gradients(policy, floats),
            "copy_float": floats.clone,
        },
        runs,
        calls=4,
    )
    return {
        **{f"{name}_ms": median(values) for name, values in times.items()},
        "torchvision_over_augrad_uint8": ratio(times["torchvision"], times["augrad_uint8"]),
        "kornia_over_augrad_float": ratio(times["kornia"], times["augrad_float"]),
    }


def peak_bytes(call: Call) -> int:
    """The most memory that a call holds at one moment beyond what was there before."""
    call()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return int(np.cumsum([size for _, size in changes]).max())


def gradients(batch: int, side: int, runs: int) -> dict[str, float]:
    """Forward and backward over forward alone, and the peak of memory over the batch's size."""
    images = photographs(batch, side).to(torch.float32) / 255
    policy, weights = policy_of(), torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    both = with_gradients(policy, images, weights)
    times = paired({"forward": without_gradients(policy, images), "both": both}, runs, calls=4)
    return {
        "forward_ms": median(times["forward"]),
        "forward_and_backward_ms": median(times["both"]),
        "forward_and_backward_over_forward": ratio(times["both"], times["forward"]),
        "peak_memory_over_batch": peak_bytes(both) / images.nbytes,
    }


def growth(runs: int) -> list[dict[str, float | str]]:
    """The time relative to the smallest of each series: batch, side, sub-policies, operations."""
    few = ["identity", "rotate", "brightness", "sharpness"]
    every = [*OPERATIONS, "hue", "grayscale", "solarize_add", "gaussian_blur", "horizontal_flip", "vertical_flip"]
    series: dict[str, dict[int, tuple[Policy, int, int]]] = {
        "B": {batch: (policy_of(), batch, 64) for batch in (32, 64, 128, 256)},
        "pixels": {side * side: (policy_of(), 64, side) for side in (32, 64, 128, 224)},
        "S": {count: (policy_of(subpolicies=count), 128, 32) for count in (1, 10, 105)},
        "K": {len(ops): (policy_of(ops), 128, 32) for ops in (few, OPERATIONS, every, [*every, "sample_pairing"])},
    }
    rows: list[dict[str, float | str]] = []
    for name, members in series.items():
        contenders = {
            str(size): without_gradients(policy, photographs(batch, side).to(torch.float32) / 255)
            for size, (policy, batch, side) in members.items()
        }
        times = paired(contenders, runs, calls=2)
        smallest = min(members)
        rows += [
            {
                "varied": name,
                "value": size,
                "value_over_smallest": size / smallest,
                "time_over_smallest": ratio(times[str(size)], times[str(smallest)]),
                "ms": median(times[str(size)]),
            }
            for size in members
        ]
    return rows


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers with three significant digits."""

    def shown(value: object) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(shown, line)) + " |" for line in lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--runs", type=int, default=21, help="paired runs (default: %(default)s)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.empty(31 * 2**20, dtype=torch.uint8)  # tells the C library to keep memory of this size, as any training does
    found = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {m.__name__: m.__version__ for m in (torch, torchvision, kornia)},
        "peers": {f"{b} x 3 x {s} x {s}": peers(b, s, options.runs) for b, s in SIZES},
        "gradients": {f"{b} x 3 x {s} x {s}": gradients(b, s, options.runs) for b, s in SIZES},
        "growth": growth(options.runs),
    }
    print(found["machine"], found["versions"], "\n")
    for part in ("peers", "gradients"):
        sizes = found[part]
        names = list(next(iter(sizes.values())))
        print(table(["", *sizes], [[name, *(sizes[size][name] for size in sizes)] for name in names]), "\n")
    print(table(list(found["growth"][0]), [list(row.values()) for row in found["growth"]]))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
