"""From the parts of a search to the search before its first step: what the command and `augrad.learn` both begin."""

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import nn

from augrad.checks import name_of
from augrad.data.pixels import to_float
from augrad.data.standard import StandardAugmentation
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.estimators.estimate import Estimator
from augrad.hypergradients.hypergradient import Hypergradient
from augrad.learning.network import require_passes
from augrad.learning.step import ModelBuilder, OptimizerBuilder, fitted
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.objective import Objective, estimates_itself
from augrad.objectives.whole_training import WholeTraining
from augrad.policy import Policy
from augrad.ranks import ALONE, Ranks
from augrad.regularizers.regularizer import Regularizer
from augrad.search.state import SearchParts, SearchState, new_state
from augrad.settings import SearchSettings, batch_size_of


def begin_search(
    data: Splits,
    model: nn.Module | ModelBuilder,
    *,
    policy: Policy,
    objective: Objective,
    estimator: Estimator,
    hypergradient: Hypergradient,
    regularizers: Iterable[Regularizer],
    optimizer: OptimizerBuilder,
    policy_optimizer: OptimizerBuilder,
    standard: StandardAugmentation,
    settings: SearchSettings,
    seed: int,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> tuple[SearchState, SearchParts]:
    """The state before the first step, on `device`, and the parts. The arguments are those of `augrad.learn`.

    `policy`, and a `model` that is a module, are copied: the search changes neither. ranks: the processes that search
    together. Raises UserError for parts that do not go together.
    """
    if not (ranks.alone or isinstance(objective, Bilevel | WholeTraining)):
        raise UserError(
            f"several processes: {name_of(objective)} is computed by one; start it without torchrun, or take "
            "bilevel or whole_training"
        )
    if settings.accumulation_steps > 1 and not isinstance(objective, Bilevel):
        raise UserError(
            f"search.accumulation_steps: {name_of(objective)} is not computed in parts; set 1, or take bilevel "
            "(trainings of whole_training have train.accumulation_steps)"
        )
    data = data.to(device)
    parts = SearchParts(
        data=data,
        model=model,
        objective=objective,
        estimator=estimator,
        hypergradient=hypergradient,
        settings=settings,
        seed=seed,
        device=device,
        regularizers=tuple(regularizers),
        standard=fitted(standard, data.train),
        ranks=ranks,
    )
    network = objective.model(model, data, seed, device)
    if not estimates_itself(objective):
        sizes = batch_size_of(settings.batch_size, len(data.train)), settings.validation_batch_size
        whole = min(*sizes, len(data.train), len(data.validation))
        require_passes(network, to_float(data.train.images[:1]), whole // (ranks.count * settings.accumulation_steps))
    return new_state(network, deepcopy(policy).to(device), optimizer, policy_optimizer, parts), parts
