"""What is wrong in DADA's published code, each a test that ours does not do it; and the controls. float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from augrad import Policy
from augrad.data.digits import load_digits
from augrad.estimators.control import Control, estimate_with, initial_control
from augrad.estimators.enumerate import Enumerate
from augrad.estimators.estimate import Estimator, leave_one_out
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.mixture import Mixture
from augrad.estimators.rebar import Rebar
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax
from augrad.ops.space import make_space
from augrad.policy import Slot, parameters_like
from augrad.policy.initial import Learnable, initial_policy, random_policy
from augrad.policy.summary import op_masses
from augrad.types import PolicyParams, PolicySample, RelaxedSample

pytestmark = pytest.mark.slow

EVERYTHING: list[Learnable] = ["subpolicies", "ops", "gates", "magnitudes", "magnitude_scales"]
GROUPS = PolicyParams.names()
SCORE = [Reinforce(), Reinforce(baseline="none"), Relax(), Rebar(eta=0.0)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def policy_of(subpolicies: int = 2, stages: int = 3) -> Policy:
    space = make_space({"rotate": {"high": 2.0}, "identity": {}, "brightness": {}, "invert": {}})
    return random_policy(initial_policy(space, subpolicies, stages, scale=0.7, learn=EVERYTHING), seed=3)


class Recorded:
    """A scalar that remembers the hard draw that it was called with."""

    def __init__(self) -> None:
        self.sample: PolicySample

    def __call__(self, sample: PolicySample | RelaxedSample) -> Tensor:
        if isinstance(sample, PolicySample):
            self.sample = sample.detach()
            return torch.sin(7.0 * sample.slot[:, 0] + sample.gate.sum(1) + sample.latent.sum(1) + sample.subpolicy)
        return (sample.op * sample.gate * torch.sin(sample.latent)).sum((1, 2, 3)) + sample.subpolicy[:, 0]


def arbitrary(estimator: Estimator, policy: Policy, seed: int) -> Control | None:
    control = initial_control(estimator, policy, generator(seed))
    if control is not None:
        with torch.no_grad():
            for parameter in control.module.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator(seed), dtype=parameter.dtype))
    return control


@pytest.mark.parametrize("estimator", [Relax(), Rebar()])
def test_the_control_variate_does_not_cancel(estimator: Estimator) -> None:
    """Defect 1: both finite-difference evaluations share z, z~ and c, so that c drops out and REINFORCE remains.

    Same draws, another c: another estimate of the same scalar, in every group that has a control variate.
    """
    policy = policy_of()
    one, other = (
        estimate_with(arbitrary(estimator, policy, seed), estimator, Recorded(), policy, 64, generator(), 0.0)
        for seed in (1, 2)
    )
    assert torch.equal(one.value, other.value)
    for group in GROUPS if isinstance(estimator, Relax) else GROUPS[:3]:
        first, second = getattr(one.grads, group), getattr(other.grads, group)
        assert (first - second).norm() > 1e-3 * first.norm(), group  # with the defect exactly 0


@pytest.mark.parametrize("estimator", SCORE, ids=repr)
def test_the_sub_policy_is_scored_once(estimator: Estimator) -> None:
    """Defect 2: the sub-policy's log-probability, added to an S x L tensor that is summed, counts S L times.

    With c = 0 the estimate is mean_i advantage_i (one-hot_i - p), whatever S and L; and likewise for each stage.
    """
    policy, scalar = policy_of(), Recorded()
    estimate = estimator(scalar, policy, 64, generator(), 0.0)
    sample, scores = scalar.sample, scalar(scalar.sample)
    plain = isinstance(estimator, Reinforce) and estimator.baseline == "none"
    advantage = scores if plain else leave_one_out(scores)
    subpolicy = nn.functional.one_hot(sample.subpolicy, 2) - policy.subpolicy_probabilities()
    torch.testing.assert_close(estimate.grads.subpolicy_logits, (advantage[:, None] * subpolicy).mean(0))
    expected = torch.zeros_like(policy.op_logits)
    op = nn.functional.one_hot(sample.slot, 4) - policy.op_probabilities()[sample.subpolicy]
    expected.index_add_(0, sample.subpolicy, advantage[:, None, None] * op / 64)
    torch.testing.assert_close(estimate.grads.op_logits, expected)


@pytest.mark.parametrize("estimator", [*SCORE[:3], Gumbel()], ids=repr)
def test_what_did_not_act_gets_no_gradient(estimator: Estimator) -> None:
    """Defect 3: all 210 gates get score gradients although only the drawn pair acts.

    Exactly zero, also through an arbitrary control variate: operations of sub-policies that were not drawn, gates and
    magnitudes of candidates that were not, magnitudes behind closed gates, gates of the identity.
    """
    policy, scalar = policy_of(subpolicies=6), Recorded()
    control = arbitrary(estimator, policy, 1)
    estimate = estimate_with(control, estimator, scalar, policy, 8, generator(), 0.0)
    sample, grads = scalar.sample, estimate.grads
    drawn = torch.zeros(policy.shape, dtype=torch.bool)
    acted, stages = drawn.clone(), torch.arange(3)
    for subpolicy, slot, gate in zip(sample.subpolicy, sample.slot, sample.gate, strict=True):
        drawn[subpolicy, stages, slot] = True
        acted[subpolicy, stages, slot] |= gate
    in_drawn = drawn.flatten(1).any(1)
    assert 0 < in_drawn.sum() < 6
    assert not grads.gate_logits[~drawn].any()
    assert not grads.gate_logits[:, :, 1].any()  # the identity
    assert not grads.magnitude_locations[~acted].any()
    assert not grads.magnitude_log_scales[~acted].any()
    if not isinstance(estimator, Gumbel):  # straight through the argmax, every candidate moves a little
        assert not grads.op_logits[~in_drawn].any()
    scored = drawn & policy.tables.scored_gate
    assert (grads.gate_logits[scored] != 0).all()
    assert (grads.op_logits[in_drawn] != 0).all()
    assert (grads.magnitude_locations[acted & policy.tables.scored_magnitude] != 0).all()


def pair() -> Policy:
    """One sub-policy: rotate, then brightness, then invert, always in this order."""
    ops = [candidate.op for candidate in make_space({"rotate": {}, "brightness": {}, "invert": {}}).candidates]
    slots = (((Slot(0, 0.0, 2.0),), (Slot(1, 0.0, 0.9),), (Slot(2),)),)
    return Policy(ops, slots, parameters_like(slots))


PATHWISE = [Enumerate(magnitude="pathwise"), Mixture()]


@pytest.mark.parametrize("estimator", [Reinforce(), Relax(), Rebar(), Gumbel(), Enumerate(), *PATHWISE], ids=repr)
def test_the_operations_of_a_pair_have_their_own_magnitude_gradients(estimator: Estimator) -> None:
    """Defect 5: d pixel / d m = 1 for every operation, so that both of a pair get the same gradient, and an operation
    without a magnitude gets one too. Here only the first magnitude matters."""
    policy = pair()

    def scalar(sample: PolicySample | RelaxedSample) -> Tensor:
        return sample.magnitude.reshape(len(sample), -1)[:, 0] * sample.gate.reshape(len(sample), -1)[:, 0]

    draws = torch.stack(
        [estimator(scalar, policy, 64, generator(seed), 0.0).grads.magnitude_locations.flatten() for seed in range(80)]
    )
    error = draws.std(0) / len(draws) ** 0.5
    assert draws.mean(0)[0] > 8 * error[0]
    assert draws.mean(0)[1].abs() <= 4 * error[1]
    assert not draws[:, 2].any()
    if estimator in PATHWISE:
        assert not draws[:, 1].any()


@pytest.mark.slow
@pytest.mark.parametrize("start", [-9.0, 9.0])
def test_no_probability_is_absorbing(start: float) -> None:
    """Defect 6: p is clamped before its logit; a clamp's derivative is zero, and p stays where it once got to.

    From p = 0.0001 (0.9999) the gradient is as small as p (1 - p), but not zero, and an optimiser finds the way back.
    """
    policy = pair()
    optimizer = torch.optim.Adam([policy.gate_logits], lr=0.2)
    with torch.no_grad():
        policy.gate_logits.fill_(start)
    for step in range(120):
        grads = Enumerate()(lambda sample: start * sample.gate.sum(1), policy, 4, generator(step), 0.0).grads
        policy.gate_logits.grad = grads.gate_logits
        optimizer.step()
    moved = policy.gate_probabilities() if start < 0 else 1 - policy.gate_probabilities()
    assert (moved > 0.9).all()
    with torch.no_grad():
        policy.gate_logits.fill_(4 * start)
    assert Enumerate()(lambda sample: start * sample.gate.sum(1), policy, 4, generator(), 0.0).grads.gate_logits.all()


# --- controls, on images ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def task() -> tuple[Tensor, Tensor, nn.Module]:
    """Handwritten digits and a linear classifier that was trained on them as they are."""
    split = load_digits().train
    images, labels = split.images[:256].to(torch.float32) / 255, split.labels[:256]
    model = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 10))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return images, labels, model.requires_grad_(False)


def loss_under(policy: Policy, task: tuple[Tensor, Tensor, nn.Module], count: int) -> Callable[..., Tensor]:
    images, labels, model = task

    def scalar(sample: PolicySample | RelaxedSample) -> Tensor:
        return nn.functional.cross_entropy(
            model(policy(images[:count], params=sample)), labels[:count], reduction="none"
        )

    return scalar


ALL = [Reinforce(), Relax(), Rebar(), Gumbel(), Enumerate(), Mixture(temperature=1.0, final_temperature=1.0)]


@pytest.mark.parametrize("estimator", ALL, ids=lambda estimator: type(estimator).__name__)
def test_a_duplicate_of_the_identity(estimator: Estimator, task: tuple[Tensor, Tensor, nn.Module]) -> None:
    """A rotation by 0 degrees: whether it is applied makes no difference, nor whether it or the identity is chosen."""
    ops = [candidate.op for candidate in make_space({"identity": {}, "rotate": {}, "invert": {}}).candidates]
    slots = (((Slot(0), Slot(1, 0.0, 0.0), Slot(2)),),)
    policy = Policy(ops, slots, parameters_like(slots))
    scalar = loss_under(policy, task, 64)
    found = [estimator(scalar, policy, 64, generator(seed), 0.0).grads for seed in range(60)]
    gate = torch.stack([grads.gate_logits[0, 0] for grads in found])
    op = torch.stack([grads.op_logits[0, 0] for grads in found])

    def within_noise(draws: Tensor) -> bool:
        return bool(draws.mean().abs() <= 4 * draws.std() / len(draws) ** 0.5 + 1e-7)

    assert within_noise(gate[:, 1])
    assert not within_noise(gate[:, 2])
    assert within_noise(op[:, 0] - op[:, 1])
    assert not within_noise(op[:, 0] - op[:, 2])
    assert not any(grads.magnitude_locations.any() for grads in found)


@pytest.mark.parametrize("estimator", ALL, ids=lambda estimator: type(estimator).__name__)
def test_an_operation_that_destroys_labels_loses_probability(
    estimator: Estimator, task: tuple[Tensor, Tensor, nn.Module]
) -> None:
    policy = initial_policy(make_space({"identity": {}, "brightness": {}, "invert": {}}))
    before, scalar = float(op_masses(policy)[2]), loss_under(policy, task, 64)
    optimizer = torch.optim.Adam([parameter for parameter in policy.parameters() if parameter.requires_grad], lr=0.1)
    control = initial_control(estimator, policy, generator())
    draws = generator(1)
    for step in range(25):
        estimate = estimate_with(control, estimator, scalar, policy, 64, draws, step / 25)
        if control is not None:
            control.step(estimate.control_loss)
        for name, parameter in policy.named_parameters():
            parameter.grad = getattr(estimate.grads, name)
        optimizer.step()
    assert float(op_masses(policy)[2]) < 0.4 * before
