"""What a search leaves: the mean of the last policies, and the choice along the way from its start."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import augrad
from augrad.cli.search import main
from augrad.data.digits import load_digits
from augrad.data.folds import fold_of
from augrad.errors import NonFiniteError, UserError
from augrad.learning.step import evaluate
from augrad.models.small_conv import SmallConvNet
from augrad.policy import Policy
from augrad.policy.along import along, never_applied
from augrad.policy.learnable import learnable
from augrad.search.average import POWER, averaged
from augrad.search.choice import Chosen, Trial, candidates, choose, deciding, further
from augrad.search.words import words_of_choice
from augrad.settings import ChoiceSettings, TrainSettings
from augrad.train import Recipe
from augrad.train.loop import trained
from small_runs import SMALL

OPS = ["identity", "rotate", "invert"]
ONCE = ChoiceSettings(seeds=1, processes=1)


def policy(shift: float = 0.0) -> Policy:
    start = Policy.over(OPS, stages=2, subpolicies=2)
    moves = learnable(start)
    moved = {
        n: torch.where(moves[n], p + shift * torch.randn(p.shape, generator=draws(), dtype=p.dtype), p)
        for n, p in vars(start.params).items()
    }
    return start.with_params(augrad.PolicyParams(**{n: p.detach() for n, p in moved.items()}))


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def recipe(rate: float = 0.1, steps: int = 150) -> Recipe:
    data = load_digits(train_size=100, validation_size=60, selection_size=60)
    settings = TrainSettings(steps=steps, batch_size=50)
    return Recipe(data, partial(SmallConvNet, width=8), partial(torch.optim.SGD, lr=rate, momentum=0.9), settings)


def test_the_mean_weights_each_step_by_the_product_that_its_formula_gives() -> None:
    values = [torch.tensor([float(v)], dtype=torch.float64) for v in (5, -2, 7, 1, 4, 8)]
    mean: dict[str, torch.Tensor] = {}
    for count, value in enumerate(values, 1):
        mean = averaged(mean, {"x": value}, count)
    weights = torch.tensor([float(s * (s + 1) * (s + 2)) for s in range(1, 7)], dtype=torch.float64)
    assert POWER == 3
    torch.testing.assert_close(mean["x"], (weights * torch.cat(values)).sum(0, keepdim=True) / weights.sum())


def test_a_reach_is_a_distance_in_the_parameters_and_what_is_fixed_stays() -> None:
    start, end = policy(), policy(0.5)
    for reach, expected in ((0.0, start), (1.0, end)):
        for found, wanted in zip(along(start, end, reach).params.tensors(), expected.params.tensors(), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    twice = along(start, end, 2.0).params
    moves = learnable(start)
    for name, old in vars(start.params).items():
        new, far = getattr(end.params, name), getattr(twice, name)
        torch.testing.assert_close(far, torch.where(moves[name], 2 * new - old, old))
    with pytest.raises(UserError, match="operations"):
        along(start, Policy.over(["identity", "rotate"]), 2.0)


def test_never_applied_leaves_every_image_as_it_is() -> None:
    images = torch.rand(16, 1, 8, 8)
    assert torch.equal(never_applied(policy(0.5))(images, generator=draws()), images)


def test_the_lowest_loss_of_fresh_trainings_decides_and_each_is_done_once() -> None:
    start = augrad.Policy.over({"invert": {}}, probability=0.5)
    end = start.with_params(
        augrad.PolicyParams(
            **{**vars(start.params.map(torch.Tensor.detach)), "gate_logits": start.params.gate_logits.detach() - 2.0}
        )
    )
    tried = candidates(start, end, ONCE)
    assert list(tried) == ["none", "initial", "learned", "2 x learned", "4 x learned"]
    told: list[Trial] = []
    chosen = choose(recipe(), tried, 0, ONCE, done=told.append)
    assert chosen.images == 120
    assert chosen.decided
    assert chosen.name != "initial"  # no test digit is inverted, and it inverts the most
    assert chosen.loss == min(loss for loss, _ in chosen.means.values())
    again = choose(recipe(rate=1e9), tried, 0, ONCE, told)  # a rate that would diverge: nothing is trained
    assert (again.name, again.trials) == (chosen.name, chosen.trials)


def test_with_folds_each_seed_holds_out_another_part() -> None:
    asked, given = ChoiceSettings(seeds=3, folds=2, processes=1), recipe(steps=20)
    told: list[Trial] = []
    chosen = choose(given, {"learned": policy()}, 4, asked, done=told.append)
    assert chosen.images == 80 + 60  # a half of train and validation, and the selection split
    assert "on 140 images of a fold and selection (3 trainings" in words_of_choice(chosen)
    for number, trial in enumerate(told):
        own = replace(given, splits=deciding(fold_of(given.splits, 2, number % 2, 4)))
        again = evaluate(trained(own, policy(), trial.seed).model, own.splits.validation)
        assert (float(again.loss), float(again.accuracy)) == (trial.loss, trial.accuracy)
    others = choose(given, {"learned": policy()}, 4, replace(asked, folds=None)).trials
    assert not {one.key for one in told} & {one.key for one in others}


def test_while_the_furthest_is_the_best_twice_as_far_is_tried() -> None:
    """The policy inverts ever fewer images: the further, the better, until it inverts none."""
    start = augrad.Policy.over({"invert": {}}, probability=0.5)
    lower = {**vars(start.params.map(torch.Tensor.detach)), "gate_logits": start.params.gate_logits.detach() - 0.5}
    end = start.with_params(augrad.PolicyParams(**lower))
    asked = ChoiceSettings(reaches=(0.0, 1.0), furthest=8.0, none=False, seeds=1, processes=1)
    assert [name for name, _ in further(start, end, asked)] == ["2 x learned", "4 x learned", "8 x learned"]
    assert not list(further(start, end, ChoiceSettings(reaches=(0.0,))))
    chosen = choose(recipe(), candidates(start, end, asked), 0, asked, then=further(start, end, asked))
    losses = [loss for loss, _ in chosen.means.values()]
    assert list(chosen.means)[:3] == ["initial", "learned", "2 x learned"]
    assert losses[0] > losses[1] > losses[2]
    best = losses.index(min(losses))
    assert best in (len(losses) - 2, len(losses) - 1)  # it ends where the last is not the best, or at the furthest
    assert best == len(losses) - 2 or list(chosen.means)[-1] == "8 x learned"
    assert chosen.name == list(chosen.means)[best]
    torch.testing.assert_close(chosen.policy.params.gate_logits, start.params.gate_logits - 0.5 * 2 ** (best - 1))
    back = further(end, start, asked)  # the other way nothing is gained
    assert len(choose(recipe(), candidates(end, start, asked), 0, asked, then=back).means) == 2


def test_trainings_that_are_too_short_to_tell_leave_what_was_learned() -> None:
    tried = candidates(policy(), policy(1.0), ONCE)
    chosen = choose(recipe(rate=0.001, steps=10), tried, 0, ONCE)
    assert (chosen.name, chosen.decided) == ("learned", False)
    assert chosen.policy is tried["learned"]


def test_a_training_that_diverges_is_not_chosen_and_all_of_them_end_it() -> None:
    with pytest.raises(NonFiniteError, match=r"train\.optimizer\.lr"):
        choose(recipe(rate=1e9, steps=20), candidates(policy(), policy(1.0), ONCE), 0, ONCE)


def test_means_are_over_the_seeds_of_each() -> None:
    trials = tuple(
        Trial(n, s, loss, a, 0.1, 0.0, f"{n}{s}")
        for n, s, loss, a in (("a", 0, 1.0, 0.5), ("b", 0, 3.0, 0.1), ("a", 1, 2.0, 0.7))
    )
    assert Chosen(policy(), "a", 1.5, True, trials, 1).means == {"a": (1.5, pytest.approx(0.6)), "b": (3.0, 0.1)}


def test_a_resumed_search_takes_the_trainings_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    small = [*SMALL, "compare=null", "choose.furthest=4", f"hydra.run.dir={run}"]
    assert main(small) == 0
    assert "choice: 5 policies x 1 seed" in capsys.readouterr().err
    told = json.loads((run / "choice.json").read_text())
    assert len(told) == 5
    (run / "choice.json").write_text(json.dumps(told[1:]))
    assert main([f"resume={run}", f"hydra.run.dir={run}"]) == 0
    assert capsys.readouterr().err.count("(done before)") == 4
    assert json.loads((run / "choice.json").read_text()) == [*told[1:], told[0]]
    assert main([f"resume={run}", f"hydra.run.dir={run}", "train.epochs=2"]) == 0
    assert len(json.loads((run / "choice.json").read_text())) == 10  # nothing that was done is lost
    assert main([f"resume={run}", f"hydra.run.dir={run}", "choose=null"]) == 0


def test_a_policy_from_elsewhere_is_tried_and_left_where_it_is_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The search has nothing but inversion to offer, which no test digit has undergone."""
    run = tmp_path / "run"
    invert = ["~space.ops", "+space.ops={invert:{}}", "policy.probability=0.5", "choose.none=false"]
    asked = [
        "choose.also=[identity]",
        "choose.reaches=[0,1]",
        "choose.furthest=1",
        "train.steps=200",
        "train.batch_size=50",
    ]
    assert main([*SMALL, *invert, *asked, "compare=null", f"hydra.run.dir={run}"]) == 0
    told = json.loads((run / "choice.json").read_text())
    assert [one["name"] for one in told] == ["identity", "initial", "learned"]
    assert "What is left is identity, a policy from elsewhere" in " ".join(capsys.readouterr().out.split())
    images = torch.rand(8, 1, 8, 8)
    assert torch.equal(augrad.load_policy(run / "policy.json")(images), images)
    assert '"seed"' in (run / "policy.json").read_text()  # it says by what search it was left


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("choose.reaches=[]", "choose.reaches"),
        ("choose.reaches=[-1.0]", "choose.reaches"),
        ("choose.seeds=0", "choose.seeds"),
        ("choose.furthest=-1", "choose.furthest"),
        ("choose.also=[nowhere.json]", "nowhere.json"),
        ("choose.also=[learned]", "choose.also"),
        ("choose.also=[identity,identity]", "choose.also"),
        ("choose=5", "choose"),
        ("search.select=worst", "search.select"),
    ],
)
def test_what_cannot_be_is_refused_before_the_search(
    override: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "compare=null", override, f"hydra.run.dir={tmp_path / 'run'}"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
