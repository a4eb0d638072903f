"""Values that mean nothing are refused where they are given, in words."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import RandAugment

import augrad
from augrad import Policy, PolicySample, UserError
from augrad.interop.albumentations import serialized
from augrad.interop.genotype import from_genotype, published, read_genotype
from augrad.interop.kornia import to_kornia
from augrad.interop.timm import from_timm, to_timm
from augrad.interop.torchvision import from_torchvision, to_torchvision
from augrad.objectives import WholeTraining
from augrad.policy import Slot
from problems import shapes_unchecked

POLICY = Policy.over(["rotate", "color"], stages=2, subpolicies=2)
ROTATE = augrad.ops.get("rotate")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: POLICY.sample(4, same_on_batch="no"), "same_on_batch: expected true or false, got 'no'"),
        (lambda: POLICY.sample(4, same_on_batch=np.ones(3)), "same_on_batch: expected true or false"),
        (lambda: POLICY.sample(10**30), "a whole number of at most 2147483647"),
        (lambda: POLICY.draw_noise(0), "a batch size, a whole number of at least 1, got 0"),
        (lambda: POLICY.draw_relaxed_noise("x"), "a batch size, a whole number of at least 1, got 'x'"),
        (lambda: Policy.over(["rotate", "color"], subpolicies=2, jitter=-1.0), "jitter from 0 to 1000, got -1"),
        (lambda: Policy.over(["rotate", "color"], subpolicies=2, jitter=1e21), "jitter from 0 to 1000, got 1e"),
        (lambda: Policy.over(["rotate"], jitter=float("nan")), "jitter"),
        (lambda: Policy(3, (((Slot(0),),),), POLICY.params), "expected ops as operations"),
        (lambda: Policy((op for op in [ROTATE]), (((Slot(0),),),), POLICY.params), "expected ops as operations"),
        (lambda: Policy.over(["rotate"], interpolation=np.ones(2)), "interpolation"),
        (lambda: augrad.load_policy(torch.ones(2)), "expected the path of a policy file, .* got Tensor"),
        (lambda: augrad.load_policy(np.ones(2)), "expected the path of a policy file, .* got ndarray"),
        (lambda: PolicySample.concatenate(torch.tensor(1)), "expected a list of samples, got Tensor"),
        (lambda: augrad.engine([]).__enter__(), "expected one of the engines"),
        (lambda: augrad.engine(np.ones(2)).__enter__(), "expected one of the engines"),
    ],
)
def test_they_are_refused(call: Callable[[], object], said: str) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match=said):
        call()


def test_a_temperature_may_be_any_number_above_0() -> None:
    with shapes_unchecked():
        drawn = POLICY.rsample(2, temperature=10**30, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(drawn.op).all()


IMAGES, LABELS = np.zeros((60, 8, 8), np.uint8) + np.arange(60, dtype=np.uint8)[:, None, None], np.arange(60) % 3


@pytest.mark.parametrize(
    "seed", [0.0, False, None, "0", -1, 10**30, float("nan"), object(), np.random.default_rng(0), torch.Generator()]
)
def test_a_seed_of_a_division_is_a_whole_number(seed: object) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match="seed: expected a whole number"):
        augrad.Splits.from_arrays(IMAGES, LABELS, seed=seed)  # type: ignore[arg-type]


def test_the_same_seed_of_any_kind_of_whole_number_divides_alike() -> None:
    with shapes_unchecked():
        divisions = [augrad.Splits.from_arrays(IMAGES, LABELS, seed=seed).division for seed in (3, np.int64(3))]
    assert divisions[0] == divisions[1]
    assert augrad.Splits.from_arrays(IMAGES, LABELS, seed=4).division != divisions[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"validation_fraction": "x"}, "validation_fraction: expected a number between 0 and 1, got 'x'"),
        ({"test_fraction": None}, "test_fraction: expected a number between 0 and 1, got None"),
        ({"selection_fraction": True}, "selection_fraction: expected a number between 0 and 1, got True"),
        ({"name": None}, "name: expected a text, got None"),
        ({"name": 3}, "name: expected a text, got 3"),
    ],
)
def test_other_arguments_of_a_division_are_looked_at(options: dict, said: str) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match=said):
        augrad.Splits.from_arrays(IMAGES, LABELS, **options)


@pytest.mark.parametrize("given", [None, {}, {"a": 1}, torch.tensor(3.0), 3])
def test_what_is_no_data_set_is_refused(given: object) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match="train: expected a data set with a length and items"):
        augrad.Splits.from_datasets(given)


def pictures(mode: str) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (10, 10, 3), dtype=np.uint8)).convert(mode) for _ in range(60)]


def test_pictures_in_a_list_are_of_grey_or_red_green_and_blue() -> None:
    labels = np.arange(60) % 3
    for mode, channels in (("L", 1), ("RGB", 3)):
        assert augrad.Splits.from_arrays(pictures(mode), labels).image_shape == (channels, 10, 10)
    for mode in ("P", "HSV", "YCbCr", "CMYK", "1"):  # P has numbers of colours where others have levels
        with pytest.raises(UserError, match=rf"images\[0\]: expected a picture of 8 bits.*got mode {mode}"):
            augrad.Splits.from_arrays(pictures(mode), labels)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(60, 10, 10).to_sparse(), "expected an array or a tensor with all its values"),
        (torch.zeros(60, 10, 10, device="meta"), "on the meta device, which holds no values"),
    ],
)
def test_tensors_without_values_are_no_images(images: torch.Tensor, said: str) -> None:
    with pytest.raises(UserError, match=said):
        augrad.Splits.from_arrays(images, torch.arange(60) % 3)


def test_axes_in_another_order_are_told_with_what_turns_them() -> None:
    tensors = [(torch.zeros(10, 12, 3), 0), (torch.zeros(10, 12, 3), 1)]
    with pytest.raises(UserError, match=r"train\[0\].*got shape \(10, 12, 3\); image.permute\(2, 0, 1\)"):
        augrad.Splits.from_datasets(tensors)
    with pytest.raises(UserError, match="expected a data set with a length and items, got ndarray"):
        augrad.Splits.from_datasets(np.array(2))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: from_torchvision(RandAugment(), side="32"), "side: expected a whole number, got '32'"),
        (lambda: from_torchvision(RandAugment(), side=-5), "from 1 to 1000000, got -5"),
        (lambda: from_torchvision(RandAugment(), side=10**30), "from 1 to 1000000, got 1000"),
        (lambda: from_torchvision(RandAugment(), strict=torch.zeros(3)), "strict: expected true or false"),
        (lambda: from_torchvision(RandAugment(magnitude=3.5)), "expected a whole magnitude from 0 to 30"),
        (lambda: from_torchvision(RandAugment(num_ops=10**6)), "1 to 16 operations, got magnitude 9 and num_ops"),
        (lambda: to_torchvision("randaugment"), "expected a policy, got str"),
        (lambda: serialized("randaugment"), "expected a pipeline of Albumentations, got str"),
        (lambda: published("nothere"), "expected dada or fast_autoaugment, got 'nothere'"),
        (lambda: read_genotype(None), "path: expected"),
        (lambda: from_genotype([[["Rotate", 0.5, 0.5]]] * 10_001), "expected at most 10000 sub-policies, got 10001"),
        (lambda: from_genotype([[["Rotate", 0.5, 0.5]] * 17]), "expected at most 16 operations, got 17"),
        (lambda: from_timm("rand-m9-n1000000"), "expected at most 16 layers"),
    ],
)
def test_arguments_of_conversions_are_looked_at(call: Callable[[], object], said: str) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match=said):
        call()


def test_decimal_numbers_arrive_as_numbers() -> None:
    assert type(augrad.estimators.Gumbel(temperature=Decimal("0.5")).temperature) is float
    assert type(augrad.regularizers.SelectionEntropy(weight=Decimal("0.1")).weight) is float


@pytest.mark.parametrize("index", [slice(None, None, -1), slice(3, None, 0)])
def test_a_slice_goes_forward(index: slice) -> None:
    with pytest.raises(UserError, match="a step of at least 1"):
        augrad.load_policy("randaugment").sample(4)[index]


def test_a_tensor_without_its_values_is_no_picture() -> None:
    with pytest.raises(UserError, match=r"expected a tensor with all its values, got one of torch\.sparse"):
        augrad.load_policy("randaugment").to_torchvision()(torch.zeros(3, 8, 8, dtype=torch.uint8).to_sparse())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: augrad.SearchSettings(steps="x"), "^steps: expected a whole number, got 'x'$"),
        (lambda: augrad.TrainSettings(nothing=1), "^nothing: expected no such key"),
        (lambda: replace(augrad.SearchSettings(), steps=-1), "^steps: expected more than 0, got -1$"),
        (lambda: WholeTraining(folds=1), "folds: expected at least 2"),
        (lambda: from_torchvision(RandAugment(num_magnitude_bins=10**9)), "expected 2 to 10000 num_magnitude_bins"),
        (lambda: to_kornia(POLICY, values=10**5), "expected values as a whole number from 1 to 1000, got 100000"),
        (lambda: to_timm(POLICY, entries=10**8), "expected entries as a whole number from 1 to 100000"),
    ],
)
def test_settings_and_counts_say_what_they_expected(call: Callable[[], object], said: str) -> None:
    with shapes_unchecked(), pytest.raises(UserError, match=said):
        call()


def test_a_fill_of_any_kind_of_number_is_one() -> None:
    images, magnitude = torch.rand(2, 3, 8, 8), torch.full((2,), 0.3)
    for name in ("shear_x", "cutout"):
        op = getattr(augrad.ops, name)
        draw = torch.rand(2, augrad.ops.get(name).draws)
        extra = (draw,) if draw.shape[1] else ()
        with shapes_unchecked():
            assert torch.equal(
                op(images, magnitude, *extra, fill=Fraction(1, 2)), op(images, magnitude, *extra, fill=0.5)
            )
