"""Bias and variance of every estimator, and the hypergradients' errors: tables and figures of experiments/estimators.

    python -m experiments.estimators.report --page experiments/estimators/README.md

Writes figures into `figures/` beside the page, and tables between two marks in it; the text around the marks is kept.
Everything is measured where the truth is known (`augrad.problems`): estimators on a joint space that is summed over,
hypergradients on small classifiers that are really trained, with true finite differences.
"""

import os
import platform
import statistics
from collections.abc import Sequence
from typing import Any

import torch

from augrad.estimators.enumerate import outcome_count
from augrad.problems.joint_space import JointSpace
from experiments.estimators import figures
from experiments.estimators.measures import GROUPS, PLAIN, SMALL, Error, Report, Size, run
from experiments.shared.pages import command, markdown, measured, write_page

EVALUATIONS = {"rebar": "3, 2 differentiated"} | dict.fromkeys(
    ("gumbel, pathwise magnitudes", "gumbel, straight_through_pixels", "gumbel, soft", "mixture"), "1, differentiated"
)


def tables(report: Report) -> list[str]:
    """The page's tables."""
    head = ["estimator", *(group.replace("_", " ") for group in GROUPS)]
    found, plain = report.overview, report.overview[PLAIN]
    evaluations = EVALUATIONS | {"enumerate": str(outcome_count(JointSpace().policy))}
    bias = {
        name: [f"{100 * one.bias:+.1f} ± {100 * one.standard_error:.1f}" for one in groups.values()]
        + [evaluations.get(name, "1")]
        for name, groups in found.items()
    }
    direction = {
        name: [f"{one.cosine:.3f}; {min(one.largest_z, 1000):.3g}" for one in groups.values()]
        for name, groups in found.items()
    }
    variance = {
        name: [f"{one.variance / plain[group].variance:.3g}" for group, one in groups.items()]
        for name, groups in found.items()
    }
    angles = "Hypergradients: angle to the true one of {}, degrees (median of the seeds)"
    return [
        *markdown(
            "Bias along the exact gradient, % of its length, ± standard error",
            [*head, "evaluations of the scalar"],
            bias,
        ),
        *markdown(
            "Cosine of the mean estimate with the exact gradient; largest error of an entry, in standard errors (up to "
            "1000)",
            head,
            direction,
        ),
        *markdown(f"Variance over that of `{PLAIN}`", head, variance),
        *markdown(
            angles.format("T real steps"),
            ["method", *(f"T = {steps}" for steps in report.size.horizons)],
            {name: [median_angle(row) for row in by_steps.values()] for name, by_steps in report.by_horizon.items()},
        ),
        *markdown(
            angles.format("training to the optimum"),
            ["method", *(f"k = {k}" for k in report.size.terms)],
            {name: [median_angle(row) for row in by_terms.values()] for name, by_terms in report.by_terms.items()},
        ),
    ]


def median_angle(errors: Sequence[Error]) -> str:
    return f"{statistics.median(error.angle for error in errors):.2g}"


def provenance(report: Report, seconds: float, processes: int) -> str:
    """The command that measured, on what, and how much."""
    size = report.size
    return (
        f"Command: `{command()}`, {seconds:.0f} s of processor time "
        f"in {processes} processes of one thread; {platform.machine()}, {os.cpu_count()} CPU cores; torch "
        f"{torch.__version__}, float64. Tables and figure 1: n = {size.estimates} estimates of {size.batch} draws "
        f"each; figures 2 and 3: n = {size.sweep_estimates}; `enumerate`: a tenth of n. The controls of relax, rebar "
        f"and the moving average are trained for {size.training} steps first and then stay. Every point has a seed of "
        f"its own. Hypergradients: {size.seeds} seeds, of images, labels and draws."
    )


def figures_of(report: Report) -> dict[str, Any]:
    """By file name."""
    return {
        "estimators_overview": figures.overview(report.overview, PLAIN),
        "estimators_temperature": figures.by_temperature(report.by_temperature, report.overview, PLAIN),
        "estimators_draws": figures.by_draws(report.by_batch, PLAIN),
        "hypergradients": figures.hypergradients(report.by_horizon, report.by_terms),
    }


CAPTIONS = {
    "estimators_overview": "Bias along the exact gradient with two standard errors, and variance, of every estimator "
    "for every group of parameters. Grey: an error of zero.",
    "estimators_temperature": "The same against the temperature, for the estimators that have one and the groups that "
    "it acts on. Dotted: `reinforce, leave_one_out`, which has none.",
    "estimators_draws": "The same against the number of draws of an estimate.",
    "hypergradients": "Angle between hypergradients and true finite differences. Left: of T real steps of training; "
    "middle: of training to the optimum. Right: relative error at the optimum of the methods that converge to it. "
    "Bands: smallest and largest of the seeds.",
}


def main() -> None:
    """Measure, draw, write."""
    page, report, note = measured(
        __doc__,
        "experiments/estimators",
        "a few draws and settings, to see that it works",
        lambda small, processes: run(SMALL if small else Size(), processes),
        provenance,
    )
    write_page(page, "Estimators and hypergradients", note, figures_of(report), CAPTIONS, tables(report))


if __name__ == "__main__":
    main()
