"""What a search step costs: its time and peak memory over those of one plain training step.

    python scripts/benchmark_search.py --json search.json

Both steps train the same WRN-40-2 on batches of the same size, with the same optimiser. The plain step is a forward
pass, a backward pass and the optimiser's step, without augmentation. The search step is all of
`augrad.search.search_step`: the policy's draw on the training batch, forward and backward pass on it, a validation
batch of the same size for the hypergradient, a draw and its scores, the estimator, both optimisers' steps.
Every ratio is the median over paired runs in one process: a run times each contender after the other, so that a slow
moment of the machine meets them all. `--parts` takes the step apart; `--compile` also measures both steps with
the model's passes compiled by `torch.compile` (which takes minutes at the beginning).
On a GPU the search steps run once with every host synchronisation turned into an error.
"""

import argparse
import json
import platform
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augrad.data.batches import EpochBatches
from augrad.data.pixels import to_float
from augrad.data.types import Split, Splits
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.reinforce import Reinforce
from augrad.hypergradients.hypergradient import TrainingBatch, TwoLevels, validation_pass
from augrad.hypergradients.one_step import OneStep
from augrad.learning.classifier import gradients_of_weights, logits_with, losses_of, weights_of
from augrad.learning.pure_optimizer import pure_optimizer
from augrad.learning.step import ModelBuilder, backward_on, build_classifier
from augrad.models.wide_resnet import WideResNet
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.scores import ahead_scores, difference_scores, directional_scores
from augrad.search import SearchParts, SearchState, new_state, search_step
from augrad.settings import SearchSettings
from benchmark_ops import Call, median, paired, peak_bytes, policy_of, ratio, table

CONTENDERS: dict[str, tuple[Any, Any]] = {
    "gumbel": (Gumbel(), Bilevel()),
    "gumbel, shared difference": (Gumbel(), Bilevel("shared_difference")),
    "gumbel, finite difference": (Gumbel(), Bilevel("finite_difference")),
    "reinforce": (Reinforce(), Bilevel()),
    "gumbel, pathwise magnitudes": (Gumbel(magnitude="pathwise"), Bilevel()),
    "gumbel, soft": (Gumbel(relaxation="soft", magnitude="pathwise"), Bilevel()),
}
"""Estimator and objective. The first four never differentiate the scores; the last two do, back to the images."""
EXACT, SHARED, DIFFERENCE = "gumbel", "gumbel, shared difference", "gumbel, finite difference"
PATHWISE = "gumbel, pathwise magnitudes"


def random_images(count: int, side: int, device: torch.device) -> Splits:
    """Splits of `count` images each, of ten classes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (count,), generator=generator)).to(device)
    return Splits("random", 10, split, split, split, split, "0" * 64)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    """As in `augrad search`."""
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.001)


@dataclass(frozen=True)
class Setting:
    """What both steps have in common. depth, widen_factor: of a WRN. batch: images of each batch. side: of them, in
    pixels. network: another one than that WRN."""

    depth: int
    widen_factor: int
    batch: int
    device: torch.device
    compiled: bool = False
    side: int = 32
    network: ModelBuilder | None = None

    def data(self) -> Splits:
        return random_images(8 * self.batch, self.side, self.device)

    def model(self) -> torch.nn.Module:
        def wide(in_channels: int, class_count: int) -> torch.nn.Module:
            return WideResNet(in_channels, class_count, self.depth, self.widen_factor)

        model = build_classifier(self.network or wide, self.data(), 0, self.device)
        if self.compiled:
            model.compile()
        return model

    def batches(self) -> EpochBatches:
        return EpochBatches(8 * self.batch, self.batch, 0, self.device)


def plain_step(setting: Setting) -> Call:
    """Forward, backward, the optimiser's step."""
    model, data, batches = setting.model().train(), setting.data(), setting.batches()
    optimizer, step = sgd(model.parameters()), 0

    def call() -> Tensor:
        nonlocal step
        batch = data.train[batches.indices(step)]
        step += 1
        result = backward_on(model, to_float(batch.images), batch.labels, autocast=False)
        optimizer.step()
        return result.loss

    return call


