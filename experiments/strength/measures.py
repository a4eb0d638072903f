"""What `strength_report.py` measures: ways of learning a magnitude against brute force (`augrad.problems.strength`).

Seeds are fixed: the same numbers come out whatever the number of processes. Everything is in units of the standard
deviation of an image's score, by which a search divides too.
"""

import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

from augrad.estimators.control import estimate_with, initial_control
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.reinforce import Reinforce
from augrad.estimators.relax import Relax
from augrad.learning.classifier import Weights
from augrad.policy import Policy
from augrad.problems.strength import (
    NETWORKS,
    Strength,
    derivative_at_fixed_u,
    expected_pathwise,
    strength_problem,
)

PATHWISE, SCORE, RELAX = "pathwise", "score", "RELAX"
WAYS: dict[str, Any] = {PATHWISE: Gumbel(magnitude="pathwise"), SCORE: Reinforce(), RELAX: Relax(learning_rate=0.02)}
BOTH = tuple(NETWORKS)[:2]
SCALE = 1.0
"""Of the logit-normal: the default of `policy.scale`."""


@dataclass(frozen=True)
class Size:
    """How much is measured.

    steps: of training before. levels: medians as shares of the range, at `middle` steps; elsewhere the first alone.
    others: operations besides rotation. mixed: whether the networks that are smooth by half have their turn.
    parts: of the range, for sums. u_draws: that u is the mean of. draws: differences for each of `step_sizes`.
    estimates: of each way; training: steps of RELAX's control before. windows: of the point magnitude.
    """

    steps: tuple[int, ...] = (50, 200, 600)
    middle: int = 200
    levels: tuple[float, ...] = (0.5, 0.25, 0.75)
    others: tuple[str, ...] = ("translate_x", "brightness")
    mixed: bool = True
    parts: int = 90
    u_draws: int = 32
    draws: int = 60
    step_sizes: tuple[float, ...] = (0.4, 0.2)
    estimates: int = 120
    training: int = 60
    windows: tuple[float, ...] = (0.4, 0.2, 0.1)
    width: int = 16
    batch_size: int = 128
    points_of_the_curve: int = 901
    seed: int = 0


SMALL = Size((5,), 5, (0.5,), (), False, 12, 3, 4, (0.4,), 6, 3, (0.4,), 8, 16, 31)


@dataclass(frozen=True, order=True)
class Place:
    """Where it is measured."""

    operation: str
    steps: int
    level: float
    network: str


@dataclass(frozen=True)
class Estimated:
    """A mean of independent draws and its standard error."""

    value: float
    error: float


def mean_of(draws: Tensor) -> Estimated:
    """Of [N]."""
    return Estimated(float(draws.mean()), float(draws.std() / math.sqrt(len(draws))))


@dataclass(frozen=True)
class Way:
    """mean: of the estimates. deviation: of a single draw, that of an estimate times the root of its draws.
    milliseconds: of processor time an estimate takes."""

    mean: Estimated
    deviation: float
    milliseconds: float


@dataclass(frozen=True)
class Truth:
    """fixed: the derivative at fixed u, by sums; coarse: from a third of the parts. By step size, from common draws:
    drawn, the derivative at fixed u; whole, that of J; rest, what J has more."""

    fixed: float
    coarse: float
    drawn: dict[float, Estimated]
    whole: dict[float, Estimated]
    rest: dict[float, Estimated]


@dataclass(frozen=True)
class Point:
    """Of a point magnitude, over all training images: mean pathwise slope, and by window the mean difference quotient
    and the mean of slope minus quotient, image by image."""

    slope: Estimated
    quotient: dict[float, Estimated]
    excess: dict[float, Estimated]


@dataclass(frozen=True)
class Curve:
    """Scores against the magnitude, and the integral of their slope from the same start. alone: of one image, one sign;
    together: of the batch, both signs."""

    magnitudes: list[float]
    alone: list[float]
    alone_integrated: list[float]
    parts: list[float]
    together: list[float]
    together_integrated: list[float]


@dataclass(frozen=True)
class Cell:
    """What was found at a place. pathwise, pathwise_coarse: the expectation of a pathwise estimate, by sums."""

    validation_loss: float
    truth: Truth
    pathwise: float
    pathwise_coarse: float
    ways: dict[str, Way]
    point: Point | None
    curve: Curve | None


@dataclass(frozen=True)
class Report:
    """By place."""

    size: Size
    cells: dict[Place, Cell]


def places(size: Size) -> list[Place]:
    """Everywhere: rotation in both networks, the other operations and the mixed networks at the middle alone."""
    first, middle = size.levels[0], size.middle
    rows = [("rotate", steps, first, network) for steps in size.steps for network in BOTH]
    rows += [("rotate", middle, level, network) for level in size.levels[1:] for network in BOTH]
    rows += [(operation, middle, first, network) for operation in size.others for network in BOTH]
    rows += [("rotate", middle, first, network) for network in NETWORKS if size.mixed and network not in BOTH]
    return [Place(*row) for row in rows]


def measure(place: Place, size: Size) -> Cell:
    """One place."""
    problem = strength_problem(
        place.operation, place.network, place.steps, size.batch_size, width=size.width, seed=size.seed
    )
    location = math.log(place.level / (1 - place.level))
    policy, generator = problem.policy(location, SCALE), torch.Generator().manual_seed(size.seed)
    raw = problem.mean_u(policy, size.u_draws, generator)
    spread = spread_of(problem, raw, policy, generator)
    u = {name: part / spread for name, part in raw.items()}
    table, slopes = problem.table(size.parts), problem.slopes(u, size.parts)
    standard = ("rotate", size.middle, size.levels[0])
    curved = place.network in BOTH and (place.operation, place.steps, place.level) == standard
    return Cell(
        float(problem.loss(problem.weights, problem.held_out)[0]),
        truth_of(problem, table, u, location, spread, size, generator),
        expected_pathwise(slopes, problem.high, location, SCALE),
        expected_pathwise(slopes[1::3], problem.high, location, SCALE),
        {name: way_of(way, problem, u, policy, size, generator) for name, way in WAYS.items()},
        point_of(problem, location, size, generator) if place.operation == "rotate" else None,
        curve_of(problem, u, table, slopes, size) if curved else None,
    )


