"""What `estimator_report.py` measures: estimators on a joint space that is summed over, hypergradients on trainings.

Seeds are fixed: the same numbers come out whatever the number of processes.
"""

import copy
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

from augrad.estimators.control import initial_control
from augrad.estimators.enumerate import Enumerate
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.mixture import Mixture
from augrad.estimators.rebar import Rebar
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax
from augrad.hypergradients.cg import ConjugateGradients
from augrad.hypergradients.hypergradient import Hypergradient
from augrad.hypergradients.neumann import Neumann
from augrad.hypergradients.one_step import OneStep
from augrad.hypergradients.t1t2 import T1T2
from augrad.hypergradients.unrolled import Unrolled
from augrad.problems.joint_space import JointSpace
from augrad.problems.training import LEARNED, Linear, Softmax, Training, central_difference, train_to_the_optimum
from augrad.types import PolicyParams

GROUPS = PolicyParams.names()
PLAIN = "reinforce, none"
ESTIMATORS: dict[str, Any] = {
    PLAIN: Reinforce("none"),
    "reinforce, moving_average": Reinforce("moving_average"),
    "reinforce, leave_one_out": Reinforce(),
    "relax": Relax(learning_rate=0.02),
    "rebar": Rebar(learning_rate=0.03),
    "enumerate": Enumerate(),
    "gumbel, straight_through": Gumbel(1.0, 1.0),
    "gumbel, pathwise magnitudes": Gumbel(1.0, 1.0, magnitude="pathwise"),
    "gumbel, straight_through_pixels": Gumbel(1.0, 1.0, "straight_through_pixels"),
    "gumbel, soft": Gumbel(1.0, 1.0, "soft"),
    "mixture": Mixture(),
}
TEMPERED: dict[str, Callable[[float], Any]] = {
    "relax": lambda tau: Relax(temperature=tau, learning_rate=0.02),
    "rebar": lambda tau: Rebar(tau, tau, learning_rate=0.03),
    "gumbel, straight_through": lambda tau: Gumbel(tau, tau),
    "gumbel, straight_through_pixels": lambda tau: Gumbel(tau, tau, "straight_through_pixels"),
    "gumbel, soft": lambda tau: Gumbel(tau, tau, "soft"),
    "mixture": lambda tau: Mixture(tau, tau),
}


