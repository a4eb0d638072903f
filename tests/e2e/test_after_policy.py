"""What training images undergo after the policy, inside a search: on all of them, and on no others."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from augrad.data.standard import NO_STANDARD, StandardAugmentation, StandardDraw
from augrad.data.types import LoadedSplit, Splits
from augrad.estimators.reinforce import Reinforce
from augrad.hypergradients.hypergradient import Hypergradient, Link, TwoLevels
from augrad.hypergradients.neumann import Neumann
from augrad.hypergradients.none import NoHypergradient
from augrad.hypergradients.one_step import OneStep
from augrad.hypergradients.t1t2 import T1T2
from augrad.hypergradients.unrolled import Unrolled
from augrad.learning.classifier import Weights
from augrad.models.small_conv import SmallConvNet
from augrad.objectives.adversarial import Adversarial
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.density_matching import DensityMatching
from augrad.objectives.objective import Aim, Objective, Step
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.search import Row, SearchParts, SearchState, new_state, run_search
from augrad.settings import SearchSettings

CELLS: list[tuple[Objective, Hypergradient]] = [
    (Bilevel(), OneStep()),
    (Bilevel(draws=2), Unrolled(steps=3)),
    (Bilevel(), Neumann(terms=2)),
    (Bilevel(), T1T2()),
    (Adversarial(teacher_weight=0.5), NoHypergradient()),
    (DensityMatching(), NoHypergradient()),
]
NAMES = [f"{type(objective).__name__}-{type(method).__name__}" for objective, method in CELLS]
# The slow ones are as many again; these two go every way that images take.
PARAMETERS = [
    pytest.param(*cell, id=name, marks=[] if index in (1, 5) else [pytest.mark.slow])
    for index, (cell, name) in enumerate(zip(CELLS, NAMES, strict=True))
]


@dataclass(frozen=True)
class HalfBright(StandardDraw):
    """Every image at half its brightness: exact in floating point."""

    def __call__(self, images: Tensor) -> Tensor:
        return images * 0.5


@dataclass(frozen=True)
class Halving(StandardAugmentation):
    def draw(self, images: Tensor, generator: torch.Generator) -> StandardDraw:
        return HalfBright()


def data() -> Splits:
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> LoadedSplit:
        images = 2 * torch.randint(0, 128, (count, 1, 8, 8), generator=generator)
        return LoadedSplit(images.to(torch.uint8), torch.arange(count) % 3)

    return Splits("even levels", 3, split(24), split(12), split(6), split(6), "")


class Noted:
    """A hypergradient method that keeps what it returned."""

    follows_rate = True
    passes = 2

    def __init__(self) -> None:
        self.links: list[Link] = []

    def __call__(self, levels: TwoLevels, memory: Weights) -> Link:
        self.links.append(Unrolled(steps=2)(levels, memory))
        return self.links[-1]


class Rows:
    def __init__(self) -> None:
        self.kept: list[Row] = []

    def rows(self, rows: list[Row]) -> None:
        self.kept += [{name: value for name, value in row.items() if name != "step_seconds"} for row in rows]

    def checkpoint(self, state: dict[str, Any]) -> None:
        pass

    def interrupted(self) -> bool:
        return False


def started(
    objective: Objective, method: Hypergradient, standard: StandardAugmentation, splits: Splits
) -> tuple[SearchState, SearchParts]:
    """A search whose model is the same whatever the splits. The operations are linear in the images."""
    parts = SearchParts(
        data=splits,
        objective=objective,
        estimator=Reinforce(),
        hypergradient=method,
        settings=SearchSettings(steps=2, batch_size=8, validation_batch_size=8, warmup_steps=0),
        seed=0,
        device=torch.device("cpu"),
        standard=standard,
    )
    builder = partial(SmallConvNet, width=8, activation="silu", pool="average")
    space = make_space({"horizontal_flip": {}, "rotate": {"high": 40.0}, "identity": {}})
    return (
        new_state(
            objective.model(builder, data(), 0, parts.device),
            initial_policy(space, stages=2),
            partial(torch.optim.SGD, lr=0.1, momentum=0.9),
            partial(torch.optim.Adam, lr=0.1),
            parts,
        ),
        parts,
    )


@pytest.mark.parametrize(("objective", "method"), PARAMETERS)
def test_all_training_images_undergo_it_and_no_others(objective: Objective, method: Hypergradient) -> None:
    """Bit for bit the search on training images of half the brightness, with the same validation images."""
    bright = data()
    dark = replace(bright, train=LoadedSplit(bright.train.images // 2, bright.train.labels))

    def searched(standard: StandardAugmentation, splits: Splits) -> tuple[list[Row], dict[str, Tensor]]:
        state, parts = started(objective, method, standard, splits)
        rows = Rows()
        assert run_search(state, parts, rows)
        assert len(rows.kept) == 2
        return rows.kept, {**state.model.state_dict(), **state.policy.state_dict()}

    (rows, state), (other_rows, other_state) = searched(Halving(), bright), searched(NO_STANDARD, dark)
    assert rows == other_rows
    assert all(torch.equal(tensor, other_state[name]) for name, tensor in state.items())
    assert rows != searched(NO_STANDARD, bright)[0]


def first_aim(state: SearchState, parts: SearchParts) -> Aim:
    step = Step(
        model=state.model,
        companion=state.companion,
        policy=state.policy,
        optimizer=state.optimizer,
        generator=state.generator,
        batch=lambda ahead: parts.data.train[torch.arange(8) + ahead],
        validation=parts.data.validation,
        hypergradient=parts.hypergradient,
        memory={},
        clip_norm=None,
        autocast=False,
        standard=parts.standard,
    )
    return parts.objective(step)


@pytest.mark.parametrize(("objective", "method"), PARAMETERS)
def test_evaluations_of_a_steps_scalar_share_its_draws(objective: Objective, method: Hypergradient) -> None:
    state, parts = started(objective, method, StandardAugmentation(2, True, 3, 0.5), data())
    aim = first_aim(state, parts)
    sample, before = state.policy.sample(aim.batch_size, torch.Generator().manual_seed(1)), state.generator.get_state()
    first, again = aim.scalar(sample), aim.scalar(sample)
    other = first_aim(state, parts).scalar(sample)  # another step's
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(state.generator.get_state(), before)


@pytest.mark.parametrize(("objective", "method"), PARAMETERS)
def test_an_objective_returns_gradients_and_leaves_the_parameters_alone(
    objective: Objective, method: Hypergradient
) -> None:
    """The gradients are those of what the model minimises; nothing of it is in the model after the call."""
    state, parts = started(objective, method, NO_STANDARD, data())
    before = {name: parameter.detach().clone() for name, parameter in state.model.named_parameters()}
    aim = first_aim(state, parts)
    assert all(parameter.grad is None for parameter in state.model.parameters())
    assert all(torch.equal(parameter, before[name]) for name, parameter in state.model.named_parameters())
    assert set(aim.gradients) == set(before)
    assert all(gradient.shape == before[name].shape for name, gradient in aim.gradients.items())
    assert any(gradient.any() for gradient in aim.gradients.values())


def test_a_frozen_parameter_stays_and_has_no_part_in_the_hypergradient() -> None:
    """As where only the head of a trained network learns. Without momentum, weight decay alone would move it."""
    method = Noted()
    state, parts = started(Bilevel(), method, NO_STANDARD, data())
    frozen, trained = (list(state.model.parameters())[place] for place in (0, -1))
    frozen.requires_grad_(False)
    decay = partial(torch.optim.SGD, lr=0.1, weight_decay=0.5)
    state = new_state(state.model, state.policy, decay, partial(torch.optim.Adam, lr=0.1), parts)
    before, moved = frozen.clone(), trained.detach().clone()
    assert run_search(state, parts, Rows())
    assert torch.equal(frozen, before)
    assert not torch.equal(trained, moved)
    for link in method.links:
        names = {name for name, parameter in state.model.named_parameters() if parameter is not frozen}
        assert [set(term.u) for term in link.terms] == [names, names]


def test_repeated_draws_of_an_image_have_draws_of_their_own() -> None:
    """Of the augmentation, too: with a policy that does nothing, what is left to tell them apart."""
    counted: list[int] = []

    @dataclass(frozen=True)
    class Counting(StandardAugmentation):
        def draw(self, images: Tensor, generator: torch.Generator) -> StandardDraw:
            counted.append(len(images))
            return StandardAugmentation.draw(self, images, generator)

    state, parts = started(Bilevel(draws=3), Unrolled(steps=2), Counting(crop_padding=2), data())
    aim = first_aim(state, parts)
    assert counted == [8, 8, 24, 24]  # this step's batch, the next one's, and three draws for each
    assert aim.batch_size == 48
