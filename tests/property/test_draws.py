"""A hard draw found by compiled code is the one of plain PyTorch, bit for bit, and so are its gradients."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import jvp, vmap

from augrad import Policy, PolicySample, UserError
from augrad.engines.numba.engine import at_hand
from augrad.ops.space import make_space
from augrad.policy import draws
from augrad.policy.draws import hard_draw
from augrad.policy.initial import initial_policy, pair_policy, random_policy
from augrad.types import PolicyParams
from odd_policies import ODD, policy_of

pytest.importorskip("numba")

SPACE = make_space({name: {} for name in ("rotate", "identity", "posterize", "cutout", "invert", "brightness")})
POLICIES: dict[str, Callable[[], Policy]] = {
    **{name: lambda content=content: policy_of(content) for name, content in ODD.items()},
    "many sub-policies": lambda: random_policy(initial_policy(SPACE, subpolicies=105, stages=2), seed=1),
    "pairs": lambda: random_policy(pair_policy(SPACE), seed=2),
    "one candidate": lambda: Policy.over(["rotate"]),
    "uniform": lambda: random_policy(Policy.over(SPACE, subpolicies=3, stages=3, magnitude="uniform"), seed=3),
    "channels last": lambda: random_policy(Policy.over(SPACE, subpolicies=3, stages=2), 4).to(
        memory_format=torch.channels_last
    ),
}


@pytest.fixture(autouse=True)
def compiled() -> None:
    """Whoever has augmented an image with it has compiled code at hand."""
    Policy.over(["rotate"])(torch.rand(1, 3, 4, 4))


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], tuple[Any, Any]]:
    """What a function gives with compiled code, which is asserted to have run, and without."""

    def of(function: Callable[[], Any]) -> tuple[Any, Any]:
        found = []
        with monkeypatch.context() as patch:
            patch.setattr(draws, "at_hand", lambda **numbers: found.append(at_hand(**numbers)) or found[-1])
            ours = function()
        assert any(kernels is not None for kernels in found)
        with monkeypatch.context() as patch:
            patch.setattr(draws, "at_hand", lambda **numbers: None)
            return ours, function()

    return of


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def values(sample: PolicySample) -> list[Tensor]:
    return [getattr(sample, field.name) for field in fields(sample)]


def assert_same(ours: list[Tensor], plain: list[Tensor]) -> None:
    for one, other in zip(ours, plain, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
        assert torch.equal(torch.signbit(one), torch.signbit(other))


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "channels last"])
def test_the_same_noise_gives_the_same_draw_and_gradients(name: str, both) -> None:
    policy = POLICIES[name]()
    policy.requires_grad_(True)

    def drawn() -> list[Tensor]:
        found = []
        for batch in (1, 2, 7, 64, 128):
            sample = policy.sample(batch, generator(batch))
            of_all = (sample.magnitude * torch.arange(1.0, batch + 1)[:, None]).sum() + sample.latent.square().sum()
            found += values(sample.detach())
            found += torch.autograd.grad(of_all, (policy.magnitude_locations, policy.magnitude_log_scales))
        return found

    assert_same(*both(drawn))


def test_tables_that_lie_otherwise_are_read_as_they_lie() -> None:
    straight = random_policy(Policy.over(SPACE, subpolicies=3, stages=2), 4)
    moved = POLICIES["channels last"]()
    assert not moved.tables.packed.is_contiguous()
    assert_same(values(moved.sample(64, generator(0)).detach()), values(straight.sample(64, generator(0)).detach()))


def test_every_candidate_is_drawn_as_often_as_its_weight_says(both) -> None:
    policy = POLICIES["many sub-policies"]()
    sample, plain = both(lambda: policy.sample(20_000, generator(0)))
    assert_same(values(sample.detach()), values(plain.detach()))
    counted = torch.zeros_like(policy.op_logits).index_put_(
        (sample.subpolicy[:, None], torch.arange(2), sample.slot), torch.ones((), dtype=torch.float64), accumulate=True
    )
    expected = 20_000 * policy.subpolicy_probabilities()[:, None, None] * policy.op_probabilities()
    assert float(((counted - expected) / (expected + 1).sqrt()).detach().abs().max()) < 6


@pytest.mark.parametrize("largest", [0.0, 1 - 2**-24])
def test_an_impossible_candidate_is_never_drawn(largest: float, both) -> None:
    """At both ends of the uniform numbers."""
    policy = policy_of(ODD["weight 0"])
    noise = policy.draw_noise(3, generator(0))
    noise = replace(noise, subpolicy=torch.full((3,), largest), slot=torch.full(noise.slot.shape, largest))
    for sample in both(lambda: policy.sample_from(noise)):
        assert (policy.op_probabilities()[sample.subpolicy[:, None], torch.arange(2), sample.slot] > 0).all()


def test_chosen_candidates_are_looked_up_alike(both) -> None:
    policy = policy_of(ODD["ragged"])
    noise = policy.draw_noise(64, generator(0))
    shape, (subpolicies, _, width) = noise.slot.shape, policy.shape
    subpolicy = torch.randint(subpolicies, shape[:1], generator=generator(1))
    slot = torch.randint(width, shape, generator=generator(2))
    given = subpolicy, slot, torch.ones(shape, dtype=torch.bool), noise
    ours, plain = both(lambda: policy.sample_with(*given))
    assert_same(values(ours.detach()), values(plain.detach()))
    assert not ours.gate.all()  # where there is no candidate


@pytest.mark.parametrize(("subpolicy", "slot"), [(2, 0), (-1, 0), (0, 3), (0, -1)])
def test_compiled_code_reads_no_memory_outside_of_the_tables(subpolicy: int, slot: int) -> None:
    policy = policy_of(ODD["ragged"])
    noise = policy.draw_noise(4, generator(0))
    shape = noise.slot.shape
    given = torch.full(shape[:1], subpolicy), torch.full(shape, slot), torch.ones(shape, dtype=torch.bool), noise
    with pytest.raises(IndexError):
        policy.sample_with(*given)


@pytest.mark.parametrize("name", PolicyParams.names()[:3])
def test_parameters_that_are_no_numbers_are_refused(name: str) -> None:
    policy = random_policy(Policy.over(SPACE, subpolicies=3, stages=2), seed=5)
    for batch in (1, 64):  # fewer and more than there are sub-policies
        policy.sample(batch, generator(0))
        getattr(policy, name).data.fill_(float("nan"))
        with pytest.raises(UserError, match=f"expected parameters that are numbers, got NaN in {name}"):
            policy.sample(batch, generator(0))
        getattr(policy, name).data.zero_()


def test_parameters_are_read_anew_for_every_draw() -> None:
    policy = Policy.over(SPACE, subpolicies=2, stages=2)
    noise = policy.draw_noise(64, generator(0))
    seen = [policy.sample_from(noise)]
    for tensor in (policy.subpolicy_logits, policy.op_logits, policy.gate_logits, policy.magnitude_locations):
        tensor.data.copy_(torch.linspace(-3.0, 3.0, tensor.numel()).view_as(tensor))
        seen.append(policy.sample_from(noise))
    names = ("subpolicy", "slot", "gate", "latent")
    for before, after, name in zip(seen, seen[1:], names, strict=False):
        assert not torch.equal(getattr(before, name), getattr(after, name))


def test_second_derivatives_are_those_of_plain_pytorch(both) -> None:
    policy = POLICIES["uniform"]()
    policy.requires_grad_(True)
    wanted = policy.magnitude_locations, policy.magnitude_log_scales

    def second() -> list[Tensor]:
        sample = policy.sample(64, generator(0))
        first = torch.autograd.grad(sample.magnitude.square().sum(), wanted, create_graph=True)
        return list(torch.autograd.grad(sum(one.square().sum() for one in first), wanted))

    ours, plain = both(second)
    assert all(one.any() for one in ours)
    assert_same(ours, plain)


@pytest.fixture
def of_locations() -> Iterator[tuple[Callable[[Tensor], Tensor], Tensor]]:
    """The magnitudes of one draw as a function of the locations, and these."""
    policy = random_policy(Policy.over(SPACE, subpolicies=2, stages=2), seed=6)
    noise = policy.draw_noise(16, generator(0))

    def magnitude(locations: Tensor) -> Tensor:
        params = replace(policy.params, magnitude_locations=locations)
        return hard_draw(params, policy.tables, noise, policy.layout).magnitude

    with torch.no_grad():
        yield magnitude, policy.magnitude_locations.detach().clone()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")  # of torch's own derivatives
def test_transforms_see_through_a_draw(of_locations) -> None:
    magnitude, locations = of_locations
    along = torch.ones_like(locations)
    ours, slope = jvp(magnitude, (locations,), (along,))
    assert torch.equal(ours, magnitude(locations))
    step = 1e-6
    differences = (magnitude(locations + step * along) - magnitude(locations - step * along)) / (2 * step)
    torch.testing.assert_close(slope, differences, rtol=1e-6, atol=1e-7)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(locations, along)
        assert torch.equal(torch.autograd.forward_ad.unpack_dual(magnitude(dual)).tangent, slope)
    several = torch.stack([locations, locations + 1])
    assert torch.equal(vmap(magnitude)(several), torch.stack([magnitude(one) for one in several]))


def test_compiled_code_is_for_numbers_as_they_lie_in_memory() -> None:
    numbers = torch.zeros(4, 4)
    assert at_hand(float32=(numbers,)) is not None
    for other in (
        numbers.double(),
        numbers.t()[:2],
        numbers.clone().requires_grad_(),
        torch.nn.Parameter(numbers, requires_grad=False),
        numbers.to("meta"),
    ):
        assert at_hand(float32=(numbers, other)) is None
    assert vmap(lambda row: row + (at_hand(float32=(numbers,)) is not None))(numbers).sum() == 0