def spread_of(problem: Strength, u: Weights, policy: Policy, generator: torch.Generator) -> float:
    """Standard deviation of a score."""
    scalar = problem.scalar(u, policy)
    with torch.no_grad():
        return float(torch.cat([scalar(policy.sample(len(problem.batch[1]), generator)) for _ in range(8)]).std())


def truth_of(
    problem: Strength,
    table: Tensor,
    u: Weights,
    location: float,
    spread: float,
    size: Size,
    generator: torch.Generator,
) -> Truth:
    """Both derivatives."""
    drawn, whole, rest = {}, {}, {}
    for step in size.step_sizes:
        after, fixed = problem.differences(u, location, SCALE, step, size.draws, generator)
        after = after / spread
        drawn[step], whole[step], rest[step] = mean_of(fixed), mean_of(after), mean_of(after - fixed)
    return Truth(
        derivative_at_fixed_u(table, u, location, SCALE),
        derivative_at_fixed_u(table[1::3], u, location, SCALE),
        drawn,
        whole,
        rest,
    )


def way_of(way: Any, problem: Strength, u: Weights, policy: Policy, size: Size, generator: torch.Generator) -> Way:
    """Its estimates of the derivative, with a control that is trained first and then stays."""
    scalar, count = problem.scalar(u, policy), len(problem.batch[1])
    control = initial_control(way, policy, torch.Generator().manual_seed(size.seed))

    def estimate() -> tuple[float, Any]:
        found = estimate_with(control, way, scalar, policy, count, generator, 0.0)
        return float(found.grads.magnitude_locations), found.control_loss

    if control is not None:
        for _ in range(size.training):
            control.step(estimate()[1])
    before = time.process_time()
    found = torch.tensor([estimate()[0] for _ in range(size.estimates)], dtype=torch.float64)
    milliseconds = 1000 * (time.process_time() - before) / size.estimates
    return Way(mean_of(found), float(found.std()) * math.sqrt(count), milliseconds)


def point_of(problem: Strength, location: float, size: Size, generator: torch.Generator) -> Point:
    """A magnitude that is one number: autograd's slope against what a small change of it does to the scores."""
    policy = problem.policy(location, magnitude="point")
    u = problem.mean_u(policy, max(size.u_draws // 2, 1), generator)
    slopes: list[Tensor] = []
    ends: dict[float, list[Tensor]] = {window: [] for window in size.windows}

    def scores(images: Tensor, labels: Tensor, place: Tensor) -> Tensor:
        magnitude = problem.high * torch.sigmoid(place).expand(len(labels))
        return (problem.scores(u, (images, labels), magnitude) + problem.scores(u, (images, labels), -magnitude)) / 2

    values = []
    for images, labels in zip(*(part.split(size.batch_size) for part in problem.train), strict=True):
        at = torch.full((len(labels),), location, dtype=torch.float64, requires_grad=True)
        here = scores(images, labels, at)
        values.append(here.detach())
        slopes.append(torch.autograd.grad(here.sum(), at)[0])
        with torch.no_grad():
            for window, found in ends.items():
                ahead, behind = (scores(images, labels, at + sign * window) for sign in (1, -1))
                found.append((ahead - behind) / (2 * window))
    spread, slope = torch.cat(values).std(), torch.cat(slopes)
    quotients = {window: torch.cat(found) / spread for window, found in ends.items()}
    return Point(
        mean_of(slope / spread),
        {window: mean_of(quotient) for window, quotient in quotients.items()},
        {window: mean_of(slope / spread - quotient) for window, quotient in quotients.items()},
    )


def curve_of(problem: Strength, u: Weights, table: Tensor, slopes: Tensor, size: Size) -> Curve:
    """For the figure: the first image of the batch, and the batch."""
    magnitudes = torch.linspace(0, problem.high, size.points_of_the_curve, dtype=torch.float64)
    values, own = [], []
    for part in magnitudes.split(size.batch_size):
        leaf = part.clone().requires_grad_()
        images, labels = problem.batch[0][:1], problem.batch[1][:1]
        scores = problem.scores(u, (images.expand(len(part), -1, -1, -1), labels.expand(len(part))), leaf)
        values.append(scores.detach())
        own.append(torch.autograd.grad(scores.sum(), leaf)[0])
    alone = torch.cat(values)
    path = torch.cumulative_trapezoid(torch.cat(own), magnitudes)
    together = table @ torch.cat([part.flatten() for part in u.values()])
    part = problem.high / len(slopes)
    return Curve(
        magnitudes.tolist(),
        alone.tolist(),
        [float(alone[0]), *(alone[0] + path).tolist()],
        ((torch.arange(len(slopes)) + 0.5) * part).tolist(),
        together.tolist(),
        [float(together[0]), *(together[0] + torch.cumulative_trapezoid(slopes, dx=part)).tolist()],
    )


def _single_thread() -> None:
    torch.set_num_threads(1)


def _call(task: tuple[Place, Size]) -> Cell:
    return measure(*task)


def run(size: Size, processes: int) -> Report:
    """Measure everything."""
    everywhere = places(size)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_single_thread) as pool:
        found = pool.map(_call, [(place, size) for place in everywhere])
        return Report(size, dict(zip(everywhere, found, strict=True)))
