"""How fast policies are applied on a GPU, beside plain PyTorch, torch.compile, Kornia and a copy of the batch.

    python scripts/benchmark_gpu.py --json benchmark.json --markdown report.md

Times are medians over paired runs in one process, by the device's clock: a run times each contender after the other. A
policy of two stages chooses evenly among sixteen operations, and applies what it chose with probability 0.75. "drawn"
includes the draw; elsewhere the draw is given. Without a GPU the status is 2 and nothing is written.
"""

import argparse
import datetime
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from augrad import engine
from augrad.ops.space import make_space
from augrad.policy import Policy
from augrad.policy.initial import initial_policy
from augrad.types import PolicySample

OPERATIONS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "color", "contrast", "sharpness", "invert", "auto_contrast"),
    *("equalize", "solarize", "posterize", "cutout"),
)
SIZES = ((128, 3, 32, 32), (32, 3, 224, 224), (256, 3, 224, 224))
STAGES = 2
GRAPHED = "triton, drawn, to_cuda_graphs"
Call = Callable[[], object]
Figures = dict[str, float | int | str]


@dataclass(frozen=True)
class Setting:
    """One policy, one batch, one draw."""

    policy: Policy
    images: Tensor
    sample: PolicySample
    weights: Tensor

    @property
    def generator(self) -> torch.Generator:
        return torch.Generator(self.images.device).manual_seed(1)


def setting_of(shape: Sequence[int], device: torch.device) -> Setting:
    """Smooth random images in float32, and a draw for them."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(shape[0], shape[1], 8, 8, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=tuple(shape[2:]), mode="bicubic").clamp(0, 1).to(device)
    policy = initial_policy(make_space(dict.fromkeys(OPERATIONS)), 1, stages=STAGES).to(device)
    sample = policy.sample(shape[0], generator=torch.Generator(device).manual_seed(0)).detach()
    return Setting(policy, images, sample, torch.randn(images.shape, generator=generator).to(device))


def by_engine(name: str, call: Call) -> Call:
    def chosen() -> object:
        with engine(name):
            return call()

    return chosen


def forward(setting: Setting, apply: Callable[..., Tensor]) -> Call:
    def call() -> Tensor:
        with torch.no_grad():
            return apply(setting.images, setting.sample)

    return call


def forward_and_backward(setting: Setting, apply: Callable[..., Tensor]) -> Call:
    """To the images and the magnitudes."""
    images = setting.images.clone().requires_grad_()
    sample = replace(setting.sample, magnitude=setting.sample.magnitude.clone().requires_grad_())

    def call() -> tuple[Tensor, ...]:
        output = apply(images, sample)
        return torch.autograd.grad(output, (images, sample.magnitude), setting.weights)

    return call


def replayed(call: Call) -> Call:
    """`call`, captured in a CUDA graph."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = call()

    def replay() -> object:
        graph.replay()
        return kept

    return replay


def contenders(setting: Setting) -> dict[str, Callable[[], Call]]:
    """What makes each contender, by name; a contender that cannot be made does not stop the others."""
    policy, images = setting.policy, setting.images

    def plain(images: Tensor, sample: PolicySample) -> Tensor:
        return policy(images, params=sample)

    def kornia() -> Call:
        import kornia.augmentation.auto

        augmentation = kornia.augmentation.auto.RandAugment(n=STAGES, m=9)
        return lambda: augmentation(images)

    def drawn() -> Call:
        generator = setting.generator

        def call() -> Tensor:
            with torch.no_grad():
                return policy(images, generator=generator)

        return by_engine("triton", call)

    def graphed() -> Call:
        generator, augment = setting.generator, policy.to_cuda_graphs()
        return lambda: augment(images, generator=generator)

    target = torch.empty_like(images)
    found: dict[str, Callable[[], Call]] = {
        "copy": lambda: lambda: target.copy_(images),
        "copy, graph": lambda: replayed(lambda: target.copy_(images)),
        "Kornia RandAugment, drawn": kornia,
        "triton, drawn": drawn,
        GRAPHED: graphed,
    }
    for kind, made in (("forward", forward), ("forward and backward", forward_and_backward)):
        found |= {
            f"triton, {kind}": lambda made=made: by_engine("triton", made(setting, plain)),
            f"triton, {kind}, graph": lambda made=made: replayed(by_engine("triton", made(setting, plain))),
            f"plain, {kind}": lambda made=made: by_engine("grouped", made(setting, plain)),
            f"plain, {kind}, graph": lambda made=made: replayed(by_engine("grouped", made(setting, plain))),
        }
    return found


def compiled_contenders(setting: Setting) -> dict[str, Callable[[], Call]]:
    """The plain path by torch.compile, beside the kernels."""

    def plain(images: Tensor, sample: PolicySample) -> Tensor:
        return setting.policy(images, params=sample)

    def compiled(made: Callable[..., Call]) -> Call:
        torch.compiler.reset()
        return by_engine("grouped", made(setting, torch.compile(plain, fullgraph=True)))

    target = torch.empty_like(setting.images)
    found: dict[str, Callable[[], Call]] = {"copy": lambda: lambda: target.copy_(setting.images)}
    for kind, made in (("forward", forward), ("forward and backward", forward_and_backward)):
        found[f"triton, {kind}"] = lambda made=made: by_engine("triton", made(setting, plain))
        found[f"torch.compile, {kind}"] = lambda made=made: compiled(made)
    return found


