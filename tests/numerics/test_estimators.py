"""Estimators against the exact gradient, by summing over every outcome of a small policy. float64."""

import itertools
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from augrad import Policy
from augrad.estimators.estimate import leave_one_out
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.reinforce import Reinforce
from augrad.ops.space import make_space
from augrad.policy.initial import initial_policy, random_policy
from augrad.policy_file import parse_policy
from augrad.policy_file.convert import policy_from_document
from augrad.types import PolicyParams, PolicySample, RelaxedSample
from problems import shapes_unchecked

pytestmark = pytest.mark.slow

S, L, K = 2, 2, 3
GROUPS = PolicyParams.names()


@pytest.fixture
def policy() -> Policy:
    space = make_space({"rotate": {"high": 2.0}, "identity": {}, "brightness": {}})
    start = initial_policy(
        space, S, L, scale=0.7, learn=["subpolicies", "ops", "gates", "magnitudes", "magnitude_scales"]
    )
    return random_policy(start, seed=3)


def table() -> Tensor:
    """f[s, k1, k2, g1, g2]: what a joint choice costs, without structure."""
    values = torch.randn(S, K, K, 2, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    values[:, 1, :, 0] = values[:, 1, :, 1]  # whether the identity (slot 1) is applied makes no difference
    values[:, :, 1, :, 0] = values[:, :, 1, :, 1]
    return values


def slope() -> Tensor:
    """How much the magnitude of each candidate adds, [K]."""
    return torch.tensor(
        [1.5, 4.0, -2.0], dtype=torch.float64
    )  # the identity has no magnitude: its entry must not count


def hard_scalar(sample: PolicySample) -> Tensor:
    choice = table()[
        sample.subpolicy, sample.slot[:, 0], sample.slot[:, 1], sample.gate[:, 0].long(), sample.gate[:, 1].long()
    ]
    bent = torch.sin(2 * sample.magnitude) * slope()[sample.slot] * (sample.op != 1)
    return choice + (bent * sample.gate).sum(1)


def exact_value(policy: Policy) -> Tensor:
    """E f, differentiable: a sum over choices and gates, Gauss-Hermite quadrature over magnitudes."""
    nodes, weights = (torch.from_numpy(array) for array in np.polynomial.hermite_e.hermegauss(60))
    weights = weights / weights.sum()
    latent = policy.magnitude_locations[..., None] + policy.magnitude_log_scales.exp()[..., None] * nodes
    low, high = policy.tables.low[..., None], policy.tables.high[..., None]
    magnitude = low + (high - low) * torch.sigmoid(latent)
    bent = (torch.sin(2 * magnitude) * weights).sum(-1) * slope() * torch.tensor([1.0, 0.0, 1.0])
    subpolicy, op, gate = policy.subpolicy_probabilities(), policy.op_probabilities(), policy.gate_probabilities()
    total = torch.zeros((), dtype=torch.float64)
    for s, k1, k2, g1, g2 in itertools.product(range(S), range(K), range(K), range(2), range(2)):
        open1, open2 = gate[s, 0, k1], gate[s, 1, k2]
        probability = subpolicy[s] * op[s, 0, k1] * op[s, 1, k2]
        probability = probability * (open1 if g1 else 1 - open1) * (open2 if g2 else 1 - open2)
        total = total + probability * (table()[s, k1, k2, g1, g2] + g1 * bent[s, 0, k1] + g2 * bent[s, 1, k2])
    return total


def exact_gradient(policy: Policy) -> PolicyParams:
    return PolicyParams(*torch.autograd.grad(exact_value(policy), policy.params.tensors()))


def estimates(policy: Policy, estimator: Callable, scalar: Callable, count: int, batch: int) -> list[PolicyParams]:
    generator = torch.Generator().manual_seed(0)
    first = estimator(scalar, policy, batch, generator, 0.0).grads
    with shapes_unchecked():
        return [first, *(estimator(scalar, policy, batch, generator, 0.0).grads for _ in range(count - 1))]


def stacked(found: list[PolicyParams], group: str) -> Tensor:
    return torch.stack([getattr(gradient, group).flatten() for gradient in found])


@pytest.mark.slow
@pytest.mark.parametrize(("baseline", "batch"), [("leave_one_out", 64), ("leave_one_out", 2), ("none", 64)])
def test_reinforce_is_unbiased_for_every_group(policy: Policy, baseline: str, batch: int) -> None:
    # A batch of 2 tells the mean of the others from the mean of all, which would halve the estimate.
    exact = exact_gradient(policy)
    count = 600 if batch > 2 else 4000
    found = estimates(policy, Reinforce(baseline=baseline), hard_scalar, count, batch)  # type: ignore[arg-type]
    for group in GROUPS:
        draws = stacked(found, group)
        error = draws.mean(0) - getattr(exact, group).flatten()
        standard_error = draws.std(0) / math.sqrt(len(draws))
        moved = standard_error > 0
        assert moved.any(), group
        assert (error[moved].abs() < 4 * standard_error[moved]).all(), f"{group}: {error / standard_error}"
        assert (error[~moved].abs() < 1e-12).all(), f"{group}: what never acts must have gradient zero"


def test_the_baseline_lowers_the_variance(policy: Policy, record_property: Callable[[str, object], None]) -> None:
    def shifted(sample: PolicySample) -> Tensor:
        return hard_scalar(sample) + 5.0

    found = {
        name: estimates(policy, Reinforce(baseline=name), shifted, 150, 64)  # type: ignore[arg-type]
        for name in ("none", "leave_one_out")
    }
    for group in GROUPS:
        plain, centred = (stacked(found[name], group).var(0).sum() for name in ("none", "leave_one_out"))
        record_property(f"variance ratio, {group}", float(centred / plain))
        print(f"variance with baseline / without, {group}: {float(centred / plain):.3f}")
        assert centred < 0.5 * plain


def test_leave_one_out_is_the_mean_of_the_others() -> None:
    scores = torch.tensor([1.0, 4.0, 7.0])
    assert torch.allclose(leave_one_out(scores), torch.tensor([1 - 5.5, 4 - 4.0, 7 - 2.5]))


@pytest.mark.parametrize("estimator", [Reinforce(), Gumbel(), Gumbel(magnitude="pathwise")])
def test_a_constant_added_to_every_score_changes_no_gradient(policy: Policy, estimator: Callable) -> None:
    plain, shifted = (
        estimates(policy, estimator, lambda sample, more=more: hard_scalar(sample) + more, 1, 16)[0]
        for more in (0.0, 1000.0)
    )
    for group in GROUPS:
        assert torch.allclose(getattr(plain, group), getattr(shifted, group), atol=1e-9, rtol=1e-9), group


def test_only_what_acted_is_scored(policy: Policy) -> None:
    sample = policy.sample(200, generator=torch.Generator().manual_seed(1))
    terms = policy.score_terms(sample)
    identity = (sample.op == 1).all(1)
    assert identity.any()
    assert (terms.gate[identity] == 0).all()
    assert (terms.gate[~identity] != 0).all()
    still = (~sample.gate | (sample.op == 1)).all(1)
    assert (terms.magnitude[still] == 0).all()
    assert (terms.magnitude[~still] != 0).all()


def relaxed_scalar(sample: RelaxedSample) -> Tensor:
    """The multilinear extension of `hard_scalar`: they agree at the corners."""
    gates = torch.stack([1 - sample.gate, sample.gate], -1)
    stage = sample.op[..., None] * gates  # [B, S, L, K, 2]
    choice = torch.einsum("bs,bskg,bslh,sklgh->b", sample.subpolicy, stage[:, :, 0], stage[:, :, 1], table())
    bent = torch.sin(2 * sample.magnitude) * slope() * torch.tensor([1.0, 0.0, 1.0])
    acts = sample.subpolicy[:, :, None, None] * sample.op * sample.gate
    return choice + (acts * bent).sum((1, 2, 3))


@pytest.mark.parametrize("group", GROUPS)
def test_gumbel_gradient_is_the_derivative_of_the_relaxed_value(policy: Policy, group: str) -> None:
    """For fixed noise the relaxed value is a plain function of the parameters: finite differences must agree."""
    estimator = Gumbel(0.6, 0.6, relaxation="soft", magnitude="pathwise")
    found = getattr(estimator(relaxed_scalar, policy, 32, torch.Generator().manual_seed(2), 0.0).grads, group)
    parameter = getattr(policy, group)
    step = 1e-6

    def value() -> Tensor:
        with torch.no_grad():
            return relaxed_scalar(policy.rsample(32, 0.6, False, torch.Generator().manual_seed(2))).mean()

    for index in itertools.product(*map(range, parameter.shape)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[index] += sign * step
            values.append(value())
            with torch.no_grad():
                parameter[index] -= sign * step
        assert float(found[index]) == pytest.approx(float((values[0] - values[1]) / (2 * step)), abs=1e-7)


@pytest.mark.parametrize("magnitude", ["score", "pathwise"])
@pytest.mark.parametrize("relaxation", ["straight_through", "straight_through_pixels", "soft"])
def test_gumbel_magnitudes_are_unbiased_once_the_selection_is_fixed(magnitude: str, relaxation: str) -> None:
    """Both ways of learning a magnitude agree with quadrature when a single operation is always applied."""
    policy = initial_policy(make_space({"rotate": {"high": 2.0}}), scale=0.7, learn=["magnitudes", "magnitude_scales"])
    with torch.no_grad():
        policy.gate_logits.fill_(40.0)
    nodes, weights = (torch.from_numpy(array) for array in np.polynomial.hermite_e.hermegauss(60))
    latent = policy.magnitude_locations[..., None] + policy.magnitude_log_scales.exp()[..., None] * nodes
    exact_mean = (torch.sin(2 * 2.0 * torch.sigmoid(latent)) * weights / weights.sum()).sum()
    exact = torch.autograd.grad(exact_mean, [policy.magnitude_locations, policy.magnitude_log_scales])

    def scalar(sample: PolicySample | RelaxedSample) -> Tensor:
        return torch.sin(2 * sample.magnitude.flatten()) * sample.gate.flatten()

    found = estimates(policy, Gumbel(0.3, 0.3, relaxation, magnitude), scalar, 400, 64)  # type: ignore[arg-type]
    for group, truth in zip(("magnitude_locations", "magnitude_log_scales"), exact, strict=True):
        draws = stacked(found, group)
        assert (draws.mean(0) - truth.flatten()).abs() < 4 * draws.std(0) / math.sqrt(len(draws))


def test_gumbel_bias_falls_with_the_temperature(policy: Policy, record_property: Callable[[str, object], None]) -> None:
    exact = exact_gradient(policy)
    bias = {}
    for temperature in (3.0, 0.3):
        estimator = Gumbel(temperature, temperature, "soft", "pathwise")
        draws = stacked(estimates(policy, estimator, relaxed_scalar, 300, 256), "op_logits")
        bias[temperature] = float((draws.mean(0) - exact.op_logits.flatten()).norm() / exact.op_logits.norm())
    record_property("relative bias by temperature", bias)
    assert bias[0.3] < 0.35 < bias[3.0]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_straight_through_points_along_the_exact_gradient(policy: Policy, temperature: float) -> None:
    """Biased by its temperature, in length more than in direction; magnitudes are learned by score, without bias."""
    exact = exact_gradient(policy)
    found = estimates(policy, Gumbel(temperature, temperature), hard_scalar, count=600, batch=64)
    for group in ("subpolicy_logits", "op_logits", "gate_logits"):
        mean, truth = stacked(found, group).mean(0), getattr(exact, group).flatten()
        cosine = float(torch.cosine_similarity(mean, truth, dim=0))
        print(f"cosine with the exact gradient at temperature {temperature}, {group}: {cosine:.3f}")
        assert cosine > 0.75, group
    for group in ("magnitude_locations", "magnitude_log_scales"):
        draws = stacked(found, group)
        error = draws.mean(0) - getattr(exact, group).flatten()
        standard_error = draws.std(0) / math.sqrt(len(draws))
        assert (error.abs() <= 4 * standard_error).all(), group


@pytest.mark.slow
def test_more_conditional_draws_lower_the_variance_and_keep_the_mean(policy: Policy) -> None:
    found = {draws: estimates(policy, Gumbel(1.0, 1.0, draws=draws), hard_scalar, 400, 64) for draws in (1, 16)}
    for group in ("subpolicy_logits", "op_logits", "gate_logits"):
        one, many = (stacked(found[draws], group) for draws in (1, 16))
        ratio = float(many.var(0).sum() / one.var(0).sum())
        print(f"variance with 16 conditional draws over 1, {group}: {ratio:.2f}")
        assert ratio < 0.95, group
        error = ((one.var(0) + many.var(0)) / len(one)).sqrt()
        assert ((one.mean(0) - many.mean(0)).abs() <= 4 * error + 1e-12).all(), group


def test_straight_through_pixels_is_the_hard_draw_forward(policy: Policy) -> None:
    noise = policy.draw_relaxed_noise(64, torch.Generator().manual_seed(0))
    relaxed = policy.rsample_from(noise, 0.5, hard=True)
    torch.testing.assert_close(relaxed_scalar(relaxed), hard_scalar(policy.harden(relaxed)))


@pytest.mark.parametrize("estimator", [Reinforce(), Gumbel(), Gumbel(relaxation="soft")])
def test_a_policy_from_a_file_gets_finite_gradients(estimator: Callable) -> None:
    """A uniform range has an infinite location, a certain gate an infinite logit: no density, and no NaN."""
    document = {
        "format": "augrad.policy", "version": 1, "interpolation": "bilinear", "fill": 0.0,
        "subpolicies": [{"weight": 1.0, "stages": [[
            {"op": "rotate", "unit": "degree", "magnitude": {"low": 0.0, "high": 30.0}, "weight": 0.5},
            {"op": "invert", "probability": 0.0, "weight": 0.5}, {"op": "solarize", "unit": "threshold",
             "magnitude": {"value": 0.5}, "weight": 0.0}]]},
            {"weight": 0.0, "stages": [[{"op": "invert", "weight": 1.0}]]}],
    }  # fmt: skip
    policy = policy_from_document(parse_policy(json.dumps(document)))

    def scalar(sample: PolicySample | RelaxedSample) -> Tensor:
        return sample.magnitude.reshape(len(sample), -1)[:, 0]

    grads = estimator(scalar, policy, 16, torch.Generator().manual_seed(0), 0.0).grads
    assert all(gradient.isfinite().all() for gradient in grads.tensors())


@pytest.mark.parametrize("estimator", [Reinforce(), Gumbel(), Gumbel(relaxation="soft")])
def test_points_get_finite_gradients_and_no_score(estimator: Callable) -> None:
    policy = initial_policy(make_space({"rotate": {}, "identity": {}}), magnitude="point")

    def scalar(sample: PolicySample | RelaxedSample) -> Tensor:
        return sample.magnitude.reshape(len(sample), -1)[:, 0]

    grads = estimator(scalar, policy, 16, torch.Generator().manual_seed(0), 0.0).grads
    assert all(gradient.isfinite().all() for gradient in grads.tensors())
    assert not grads.magnitude_locations.any()


def test_temperature_schedule_is_geometric() -> None:
    estimator = Gumbel(temperature=1.0, final_temperature=0.01)
    assert [estimator.temperature_at(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.1, 0.01])


def test_frozen_groups_get_zeros() -> None:
    policy = initial_policy(make_space({"rotate": {}, "identity": {}}), learn=["ops"])
    grads = Reinforce()(lambda sample: sample.magnitude[:, 0], policy, 16, torch.Generator().manual_seed(0), 0.0).grads
    assert grads.op_logits.any()
    assert not any(getattr(grads, name).any() for name in GROUPS if name != "op_logits")
