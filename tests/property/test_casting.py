"""Casting a model, half precision and another default type change neither a policy nor what it draws."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

import augrad
from augrad import Policy
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy, random_policy

IMAGES = torch.rand(8, 3, 9, 11, generator=torch.Generator().manual_seed(0))
TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
CASTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "half": lambda module: module.half(),
    "bfloat16": lambda module: module.bfloat16(),
    "float": lambda module: module.float(),
    "double": lambda module: module.double(),
    "to(dtype)": lambda module: module.to(torch.float16),
    "to(device, dtype)": lambda module: module.to("cpu", torch.float16),
    "to(tensor)": lambda module: module.to(torch.zeros(1, dtype=torch.float16)),
    "type": lambda module: module.type(torch.float16),
    "twice": lambda module: module.half().float(),
}


def a_policy() -> Policy:
    space = make_space({name: {} for name in ("rotate", "color", "posterize", "cutout", "sample_pairing", "identity")})
    learn = ["subpolicies", "ops", "gates", "magnitudes", "magnitude_scales"]
    policy = initial_policy(space, subpolicies=2, stages=2, magnitude="uniform", learn=learn)  # type: ignore[arg-type]
    learned = random_policy(policy, seed=1)
    learned.load_state_dict({**learned.state_dict(), "magnitude_log_scales": policy.magnitude_log_scales})
    return learned


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def types_of(policy: Policy) -> dict[str, torch.dtype]:
    tensors = (*policy.named_parameters(), *vars(policy).items())
    return {name: tensor.dtype for name, tensor in tensors if isinstance(tensor, Tensor)}


def results(policy: Policy, images: Tensor) -> list[Tensor]:
    """Draws, images, scores and gradients; the draws come from a seed."""
    output, sample = policy(images, generator=generator(), return_params=True)
    relaxed = policy.rsample(len(images), generator=generator())
    blend = policy(images, params=relaxed)
    scores = torch.stack(policy.score_terms(sample))
    loss = output.double().square().mean() + blend.double().square().mean() + scores.sum()
    gradients = torch.autograd.grad(loss, policy.params.tensors())
    drawn = [value for draw in (sample, relaxed) for value in vars(draw).values() if isinstance(value, Tensor)]
    return [value.detach() for value in (output, blend, scores, *gradients, *drawn)]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", CASTS)
def test_a_cast_leaves_a_policy_as_it_is(name: str, inside: bool, tmp_path: Path) -> None:
    policy, as_it_was = a_policy(), a_policy()
    model = nn.Sequential(nn.Sequential(policy), nn.Linear(2, 2)) if inside else policy
    parameters, before = list(policy.parameters()), copy.deepcopy(policy.state_dict())
    assert CASTS[name](model) is model
    assert types_of(policy) == types_of(as_it_was)
    assert all(one is other for one, other in zip(policy.parameters(), parameters, strict=True))  # optimisers hold them
    assert all(torch.equal(value, before[key]) for key, value in policy.state_dict().items())
    assert_same(results(policy, IMAGES), results(as_it_was, IMAGES))
    for number, one in enumerate((policy, as_it_was)):
        augrad.save_policy(one, tmp_path / f"{number}.json")
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "1.json").read_bytes()
    if inside and name == "half":
        assert model[1].weight.dtype == torch.float16  # type: ignore[index]


@pytest.mark.parametrize("dtype", [*TYPES, torch.uint8])
def test_a_model_in_any_type_takes_images_in_any_type(dtype: torch.dtype) -> None:
    images = (IMAGES * 255).to(dtype) if dtype == torch.uint8 else IMAGES.to(dtype)
    plain = a_policy()(images, generator=generator())
    for cast in TYPES:
        policy = a_policy()
        output = nn.Sequential(policy).to(cast)[0](images, generator=generator())
        assert output.dtype == dtype
        assert torch.equal(output, plain)
        assert nn.Sequential(policy)(images).shape == images.shape


def test_a_policy_inside_a_model_in_half_precision_learns_what_it_learns_alone() -> None:
    def learned(cast: bool) -> list[Tensor]:
        policy = a_policy()
        if cast:
            nn.Sequential(policy, nn.Linear(2, 2)).half()
        optimizer = torch.optim.Adam(policy.parameters(), lr=1e-4)  # steps that float16 would round away
        for step in range(3):
            if cast:
                policy.half()
            optimizer.zero_grad()
            policy(IMAGES, params=policy.rsample(8, generator=generator(step))).square().sum().backward()
            optimizer.step()
        return [parameter.detach() for parameter in policy.parameters()]

    assert_same(learned(True), learned(False))
    assert not torch.equal(learned(True)[1], a_policy().op_logits)


def test_moving_keeps_gradients_and_types() -> None:
    policy = a_policy()
    policy.op_logits.sum().backward()
    policy.half()
    assert policy.op_logits.grad is not None
    assert policy.op_logits.grad.dtype == torch.float64
    elsewhere = copy.deepcopy(policy).to("meta", torch.float16)
    assert {tensor.device.type for tensor in elsewhere.state_dict().values()} - {"cpu"} == {"meta"}
    assert {tensor.device.type for tensor in vars(elsewhere.tables).values()} == {"meta"}
    assert types_of(elsewhere) == types_of(policy)
    assert types_of(elsewhere.to_empty(device="cpu")) == types_of(policy)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_touch_draws(dtype: torch.dtype) -> None:
    expected = results(a_policy(), IMAGES)
    with torch.autocast("cpu", dtype):
        found = results(a_policy(), IMAGES)
    assert_same(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("images", [torch.float32, torch.float16, torch.float64])
def test_the_default_type_does_not_touch_draws(dtype: torch.dtype, images: torch.dtype) -> None:
    expected = results(a_policy(), IMAGES.to(images))
    torch.set_default_dtype(dtype)
    try:
        found = results(a_policy(), IMAGES.to(images))
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same(found, expected)


@pytest.mark.parametrize("dtype", TYPES)
def test_parameters_that_are_handed_in_may_be_of_any_type(dtype: torch.dtype) -> None:
    policy = a_policy()
    given = {name: parameter.detach().to(dtype) for name, parameter in policy.named_parameters()}
    output = functional_call(policy, given, (IMAGES,), {"generator": generator()})
    assert output.dtype == IMAGES.dtype
    assert (output - policy(IMAGES, generator=generator())).abs().mean() < 0.05
