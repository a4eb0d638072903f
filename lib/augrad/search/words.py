"""What a search, its choice and its comparison have come to, in words and in a few numbers."""

import math
from collections.abc import Sequence
from typing import Any

from augrad.comparison.arms import LEARNED
from augrad.comparison.rows import TrainingRow
from augrad.comparison.summary import lines_of
from augrad.search.choice import Chosen, Trial
from augrad.search.state import SearchParts, SearchState
from augrad.show.about import counted


def taken_from(state: SearchState, parts: SearchParts) -> str:
    """Where in the search the learned policy is from, in a sentence."""
    if not state.best_step:
        return f"The learned policy is that of the last step, {state.step}: there was no look at the selection split."
    of = f"The learned policy is that of step {state.best_step} of {state.step}"
    return {
        "average": f"The learned policy is the mean over the last steps before step {state.best_step} of {state.step}.",
        "last": f"{of}, the last look at the selection split.",
        "best": f"{of}, where the loss on the selection split was lowest.",
    }[parts.select]


def words_of_choice(chosen: Chosen) -> str:
    """What was chosen, and among what, in a sentence or two."""
    means = {name: loss for name, (loss, _) in chosen.means.items()}
    told = ", ".join(
        f"{name} {loss:.3f}" if math.isfinite(loss) else f"{name} diverged" for name, loss in means.items()
    )
    count = len(chosen.trials) // len(means)
    of = "validation and selection" if chosen.folds is None else "a fold and selection"
    how = (
        f"the loss of fresh classifiers on {chosen.images} images of {of} "
        f"({count} training{'s' if count > 1 else ''} with each): {told}"
    )
    if not chosen.decided:
        return (
            f"It is left as it is, because trainings so short do not tell which policy is the best in the end: {how}. "
            "Give them more steps (train.steps or train.epochs), or leave the choice out (choose=null)."
        )
    what = {
        "none": "No augmentation is left",
        "initial": "The start is left",
        LEARNED: "It is left as it is",
    }.get(chosen.name)
    if what is None and chosen.name.endswith(LEARNED):
        what = f"What is left is {chosen.name}: that much further from the start in the same direction"
    elif what is None:
        what = f"What is left is {chosen.name}, a policy from elsewhere: what was learned is not better than it"
    return f"{what}, by {how}."


def facts_of_end(chosen: Chosen | None, rows: Sequence[TrainingRow] | None) -> dict[str, Any]:
    """What the choice and the comparison came to, in a few numbers: for a report, and for a policy's provenance."""
    facts = {} if chosen is None else {"chosen": chosen.name, "chosen_loss": chosen.loss}
    lines = lines_of(rows, LEARNED) if rows else []
    return facts | {f"test_accuracy/{line.name}": line.accuracy.mean for line in lines}


def words_of_trainings(policies: int, seeds: int, steps: int) -> str:
    """How many trainings there are, and of what length: "4 policies x 1 seed x 400 steps"."""
    return f"{counted(policies, 'policy', 'policies')} x {counted(seeds, 'seed')} x {counted(steps, 'step')}"


def words_of_trial(trial: Trial, width: int = 0) -> str:
    """A training of the choice in a line. width: of the names of all candidates."""
    found = f"{100 * trial.accuracy:.1f}%, loss {trial.loss:.3f} on held-out images"
    return f"{trial.name:{width}}: {found if math.isfinite(trial.loss) else 'diverged'}"
