"""The bias of each way of learning how strong an operation should be: tables and figures of experiments/strength.

    python -m experiments.strength.report --page experiments/strength/README.md

Writes figures into `figures/` beside the page, and tables between two marks in it; the text around the marks is kept.
"""

from experiments.shared.pages import measured, write_page
from experiments.strength import figures
from experiments.strength.measures import SMALL, Size, run
from experiments.strength.tables import provenance, tables

CAPTIONS = {
    "strength_jumps": "Scores against the angle after 200 steps (black), and the integral of their slope from the same "
    "start (orange), which is all that a pathwise estimate knows. Above one image, below the mean of the batch.",
    "strength_bias": "Brute force (black bar; star: the derivative of J) and the ways, with two standard errors.",
    "strength_error": "Bias and noise together, over all rotations of the table, as a share of the derivative. Score "
    "and RELAX have no bias, and their lines are noise alone.",
}


def main() -> None:
    """Measure, draw, write."""
    page, report, note = measured(
        __doc__,
        "experiments/strength",
        "a few draws at one place, to see that it works",
        lambda small, processes: run(SMALL if small else Size(), processes),
        provenance,
    )
    curves = {place.network: cell.curve for place, cell in report.cells.items() if cell.curve is not None}
    drawn = {
        "strength_jumps": figures.jumps(curves),
        "strength_bias": figures.bias(report),
        "strength_error": figures.error(report),
    }
    write_page(page, "How strong? The bias of learned magnitudes", note, drawn, CAPTIONS, tables(report))


if __name__ == "__main__":
    main()