def search_of(setting: Setting, estimator: Any, objective: Any) -> tuple[SearchState, SearchParts]:
    """A search with `one_step` at its beginning, without a warm-up."""
    settings = SearchSettings(
        steps=10**6, batch_size=setting.batch, validation_batch_size=setting.batch, warmup_steps=0
    )
    parts = SearchParts(setting.data(), objective, estimator, OneStep(), settings, 0, setting.device)
    policy = policy_of().to(setting.device)

    def adam(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=0.1, betas=(0.9, 0.999))

    return new_state(setting.model(), policy, sgd, adam, parts), parts


def whole_step(setting: Setting, estimator: Any, objective: Any) -> Call:
    """One step of the search after the other."""
    state, parts = search_of(setting, estimator, objective)
    training, validation = setting.batches(), setting.batches()

    def call() -> dict[str, Tensor]:
        found = search_step(state, parts, training, validation)
        state.step += 1
        return found

    return call


def parts_of_a_step(setting: Setting) -> dict[str, Call]:
    """What a step is made of, each part on its own."""
    state, parts = search_of(setting, Gumbel(), Bilevel())
    model, policy, optimizer = state.model.train(), state.policy, state.optimizer
    batch = parts.data.train[setting.batches().indices(0)]
    images, labels = to_float(batch.images), batch.labels
    backward_on(model, images, labels, autocast=False)
    optimizer.step()
    weights, gradients = weights_of(model), gradients_of_weights(model)
    pure = pure_optimizer(model, optimizer)

    def validate(weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        logits = logits_with(model, weights, images)
        return losses_of(logits, labels).mean(), logits

    training = TrainingBatch(images, labels, lambda weights: validate(weights)[0])
    levels = TwoLevels(weights, gradients, training, pure, validate, lambda _: training)
    u = OneStep()(levels, {}).terms[0].u

    @torch.no_grad()
    def augment() -> Tensor:
        return policy(images, generator=state.generator)

    def score(scores: Callable[..., Tensor]) -> Call:
        return torch.no_grad()(lambda: scores(model, weights, u, images, labels))

    known = losses_of(logits_with(model, weights, images), labels).detach()

    def with_gradient() -> None:
        leaf = images.clone().requires_grad_()
        directional_scores(model, weights, u, leaf, labels).sum().backward()

    constant = torch.zeros(setting.batch, device=setting.device)
    return {
        "training pass": lambda: backward_on(model, images, labels, autocast=False),
        "optimiser step": optimizer.step,
        "hypergradient (validation pass and pure optimiser step)": lambda: OneStep()(levels, {}),
        "of it the validation pass": lambda: validation_pass(levels, weights),
        "scores, jvp": score(directional_scores),
        "scores, finite difference": score(difference_scores),
        "scores, shared difference": score(partial(ahead_scores, losses=known)),
        "scores and their gradient in the images": with_gradient,
        "policy on a batch": augment,
        "estimator without the scores": lambda: Gumbel()(
            lambda sample: constant, policy, setting.batch, state.generator, 0.0
        ),
    }


def score_errors(setting: Setting, steps: int = 5) -> dict[str, float]:
    """Differences, two-sided and one-sided, against the exact scores after some steps, along the gradient of another
    batch: the norm of what they are off over that of the exact scores' deviations from their mean."""
    state, parts = search_of(setting, Gumbel(), Bilevel())
    batches = setting.batches()
    for _ in range(steps):
        search_step(state, parts, batches, batches)
        state.step += 1
    batch, other = (parts.data.train[batches.indices(step)] for step in (0, 1))
    images, weights = to_float(batch.images), weights_of(state.model)
    backward_on(state.model, to_float(other.images), other.labels, autocast=False)
    u = {name: -gradient for name, gradient in gradients_of_weights(state.model).items()}
    with torch.no_grad():
        known = losses_of(logits_with(state.model, weights, images), batch.labels)
        exact, *found = (
            scores(state.model, weights, u, images, batch.labels)
            for scores in (directional_scores, difference_scores, partial(ahead_scores, losses=known))
        )
    spread = (exact - exact.mean()).norm()
    names = ("finite_difference_error", "shared_difference_error")
    return {name: float((scores - exact).norm() / spread) for name, scores in zip(names, found, strict=True)}


def peak(call: Call, device: torch.device) -> int:
    """The most memory, in bytes, that a call holds beyond what was there before."""
    if device.type != "cuda":
        return peak_bytes(call)
    call()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    return torch.cuda.max_memory_allocated(device) - before


def finished(call: Call, device: torch.device) -> Call:
    """The call, waited for."""
    if device.type != "cuda":
        return call

    def waited() -> None:
        call()
        torch.cuda.synchronize(device)

    return waited


def check_synchronisation(calls: dict[str, Call]) -> None:
    """Raises where a call waits for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        for call in calls.values():
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--runs", type=int, default=9, help="paired runs (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="images of each batch (default: %(default)s)")
    parser.add_argument("--depth", type=int, default=40, help="of the wide residual network (default: %(default)s)")
    parser.add_argument("--widen", type=int, default=2, help="its widen factor (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="contenders")
    parser.add_argument("--parts", action="store_true", help="also the parts of a step")
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.empty(31 * 2**20, dtype=torch.uint8)  # tells the C library to keep memory of this size, as any training does
    setting = Setting(options.depth, options.widen, options.batch, options.device)
    calls = {"plain": plain_step(setting)} | {name: whole_step(setting, *CONTENDERS[name]) for name in options.only}
    if options.device.type == "cuda":
        for call in calls.values():
            call()
        check_synchronisation(calls)
    times = paired({name: finished(call, options.device) for name, call in calls.items()}, options.runs, calls=1)
    memory = {name: peak(call, options.device) for name, call in calls.items()}
    steps = {
        name: {
            "ms": median(times[name]),
            "time_ratio": ratio(times[name], times["plain"]),
            "peak_mib": memory[name] / 2**20,
            "memory_ratio": memory[name] / memory["plain"],
        }
        for name in calls
    }
    found: dict[str, Any] = {
        "model": f"WRN-{options.depth}-{options.widen}, batch {options.batch}, 3 x 32 x 32",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {options.device.type}",
        "torch": torch.__version__,
        "runs": options.runs,
        "steps": steps,
    }
    for key, name, value in (
        ("time_ratio", SHARED, "time_ratio"),
        ("time_ratio_jvp", EXACT, "time_ratio"),
        ("time_ratio_finite_difference", DIFFERENCE, "time_ratio"),
        ("time_ratio_pathwise", PATHWISE, "time_ratio"),
        ("memory_ratio", SHARED, "memory_ratio"),
        ("memory_ratio_jvp", EXACT, "memory_ratio"),
        ("memory_ratio_pathwise", PATHWISE, "memory_ratio"),
    ):
        if name in steps:
            found[key] = steps[name][value]
    found |= score_errors(setting)
    if options.parts:
        pieces = {"plain": calls["plain"]} | parts_of_a_step(setting)
        times = paired({name: finished(call, options.device) for name, call in pieces.items()}, options.runs, calls=1)
        found["parts"] = {name: ratio(times[name], times["plain"]) for name in pieces}
    if options.compile:
        faster = Setting(options.depth, options.widen, options.batch, options.device, compiled=True)
        both = {"plain": plain_step(faster), EXACT: whole_step(faster, *CONTENDERS[EXACT])}
        pairs = {"eager": calls["plain"]} | both
        times = paired({name: finished(call, options.device) for name, call in pairs.items()}, options.runs, calls=1)
        found["compiled"] = {
            "plain_over_eager_plain": ratio(times["plain"], times["eager"]),
            "search_over_eager_plain": ratio(times[EXACT], times["eager"]),
            "time_ratio": ratio(times[EXACT], times["plain"]),
        }
    print(found["model"], "--", found["machine"], "-- torch", found["torch"], "\n")
    head = list(steps["plain"])
    print(table(["step", *head], [[name, *(row[key] for key in head)] for name, row in steps.items()]), "\n")
    for key in ("parts", "compiled"):
        if key in found:
            print(table([key, "over a plain step"], list(found[key].items())), "\n")
    for name in ("finite difference", "shared difference"):
        print(f"{name}: error over the scores' spread {found[f'{name}_error'.replace(' ', '_')]:.2g}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
