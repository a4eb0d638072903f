"""How many images a batch has where nobody says it."""

from functools import partial

import pytest
import torch

from augrad import UserError
from augrad.data.digits import load_digits
from augrad.models.small_conv import SmallConvNet
from augrad.settings import SearchSettings, TrainSettings, batch_size_of
from augrad.train import Recipe


@pytest.mark.parametrize(
    ("images", "size"),
    [(10**6, 128), (512, 128), (511, 64), (256, 64), (162, 32), (128, 32), (127, 16), (64, 16), (20, 16), (1, 16)],
)
def test_an_epoch_of_few_images_has_several_batches(images: int, size: int) -> None:
    assert batch_size_of("auto", images) == size
    assert batch_size_of(7, images) == 7
    assert images < 64 or images // size >= 4


def test_a_training_has_the_steps_of_such_batches() -> None:
    data = load_digits(train_size=162, validation_size=60, selection_size=40)
    recipe = Recipe(data, SmallConvNet, partial(torch.optim.SGD, lr=0.1), TrainSettings(epochs=3))
    assert (recipe.batch_size, recipe.steps) == (32, 15)
    recipe = Recipe(data, SmallConvNet, partial(torch.optim.SGD, lr=0.1), TrainSettings(epochs=3, batch_size=162))
    assert (recipe.batch_size, recipe.steps) == (162, 3)


@pytest.mark.parametrize("kind", [SearchSettings, TrainSettings])
def test_it_is_a_number_or_auto(kind: type[SearchSettings] | type[TrainSettings]) -> None:
    assert kind().batch_size == "auto"
    for wrong in (0, "many", True):
        with pytest.raises(UserError, match=r"^batch_size: expected .*'auto', got"):
            kind(batch_size=wrong)  # type: ignore[arg-type]
