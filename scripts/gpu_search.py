"""Searches on a GPU: what a step of DADA's CIFAR-10 budget costs there, and whether a CPU finds the same policy.

    python scripts/gpu_search.py --markdown search.md --json search.json

The budget is that of `augrad search experiment=dada data=cifar10` (WRN-40-2, batches of 128, 300 steps), on random
images of CIFAR-10's size: time does not depend on what they show. A plain step is a forward pass, a backward pass and
the optimiser's step of the same network on a batch of the same size, without augmentation; times are medians of paired
runs. Synchronisations are what PyTorch warns of in `torch.cuda.set_sync_debug_mode`. --device cpu tries it all without
a GPU, small.
"""

import argparse
import cProfile
import io
import json
import pstats
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from augrad.cli.configs import config_directory
from augrad.cli.parts import search_arguments
from augrad.data.batches import EpochBatches
from augrad.data.pixels import to_float
from augrad.data.types import Split, Splits
from augrad.learning.step import backward_on
from augrad.search import Row, SearchParts, SearchState, begin_search, run_search, search_step

RECIPES: dict[str, list[str]] = {
    "dada": ["experiment=dada"],
    "dada, kernel by kernel": ["experiment=dada", "search.cuda_graphs=false"],
    "dada_gumbel": ["experiment=dada_gumbel"],
    "dada_gumbel, shared difference": ["experiment=dada_gumbel", "objective.derivative=shared_difference"],
}
WHOLE = ("dada", "dada_gumbel")
"""Of these the whole search is run."""


class Silent:
    """An observer that keeps the rows."""

    def __init__(self) -> None:
        self.seen: list[Row] = []

    def rows(self, rows: list[Row]) -> None:
        self.seen += rows

    def checkpoint(self, state: dict[str, Any]) -> None:
        pass

    def interrupted(self) -> bool:
        return False


def begun(overrides: list[str], device: torch.device, data: Splits | None = None) -> tuple[SearchState, SearchParts]:
    """The search that the command with these overrides would begin, on `data` or those it names."""
    with initialize_config_dir(config_directory(), version_base="1.3"):
        config = compose("search", overrides)
    return begin_search(instantiate(config.data) if data is None else data, device=device, **search_arguments(config))


def random_images(count: int) -> Splits:
    """Splits of `count` images of CIFAR-10's size each."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.arange(count) % 10)
    return Splits("random", 10, split, split, split, split, "0" * 64)


def waited(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def search_call(state: SearchState, parts: SearchParts) -> Callable[[], object]:
    settings = parts.settings
    training = EpochBatches(len(parts.data.train), settings.batch_size, 0, parts.device)
    validation = EpochBatches(len(parts.data.validation), settings.validation_batch_size, 1, parts.device)

    def call() -> dict[str, Tensor]:
        found = search_step(state, parts, training, validation)
        state.step = (state.step + 1) % settings.steps
        return found

    return call


def plain_call(state: SearchState, parts: SearchParts) -> Callable[[], object]:
    batches, step = EpochBatches(len(parts.data.train), parts.settings.batch_size, 0, parts.device), 0
    state.model.train()

    def call() -> Tensor:
        nonlocal step
        batch = parts.data.train[batches.indices(step)]
        step += 1
        result = backward_on(state.model, to_float(batch.images), batch.labels, autocast=False)
        state.optimizer.step()
        return result.loss

    return call


def paired_seconds(calls: dict[str, Callable[[], object]], runs: int, device: torch.device) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            waited(device)
            begin = time.perf_counter()
            call()
            waited(device)
            times[name].append(time.perf_counter() - begin)
    return times


def synchronisations(call: Callable[[], object], steps: int) -> list[str]:
    """Where the host waited for the GPU in `steps` calls."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(steps):
                call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "called a synchronizing" in str(w.message)]


