"""The implicit hypergradients against closed forms and against training to the optimum. float64."""

import pytest
import torch
from torch import Tensor

from augrad.hypergradients.cg import ConjugateGradients, conjugate_gradients
from augrad.hypergradients.hypergradient import Hypergradient, TwoLevels
from augrad.hypergradients.neumann import Neumann
from augrad.hypergradients.t1t2 import T1T2
from augrad.learning.classifier import Weights
from problems import (
    LEARNED,
    Softmax,
    Training,
    central_difference,
    flat_levels,
    symmetric,
    train_to_the_optimum,
)

SIZE = 6
EIGENVALUES = torch.tensor([0.2, 0.5, 0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
TARGET = torch.randn(SIZE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def validation_loss(w: Tensor) -> Tensor:
    return 0.5 * (w - TARGET).square().sum()


def quadratic(w: Tensor | None = None, **optimiser: float) -> tuple[Tensor, Tensor, TwoLevels]:
    """A, grad L_val(w), and the two levels of L_tr = w'Aw/2."""
    A = symmetric(SIZE, 0, EIGENVALUES)
    w = torch.zeros(SIZE, dtype=torch.float64) if w is None else w
    return A, w - TARGET, flat_levels(w, lambda w: 0.5 * w @ A @ w, validation_loss, **optimiser)


def u_of(method: Hypergradient, levels: TwoLevels, memory: Weights | None = None) -> Tensor:
    (term,) = method(levels, memory or {}).terms
    return term.u["w"]


@pytest.mark.parametrize(
    "method", [Neumann(terms=200, step_size=0.4, damping=0.0), ConjugateGradients(iterations=SIZE, damping=0.0)]
)
@pytest.mark.parametrize("decay_by", ["optimiser", "loss"])
def test_ridge_regression(method: Hypergradient, decay_by: str) -> None:
    """L_tr = |Xw - y|^2 / 2n + lambda |w|^2 / 2 at its minimum: dw*/dlambda = -(X'X/n + lambda)^-1 w*.

    The penalty as a part of the loss, or as the optimiser's weight decay.
    """
    generator = torch.Generator().manual_seed(3)
    X = torch.randn(20, SIZE, generator=generator, dtype=torch.float64)
    y = torch.randn(20, generator=generator, dtype=torch.float64)
    penalty = 0.3
    A = X.T @ X / 20 + penalty * torch.eye(SIZE, dtype=torch.float64)
    best = torch.linalg.solve(A, X.T @ y / 20)

    def training_loss(w: Tensor) -> Tensor:
        fit = 0.5 * (X @ w - y).square().mean()
        return fit + 0.5 * penalty * w.square().sum() if decay_by == "loss" else fit

    decay = {"weight_decay": penalty} if decay_by == "optimiser" else {}
    u = u_of(method, flat_levels(best, training_loss, validation_loss, **decay))
    exact = -(best - TARGET) @ torch.linalg.solve(A, best)
    # grad_w L_tr depends on lambda through lambda w: the derivative of <u, grad_w L_tr> is <u, w>.
    torch.testing.assert_close(u @ best, exact, rtol=1e-9, atol=0)


@pytest.mark.parametrize("damping", [0.0, 0.4])
def test_the_neumann_error_falls_geometrically(damping: float) -> None:
    """After K terms the error along an eigenvector of eigenvalue a is (1 - eta a)^(K + 1) of the solution's part."""
    A, pull, levels = quadratic()
    eta = 0.3
    values, vectors = torch.linalg.eigh(A + damping * torch.eye(SIZE, dtype=torch.float64))
    exact = -vectors.T @ pull / values
    for terms in (0, 1, 2, 5, 20):
        method = Neumann(terms, eta, damping)
        error = exact - vectors.T @ u_of(method, levels)
        torch.testing.assert_close(error, (1 - eta * values) ** (terms + 1) * exact, rtol=0, atol=1e-12)
    link = Neumann(20, eta, damping)(levels, {})
    left = (1 - eta * values) ** 20 * (vectors.T @ pull)
    torch.testing.assert_close(link.metrics["hypergradient_residual"], left.norm() / pull.norm())


def test_a_diverging_neumann_series_shows_in_its_residual() -> None:
    _, _, levels = quadratic()
    assert Neumann(20, 1.0, 0.0)(levels, {}).metrics["hypergradient_residual"] > 1  # 1.0 * 3.0 > 2
    assert Neumann(20, 0.5, 0.0)(levels, {}).metrics["hypergradient_residual"] < 1


@pytest.mark.parametrize(("step_size", "damping"), [(0.05, 0.0), (0.7, 0.3)])
def test_t1t2_is_neumann_without_terms_up_to_scale(step_size: float, damping: float) -> None:
    w = torch.randn(SIZE, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    _, pull, levels = quadratic(w, weight_decay=0.1)
    torch.testing.assert_close(u_of(T1T2(), levels), -pull, rtol=0, atol=1e-14)
    torch.testing.assert_close(
        u_of(Neumann(0, step_size, damping), levels), step_size * u_of(T1T2(), levels), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize(("damping", "decay"), [(0.0, 0.0), (0.7, 0.0), (2.5, 0.2)])
def test_cg_is_exact_after_as_many_iterations_as_there_are_eigenvalues(damping: float, decay: float) -> None:
    A, pull, levels = quadratic(weight_decay=decay)
    exact = -torch.linalg.solve(A + (damping + decay) * torch.eye(SIZE, dtype=torch.float64), pull)
    different = len(EIGENVALUES.unique())
    link = ConjugateGradients(different, damping)(levels, {})
    torch.testing.assert_close(link.terms[0].u["w"], exact, rtol=1e-9, atol=1e-10)
    assert link.metrics["hypergradient_residual"] < 1e-9
    torch.testing.assert_close(u_of(ConjugateGradients(40, damping), levels), exact, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_cg_is_the_best_of_its_krylov_subspace(iterations: int) -> None:
    """No combination of g, Ag, A^2 g, ... is nearer to the solution, in the norm of A."""
    damping = 0.4
    A, pull, levels = quadratic()
    A = A + damping * torch.eye(SIZE, dtype=torch.float64)
    found = u_of(ConjugateGradients(iterations, damping), levels)
    krylov = torch.stack([torch.linalg.matrix_power(A, power) @ pull for power in range(iterations)], 1)
    best = krylov @ torch.linalg.solve(krylov.T @ A @ krylov, krylov.T @ -pull)
    torch.testing.assert_close(found, best, rtol=1e-8, atol=1e-10)
    link = ConjugateGradients(iterations, damping)(levels, {})
    residual = (pull + A @ found).norm() / pull.norm()
    torch.testing.assert_close(link.metrics["hypergradient_residual"], residual, rtol=1e-8, atol=0)


def test_a_warm_start_goes_on_from_the_last_solution() -> None:
    A, pull, levels = quadratic()
    exact = -torch.linalg.solve(A + 0.1 * torch.eye(SIZE, dtype=torch.float64), pull)
    method = ConjugateGradients(2, 0.1)
    errors, memory = [], {}
    for _ in range(12):
        before = {name: part.clone() for name, part in memory.items()}
        link = method(levels, memory)
        assert all(torch.equal(memory[name], part) for name, part in before.items())  # nothing hidden, nothing changed
        memory = link.memory
        errors.append(float((link.terms[0].u["w"] - exact).norm()))
    assert errors[0] == pytest.approx(float((u_of(ConjugateGradients(2, 0.1, False), levels) - exact).norm()))
    assert errors[1] < 0.5 * errors[0]
    assert errors[-1] < 1e-3 * errors[0]
    assert ConjugateGradients(2, 0.1, warm_start=False)(levels, {}).memory == {}
    cold = ConjugateGradients(2, 0.1, warm_start=False)
    assert torch.equal(u_of(cold, levels, memory), u_of(cold, levels))


def test_a_warm_start_that_is_worse_than_zero_is_dropped() -> None:
    _, _, levels = quadratic()
    method = ConjugateGradients(2, 0.1)
    far = {"w": torch.full((SIZE,), 1e6, dtype=torch.float64)}
    assert torch.equal(u_of(method, levels, far), u_of(method, levels))


def test_cg_stops_where_the_loss_bends_downwards() -> None:
    """From the first direction on: nothing; from a later one on: what it had."""
    pull = torch.ones(3, dtype=torch.float64)
    down = torch.diag(torch.tensor([-4.0, 1.0, 2.0], dtype=torch.float64))
    assert not conjugate_gradients(lambda v: down @ v, pull, None, 9).x.any()
    start = torch.tensor([0.0, 0.9, 0.45], dtype=torch.float64)
    assert torch.equal(conjugate_gradients(lambda v: down @ v, pull, start, 9).x, start)
    later = torch.diag(torch.tensor([-0.5, 1.0, 2.0], dtype=torch.float64))
    one, many = (conjugate_gradients(lambda v: later @ v, pull, None, count) for count in (1, 9))
    assert one.x.any()
    assert torch.equal(one.x, many.x)
    hardly = torch.diag(torch.tensor([0.01, 0.01, 0.01], dtype=torch.float64))
    assert not conjugate_gradients(lambda v: hardly @ v, pull, None, 9, least_curvature=0.02).x.any()


@pytest.mark.parametrize("method", [Neumann(), ConjugateGradients(), T1T2()])
def test_without_a_validation_gradient_nothing_is_found_and_nothing_breaks(method: Hypergradient) -> None:
    _, pull, levels = quadratic(TARGET.clone())
    assert not pull.any()
    link = method(levels, {})
    assert not link.terms[0].u["w"].any()
    assert all(metric.isfinite() for metric in link.metrics.values())


def test_a_loss_without_curvature() -> None:
    """Linear in the weights: only damping bends, and the solution is grad L_val / damping."""
    slope = torch.arange(SIZE, dtype=torch.float64)
    w = torch.zeros(SIZE, dtype=torch.float64)
    levels = flat_levels(w, lambda w: slope @ w, validation_loss)
    torch.testing.assert_close(u_of(ConjugateGradients(3, 0.5), levels), TARGET / 0.5)


@pytest.mark.parametrize(
    "method", [Neumann(terms=1200, step_size=0.4, damping=0.0), ConjugateGradients(iterations=60, damping=0.0)]
)
def test_true_finite_difference_of_training_to_the_optimum(method: Hypergradient) -> None:
    """Perturb the policy, train a softmax regression to its minimum anew, difference the validation loss."""
    training = Training(Softmax, "weight decay")
    model, policy, decay = training.model, training.policy, 0.05

    def validation_loss_at_the_optimum() -> float:
        train_to_the_optimum(model, training.augmented(0), training.data[0][1], decay)
        return training.validation_loss_after(0)

    validation_loss_at_the_optimum()
    found = training.policy_gradient(method(training.levels(), {}))
    for group in LEARNED:
        for index in [(0, 0, 0), (0, 1, 1)]:
            difference = central_difference(getattr(policy, group), index, validation_loss_at_the_optimum, 1e-5)
            assert float(found[group][index]) == pytest.approx(difference, rel=1e-4, abs=1e-9), f"{group}{index}"
