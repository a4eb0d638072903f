import pytest
import torch

from augrad import ops
from augrad.data.digits import load_digits
from augrad.data.pixels import to_float, to_uint8
from augrad.data.planted import Planted, plant
from augrad.data.types import Split, Splits
from augrad.errors import UserError

CHANGED = ("validation", "selection", "test")


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load_digits()


def test_invert_changes_everything_but_train(digits):
    before = {part: getattr(digits, part).images.clone() for part in ("train", *CHANGED)}
    planted = load_digits(planted=Planted("invert", 0.0, 0.0))
    assert torch.equal(planted.train.images, before["train"])
    for part in CHANGED:
        assert torch.equal(getattr(planted, part).images, 255 - before[part])
        assert torch.equal(getattr(planted, part).labels, getattr(digits, part).labels)
    assert planted.sha256 == digits.sha256
    plant(digits, Planted("invert", 0.0, 0.0), seed=0)
    assert all(torch.equal(getattr(digits, part).images, images) for part, images in before.items())


def test_equal_ends_fix_the_magnitude(digits):
    planted = plant(digits, Planted("rotate", 30.0, 30.0), seed=0)
    for part in CHANGED:
        images = getattr(digits, part).images
        expected = to_uint8(ops.rotate(to_float(images), torch.full((len(images),), 30.0)))
        assert torch.equal(getattr(planted, part).images, expected)
        assert not torch.equal(expected, images)


def flat_splits(value: int, count: int) -> Splits:
    split = Split(torch.full((count, 1, 8, 8), value, dtype=torch.uint8), torch.zeros(count, dtype=torch.int64))
    return Splits("flat", 1, split, split, split, split, "")


def test_magnitudes_are_uniform_between_the_ends_and_of_one_stream_per_split():
    # On an image of one grey level, brightness shows its magnitude: level * (1 + magnitude). More images than a chunk.
    planted = plant(flat_splits(100, 3000), Planted("brightness", -0.5, 1.0), seed=4)
    drawn = {part: getattr(planted, part).images[:, 0, 0, 0].float() / 100 - 1 for part in CHANGED}
    for magnitude in drawn.values():
        assert -0.51 < magnitude.min() < -0.48
        assert 0.98 < magnitude.max() < 1.01
        assert abs(magnitude.mean() - 0.25) < 0.03
        assert abs(magnitude.std() - 1.5 / 12**0.5) < 0.02
        assert abs(magnitude[:1024].mean() - magnitude[2048:].mean()) < 0.1
        assert not torch.equal(magnitude[:900], magnitude[1024:1924])
    assert not torch.equal(drawn["validation"], drawn["selection"])
    assert not torch.equal(drawn["selection"], drawn["test"])
    again = plant(flat_splits(100, 3000), Planted("brightness", -0.5, 1.0), seed=4)
    other = plant(flat_splits(100, 3000), Planted("brightness", -0.5, 1.0), seed=5)
    assert torch.equal(again.test.images, planted.test.images)
    assert not torch.equal(other.test.images, planted.test.images)


def test_the_extra_draws_of_an_operation_are_drawn():
    planted = plant(flat_splits(255, 64), Planted("cutout", 0.25, 0.25), seed=0)
    # Squares at different places, not the same one in every image.
    assert len(planted.test.images.unique(dim=0)) > 8
    assert torch.equal(
        planted.test.images, plant(flat_splits(255, 64), Planted("cutout", 0.25, 0.25), seed=0).test.images
    )


def test_several_are_applied_one_after_the_other(digits):
    first, second = Planted("rotate", -45.0, 45.0), Planted("brightness", -0.5, -0.5)
    once = plant(digits, first, seed=2)
    assert torch.equal(plant(digits, [first], seed=2).test.images, once.test.images)
    both = plant(digits, [first, second], seed=2)
    assert torch.equal(both.train.images, digits.train.images)
    for part in CHANGED:
        turned = to_float(getattr(once, part).images)
        darker = to_uint8(ops.brightness(turned, torch.full((len(turned),), -0.5)))
        assert torch.equal(getattr(both, part).images, darker)
        assert torch.equal(getattr(both, part).labels, getattr(digits, part).labels)
    other = plant(digits, [second, first], seed=2)
    assert not torch.equal(other.test.images, both.test.images)
    assert torch.equal(plant(digits, [], seed=2).test.images, digits.test.images)


def test_the_same_operation_twice_is_drawn_twice():
    wide = Planted("brightness", -0.5, 0.0)
    once, twice = (plant(flat_splits(200, 500), given, seed=0).test.images for given in (wide, [wide, wide]))
    first = once[:, 0, 0, 0].float() / 200
    second = twice[:, 0, 0, 0].float() / 200 / first
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.15


def test_the_global_generator_is_not_used(digits):
    state = torch.get_rng_state()
    plant(digits, Planted("rotate", -45.0, 45.0), seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_whole_numbers_from_a_configuration_are_magnitudes(digits):
    whole, fractional = (plant(digits, p, seed=0) for p in (Planted("rotate", -45, 45), Planted("rotate", -45.0, 45.0)))
    assert torch.equal(whole.test.images, fractional.test.images)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (0.0, float("nan")), (float("-inf"), 0.0)])
def test_refuses_ranges_that_are_none(low, high):
    with pytest.raises(UserError, match=r"expected (finite magnitudes low <= high|a finite number)"):
        Planted("rotate", low, high)


def test_refuses_an_unknown_operation():
    with pytest.raises(UserError, match="rotat"):
        Planted("rotat", 0.0, 1.0)


def test_pixels_round_to_nearest_and_stay_in_range():
    values = torch.tensor([-0.1, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 1.2]).reshape(1, 1, 1, -1)
    assert to_uint8(values).flatten().tolist() == [0, 0, 0, 1, 255, 255]
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_uint8(to_float(every)), every)
    assert to_float(every).max() == 1
