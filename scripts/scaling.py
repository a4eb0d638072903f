"""What a search step needs in memory and sends, by model and by number of GPUs, computed from the network itself.

    python scripts/scaling.py

Parameters are counted and activations measured on networks without memory (PyTorch's meta device). Times are on paper:
the size of what is sent over the bandwidth of a link, by a ring (2 (N - 1) / N of the vector leave each process), and a
latency for each of its 2 (N - 1) hops. Prints Markdown.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from augrad.models.resnet import resnet_50
from augrad.models.wide_resnet import WideResNet

GIB, MB = 2**30, 10**6
MODELS: dict[str, tuple[Callable[..., nn.Module], int, int]] = {
    "WRN-40-2, 32 px": (partial(WideResNet, depth=40, widen_factor=2), 32, 128),
    "WRN-28-10, 32 px": (partial(WideResNet, depth=28, widen_factor=10), 32, 128),
    "ResNet-50, 224 px": (resnet_50, 224, 64),
}
"""Of each the network, the side of its images, and the images of a process's share."""


def counted(build: Callable[..., nn.Module], side: int) -> tuple[int, int]:
    """Parameters, and numbers that a pass keeps for its backward pass, for each image."""
    kept = 0

    def keep(module: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        nonlocal kept
        if not list(module.children()) and isinstance(out, torch.Tensor):
            kept += out.numel() // 2

    with torch.device("meta"):
        network = build(in_channels=3, class_count=1000 if side > 64 else 10)
        for module in network.modules():
            module.register_forward_hook(keep)
        network(torch.empty(2, 3, side, side))
    return sum(weights.numel() for weights in network.parameters()), kept


def seconds_of_ring(size: int, processes: int, bandwidth: float, latency: float) -> float:
    """That a vector of `size` bytes takes to be summed over the processes."""
    return 2 * (processes - 1) * (size / processes / bandwidth + latency)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bandwidth", type=float, default=50e9, help="bytes a second of a GPU's link (400 Gbit/s)")
    parser.add_argument("--latency", type=float, default=10e-6, help="seconds of a hop")
    parser.add_argument("--images", type=int, default=14_000_000, help="of the data set")
    options = parser.parse_args()
    print(
        "| network | share | weights, gradient, momentum | one_step | a pass, and with its tangent | sent in a step |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    sent = {}
    for name, (build, side, share) in MODELS.items():
        parameters, kept = counted(build, side)
        states, vector, activations = 3 * 4 * parameters, 4 * parameters, 4 * kept * share
        sent[name] = 2 * vector
        print(
            f"| {name} | {share} | {states / GIB:.2f} GiB | + {vector / GIB:.2f} GiB | {activations / GIB:.1f} GiB, "
            f"{2 * activations / GIB:.1f} GiB | {sent[name] / MB:.0f} MB |"
        )
    counts = 2, 8, 64, 1000
    print(f"\n| sums of a step, ms | {' | '.join(f'{count:,} GPUs' for count in counts)} |")
    print(f"| --- | {' | '.join('---' for _ in counts)} |")
    for name, size in sent.items():
        rings = [2e3 * seconds_of_ring(size // 2, count, options.bandwidth, options.latency) for count in counts]
        print(f"| {name} | {' | '.join(f'{time:.1f}' for time in rings)} |")
    bytes_each = 3 * 224**2
    print(
        f"\n{options.images:,} images of 224 pixels: {options.images * bytes_each / 1e12:.1f} TB in a store, "
        f"{options.images * 32 / 1e6:.0f} MB of digests, {options.images * 8 / 1e6:.0f} MB of row numbers in each "
        f"process; a batch of 64 in each of 1,000 processes is {64 * bytes_each / MB:.1f} MB to read in each, and a "
        f"number, a place and a draw for each of its 64,000 images in all."
    )


if __name__ == "__main__":
    main()
