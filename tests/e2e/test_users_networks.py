"""Searches and trainings of networks as users write them: dropout, frozen and unused weights, counters."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from augrad import Policy, learn
from augrad.data.types import Split, Splits
from augrad.errors import UserError
from augrad.estimators.gumbel import Gumbel
from augrad.hypergradients.cg import ConjugateGradients
from augrad.hypergradients.hypergradient import Hypergradient
from augrad.hypergradients.none import NoHypergradient
from augrad.hypergradients.one_step import OneStep
from augrad.hypergradients.unrolled import Unrolled
from augrad.objectives.adversarial import Adversarial
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.density_matching import DensityMatching
from augrad.objectives.objective import Objective
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.search import Row, SearchParts, SearchState, new_state, run_search
from augrad.settings import SearchSettings, TrainSettings
from augrad.train import train_classifier

# torch's first forward-mode pass imports a module of its own that uses what torch itself deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")


class Users(nn.Module):
    """Half of what can go wrong: dropout of both kinds, a frozen layer, one without use, and a counter."""

    def __init__(self, in_channels: int, class_count: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 6, 3).requires_grad_(False)
        self.norm = nn.InstanceNorm2d(6, affine=True, track_running_stats=True)
        self.still = nn.BatchNorm2d(6).eval()
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(6, class_count)
        self.unused = nn.Linear(3, 3)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        self.passes += self.training
        features = torch.relu(self.still(self.norm(self.stem(images)))).mean((2, 3))
        return self.head(nn.functional.dropout(self.drop(features), 0.1, self.training))


def data() -> Splits:
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randint(0, 256, (count, 1, 8, 8), generator=generator)
        return Split(images.to(torch.uint8), torch.arange(count) % 3)

    return Splits("noise", 3, split(24), split(12), split(6), split(6), "")


class Kept:
    """An observer that keeps rows and the last checkpoint."""

    def __init__(self) -> None:
        self.rows_: list[Row] = []
        self.file = io.BytesIO()

    def rows(self, rows: list[Row]) -> None:
        self.rows_ += [{name: value for name, value in row.items() if name != "step_seconds"} for row in rows]

    def checkpoint(self, state: dict[str, Any]) -> None:
        self.file = io.BytesIO()
        torch.save(state, self.file)

    def interrupted(self) -> bool:
        return False


def search_of(objective: Objective, method: Hypergradient, seed: int = 0) -> tuple[SearchState, SearchParts]:
    settings = SearchSettings(steps=6, batch_size=8, validation_batch_size=8, warmup_steps=0, select_every=2)
    parts = SearchParts(data(), objective, Gumbel(), method, settings, seed, torch.device("cpu"))
    policy = initial_policy(make_space({"identity": {}, "rotate": {}, "brightness": {}, "invert": {}}), stages=2)
    optimizers = (
        partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
        partial(torch.optim.Adam, lr=0.1),
    )
    model = objective.model(Users, parts.data, seed, parts.device)
    return new_state(model, policy, *optimizers, parts), parts


def tensors_of(state: SearchState) -> dict[str, Tensor]:
    return {
        **state.model.state_dict(),
        **{f"policy {name}": value for name, value in state.policy.state_dict().items()},
    }


CELLS: list[tuple[Objective, Hypergradient]] = [
    (Bilevel(), OneStep()),
    (Bilevel("finite_difference"), Unrolled(steps=2)),
    (Bilevel(), ConjugateGradients(iterations=2)),
    (Adversarial(), NoHypergradient()),
    (DensityMatching(), NoHypergradient()),
]


@pytest.mark.parametrize(("objective", "method"), CELLS)
def test_a_resumed_search_is_the_uninterrupted_one_whatever_the_global_generator(
    objective: Objective, method: Hypergradient
) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    state, parts = search_of(objective, method)
    whole = Kept()
    assert run_search(state, parts, whole)
    assert torch.equal(before, torch.get_rng_state())

    torch.manual_seed(2)
    first, rest = Kept(), Kept()
    run_search(*search_of(objective, method), first, until=3)
    torch.manual_seed(3)
    resumed, parts = search_of(objective, method)
    first.file.seek(0)
    resumed.load_state_dict(torch.load(first.file, weights_only=True))
    run_search(resumed, parts, rest)
    assert first.rows_ + rest.rows_ == whole.rows_
    expected, found = tensors_of(state), tensors_of(resumed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_dropout_has_new_masks_at_every_step_and_for_every_seed() -> None:
    class Watched(nn.Module):
        seen: ClassVar[list[Tensor]] = []

        def __init__(self, in_channels: int, class_count: int) -> None:
            super().__init__()
            self.head = nn.Linear(64, class_count)

        def forward(self, images: Tensor) -> Tensor:
            self.seen.append(nn.functional.dropout(torch.ones(32), 0.5, self.training))
            return self.head(images.flatten(1))

    masks = []
    for seed in (0, 1):
        Watched.seen.clear()
        state, parts = search_of(Bilevel(), OneStep(), seed)
        state.model.network = Watched(1, 3)
        state.optimizer = torch.optim.SGD(state.model.parameters(), lr=0.1)
        run_search(state, parts, Kept(), until=2)
        training = [mask for mask in Watched.seen if not bool(mask.all())]
        assert len(training) == 6  # each step: the training pass, the validation pass, the scores
        assert all(torch.equal(mask, training[0]) for mask in training[:3])
        masks += [training[0], training[3]]
    assert len({tuple(mask.tolist()) for mask in masks}) == 4


def test_the_search_changes_what_it_trains_and_nothing_else() -> None:
    state, parts = search_of(Bilevel(), OneStep())
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    modes = [module.training for module in state.model.modules()]
    run_search(state, parts, Kept())
    after = state.model.state_dict()
    for name in before:
        stays = any(part in name for part in ("stem", "unused", "still.running", "still.num", "mean", "deviation"))
        stays = (stays and "norm.running" not in name) or name == "network.norm.num_batches_tracked"
        assert torch.equal(before[name], after[name]) is stays, name
    assert float(after["network.passes"]) == 6
    assert [module.training for module in state.model.modules()] == modes
    assert not state.model.network.still.training


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(("objective", "method"), CELLS)
def test_a_search_does_not_depend_on_the_callers_grad_mode(
    objective: Objective, method: Hypergradient, mode: Callable[[], Any]
) -> None:
    expected, parts = search_of(objective, method)
    run_search(expected, parts, Kept(), until=2)
    found, parts = search_of(objective, method)
    with mode():
        run_search(found, parts, Kept(), until=2)
    wanted, got = tensors_of(expected), tensors_of(found)
    assert all(torch.equal(value, got[name]) for name, value in wanted.items())


def test_a_training_depends_on_its_seed_alone_and_leaves_the_global_generator() -> None:
    def trained(seed: int) -> dict[str, Tensor]:
        settings = TrainSettings(epochs=2, batch_size=8)
        optimizer = partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=0.1)
        result = train_classifier(data(), Users, optimizer, None, settings, seed, torch.device("cpu"))
        return result.model.state_dict()

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = trained(0)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    second, other = trained(0), trained(1)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["network.head.weight"], other["network.head.weight"])


def test_a_training_refuses_what_it_could_not_train() -> None:
    def masked(in_channels: int, class_count: int) -> nn.Module:
        network = Users(in_channels, class_count)
        network.head.weight.register_hook(lambda gradient: 0 * gradient)
        return network

    builders = {"gradient hook of head.weight": masked, r"expected logits \[B, 3\]": lambda **given: Users(1, 2)}
    for words, builder in builders.items():
        with pytest.raises(UserError, match=words):
            train_classifier(data(), builder, torch.optim.SGD, None, TrainSettings(epochs=1), 0, torch.device("cpu"))


class Uncopied(nn.Linear):
    """A network that PyTorch cannot copy."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Uncopied":
        raise RuntimeError("no copies")


