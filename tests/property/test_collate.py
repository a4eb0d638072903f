"""policy.to_collate_fn(): a batch put together and augmented in the workers of a data loader."""

import pickle
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from augrad import Policy, UserError
from augrad.errors import AugradWarning
from augrad.policy.application import _said_in_evaluation
from problems import shapes_unchecked

POLICY = Policy.over({"rotate": {"high": 30.0}, "invert": None, "identity": None}, stages=2)
IMAGES = torch.randint(256, (24, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Sample(NamedTuple):
    picture: Tensor
    label: int


def as_sets() -> dict[str, tuple[list[Any], int | str]]:
    labels = range(len(IMAGES))
    return {
        "tensors": (list(IMAGES), 0),
        "pairs": (list(zip(IMAGES, labels, strict=True)), 0),
        "label first": (list(zip(labels, IMAGES, strict=True)), 1),
        "mappings": ([{"image": image, "label": label} for image, label in zip(IMAGES, labels, strict=True)], "image"),
        "named tuples": ([Sample(image, label) for image, label in zip(IMAGES, labels, strict=True)], 0),
    }


@pytest.mark.parametrize("kind", as_sets())
def test_images_are_augmented_and_the_rest_is_as_it_was(kind: str) -> None:
    samples, key = as_sets()[kind]
    torch.manual_seed(3)
    expected = POLICY(IMAGES)
    torch.manual_seed(3)
    batch = POLICY.to_collate_fn(key=key)(samples)
    images = batch if isinstance(batch, Tensor) else batch[key]
    assert torch.equal(images, expected)
    assert not images.requires_grad
    if isinstance(batch, dict):
        assert batch["label"].tolist() == list(range(24))
    elif not isinstance(batch, Tensor):
        assert batch[1 - int(key)].tolist() == list(range(24))
    assert isinstance(batch, Sample) == (kind == "named tuples")


@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_in_workers_that_are_started_in_each_way(start: str) -> None:
    data = TensorDataset(IMAGES[:1].expand(16, -1, -1, -1), torch.arange(16))
    loader = DataLoader(
        data, batch_size=8, num_workers=2, collate_fn=POLICY.to_collate_fn(), multiprocessing_context=start
    )

    def epoch() -> Tensor:
        torch.manual_seed(5)
        return torch.cat([images for images, _ in loader])

    found = epoch()
    assert torch.equal(found, epoch())
    assert not torch.equal(found[:8], found[8:])  # the same picture, in two workers


def test_it_is_a_copy_that_can_be_pickled() -> None:
    policy = Policy.over({"invert": None}, probability=0.0)
    collate = pickle.loads(pickle.dumps(policy.to_collate_fn()))
    with torch.no_grad():
        policy.gate_logits.fill_(40.0)
    assert torch.equal(collate(list(IMAGES)), IMAGES)


def test_batches_without_images_are_refused() -> None:
    wrong: dict[str, tuple[list[Any], dict[str, Any]]] = {
        r"images at 0 of the batch, got dict with \['image'\]; say where they are: key=": ([{"image": IMAGES[0]}], {}),
        "images at 5 of the batch": ([(IMAGES[0], 1)], {"key": 5}),
        r"one tensor \[B, C, H, W\], got list": ([([IMAGES[0]], 1)], {}),
        "collate as a function": ([], {"collate": 3}),
    }
    for words, (samples, given) in wrong.items():
        with shapes_unchecked(), pytest.raises(UserError, match=words):
            POLICY.to_collate_fn(**given)(samples)


@pytest.fixture
def unsaid() -> Iterator[None]:
    _said_in_evaluation.cache_clear()
    yield
    _said_in_evaluation.cache_clear()


@pytest.mark.usefixtures("unsaid")
def test_a_policy_in_evaluation_mode_augments_and_says_so_once() -> None:
    network = nn.Sequential(Policy.over({"invert": None}, probability=1.0), nn.Flatten())
    white = torch.ones(2, 1, 4, 4)
    assert network(white).max() == 0
    network.eval()
    with pytest.warns(AugradWarning, match="in evaluation mode augments all the same"):
        assert network(white).max() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(white)
        network.train()(white)


@pytest.mark.usefixtures("unsaid")
def test_a_replay_in_evaluation_mode_is_what_was_asked_for() -> None:
    policy = Policy.over({"invert": None})
    images, sample = policy(torch.rand(4, 1, 4, 4), return_params=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.eval()(images, params=sample)
