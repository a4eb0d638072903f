"""What a process of `tests/numerics/test_ranks.py` does: searches by itself, in parts, and with others, by one seed.

torchrun --standalone --nproc-per-node=2 tests/ranks_search.py DIR
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augrad.data.batches import EpochBatches
from augrad.data.standard import StandardAugmentation
from augrad.data.types import Split, Splits
from augrad.errors import Stopped
from augrad.estimators.enumerate import Enumerate
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.none import NoEstimator
from augrad.estimators.rebar import Rebar
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax
from augrad.hypergradients.cg import ConjugateGradients
from augrad.hypergradients.neumann import Neumann
from augrad.hypergradients.none import NoHypergradient
from augrad.hypergradients.one_step import OneStep
from augrad.hypergradients.t1t2 import T1T2
from augrad.hypergradients.unrolled import Unrolled
from augrad.models.small_conv import SmallConvNet
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.whole_training import WholeTraining
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.ranks import ALONE, Ranks, joined, left
from augrad.search import begin_search, search_step
from augrad.settings import SearchSettings, TrainSettings

COUNT, BATCH, STEPS = 90, 11, 4  # shares of 5 and of 6 images
CASES: dict[str, dict[str, Any]] = {
    "gumbel, one_step": {"estimator": Gumbel(), "hypergradient": OneStep()},
    "shared difference": {"derivative": "shared_difference", "estimator": Gumbel(), "hypergradient": OneStep()},
    "pathwise, unrolled": {"estimator": Gumbel(magnitude="pathwise"), "hypergradient": Unrolled(steps=3)},
    "pixels": {"estimator": Gumbel(relaxation="straight_through_pixels"), "hypergradient": OneStep()},
    "rebar, cg": {"estimator": Rebar(), "hypergradient": ConjugateGradients(iterations=3)},
    "relax, neumann": {"estimator": Relax(), "hypergradient": Neumann(terms=2)},
    "reinforce, t1t2, two draws": {"draws": 2, "estimator": Reinforce(), "hypergradient": T1T2()},
    "enumerate, difference": {
        "derivative": "finite_difference",
        "estimator": Enumerate(),
        "hypergradient": OneStep(),
        "stages": 1,
    },
}


class BatchNormNet(nn.Sequential):
    """A network in which the images of a batch act on each other."""

    def __init__(self, in_channels: int, class_count: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 6, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, class_count),
        )


class SkippingNet(nn.Module):
    """Of two layers, alike, it takes one by chance, or none: the others have no gradient in that step."""

    def __init__(self, in_channels: int, class_count: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 6, 3, stride=2, padding=1)
        self.one, self.other = nn.Linear(6, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, class_count)

    def forward(self, images: Tensor) -> Tensor:
        found, which = torch.tanh(self.stem(images)).mean((2, 3)), int(torch.randint(3, ()))
        return self.head(self.one(found) if which == 0 else self.other(found) if which == 1 else found)


COUPLED: dict[str, dict[str, Any]] = {
    f"BatchNorm, {name}": {**case, "model": BatchNormNet}
    for name, case in CASES.items()
    if name not in ("pixels", "relax, neumann", "enumerate, difference")
}
"""Of which a process's share is one of two parts of the batch: not what one process finds with all of it."""


def some_splits() -> Splits:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(COUNT) % 3
    images = torch.randint(0, 200, (COUNT, 3, 16, 16), generator=generator, dtype=torch.uint8)
    images[labels == 1, 0] += 50
    split = Split(images, labels)
    return Splits("random", 3, split, split, split, split, "0" * 64)


