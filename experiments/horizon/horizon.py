"""Which search is the best for its time? Methods at equal processor time, judged against the start that they share.

    python -m experiments.horizon.horizon --studies digits_200 --page experiments/horizon/README.md

The steps of each method are such that its search takes about as long as the others', by a measurement of its step on
one thread; the page has what they took. What is done is not done again, neither a search nor a training. The rows of
each study are kept beside this file, as JSON, and the page is written from those.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from augrad.comparison.differences import difference, interval_of
from augrad.comparison.rows import TrainingRow, row_from
from augrad.comparison.statistics import change, percent, points
from experiments.results.results import carry_out, parser_of
from experiments.results.studies import Study
from experiments.shared.pages import markdown
from experiments.shared.starts import FROM_WIDE

_HERE = Path(__file__).parent
_START = "initial"
_INTRODUCTION = """# How far a search should look

A step of the default search knows what a change of the policy does to the classifier one step later. That is cheap,
and short-sighted: what disturbs the next step least looks best (Wu et al. 2018). Others look farther, each at a
price: more steps (`unrolled`), the end of a training as if it had converged (`neumann`, `cg`), a classifier that is
trained before (a long warm-up), classifiers that begin anew (`search.rounds`), whole trainings
(`experiment=population`). Here all have about the same processor time, and are judged by what fresh classifiers gain
over the start that all of them share.
"""


def _at_equal_time(budget: int) -> Mapping[str, tuple[str, ...]]:
    """The methods, each with as many steps as take as long as `budget` steps of the default search."""

    def steps(cost: float) -> str:
        return f"search.steps={round(budget / cost)}"

    unrolled = {
        f"unrolled_{ahead}": ("hypergradient=unrolled", f"hypergradient.steps={ahead}", steps(cost))
        for ahead, cost in ((3, 3.4), (10, 10.0), (30, 34.7))
    }
    methods = {
        "one_step": (steps(1.0),),
        "draws_4": ("objective.draws=4", steps(1.7)),
        **unrolled,
        "neumann_20": ("hypergradient=neumann", "hypergradient.terms=20", steps(7.8)),
        "cg_20": ("hypergradient=cg", "hypergradient.iterations=20", steps(9.1)),
        "trained_before": (f"search.warmup_steps={budget // 2}", "search.warmup_share=0.5", steps(1.0)),
        "rounds_5": ("search.rounds=5", steps(1.0)),
        "population": (
            *("experiment=population", "search.policy_schedule=constant", "search.select=best"),
            *("objective.pairs=4", "search.steps=3"),
        ),
    }
    return {name: (*own, *FROM_WIDE) for name, own in methods.items()}


STUDIES: Mapping[str, Study] = {
    "digits_200": Study(
        "Handwritten digits: 200 training and 400 validation images; the classifiers judged train on both. small_conv, "
        "400 steps with batches of 100. They begin with one of "
        "fifteen operations, in wide ranges: far from the best.",
        (
            *("data.train_size=200", "data.validation_size=400", "data.selection_size=200"),
            *("train.steps=400", "train.batch_size=100", "search.batch_size=128"),
        ),
        (),
        _at_equal_time(2500),
    ),
}


def section(name: str, study: Study) -> list[str]:
    """A study on the page; nothing where it has not been run."""
    path = _HERE / f"{name}.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    rows = [row_from(values, str(path)) for values in found["rows"]]
    took = {m: [s["processor_seconds"] for s in found["searches"] if s["method"] == m] for m in study.methods}
    count, trainings = len(next(iter(took.values()))), len({row.seed for row in rows})
    names = list(dict.fromkeys(row.policy for row in rows))
    cells = {
        name: _cells(rows, name, f"{mean(took[name]):.0f}" if name in took else "")
        for name in sorted(names, key=lambda name: interval_of(rows, name, "loss").mean)
    }
    head = ["policy", "loss", "over the start: loss", "accuracy", "over the start: points", "processor seconds"]
    return [
        f"## {name}",
        "",
        f"{study.words} {count} searches by each method, on as many divisions; {trainings} trainings with each policy "
        "on each; 95% intervals over the searches. The seconds are those of a search with the choice at its end. "
        f"{found['machine']}; torch {found['torch']}.",
        "",
        "<!-- not run: takes an hour and more -->",
        "```bash",
        f"python -m experiments.horizon.horizon --studies {name} --seeds {count} --trainings {trainings} \\",
        "    --page experiments/horizon/README.md",
        "```",
        *markdown("By loss on test images", head, cells),
        "",
        *(f"- {method}: `{' '.join(own)}`" for method, own in study.methods.items()),
        "",
    ]


def _cells(rows: Sequence[TrainingRow], name: str, seconds: str) -> list[str]:
    loss, accuracy = (difference(rows, name, _START, metric) for metric in ("loss", "accuracy"))
    return [
        f"{interval_of(rows, name, 'loss').mean:.4f}",
        "" if loss is None or name == _START else change(loss.interval),
        percent(interval_of(rows, name, "accuracy"), with_n=False),
        "" if accuracy is None or name == _START else points(accuracy.interval),
        seconds,
    ]


if __name__ == "__main__":
    carry_out(parser_of(__doc__, STUDIES, "runs/horizon").parse_args(), STUDIES, _HERE, _INTRODUCTION, section)
