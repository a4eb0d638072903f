"""What was drawn, as a value: joined, saved, moved, and the same for the same seed on every machine."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import augrad
from augrad import Policy, PolicySample, RelaxedSample, UserError
from augrad.estimators.mixture import Mixture
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy


@pytest.fixture
def policy() -> Policy:
    space = make_space({"rotate": {}, "identity": {}, "posterize": {}, "cutout": {}})
    return initial_policy(space, subpolicies=3, stages=2, probability=0.6)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_equal(first: object, second: object) -> None:
    assert type(first) is type(second)
    for field in fields(first):  # type: ignore[arg-type]
        a, b = getattr(first, field.name), getattr(second, field.name)
        assert a.dtype == b.dtype, field.name
        assert torch.equal(a, b), field.name


def test_concatenated_draws_replay_as_their_parts(policy: Policy) -> None:
    first, second = policy.sample(5, generator=generator(1)), policy.sample(3, generator=generator(2))
    both = PolicySample.concatenate([first, second])
    assert len(both) == 8
    assert_equal(both[:5], first)
    assert_equal(both[5:], second)
    assert_equal(PolicySample.concatenate(both[i : i + 1] for i in range(8)), both)
    assert_equal(PolicySample.concatenate([first]), first)
    images = torch.rand(8, 3, 9, 11, generator=generator())
    parts = [policy(images[:5], params=first), policy(images[5:], params=second)]
    assert torch.equal(policy(images, params=both), torch.cat(parts))
    (gradient,) = torch.autograd.grad(both.magnitude.sum(), policy.magnitude_locations)
    assert gradient.any()


def test_draws_of_other_policies_cannot_be_concatenated(policy: Policy) -> None:
    with pytest.raises(UserError, match="at least one sample"):
        PolicySample.concatenate([])
    longer = initial_policy(make_space({"rotate": {}}), stages=3)
    with pytest.raises(UserError, match="got 2 stages with 2 draws and 3 stages with 0 draws"):
        PolicySample.concatenate([policy.sample(2), longer.sample(2)])


def test_relaxed_draws_are_cut_and_joined_like_hard_ones(policy: Policy) -> None:
    first, second = (policy.rsample(count, generator=generator(count)) for count in (5, 3))
    both = RelaxedSample.concatenate([first, second])
    assert len(both) == 8
    assert_equal(both[:5], first)
    assert_equal(RelaxedSample.concatenate(both[i : i + 1] for i in range(8)), both)
    assert both.layout == policy.layout
    images = torch.rand(8, 3, 9, 11, generator=generator())
    parts = [policy(images[:5], params=both[:5]), policy(images[5:], params=both[torch.arange(5, 8)])]
    torch.testing.assert_close(torch.cat(parts), torch.cat([policy(images[:5], params=first),
                                                            policy(images[5:], params=second)]))  # fmt: skip
    (gradient,) = torch.autograd.grad(both[3:7].magnitude.sum(), policy.magnitude_locations)
    assert gradient.any()
    longer = initial_policy(make_space({"rotate": {}}), stages=3)
    with pytest.raises(UserError, match="concatenate: expected samples with one number of stages and extra draws"):
        RelaxedSample.concatenate([first, longer.rsample(2)])
    slots = tuple(tuple(stage[::-1] for stage in stages) for stages in policy.slots)
    other = Policy(policy.ops, slots, policy.params)  # the same in other places
    with pytest.raises(UserError, match="concatenate: expected samples over the same operations"):
        RelaxedSample.concatenate([first, other.rsample(2)])


def test_hard_and_relaxed_draws_are_not_joined(policy: Policy) -> None:
    hard, relaxed = policy.sample(2), policy.rsample(2)
    for kind, other in ((PolicySample, relaxed), (RelaxedSample, hard)):
        with pytest.raises(UserError, match=f"concatenate: expected only {kind.__name__}, got {type(other).__name__}"):
            kind.concatenate([other])


@pytest.mark.parametrize("name", ["subpolicy", "op", "slot", "gate"])
def test_indices_and_gates_are_no_numbers(policy: Policy, name: str) -> None:
    images = torch.rand(4, 3, 9, 11, generator=generator())
    sample = policy.sample(4)
    halved = sample.map(lambda tensor: tensor.half() if tensor.is_floating_point() else tensor)
    assert policy(images, params=halved).shape == images.shape
    object.__setattr__(sample, name, getattr(sample, name).half())  # as sample.map(lambda t: t.half()) makes them
    for use in (lambda: policy(images, params=sample), lambda: policy.score_terms(sample)):
        with pytest.raises(UserError, match=rf"PolicySample: expected {name} as a tensor of .*, got torch\.float16"):
            use()


LOAD = """
import random, sys, torch, augrad
before = random.getstate()  # (not so in the process of the tests: checks of types draw from it)
policy = augrad.load_policy("identity")
policy(torch.rand(2, 3, 4, 4), params=policy.rsample(2))
policy(torch.rand(2, 3, 4, 4), masks=torch.zeros(2, 4, 4))
assert random.getstate() == before
sample, relaxed = torch.load(sys.argv[1], weights_only=True)
assert type(sample) is augrad.PolicySample and type(relaxed) is augrad.RelaxedSample
torch.save((sample, relaxed), sys.argv[2])
"""


def test_a_draw_can_be_saved_and_loaded_safely_in_another_process(policy: Policy, tmp_path: Path) -> None:
    draws = policy.sample(6, generator=generator()), policy.rsample(4, generator=generator())
    torch.save(draws, tmp_path / "here.pt")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "here.pt"), str(tmp_path / "there.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("here.pt", "there.pt"):
        for loaded, draw in zip(torch.load(tmp_path / name, weights_only=True), draws, strict=True):
            assert_equal(loaded, draw)
    elsewhere = torch.load(tmp_path / "here.pt", weights_only=True, map_location="meta")[0]
    assert {getattr(elsewhere, field.name).device.type for field in fields(elsewhere)} == {"meta"}


def test_a_draw_moves_whole(policy: Policy) -> None:
    for draw in (policy.sample(2), Mixture(subpolicy="uniform").draw(policy, 2, None, 0.0)):
        moved = draw.to("meta")
        assert {getattr(moved, field.name).device.type for field in fields(moved)} == {"meta"}
        assert_equal(draw.to("cpu"), draw)


def test_a_slice_is_the_draw_of_those_images(policy: Policy) -> None:
    sample = policy.sample(9, generator=generator(3))
    assert torch.equal(sample[3:7].subpolicy, sample.subpolicy[3:7])
    images = torch.rand(9, 3, 9, 11, generator=generator())
    output = policy(images, params=sample)
    for index in (slice(3, 7), slice(None, None, 2), torch.tensor([5, 0, 0]), torch.arange(9) % 2 == 1):
        part = sample[index]
        assert isinstance(part, PolicySample)
        assert len(part) == len(images[index])
        assert torch.equal(policy(images[index], params=part), output[index])
    with pytest.raises(UserError, match="hold 4 draws, the batch 9 images"):
        policy(images, params=sample[3:7])


def test_what_is_saved_replays_bit_for_bit(policy: Policy, tmp_path: Path) -> None:
    images = torch.rand(6, 3, 9, 11, generator=generator())
    output, sample = policy(images, return_params=True)
    torch.save({"sample": sample, "policy": policy.state_dict()}, tmp_path / "run.pt")
    loaded = torch.load(tmp_path / "run.pt", weights_only=True)
    assert torch.equal(policy(images, params=loaded["sample"]), output)
    drawn = policy.sample(5, generator=generator(1))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
    policy.load_state_dict(loaded["policy"])
    assert_equal(policy.sample(5, generator=generator(1)), drawn)


@pytest.mark.gpu
def test_a_draw_replays_on_another_device(policy: Policy) -> None:
    images = torch.rand(16, 3, 9, 11, generator=generator())
    sample = policy.sample(16, generator=generator())
    there = policy.to("cuda")(images.to("cuda"), params=sample.to("cuda"))
    torch.testing.assert_close(there.cpu(), policy.to("cpu")(images, params=sample), rtol=0, atol=1e-5)


def test_a_seed_means_the_same_draw_for_good(policy: Policy) -> None:
    # Written down once: if these change, seeds of published runs no longer mean what they did.
    sample = policy.sample(4, generator=generator(7)).detach()
    assert sample.subpolicy.tolist() == [1, 0, 1, 1]
    assert sample.op.tolist() == sample.slot.tolist() == [[0, 1], [0, 2], [1, 3], [3, 2]]
    assert sample.gate.tolist() == [[True, True], [True, True], [False, True], [False, True]]
    assert sample.sign.tolist() == [[1, 1], [-1, 1], [1, 1], [1, 1]]

    def near(values: torch.Tensor, expected: list[list[float]]) -> None:
        torch.testing.assert_close(values.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=2e-6)

    near(sample.latent, [[0.317678, 0.132807], [0.137324, 0.240546], [1.395451, 1.347023], [2.438208, 0.202758]])
    near(sample.magnitude, [[17.36275, 0.0], [16.028315, 5.760607], [0.0, 0.158728], [0.183939, 5.797934]])
    near(sample.draw[:, 0], [[0.99362, 0.470288], [0.26739, 0.499039], [0.441368, 0.555048], [0.33048, 0.519577]])
    relaxed = policy.rsample(1, generator=generator(7)).detach()
    near(relaxed.subpolicy, [[0.293765, 0.044061, 0.662173]])
    near(relaxed.op[0, 0, :1], [[0.63682, 0.077966, 0.197281, 0.087933]])


@pytest.mark.parametrize("engine", ["reference", "grouped", "numba", "auto"])
@pytest.mark.parametrize("name", ["cutout", "sample_pairing", "gaussian_noise", "rotate"])
def test_a_draw_changed_before_the_backward_pass_gives_no_other_gradient(name: str, engine: str) -> None:
    policy = initial_policy(make_space({name: {}}), probability=1.0)
    images = torch.rand(8, 3, 16, 16, generator=generator()).requires_grad_()
    for field in ("op", "gate", "magnitude", "sign", "draw"):
        sample = policy.sample(8, generator()).detach()
        with augrad.engine(engine):
            loss = policy(images, params=sample).square().sum()
        (expected,) = torch.autograd.grad(loss, images, retain_graph=True)
        changed = getattr(sample, field)
        changed.copy_(~changed if changed.dtype == torch.bool else 1 - changed)
        try:
            found = torch.autograd.grad(loss, images)
        except RuntimeError as error:
            assert "modified by an inplace operation" in str(error)  # noqa: PT017
        else:
            assert torch.equal(found[0], expected), field
