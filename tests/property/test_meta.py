"""On the meta device, where tensors have shapes and no numbers: what is computed has the right shapes."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

import augrad
from augrad import Policy, UserError
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy, random_policy

META = torch.device("meta")
POLICY = initial_policy(make_space({name: {} for name in augrad.ops.names()}), stages=2)


@pytest.mark.parametrize("kind", [torch.float32, torch.uint8])
@pytest.mark.parametrize("name", augrad.ops.names())
def test_every_operation_says_what_shape_comes_out(name: str, kind: torch.dtype) -> None:
    images = torch.empty(4, 3, 8, 8, device=META, dtype=kind)
    output = augrad.ops.get(name).apply(images, torch.empty(4, device=META))
    assert (output.shape, output.dtype, output.device) == (images.shape, kind, META)


@pytest.mark.parametrize("policy", [POLICY, deepcopy(POLICY).to(META)], ids=["cpu", "meta"])
def test_a_policy_takes_such_images_wherever_it_is(policy: Policy) -> None:
    images = torch.empty(4, 3, 8, 8, device=META)
    before = torch.get_rng_state()
    output, sample = policy(images, return_params=True)
    assert (output.shape, output.device, sample.op.device) == (images.shape, META, META)
    assert torch.equal(before, torch.get_rng_state()) == (policy is not POLICY)  # nothing is drawn there
    for replayed in (sample, policy.rsample(4), policy.sample(4, generator=torch.Generator())):
        assert policy(images, params=replayed).device == META
    assert policy((images * 255).to(torch.uint8), same_on_batch=True).dtype == torch.uint8
    moved = initial_policy(make_space({"rotate": {}}))(
        images, masks=images, boxes=torch.empty(4, 2, 4, device=META), keypoints=torch.empty(4, 5, 2, device=META)
    )
    assert [tuple(part.shape) for part in moved] == [(4, 3, 8, 8), (4, 3, 8, 8), (4, 2, 4), (4, 5, 2)]


def test_numbers_that_are_nowhere_do_not_augment() -> None:
    with pytest.raises(UserError, match="meta"):
        deepcopy(POLICY).to(META)(torch.rand(4, 3, 8, 8))


def test_policies_are_made_on_the_cpu_whatever_the_default_device(tmp_path: Path) -> None:
    augrad.save_policy(POLICY, tmp_path / "policy.json")
    made: dict[str, Callable[[], Policy]] = {
        "over": lambda: Policy.over({"rotate": None, "color": None}, subpolicies=2),
        "a file": lambda: augrad.load_policy(tmp_path / "policy.json"),
        "a built-in one": lambda: augrad.load_policy("identity"),
        "other parameters": lambda: POLICY.with_params(POLICY.params),
        "random": lambda: random_policy(POLICY, 3),
        "a copy": lambda: deepcopy(POLICY),
    }
    for name, make in made.items():
        expected = make()
        with META:
            found = make()
        assert found.device == torch.device("cpu"), name
        assert all(map(torch.equal, found.params.tensors(), expected.params.tensors())), name
        assert found(torch.rand(2, 3, 8, 8)).isfinite().all()


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_what_was_emptied_is_as_before_once_its_state_is_loaded(device: str) -> None:
    with torch.device(device):
        emptied = torch.nn.Sequential(Policy.over({"rotate": {"high": 20.0}, "invert": None}, stages=2))
    whole = torch.nn.Sequential(Policy.over({"rotate": {"high": 20.0}, "invert": None}, stages=2))
    emptied.to_empty(device="cpu")
    emptied[0].tables.high.fill_(7e7)  # what is there now, whatever it is, means nothing
    emptied.to_empty(device="cpu")
    emptied.load_state_dict(whole.state_dict())
    images, results = torch.rand(8, 3, 9, 9), []
    for network in (whole, emptied):
        torch.manual_seed(3)
        results.append(network(images))
    assert torch.equal(*results)


def test_data_files_and_searches_are_what_they_are_whatever_the_default_device(tmp_path: Path) -> None:
    labels = np.arange(90) % 3
    images = np.random.default_rng(0).random((90, 8, 8, 3)).astype("float32")
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3))

    def searched() -> list[torch.Tensor]:
        data = augrad.Splits.from_arrays(images, labels)
        result = augrad.learn(
            data,
            network,
            policy=POLICY,
            device="cpu",
            steps=2,
            batch_size=8,
            choose=augrad.ChoiceSettings(seeds=2, folds=2, processes=1),
            train=augrad.TrainSettings(steps=2, batch_size=8),
        )
        augrad.save_policy(result.policy, tmp_path / "policy.json")
        return [*augrad.load_policy(tmp_path / "policy.json").params.tensors(), *result.model.state_dict().values()]

    expected = searched()
    with META:
        found = searched()
    assert all(map(torch.equal, found, expected))
