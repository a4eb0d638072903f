"""What a policy costs in the training of a classifier. Prints a table; ratios are what counts.

    python scripts/benchmark_training.py --json training.json

Each contender trains a network for as many steps on the same images of 32 x 32 pixels: without augmentation and with a
policy, both by the loop of `augrad train`; and the same steps on what a data loader brings whose workers apply
torchvision's RandAugment to one image after the other. And: how much longer several networks, each with a policy of its
own, take as one (`augrad.train.stacked`) than one of them, for the smaller network. Every figure is a median over
paired runs in one process.
"""

import argparse
import json
import platform
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from augrad.data.types import Split, Splits
from augrad.learning.step import backward_on, build_classifier
from augrad.models.small_conv import SmallConvNet
from augrad.models.wide_resnet import WideResNet
from augrad.policy import Policy
from augrad.policy_file.convert import load_policy
from augrad.settings import TrainSettings
from augrad.train.loop import Recipe, trained
from augrad.train.many import judged_trainings
from benchmark_ops import Call, median, paired, photographs, policy_of, ratio, table

BATCH, SIDE = 128, 32
NETWORKS: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "WRN-16-2": (partial(WideResNet, depth=16, widen_factor=2), 1),
    "small_conv": (SmallConvNet, 4),
}
"""And how many times as many steps as asked for it takes, as its own are shorter."""
STACKED_STEPS = 100
"""Of the trainings whose networks are trained as one: what it takes to build those counts for less then."""
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.0005)
NONE, POLICY, LOADER = "no augmentation", "policy", "loader"
BY_KERNELS = "without CUDA graphs"


class Pictures(Dataset[tuple[Tensor, int]]):
    """`count` of the images, in turn, each augmented by itself."""

    def __init__(self, split: Split, count: int) -> None:
        self.split, self.count = split, count
        self.transform = v2.Compose([v2.RandAugment(), v2.ToDtype(torch.float32, scale=True)])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        place = index % len(self.split)
        return self.transform(self.split.images[place]), int(self.split.labels[place])


def data_on(device: torch.device) -> Splits:
    """1,024 images of ten classes."""
    images = photographs(8 * BATCH, SIDE)
    labels = torch.randint(0, 10, (len(images),), generator=torch.Generator().manual_seed(0))
    split = Split(images, labels).to(device)
    return Splits("smooth random images", 10, split, split, split, split, "0" * 64)


def in_memory(recipe: Recipe, policy: Policy | None) -> Call:
    return lambda: finished(trained(recipe, policy, seed=0).model)


def from_loader(recipe: Recipe, workers: int) -> Call:
    """The same steps. The workers stay from one call to the next."""
    settings, device, train = recipe.settings, recipe.device, recipe.splits.train
    pictures = Pictures(Split(train.images.cpu(), train.labels.cpu()), recipe.steps * settings.batch_size)
    loader = DataLoader(
        pictures,
        settings.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )

    def call() -> None:
        model = build_classifier(recipe.model, recipe.splits, 0, device)
        optimizer = recipe.optimizer(model.parameters())
        for images, labels in loader:
            on_device = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            backward_on(model, *on_device, settings.autocast, settings.label_smoothing)
            optimizer.step()
        finished(model)

    return call


def finished(model: nn.Module) -> None:
    """Waits for the device."""
    float(next(model.parameters()).sum())


def measured(name: str, policy: Policy, steps: int, runs: int, workers: int, device: torch.device) -> dict[str, float]:
    """Images per second of each contender, and how much longer than without augmentation it takes."""
    builder, more = NETWORKS[name]
    settings = TrainSettings(steps=steps * more, batch_size=BATCH, autocast=device.type == "cuda")
    recipe = Recipe(data_on(device), builder, SGD, settings)
    contenders = {
        NONE: in_memory(recipe, None),
        POLICY: in_memory(recipe, policy),
        LOADER: from_loader(recipe, workers),
    }
    if device.type == "cuda":
        without = replace(recipe, settings=replace(settings, cuda_graphs=False))
        contenders |= {
            f"{NONE}, {BY_KERNELS}": in_memory(without, None),
            f"{POLICY}, {BY_KERNELS}": in_memory(without, policy),
        }
    times = paired(contenders, runs, calls=1)
    images = 1e3 * steps * more * BATCH
    speeds = {f"{one}, images a second": images / median(values) for one, values in times.items()}
    return {
        **speeds,
        "policy over no augmentation": ratio(times[POLICY], times[NONE]),
        "loader over policy": ratio(times[LOADER], times[POLICY]),
    }


def columns(found: dict[str, dict[str, float]]) -> str:
    """A table with a column for each network."""
    names = list(next(iter(found.values())))
    return table(["", *found], [[name, *(figures[name] for figures in found.values())] for name in names])


def stack(name: str, count: int, runs: int, device: torch.device) -> dict[str, float]:
    """How many times as long as one network `count` of them take as one."""
    builder, _ = NETWORKS[name]
    settings = TrainSettings(steps=STACKED_STEPS, batch_size=BATCH, autocast=device.type == "cuda")
    recipe = Recipe(data_on(device), builder, SGD, settings)
    policies = [policy_of()] * count

    def trainings(networks: int, stacked: int) -> Call:
        return lambda: list(judged_trainings(recipe, policies[:networks], range(networks), 1, stacked=stacked))

    times = paired({"one": trainings(1, 1), "stack": trainings(count, count)}, runs, calls=1)
    seconds = {f"seconds of {STACKED_STEPS} steps, {name}": median(values) / 1e3 for name, values in times.items()}
    return {**seconds, "as one, over one network": ratio(times["stack"], times["one"])}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--runs", type=int, default=5, help="paired runs (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=4, help="of a training of the slower network (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="of the data loader (default: %(default)s)")
    parser.add_argument("--stack", type=int, default=4, help="networks that are trained as one (default: %(default)s)")
    parser.add_argument("--markdown", type=Path, help="also write the tables here")
    parser.add_argument("--policy", help="a policy file, else two stages over sixteen operations")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.empty(31 * 2**20, dtype=torch.uint8)  # tells the C library to keep memory of this size, as any training does
    policy = load_policy(options.policy) if options.policy else policy_of()
    device = torch.device(options.device)
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {device.type}, {options.workers} workers",
        "versions": {m.__name__: m.__version__ for m in (torch, torchvision)},
        "networks": {
            name: measured(name, policy, options.steps, options.runs, options.workers, device) for name in NETWORKS
        },
    }
    found["stack"] = {"small_conv": stack("small_conv", options.stack, options.runs, device)}
    text = f"{found['machine']} {found['versions']}\n\n{columns(found['networks'])}\n\n"
    text += f"{options.stack} networks\n\n{columns(found['stack'])}\n"
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