def kernels(call: Callable[[], object]) -> dict[str, Any]:
    """Launches of one call, the time that the GPU worked in it, and what it worked on longest."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize()
    events = [e for e in profiler.events() or [] if e.device_type == torch.autograd.DeviceType.CUDA]
    by_name: dict[str, list[float]] = {}
    for event in events:
        by_name.setdefault(event.name[:70], []).append(event.device_time / 1e3)
    longest = sorted(by_name.items(), key=lambda item: -sum(item[1]))[:12]
    return {
        "launches": len(events),
        "gpu_ms": sum(sum(times) for times in by_name.values()),
        "longest": [{"kernel": name, "launches": len(times), "ms": sum(times)} for name, times in longest],
    }


def host_profile(call: Callable[[], object], steps: int) -> str:
    """What Python spent its time on in `steps` calls."""
    profiler, text = cProfile.Profile(), io.StringIO()
    profiler.enable()
    for _ in range(steps):
        call()
    profiler.disable()
    pstats.Stats(profiler, stream=text).sort_stats("cumulative").print_stats(60)
    return text.getvalue()


def budget(
    device: torch.device, runs: int, steps: int, overrides: list[str], profiled: bool
) -> dict[str, dict[str, Any]]:
    """Each recipe: a step against a plain step, `steps` steps as a whole, synchronisations, memory, launches."""
    data, found = random_images(2000), {}
    for name, recipe in RECIPES.items():
        line = [*recipe, "data=cifar10", "data.root=.", f"search.steps={steps}", "search.checkpoint_every=1000000"]
        try:
            state, parts = begun([*line, *overrides], device, data)
            calls = {"step": search_call(state, parts), "plain": plain_call(*begun([*line, *overrides], device, data))}
            for call in calls.values():
                for _ in range(3):
                    call()
            row: dict[str, Any] = {}
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
                for memory, call in (("plain_peak_mib", calls["plain"]), ("peak_mib", calls["step"])):
                    torch.cuda.reset_peak_memory_stats()
                    call()
                    torch.cuda.synchronize()
                    row[memory] = torch.cuda.max_memory_allocated() / 2**20
            times = paired_seconds(calls, runs, device)
            row |= {
                "step_ms": 1e3 * statistics.median(times["step"]),
                "plain_ms": 1e3 * statistics.median(times["plain"]),
                "over_plain": statistics.median(a / b for a, b in zip(times["step"], times["plain"], strict=True)),
            }
            if device.type == "cuda":
                row["synchronised_at"] = synchronisations(calls["step"], 3)
                row["step_kernels"], row["plain_kernels"] = kernels(calls["step"]), kernels(calls["plain"])
            if profiled and name in WHOLE:
                print(host_profile(calls["step"], 10), flush=True)
            if name in WHOLE:
                state, parts = begun([*line, *overrides], device, data)
                waited(device)
                begin = time.perf_counter()
                run_search(state, parts, Silent())
                waited(device)
                row["whole_seconds"] = time.perf_counter() - begin
        except Exception as error:  # the other recipes are wanted all the same
            row = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
        found[name] = row
        print(name, json.dumps({key: value for key, value in row.items() if "kernels" not in key}), flush=True)
    return found


def agreement(device: torch.device, steps: int) -> dict[str, float]:
    """The default search on digits for `steps` steps, on `device` twice and on the CPU: how far the policies part.

    In full single precision: no TF32 in convolutions.
    """
    line = [f"search.steps={steps}", "search.warmup_steps=10", "search.log_every=1", "compare=null"]

    def searched(where: torch.device) -> tuple[dict[str, Tensor], list[float]]:
        state, parts = begun(line, where)
        observer = Silent()
        run_search(state, parts, observer)
        policy = state.policy.cpu()
        values = {"op_probabilities": policy.op_probabilities(), "gate_probabilities": policy.gate_probabilities()}
        values["magnitude_locations"] = policy.magnitude_locations
        return {name: value.detach() for name, value in values.items()}, [
            float(row["train_loss"] or 0) for row in observer.seen
        ]

    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    try:
        (ours, losses), (again, _) = searched(device), searched(device)
        other, other_losses = searched(torch.device("cpu"))
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = before
    apart = [abs(a - b) for a, b in zip(losses, other_losses, strict=True)]
    return {
        **{f"{name}, GPU and CPU": float((ours[name] - other[name]).abs().max()) for name in ours},
        **{f"{name}, GPU twice": float((ours[name] - again[name]).abs().max()) for name in ours},
        "training loss of the first step, GPU and CPU": apart[0],
        "training loss of any step, GPU and CPU": max(apart),
    }


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        f"## A search step, WRN-40-2, batch 128, {found['steps']} steps",
        "",
        "| recipe | ms a step | plain step, ms | over a plain step | whole search, s | synchronisations in 3 steps | "
        "peak MiB (plain) | launches (plain) | ms of GPU work (plain) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in found["budget"].items():
        if "failed" in row:
            lines.append(f"| {name} | failed: {row['failed'].replace('|', '/')} | | | | | | | |")
            continue
        whole = f"{row['whole_seconds']:.1f}" if "whole_seconds" in row else ""
        cells = [f"{row['step_ms']:.1f}", f"{row['plain_ms']:.1f}", f"{row['over_plain']:.2f}", whole]
        if "step_kernels" in row:
            step, plain = row["step_kernels"], row["plain_kernels"]
            cells += [
                str(len(row["synchronised_at"])),
                f"{row['peak_mib']:.0f} ({row['plain_peak_mib']:.0f})",
                f"{step['launches']} ({plain['launches']})",
                f"{step['gpu_ms']:.1f} ({plain['gpu_ms']:.1f})",
            ]
        lines.append(f"| {name} | " + " | ".join([*cells, *[""] * (8 - len(cells))]) + " |")
    lines += ["", f"## The default search on digits, {found['agreement_steps']} steps: largest difference", ""]
    lines += ["| | |", "|---|---|"] + [f"| {name} | {value:.2g} |" for name, value in found["agreement"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--markdown", type=Path, help="write the page here")
    parser.add_argument("--runs", type=int, default=15, help="paired runs (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="of the budget (default: %(default)s)")
    parser.add_argument("--agreement-steps", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--profile", action="store_true", help="also print what Python spends its time on")
    parser.add_argument("--overrides", nargs="*", default=[], help="further overrides of the searches that are timed")
    options = parser.parse_args()
    found = {
        "steps": options.steps,
        "agreement_steps": options.agreement_steps,
        "agreement": agreement(options.device, options.agreement_steps),
    }
    print(json.dumps(found, indent=2), flush=True)
    found["budget"] = budget(options.device, options.runs, options.steps, options.overrides, options.profile)
    text = page(found)
    print(text)
    for path, content in ((options.json, json.dumps(found, indent=2) + "\n"), (options.markdown, text)):
        if path:
            path.write_text(content)


if __name__ == "__main__":
    main()