def launches(call: Call) -> int:
    """Kernels, copies and fills on the device in one call."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize()
    events = profiler.events() or []
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in events)


def milliseconds(call: Call, calls: int) -> float:
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(calls):
        call()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) / calls


def measured(made: Mapping[str, Callable[[], Call]], runs: int, calls: int) -> dict[str, Figures]:
    """Figures of each contender: ms of a call, us_per_stage, over_copy (per stage), launches; or why it has none."""
    ready: dict[str, Call] = {}
    found: dict[str, Figures] = {}
    for name, make in made.items():
        try:
            begin = time.monotonic()
            call = make()
            for _ in range(3):
                call()
            torch.cuda.synchronize()
            print(f"{name}: ready after {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)
            ready[name] = call
            found[name] = {"launches": launches(call)}
        except Exception as error:  # the figures of the others are wanted all the same
            found[name] = {
                "failed": f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
            }
    times: Mapping[str, list[float]] = {name: [] for name in ready}
    for _ in range(runs):
        for name, call in ready.items():
            times[name].append(milliseconds(call, calls))
    for name, values in times.items():
        stages = 1 if name.startswith("copy") else STAGES
        base = times["copy, graph"] if "copy, graph" in times else times["copy"]
        over_copy = statistics.median(mine / copy / stages for mine, copy in zip(values, base, strict=True))
        median = statistics.median(values)
        found[name] |= {"ms": median, "us_per_stage": 1e3 * median / stages, "over_copy": over_copy}
    return found


def machine(device: torch.device) -> dict[str, str]:
    """Device, versions, date."""
    import kornia

    import triton

    return {
        "device": torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        "CUDA": str(torch.version.cuda or torch.version.hip),
        "triton": triton.__version__,
        "kornia": kornia.__version__,
        "date": datetime.date.today().isoformat(),
    }


def goals(sizes: Mapping[str, Mapping[str, Figures]]) -> list[tuple[str, str, str]]:
    """What the kernels are to reach, what they reached, and whether that is enough."""
    rows = []

    def add(goal: str, unit: str, value: float | None, limit: float, at_most: bool) -> None:
        met = value is not None and (value <= limit if at_most else value >= limit)
        rows.append((goal, "no figure" if value is None else f"{value:.3g} {unit}", "yes" if met else "**no**"))

    for size, rows_of_size in sizes.items():
        if GRAPHED not in rows_of_size:
            continue
        replay = rows_of_size.get("triton, forward, graph", {})
        if size.endswith("224 x 224"):
            add(f"{size}: a stage within 3 copies of the batch", "copies", _number(replay, "over_copy"), 3, True)
        else:
            add(f"{size}: a stage under 150 us from a graph", "us", _number(replay, "us_per_stage"), 150, True)
        peer, ours = (_number(rows_of_size.get(name, {}), "ms") for name in ("Kornia RandAugment, drawn", GRAPHED))
        factor = peer / ours if peer and ours else None
        add(f"{size}: ten times as fast as Kornia, draw included", "times", factor, 10, False)
    return rows


def _number(figures: Figures, name: str) -> float | None:
    value = figures.get(name)
    return float(value) if isinstance(value, int | float) else None


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; fractions with three significant digits."""

    def shown(value: object) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "/")

    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(shown, line)) + " |" for line in lines)


def report(found: Mapping) -> str:
    """The figures as Markdown, to be read with the report of `scripts/gpu_check.sh`."""
    parts = [f"## Policies on a batch: `{found['command']}`"]
    if rows := goals(found["sizes"]):
        parts.append(table(["goal", "reached", "enough"], rows))
    columns = ("ms", "us_per_stage", "over_copy", "launches")
    for size, contenders_of_size in found["sizes"].items():
        rows = [
            [name, *(figures.get(column, "") for column in columns), figures.get("failed", "")]
            for name, figures in contenders_of_size.items()
        ]
        head = ["float32", "ms per call", "µs per stage", "stage over copy", "launches per call", "failed"]
        parts += [f"### {size}", table(head, rows)]
    parts.append(
        f"A call is two stages; times are medians, by the device's clock. A copy reads and writes the batch once, from "
        f"a graph. {found['runs']} paired runs of {found['calls']} calls; "
        + ", ".join(f"{name} {value}" for name, value in found["machine"].items())
        + "."
    )
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--markdown", type=Path, help="write the report here")
    parser.add_argument("--runs", type=int, default=11, help="paired runs (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=10, help="calls of a run (default: %(default)s)")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile beside the kernels, and nothing else (takes minutes)"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 1, 2], help="which of the three (default: all)")
    parser.add_argument("--quick", action="store_true", help="one run of one small batch: to see that it works")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print(f"benchmark_gpu: no GPU: torch {torch.__version__} finds none; nothing was measured", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    device = torch.device("cuda", torch.cuda.current_device())
    shapes = [SIZES[index] for index in options.sizes]
    runs, calls, shapes = (1, 2, [(8, 3, 16, 16)]) if options.quick else (options.runs, options.calls, shapes)
    words = ["python scripts/benchmark_gpu.py", *(f"--{name}" for name in ("quick", "compile") if vars(options)[name])]
    found: dict = {"machine": machine(device), "command": " ".join(words), "runs": runs, "calls": calls, "sizes": {}}
    make = compiled_contenders if options.compile else contenders
    for shape in shapes:
        found["sizes"][" x ".join(map(str, shape))] = measured(make(setting_of(shape, device)), runs, calls)
        # After each size: whoever has to stop this keeps what is there.
        page = report(found)
        for path, text in ((options.json, json.dumps(found, indent=2) + "\n"), (options.markdown, page)):
            if path:
                path.write_text(text)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
