"""What a policy that was learned is judged against, by name."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from pydantic import Field

from augrad.checks import check_value
from augrad.comparison.trainings import Arm, Entrant, always
from augrad.data.seeding import SEEDS, checked_seed
from augrad.errors import UserError
from augrad.policy import Policy
from augrad.policy.initial import random_policy
from augrad.policy_file.convert import load_policy
from augrad.settings import MOST_SEEDS, PositiveInt

OWN_NAMES = ("none", "initial", "random")
"""Names of arms that no file and no built-in policy can have."""
LEARNED = "learned"
"""The arm of the policy that a search has left."""
_FIRST_SEED = 1000


def own_arm(name: str, start: Policy | None) -> Arm:
    """none: no augmentation. initial: `start`. random: drawn anew for each seed, over what `start` chooses from.

    Without a start all of them are none.
    """
    if name == "none" or start is None:
        return always(None)
    return always(start) if name == "initial" else partial(random_policy, start)


def entrants_of_search(
    names: Sequence[str], start: Policy, learned: Policy, seed: int, allow: Sequence[str] = ()
) -> list[Entrant]:
    """The controls of a search, and the policy that it learned, last.

    names: own ones, built-in policies or files. start: what the search began with. seed: its seed. allow: the modules
    of which files may name operations. Raises UserError for a file that cannot be read.
    """
    arms = {name: own_arm(name, start) if name in OWN_NAMES else always(load_policy(name, allow)) for name in names}
    return [*(Entrant(name, arm) for name, arm in arms.items()), Entrant(LEARNED, always(learned), seed)]


def training_seeds(seed: int, count: object, place: str) -> range:
    """Of `count` trainings of a comparison: apart from the seeds of searches, 100 further for each seed of the run.

    Raises UserError, which begins with `place`, unless count is a whole number of at least 1, and all are seeds.
    """
    checked = check_value(count, Annotated[PositiveInt, Field(le=MOST_SEEDS)], place)
    first = _FIRST_SEED + 100 * checked_seed(seed)
    if first + checked > SEEDS:
        raise UserError(f"{place}: expected at most {SEEDS - first}, seeds from {first} to 2**32 - 1, got {checked}")
    return range(first, first + checked)
