"""What a training of a comparison measures, and a budget in steps."""

from functools import partial

import pytest
import torch

import augrad
from augrad.cli.comparison import recipe_digest
from augrad.comparison.rows import Place
from augrad.comparison.trainings import (
    Entrant,
    always,
    compare_policies,
    planned,
    policy_digest,
    training_splits,
)
from augrad.data.digits import load_digits
from augrad.data.types import Splits
from augrad.learning.step import evaluate
from augrad.models.small_conv import SmallConvNet
from augrad.policy.initial import even_policy, random_policy
from augrad.policy_file import format_policy
from augrad.policy_file.convert import document_of
from augrad.settings import TrainSettings
from augrad.train.loop import Recipe, trained

MODEL, SGD = partial(SmallConvNet, width=8), partial(torch.optim.SGD, lr=0.1)


@pytest.fixture(scope="module")
def data() -> Splits:
    return load_digits(train_size=100, validation_size=40, selection_size=40)


def _recipe(data: Splits, **settings: int) -> Recipe:
    return Recipe(data, MODEL, SGD, TrainSettings(batch_size=32, **settings))


def test_a_budget_in_steps(data: Splits) -> None:
    """Three batches an epoch; the last epoch is as long as what is left, and the rate ends where it should."""
    rows = []
    rates: list[float] = []

    class Recorded(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    settings = TrainSettings(batch_size=32, steps=7, epochs=1000)
    trained(Recipe(data, MODEL, partial(Recorded, lr=0.1), settings), None, 0, rows.append)
    assert [row["step"] for row in rows] == [3, 6, 7]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert len(rates) == 7
    cosine = [0.01 + 0.99 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / 7)).item()) for step in range(7)]
    assert rates == pytest.approx([0.1 * factor for factor in cosine], rel=1e-5)


def test_as_many_steps_as_the_epochs_have_are_the_same(data: Splits) -> None:
    networks = [trained(_recipe(data, **given), None, 3).model.state_dict() for given in ({"epochs": 2}, {"steps": 6})]
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


def test_a_row_says_what_the_classifier_does(data: Splits) -> None:
    recipe = _recipe(data, steps=6)
    policy = augrad.Policy.over({"invert": None}, probability=1.0)
    entrants = [
        Entrant("none", always(None)),
        Entrant("same", always(augrad.load_policy("identity"))),
        Entrant("p", always(policy), 4),
    ]
    none, same, inverted = compare_policies(planned(entrants, [0], [7]), {0: recipe})
    assert none.place == Place("none", None, 0, 7)
    assert inverted.place == Place("p", 4, 0, 7)
    network, loss, late = trained(recipe, None, 7)
    test, clean = evaluate(network, data.test), evaluate(network, data.train)
    assert (none.accuracy, none.loss) == (float(test.accuracy), float(test.loss))
    assert none.train_loss == float(clean.loss)
    assert none.held_out_loss == float(evaluate(network, data.selection).loss)
    assert none.diversity == same.diversity == loss
    assert none.late == late
    assert (none.steps, none.images) == (6, len(data.test))
    assert none.chance == pytest.approx(float(data.test.labels.bincount().max()) / len(data.test))
    assert none.affinities[same.digest] == 1.0
    upside_down = type(data.test)(255 - data.test.images, data.test.labels)
    expected = float(evaluate(network, upside_down).accuracy) / none.accuracy
    assert none.affinities[inverted.digest] == pytest.approx(expected)
    assert same.affinities == {}


def test_an_even_policy_is_where_a_search_starts() -> None:
    start = augrad.Policy.over({"rotate": {"high": 20.0}, "color": None, "invert": None}, stages=2, subpolicies=1)
    learned = random_policy(start, 3)
    assert policy_digest(learned) != policy_digest(start)
    assert policy_digest(even_policy(learned)) == policy_digest(start)


def test_what_a_policy_fixes_stays_in_its_controls() -> None:
    fixed = augrad.load_policy("trivialaugment_wide")
    assert format_policy(document_of(even_policy(fixed), {})) == format_policy(document_of(fixed, {}))


def test_what_is_trained_on(data: Splits) -> None:
    both, every = training_splits(data, True), training_splits(data, True, True)
    assert [len(one.train) for one in (data, both, every)] == [100, 140, 180]
    assert both.selection is data.selection
    assert every.selection is data.test  # nothing else is held out
    assert torch.equal(every.train.labels[140:], data.selection.labels)


def test_settings_that_are_off_are_the_trainings_of_before(data: Splits) -> None:
    before = {"train": {"epochs": 3, "optimizer": {"lr": 0.1}}}
    off = {"label_smoothing": 0.0, "ema": None, "channels_last": False, "compile": False}
    on = {"label_smoothing": 0.1, "ema": 0.9, "channels_last": True, "compile": True}
    known = recipe_digest(before, data, True)
    assert recipe_digest({"train": before["train"] | off}, data, True) == known
    digests = {recipe_digest({"train": before["train"] | off | {key: on[key]}}, data, True) for key in on}
    assert len(digests | {known, recipe_digest(before, data, True, True)}) == 6


def test_where_images_are_kept_makes_no_other_training(data: Splits) -> None:
    """And trainings from before there were two fits are those with the first one."""
    train = {"epochs": 3}
    before = {"train": train, "data": {"root": "x", "size": 8}}
    known = recipe_digest(before, data, True)
    for more in ({"store": None, "fit": "crop"}, {"store": "kept", "fit": "crop"}):
        assert recipe_digest({"train": train, "data": before["data"] | more}, data, True) == known
    assert recipe_digest({"train": train, "data": before["data"] | {"fit": "pad"}}, data, True) != known