def trained_by(builder: Callable[..., nn.Module], seed: int) -> dict[str, Tensor]:
    sgd = partial(torch.optim.SGD, lr=0.1)
    settings = TrainSettings(steps=5, batch_size=8)
    found = train_classifier(data(), builder, sgd, None, settings, seed, torch.device("cpu"))
    return {name: value.clone() for name, value in found.model.state_dict().items()}


@pytest.mark.parametrize("shared", ["all of it", "its stem"])
def test_a_builder_that_gives_out_the_same_network_again_begins_anew(shared: str) -> None:
    """A training does not begin where the last one with it ended."""
    stem = nn.Linear(64, 5)
    whole = nn.Sequential(nn.Flatten(), stem, nn.Tanh(), nn.Linear(5, 3))

    def build(in_channels: int, class_count: int) -> nn.Module:
        head = nn.Linear(5, 3)
        return whole if shared == "all of it" else nn.Sequential(nn.Flatten(), stem, nn.Tanh(), head)

    before = {name: value.clone() for name, value in whole.state_dict().items()}
    first, second = trained_by(build, 0), trained_by(build, 0)
    assert all(torch.equal(first[name], value) for name, value in second.items())
    assert all(torch.equal(before[name], value) for name, value in whole.state_dict().items())
    assert not torch.equal(first["network.1.weight"], before["1.weight"])


def test_a_network_that_is_given_out_again_and_cannot_be_copied_is_refused() -> None:
    kept = nn.Sequential(nn.Flatten(), Uncopied(64, 3))
    trained_by(lambda in_channels, class_count: nn.Sequential(nn.Flatten(), Uncopied(64, 3)), 0)
    trained_by(lambda in_channels, class_count: nn.Sequential(nn.Flatten(), Uncopied(64, 3)), 0)
    trained_by(lambda in_channels, class_count: kept, 0)
    with pytest.raises(UserError, match="expected a new network from each call"):
        trained_by(lambda in_channels, class_count: kept, 1)


def of_flat_images(in_channels: int, class_count: int) -> nn.Module:
    """BatchNorm of one value a channel, which takes no single image."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5), nn.Linear(5, class_count))


@pytest.mark.parametrize("given", [{"batch_size": 1}, {"batch_size": 5, "accumulation_steps": 3}])
def test_what_cannot_be_trained_by_single_images_is_told_before(given: dict[str, int]) -> None:
    words = "it is trained by one image at a time"
    sgd = partial(torch.optim.SGD, lr=0.1)
    with pytest.raises(UserError, match=words):
        train_classifier(data(), of_flat_images, sgd, None, TrainSettings(steps=1, **given), 0, torch.device("cpu"))
    for own in (given, {**given, "batch_size": 6, "validation_batch_size": given["batch_size"]}):
        with pytest.raises(UserError, match=words):
            learn(data(), of_flat_images, policy=Policy.over(["invert"]), steps=1, **own)
    learn(data(), of_flat_images, policy=Policy.over(["invert"]), steps=1, batch_size=6, accumulation_steps=3)