def searched(ranks: Ranks, case: dict[str, Any], parts_of_batch: int = 1) -> dict[str, Any]:
    space = make_space(dict.fromkeys(["identity", "rotate", "brightness", "cutout"]))
    settings = SearchSettings(
        steps=50,
        batch_size=BATCH,
        validation_batch_size=13,
        warmup_steps=1,
        warmup_share=0.5,
        clip_norm=1.0,
        accumulation_steps=parts_of_batch,
    )
    data = some_splits()
    state, parts = begin_search(
        data,
        case.get("model", partial(SmallConvNet, width=8)),
        policy=initial_policy(space, stages=case.get("stages", 2), subpolicies=1),
        objective=Bilevel(case.get("derivative", "jvp"), case.get("draws", 1)),
        estimator=case["estimator"],
        hypergradient=case["hypergradient"],
        regularizers=(),
        optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=1e-3),
        policy_optimizer=partial(torch.optim.Adam, lr=0.1),
        standard=StandardAugmentation(crop_padding=2, flip=True, cutout=4),
        settings=settings,
        seed=0,
        device=torch.device("cpu"),
        ranks=ranks,
    )
    training, validation = EpochBatches(COUNT, BATCH, 0), EpochBatches(COUNT, 13, 1)
    rows, passed = [], []
    state.model.register_forward_pre_hook(lambda _, given: passed.append(len(given[0])))
    for _ in range(STEPS):
        row = search_step(state, parts, training, validation)
        rows.append({name: float(row[name]) for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy")})
        state.step += 1
    policy = torch.cat([parameter.detach().flatten() for parameter in state.policy.params.tensors()])
    model = torch.cat([parameter.detach().flatten() for parameter in state.model.parameters()])
    return {"policy": policy.tolist(), "model": model.tolist(), "rows": rows, "largest": max(passed)}


def population(ranks: Ranks, stopping: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Two generations of three pairs, which are seven trainings, and one that is shared by no two processes evenly."""
    settings = SearchSettings(steps=2)
    recipe = TrainSettings(steps=3, batch_size=16)
    state, parts = begin_search(
        some_splits(),
        partial(SmallConvNet, width=8),
        policy=initial_policy(make_space(dict.fromkeys(["identity", "rotate", "brightness"])), stages=1, subpolicies=1),
        objective=WholeTraining(train=recipe, pairs=3, processes=1),
        estimator=NoEstimator(),
        hypergradient=NoHypergradient(),
        regularizers=(),
        optimizer=partial(torch.optim.SGD, lr=0.05),
        policy_optimizer=partial(torch.optim.Adam, lr=0.1),
        standard=StandardAugmentation(),
        settings=settings,
        seed=0,
        device=torch.device("cpu"),
        ranks=ranks,
    )
    training, validation = EpochBatches(COUNT, BATCH, 0), EpochBatches(COUNT, 13, 1)
    policies, losses = [], []
    for _ in range(2):
        row = search_step(state, parts, training, validation, stopping)
        losses.append(float(row["val_loss"]))
        state.step += 1
        policies.append(torch.cat([values.detach().flatten() for values in state.policy.params.tensors()]).tolist())
    model = torch.cat([values.flatten() for values in state.model.state_dict().values()])
    return {"policies": policies, "losses": losses, "model": model.tolist()}


def stops(ranks: Ranks) -> bool:
    """Whether this process stops where the second one alone is asked to."""
    try:
        population(ranks, lambda: ranks.index == 1)
    except Stopped:
        return True
    return False


def main() -> None:
    torch.set_num_threads(1)
    ranks = joined(torch.device("cpu"))
    found: dict[str, Any] = {
        name: {
            "alone": searched(ALONE, case) if ranks.leads else None,
            "in parts": searched(ALONE, case, 2 if name in COUPLED else 3) if ranks.leads else None,
            "together": searched(ranks, case),
        }
        for name, case in (CASES | COUPLED).items()
    }
    found["skipping"] = {"together": searched(ranks, {**CASES["gumbel, one_step"], "model": SkippingNet})}
    found["population"] = {"alone": population(ALONE), "together": population(ranks)}
    found["stopped"] = stops(ranks)
    Path(sys.argv[1], f"{ranks.index}.json").write_text(json.dumps(found))
    left()


if __name__ == "__main__":
    main()
