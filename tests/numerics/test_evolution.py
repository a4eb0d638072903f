"""Evolution strategies against closed forms, and a search over whole trainings against the trainings themselves."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from augrad import Policy, SearchSettings, Splits, UserError, learn
from augrad.data.folds import fold_of
from augrad.data.seeding import local_generator
from augrad.data.standard import NO_STANDARD
from augrad.errors import AugradWarning, Stopped
from augrad.learning.step import evaluate
from augrad.models.small_conv import SmallConvNet
from augrad.objectives.evolution import as_params, directions, gradient, moved
from augrad.objectives.slopes import gradient_of, no_slopes
from augrad.objectives.whole_training import WholeTraining, seed_of_pair
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy
from augrad.settings import TrainSettings
from augrad.train import many
from augrad.train.loop import Recipe, trained
from augrad.train.many import Judged, judged_trainings
from augrad.types import PolicyParams


def a_policy() -> Policy:
    """Two sub-policies with some of everything fixed: n = 2 + 2 * (4 + 3 + 3) free parameters."""
    space = make_space({"identity": None, "rotate": None, "brightness": None, "posterize": None})
    return initial_policy(space, subpolicies=2, stages=1)


def flat(params: PolicyParams) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in params.tensors()])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_what_is_moved_is_what_can_be_learned() -> None:
    policy = a_policy()
    policy.gate_logits.requires_grad_(False)
    step = torch.arange(1, 17, dtype=torch.float64)  # 2 weights, 8 operations, 6 magnitudes
    added = flat(moved(policy, step).params) - flat(policy.params)
    assert torch.allclose(added, flat(as_params(policy, step)))
    assert sorted(added[added != 0].tolist()) == pytest.approx(step.tolist())
    other = moved(policy, step)
    assert torch.equal(other.gate_logits, policy.gate_logits)
    assert torch.equal(other.magnitude_log_scales, policy.magnitude_log_scales)
    assert not other.gate_logits.requires_grad


def test_directions_are_normal_and_at_right_angles() -> None:
    policy = a_policy()
    rows = directions(policy, 30, generator())
    count = 22
    assert rows.shape == (30, count)
    block = rows[:count] @ rows[:count].T
    assert torch.allclose(block, torch.diag(block.diagonal()), atol=1e-9)
    assert torch.equal(rows, directions(policy, 30, generator()))
    drawn = torch.cat([directions(policy, count, torch.Generator().manual_seed(seed)) for seed in range(200)])
    size = drawn.numel()
    for power, moment in ((1, 0.0), (2, 1.0), (4, 3.0)):
        spread = math.sqrt(math.prod(range(2 * power - 1, 0, -2)))
        assert float((drawn**power).mean()) == pytest.approx(moment, abs=5 * spread / math.sqrt(size))


def test_all_directions_give_the_gradient_of_a_quadratic_function() -> None:
    drawn = torch.randn(7, 7, dtype=torch.float64, generator=generator())
    matrix, at = drawn + drawn.T, torch.linspace(-1, 1, 7, dtype=torch.float64)
    rows = math.sqrt(7) * torch.linalg.qr(drawn).Q

    def losses(points: Tensor) -> Tensor:
        return 0.5 * ((points @ matrix) * points).sum(-1) + 3

    found = gradient(rows, losses(at + 0.7 * rows), losses(at - 0.7 * rows), 0.7)
    assert torch.allclose(found, matrix @ at)


def test_the_mean_is_the_gradient_of_the_smoothed_function() -> None:
    """Of sum x^3 + x^2, smoothed by a width w: 3 (x^2 + w^2) + 2 x."""
    policy, width = a_policy(), 0.7
    at = torch.linspace(-1, 1, 22, dtype=torch.float64)
    rows = torch.cat([directions(policy, 22, torch.Generator().manual_seed(seed)) for seed in range(1000)])

    def losses(points: Tensor) -> Tensor:
        return (points**3 + points**2).sum(-1)

    each = torch.stack([gradient(part, losses(at + width * part), losses(at - width * part), width)
                        for part in rows.split(220)])  # fmt: skip
    error = each.std(0) / math.sqrt(len(each))
    assert bool(((each.mean(0) - 3 * (at**2 + width**2) - 2 * at).abs() < 4.5 * error).all())
    assert float(error.max()) < 0.5


def test_a_diverged_pair_says_nothing() -> None:
    rows = torch.eye(3, dtype=torch.float64)
    losses = torch.tensor([[1.0, math.inf, math.nan], [0.0, 1.0, 2.0]], dtype=torch.float64)
    assert gradient(rows, losses[0], losses[1], 0.5).tolist() == [1 / 3, 0.0, 0.0]


def test_what_a_step_says_of_pairs_that_diverged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers alone: the search, which ends where one of them is not finite, goes on."""
    given = many._judged

    def judged(recipe: Recipe, policy: Policy, seed: int, with_state: bool) -> Judged:
        found = given(recipe, policy, seed, with_state)
        calls.append(seed)
        return replace(found, loss=math.inf, state={}) if len(calls) == 2 else found

    calls: list[int] = []
    monkeypatch.setattr(many, "_judged", judged)
    result = learn(digits(), network, objective=whole(processes=1), steps=1, policy=a_policy(), device="cpu")
    (row,) = result.metrics
    assert (row["diverged"], result.finished) == (1.0, True)
    assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))


def test_a_policy_of_which_nothing_is_learned() -> None:
    policy = a_policy()
    for parameter in policy.parameters():
        parameter.requires_grad_(False)
    with pytest.warns(AugradWarning, match="nothing of it can be learned"):
        result = learn(digits(), network, objective=whole(1, processes=1), steps=1, policy=policy, device="cpu")
    assert torch.equal(flat(result.final_policy.params), flat(policy.params))


