"""What a run will take is told once, by parts, from what was measured; and by which keys it takes less."""

from functools import partial

import pytest
import torch
from omegaconf import OmegaConf

from augrad import Policy
from augrad.cli import costs
from augrad.cli.costs import Costs, Trainings, time_left, too_short
from augrad.data.digits import load_digits
from augrad.models.small_conv import SmallConvNet
from augrad.settings import TrainSettings
from augrad.train import Recipe

CONFIG = OmegaConf.create({"search": {"steps": 1000, "batch_size": 128}, "train": {"epochs": 50, "steps": None}})
POLICY = Policy.over(["identity", "rotate"])


def recipe(**settings: object) -> Recipe:
    data = load_digits(train_size=100, validation_size=60, selection_size=40)
    model = partial(SmallConvNet, width=8)
    return Recipe(data, model, partial(torch.optim.SGD, lr=0.05), TrainSettings(batch_size=50, **settings))  # type: ignore[arg-type]


def test_each_part_and_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "_seconds_of_step", lambda recipe, policy: 0.5)
    then = [Trainings("choice", 10, recipe(steps=40), 2), Trainings("comparison", 3, recipe(epochs=10), 2)]
    assert list(time_left(CONFIG, 100.0, then, POLICY)) == [
        "time left: about 3:40 min: search 1:40 min, choice 1:40 min (10 trainings x 40 steps), "
        "comparison 20 s (3 trainings x 20 steps)"
    ]
    assert list(time_left(CONFIG, 39.0, [], POLICY)) == []
    whole, less = time_left(CONFIG, 1000.0, [], POLICY)
    assert whole == "time left: about 16:40 min: search 16:40 min"
    assert less == (
        "time left: less of any of these makes it shorter: search.steps=1000, search.batch_size=128, train.epochs=50; "
        "or take experiment=quick"
    )


@pytest.mark.parametrize(
    ("seconds", "tells"),
    [([9.0, 0.5, 0.5], 1), ([0.1, 0.1, 0.1], None), ([40.0, 9.0], 1), ([65.0, 0.1], None)],
)
def test_it_is_said_once_by_the_first_measurement_that_counts(seconds: list[float], tells: int | None) -> None:
    said: list[str] = []
    watch = Costs(CONFIG, [], said.append)
    lengths = []
    for one in seconds:
        watch.measured(one, 200, POLICY)
        lengths.append(len(said))
    assert lengths == [0 if tells is None or number < tells else lengths[tells] for number in range(len(seconds))]
    assert tells is None or lengths[tells] > 0


def test_threads_without_processors_to_themselves_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (words,) = costs.crowded(1.6, 2, 2)
    assert words == (
        "time left: other programs use 2 of 2 processors, and 2 threads here wait for each other: OMP_NUM_THREADS=1 "
        "before the command may make it several times faster"
    )
    assert not list(costs.crowded(0.4, 2, 2))  # the processors are free
    assert not list(costs.crowded(9.0, 2, 1))  # one thread waits for nobody
    assert not list(costs.crowded(3.0, 8, 4))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert not list(costs.crowded(1.6, 2, 2))  # it was chosen


def test_a_training_step_is_measured_on_a_real_training() -> None:
    step = costs._seconds_of_step(recipe(steps=400), POLICY)
    assert 0 < step < 600  # of a machine that has other work
    one = recipe(steps=400)
    broken = Recipe(one.splits, one.model, partial(torch.optim.SGD, lr=1e38), one.settings)
    assert costs._seconds_of_step(broken, POLICY) == 0.0


def test_trainings_that_are_too_short_are_told_before_the_search() -> None:
    then = [Trainings("choice", 10, recipe(steps=40), 2), Trainings("comparison", 3, recipe(steps=400), 2)]
    assert [words.partition(":")[0] for words in too_short(then)] == ["trainings of 40 steps"]