@dataclass(frozen=True)
class Size:
    """How much is measured. estimates: of each estimator at its settings, a tenth for `enumerate`, which costs most and
    scatters least. batch: draws of an estimate. training: steps that a control is trained for before. horizons: steps
    of training; terms: of the implicit methods."""

    estimates: int = 1000
    batch: int = 64
    sweep_estimates: int = 300
    training: int = 200
    temperatures: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
    batches: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)
    horizons: tuple[int, ...] = (1, 2, 4, 8, 16)
    terms: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    seeds: int = 5

    def job(self, estimator: Any, estimates: int, batch: int, seed: int) -> "Job":
        """seed: of the draws."""
        count = max(estimates // 10, 10) if isinstance(estimator, Enumerate) else estimates
        return Job(estimator, count, batch, self.training, seed)


SMALL = Size(40, 16, 20, 10, (0.5, 2.0), (4, 16), (1, 2), (1, 4), 2)


@dataclass(frozen=True)
class Found:
    """Of one group: the bias along the exact gradient and its standard error, in units of that gradient's length; the
    cosine of the mean estimate with it; the summed variance of the entries; the largest |error| of an entry in standard
    errors; how many entries the group has."""

    bias: float
    standard_error: float
    cosine: float
    variance: float
    largest_z: float
    entries: int


@dataclass(frozen=True)
class Job:
    """One estimator at one setting. seed: of the draws."""

    estimator: Any
    count: int
    batch: int
    training: int
    seed: int


def measure(job: Job) -> dict[str, Found]:
    """By group. The control, if there is one, is trained first and then stays."""
    problem = JointSpace()
    control = initial_control(job.estimator, problem.policy, torch.Generator().manual_seed(0))
    if control is not None:
        problem.estimates(job.estimator, job.training, job.batch, control, train=True, seed=10_000 + job.seed)
    estimates = problem.estimates(job.estimator, job.count, job.batch, control, seed=job.seed)
    exact = problem.exact()
    return {
        group: found_of(
            torch.stack([getattr(estimate.grads, group).flatten() for estimate in estimates]),
            getattr(exact, group).flatten(),
        )
        for group in GROUPS
    }


def found_of(draws: Tensor, exact: Tensor) -> Found:
    """draws: [N, entries]."""
    length, root = exact.norm(), math.sqrt(len(draws))
    mean = draws.mean(0)
    along = draws @ exact / length.square()
    error, standard_error = (mean - exact).abs(), draws.std(0) / root
    moved = standard_error > 1e-12
    return Found(
        bias=float(along.mean() - 1),
        standard_error=float(along.std()) / root,
        cosine=float(torch.cosine_similarity(mean, exact, dim=0)) if bool(mean.any()) else math.nan,
        variance=float(draws.var(0).sum()),
        largest_z=float((error[moved] / standard_error[moved]).max()) if bool(moved.any()) else math.nan,
        entries=int(moved.sum()),
    )


# --- hypergradients ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Error:
    """angle: between found and true gradient, in degrees. relative: |found - true| / |true|."""

    angle: float
    relative: float


def error_of(found: Mapping[str, Tensor], true: Tensor) -> Error:
    vector = torch.cat([found[group].flatten() for group in LEARNED])
    cosine = torch.cosine_similarity(vector, true, dim=0).clamp(-1, 1)
    # From the sine for small angles, where the cosine has no digits left.
    sine = (vector / vector.norm() - cosine * true / true.norm()).norm()
    return Error(math.degrees(math.atan2(float(sine), float(cosine))), float((vector - true).norm() / true.norm()))


def true_gradient(training: Training, value: Callable[[], float]) -> Tensor:
    """By central differences of what really happens, for every entry of every group that is learned."""
    return torch.tensor(
        [
            central_difference(parameter, tuple(index), value, 1e-5)
            for parameter in (getattr(training.policy, group) for group in LEARNED)
            for index in torch.cartesian_prod(*[torch.arange(size) for size in parameter.shape]).tolist()
        ],
        dtype=torch.float64,
    )


def methods_at(steps: int) -> dict[str, Hypergradient]:
    return {
        "one_step": OneStep(),
        "unrolled(2)": Unrolled(2),
        "unrolled(T)": Unrolled(steps),
        "t1t2": T1T2(),
        "neumann(5)": Neumann(),
        "cg(5)": ConjugateGradients(warm_start=False),
    }


def through_training(steps: int, seed: int) -> dict[str, Error]:
    """Against the validation loss after that many real steps (SGD, momentum, weight decay) on as many batches."""
    training = Training(Linear, "momentum and weight decay", batches=max(steps, 2), seed=seed)
    true = true_gradient(training, lambda: training.validation_loss_after(steps))
    levels = training.levels()
    return {
        name: error_of(training.policy_gradient(method(levels, {})), true) for name, method in methods_at(steps).items()
    }


def at_the_optimum(terms: tuple[int, ...], seed: int) -> dict[str, dict[int, Error]]:
    """Against the validation loss after training to the minimum of a convex loss with weight decay."""
    training = Training(Softmax, "weight decay", seed=seed)
    decay = 0.05

    def value() -> float:
        train_to_the_optimum(training.model, training.augmented(0), training.data[0][1], decay)
        return training.validation_loss_after(0)

    value()
    start = copy.deepcopy(training.model.state_dict())
    true = true_gradient(training, value)
    training.model.load_state_dict(start)
    levels = training.levels()

    def error(method: Hypergradient) -> Error:
        return error_of(training.policy_gradient(method(levels, {})), true)

    return {
        "neumann(k)": {k: error(Neumann(k, 0.4, 0.0)) for k in terms},
        "cg(k)": {k: error(ConjugateGradients(k, 0.0, False)) for k in terms},
        "unrolled(k)": {k: error(Unrolled(k)) for k in terms},
        "one_step": dict.fromkeys(terms, error(OneStep())),
        "t1t2": dict.fromkeys(terms, error(T1T2())),
    }


# --- everything -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """overview: by estimator and group. by_temperature, by_batch: by estimator, then temperature or draws, then group.
    by_horizon: by method, then steps, one for each seed. by_terms: by method, then k, one for each seed."""

    size: Size
    overview: dict[str, dict[str, Found]]
    by_temperature: dict[str, dict[float, dict[str, Found]]]
    by_batch: dict[str, dict[int, dict[str, Found]]]
    by_horizon: dict[str, dict[int, list[Error]]]
    by_terms: dict[str, dict[int, list[Error]]]


Task = tuple[Callable[..., Any], tuple[Any, ...]]


def _single_thread() -> None:
    torch.set_num_threads(1)


def _call(task: Task) -> Any:
    function, arguments = task
    return function(*arguments)


def run(size: Size, processes: int) -> Report:
    """Measure everything; the numbers do not depend on `processes`."""
    tasks: dict[tuple[Any, ...], Task] = {}
    for name, estimator in ESTIMATORS.items():
        tasks["overview", name] = measure, (size.job(estimator, size.estimates, size.batch, 0),)
        for batch in size.batches:
            job = size.job(estimator, size.sweep_estimates, batch, batch)
            tasks["batch", name, batch] = measure, (job,)
    for name, make in TEMPERED.items():
        for index, tau in enumerate(size.temperatures):
            job = size.job(make(tau), size.sweep_estimates, size.batch, 1000 + index)
            tasks["temperature", name, tau] = measure, (job,)
    for seed in range(size.seeds):
        tasks["terms", seed] = at_the_optimum, (size.terms, seed)
        for steps in size.horizons:
            tasks["horizon", steps, seed] = through_training, (steps, seed)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_single_thread) as pool:
        done = dict(zip(tasks, pool.map(_call, tasks.values()), strict=True))

    seeds, first = range(size.seeds), size.horizons[0]
    return Report(
        size,
        {name: done["overview", name] for name in ESTIMATORS},
        {name: {tau: done["temperature", name, tau] for tau in size.temperatures} for name in TEMPERED},
        {name: {batch: done["batch", name, batch] for batch in size.batches} for name in ESTIMATORS},
        {
            name: {steps: [done["horizon", steps, seed][name] for seed in seeds] for steps in size.horizons}
            for name in done["horizon", first, 0]
        },
        {name: {k: [done["terms", seed][name][k] for seed in seeds] for k in size.terms} for name in done["terms", 0]},
    )