def test_there_is_no_warm_up() -> None:
    policy = Policy.over(["rotate", "invert"])
    settings = SearchSettings(steps=5, warmup_steps=5, log_every=1)
    result = learn(
        digits(), network, objective=whole(1, processes=1), policy=policy, device="cpu", settings=settings,
        callback=lambda row: True,
    )  # fmt: skip
    assert not torch.equal(flat(result.final_policy.params), flat(policy.params))


@pytest.mark.parametrize("processes", [1, 2])
def test_trainings_can_be_stopped(processes: int) -> None:
    recipe = Recipe(digits(), network, OPTIMIZER, replace(SETTINGS, epochs=3), NO_STANDARD)
    with pytest.raises(Stopped):
        list(judged_trainings(recipe, [a_policy()] * 3, [0, 1, 2], processes, lambda: True))


def digits() -> Splits:
    drawn = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 3
    images = (0.3 * torch.rand(120, 8, 8, generator=drawn) + 0.2 * labels[:, None, None]).numpy()
    return Splits.from_arrays(images, labels.numpy(), validation_fraction=0.3)


def network(in_channels: int, class_count: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, 8), nn.SiLU(), nn.Linear(8, class_count))


SETTINGS = TrainSettings(epochs=2, batch_size=16)
OPTIMIZER = partial(torch.optim.SGD, lr=0.1)


def whole(pairs: int = 2, **others: object) -> WholeTraining:
    return WholeTraining(SETTINGS, OPTIMIZER, pairs, 0.7, **{"folds": None, **others})  # type: ignore[arg-type]


def measured(
    data: Splits, policy: Policy, rows: torch.Tensor, generation: int, folds: int | None = None
) -> torch.Tensor:
    """The losses ahead and behind in these directions, training by training."""
    losses = []
    for pair, row in enumerate(rows):
        number = 2 * generation + pair
        own = data if folds is None else fold_of(data, folds, number % folds, 5)
        for sign in (1, -1):
            seed, beside = seed_of_pair(5, number), moved(policy, sign * 0.7 * row)
            other = trained(Recipe(own, network, OPTIMIZER, SETTINGS), beside, seed).model
            losses.append(float(evaluate(other, own.validation).loss))
    return torch.tensor(losses, dtype=torch.float64).unflatten(0, (2, 2)).T


@pytest.mark.parametrize("folds", [None, 2, 3])
def test_a_step_is_the_estimate_of_its_trainings(folds: int | None) -> None:
    """A step of plain gradient descent with a rate of 1 shows the gradient: recomputed training by training."""
    data, policy = digits(), Policy.over({"brightness": None, "invert": None})
    result = learn(
        data, network, policy=policy, objective=whole(processes=1, memory=None, folds=folds), regularizers=(), steps=1,
        policy_optimizer=partial(torch.optim.SGD, lr=1.0), select_every=1, seed=5, device="cpu",
    )  # fmt: skip
    rows = directions(policy, 2, local_generator(5, "search draws"))
    expected = as_params(policy, gradient(rows, *measured(data, policy, rows, 0, folds), 0.7))
    step = flat(policy.params) - flat(result.final_policy.params)
    assert torch.allclose(step, flat(expected), atol=1e-12)
    assert step.abs().max() > 1e-6

    own = data if folds is None else fold_of(data, folds, 0, 5)
    centre = trained(Recipe(own, network, OPTIMIZER, SETTINGS), policy, 5).model
    assert all(torch.equal(a, b) for a, b in zip(centre.parameters(), result.model.parameters(), strict=True))
    assert result.best_loss == float(evaluate(centre, data.selection).loss)
    assert torch.equal(flat(result.policy.params), flat(policy.params))  # the one that was trained with, not the next


def test_a_step_remembers_the_generations_before_it() -> None:
    data, policy = digits(), Policy.over({"brightness": None, "invert": None})
    results = [
        learn(
            data,
            network,
            policy=policy,
            objective=whole(processes=1, memory=0.8),
            regularizers=(),
            steps=steps,
            policy_optimizer=partial(torch.optim.SGD, lr=1.0),
            select_every=1,
            policy_schedule="constant",
            seed=5,
            device="cpu",
        )
        for steps in (1, 2)
    ]
    between = results[0].final_policy
    generator = local_generator(5, "search draws")
    slopes = no_slopes(len(directions(policy, 1, local_generator(0, ""))[0]))
    for generation, at in enumerate((policy, between)):
        rows = directions(at, 2, generator)
        ahead, behind = measured(data, at, rows, generation)
        slopes = slopes.and_new(rows, (ahead - behind) / 1.4)
    step = flat(between.params) - flat(results[1].final_policy.params)
    assert torch.allclose(step, flat(as_params(policy, gradient_of(slopes, 0.3, 0.8))), atol=1e-12)


@pytest.mark.slow
def test_the_number_of_processes_decides_nothing() -> None:
    first, second = (
        learn(digits(), SmallConvNet, objective=whole(processes=processes), steps=2, warmup_steps=0, device="cpu",
              policy=Policy.over(["rotate", "invert"]))
        for processes in (1, 2)
    )  # fmt: skip
    assert torch.equal(flat(first.final_policy.params), flat(second.final_policy.params))


@pytest.mark.parametrize(
    "wrong",
    [{"pairs": 0}, {"width": 0.0}, {"width": math.inf}, {"processes": 0}, {"processes": 10**6}, {"memory": 1.5},
     {"folds": 1}, {"folds": "three"}, {"folds": True}, {"train": 3}, {"train": TrainSettings}],
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong: dict[str, float | str]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        WholeTraining(**wrong)  # type: ignore[arg-type]
