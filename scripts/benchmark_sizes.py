"""What a search step costs by the size of the images and the network: how long a newcomer's search takes.

    python scripts/benchmark_sizes.py --json sizes.json

A step is all of `augrad.search.search_step` with the default estimator and objective, on random images, or a plain
training step. Times are processor time of one thread in milliseconds an image, and ratios over small_conv at 32 x 32
pixels: medians over paired runs in one process.
"""

import argparse
import json
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from augrad.estimators.gumbel import Gumbel
from augrad.models.libraries import torchvision_network
from augrad.models.small_conv import SmallConvNet
from augrad.models.wide_resnet import WideResNet
from augrad.objectives.bilevel import Bilevel
from benchmark_ops import Call, median, paired, ratio, table
from benchmark_search import Setting, plain_step, whole_step


def wrn_16_2(in_channels: int, class_count: int) -> torch.nn.Module:
    """The smallest of the published networks."""
    return WideResNet(in_channels, class_count, 16, 2)


def resnet18(in_channels: int, class_count: int) -> torch.nn.Module:
    """As `model=torchvision model.name=resnet18`."""
    return torchvision_network(in_channels, class_count, "resnet18")


CASES = {
    **{("small_conv", side): (SmallConvNet, 64) for side in (16, 32, 64, 128, 224)},
    **{("wrn_16_2", side): (wrn_16_2, 32) for side in (32, 64)},
    **{("torchvision resnet18", side): (resnet18, 16) for side in (64, 128, 224)},
}
"""Network and side: what builds the network, and how many images a batch has."""
REFERENCE = ("small_conv", 32)
STEPS = ("search", "plain")


def key_of(name: str, side: int, step: str) -> str:
    """A contender by its name."""
    return f"{name} {side} {step}"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--runs", type=int, default=3, help="paired runs (default: %(default)s)")
    parser.add_argument("--largest", type=int, default=224, help="side in pixels (default: %(default)s)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cases = {case: given for case, given in CASES.items() if case[1] <= options.largest}
    calls: dict[str, Call] = {}
    for (name, side), (network, batch) in cases.items():
        setting = Setting(0, 0, batch, torch.device("cpu"), side=side, network=network)
        calls[key_of(name, side, "search")] = whole_step(setting, Gumbel(), Bilevel())
        calls[key_of(name, side, "plain")] = plain_step(setting)
    times = paired(calls, options.runs, 1, time.process_time)
    each = {
        (name, side, step): times[key_of(name, side, step)] / batch
        for (name, side), (_, batch) in cases.items()
        for step in STEPS
    }
    unit = each[(*REFERENCE, STEPS[0])]
    rows: list[list[Any]] = [
        [
            name,
            f"{side} x {side}",
            median(each[name, side, "search"]),
            ratio(each[name, side, "search"], unit),
            ratio(each[name, side, "search"], each[name, side, "plain"]),
        ]
        for name, side in cases
    ]
    print(table(["network", "pixels", "ms an image", "over small_conv, 32 x 32", "over a plain step"], rows))
    found = {
        "machine": f"{platform.machine()}, 1 thread; torch {torch.__version__}",
        "runs": options.runs,
        "rows": rows,
    }
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
