"""`augrad.learn`: a search as one call."""

import inspect
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from augrad.checks import plain, require_flag
from augrad.comparison.trainings import policy_digest
from augrad.data.arrays import load_arrays
from augrad.data.folder import load_folder
from augrad.data.seeding import checked_seed
from augrad.data.standard import NO_STANDARD, StandardAugmentation
from augrad.data.types import Splits
from augrad.devices import find_device
from augrad.errors import AugradWarning, NonFiniteError, UserError
from augrad.estimators.estimate import Estimator
from augrad.estimators.gumbel import Gumbel
from augrad.estimators.none import NoEstimator
from augrad.hypergradients.hypergradient import Hypergradient
from augrad.hypergradients.none import NoHypergradient
from augrad.hypergradients.one_step import OneStep
from augrad.learning.step import ModelBuilder, OptimizerBuilder, evaluate
from augrad.models.small_conv import SmallConvNet
from augrad.objectives.bilevel import Bilevel
from augrad.objectives.objective import Objective, estimates_itself
from augrad.ops.space import published_space
from augrad.paths import expanded
from augrad.policy import Policy
from augrad.policy.learnable import anything_learnable
from augrad.regularizers.regularizer import Regularizer
from augrad.regularizers.selection_entropy import SelectionEntropy
from augrad.runs.checkpoint import load_checkpoint, save_checkpoint
from augrad.search.begin import begin_search
from augrad.search.given import described, require_builder, require_parts
from augrad.search.judging import judged, judging_of, require_judgeable
from augrad.search.loop import Row, run_search
from augrad.search.provenance import search_provenance
from augrad.search.result import SearchResult
from augrad.search.resume import origin_of, require_same, take_up
from augrad.search.state import SearchParts, SearchState
from augrad.search.stopping import StopRequest
from augrad.search.words import taken_from
from augrad.settings import ChoiceSettings, CompareSettings, SearchSettings, TrainSettings
from augrad.show.progress import SearchProgress
from augrad.terminal.console import terminal

OPTIMIZER: OptimizerBuilder = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.001)
"""The classifier's optimiser, unless another one is asked for."""
POLICY_OPTIMIZER: OptimizerBuilder = partial(torch.optim.Adam, lr=0.1, betas=(0.9, 0.999))
"""The policy's optimiser, unless another one is asked for."""


def default_start(seed: int) -> Policy:
    """Where a search begins that is given no policy: near RandAugment."""
    return Policy.over(published_space("randaugment"), stages=2, probability=0.95, level=0.3, seed=seed)


def learn(
    data: Splits | str | os.PathLike[str],
    model: nn.Module | ModelBuilder = SmallConvNet,
    *,
    policy: Policy | None = None,
    objective: Objective = Bilevel(),  # noqa: B008 (frozen)
    estimator: Estimator | None = None,
    hypergradient: Hypergradient | None = None,
    regularizers: Sequence[Regularizer] = (SelectionEntropy(),),
    optimizer: OptimizerBuilder = OPTIMIZER,
    policy_optimizer: OptimizerBuilder = POLICY_OPTIMIZER,
    standard: StandardAugmentation = NO_STANDARD,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool | None = None,
    callback: Callable[[Row], object] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    settings: SearchSettings = SearchSettings(),  # noqa: B008
    choose: ChoiceSettings | None = None,
    compare: CompareSettings | int | None = None,
    train: TrainSettings | None = None,
    size: int | None = None,
    channels: int | None = None,
    **changes: Any,
) -> SearchResult:
    """Learn an augmentation policy, while a classifier is trained with it: what `augrad search` does, as one call.

    With the same arguments the result is that of the command, bit for bit, of which `choose` and `compare` are null
    here unless they are given. No random number comes from PyTorch's global generators, and neither `policy`
    nor `model` is changed: the result has copies.

    data: made by `augrad.Splits.from_arrays` or `from_datasets`, or by a loader in `augrad.data`; or a folder of
    pictures with train/<class>/ in it, or an .npz file (see `augrad.data.folder.load_folder`,
    `augrad.data.arrays.load_arrays`).
    size, channels: of the pictures in a folder; None: 32 pixels, 3 channels.
    model: a classifier, a module that takes images [B, C, H, W] in [0, 1] and returns logits [B, classes]. It is used
    as it is, from its present weights on; parameters with `requires_grad` False stay, lazy layers get weights by the
    seed, and hooks on gradients are refused. Or what builds one when called as
    `model(in_channels=..., class_count=...)`: that network sees standardised images, and the seed decides its weights.
    policy: where the search starts. None: two of RandAugment's operations on nearly every image, of moderate strength.
    objective, estimator, hypergradient, regularizers: see `augrad.objectives`, `augrad.estimators`,
    `augrad.hypergradients` and `augrad.regularizers`. estimator None: `Gumbel`, or none for an objective that
    estimates its gradient itself. hypergradient None: `OneStep`, or none for an objective that does not look through
    the training.
    optimizer, policy_optimizer: what makes the optimisers of classifier and policy, called with the parameters.
    standard: what training images undergo after the policy: random crops, flips, a cutout.
    seed: of everything that is drawn. device: "auto", "cpu", "cuda" or a device.
    progress: True shows the losses and the time left on standard error, False shows nothing; None: a moving bar where
    standard error is a terminal, lines in a notebook, else nothing.
    callback: is called with each row of the metrics, when they are written (every `log_every` steps); the search ends
    after the step in hand then, where it returned True, also one of NumPy or PyTorch.
    checkpoint: a file that is written every `checkpoint_every` steps and at the end. Where it exists, the search goes
    on from it, bit for bit, and the earlier rows are among the result's.
    choose: at the end fresh classifiers decide which policy is left: the start, the learned one, or what lies further
    that way (see `augrad.search.choice`). compare: afterwards the same classifier is trained with each of several
    policies and with the one that is left (see `augrad.CompareSettings`); a number: so many trainings with each. train:
    how classifiers are trained for both. Each begins as `model` says and has an optimiser that `optimizer` makes.
    settings, changes: an `augrad.SearchSettings`, or any of its values by name, such as steps=1000 or batch_size=64.

    Searches in several threads take turns, step by step; each is what it is alone. While a step runs, PyTorch's global
    generators are its own: policies that other threads call draw as if no search ran, but not `torch.rand` there.
    Ctrl-C ends the search after the step in hand (one of `WholeTraining` is broken off), and what was learned until
    then is returned; a second one is a KeyboardInterrupt. During the choice or the comparison it ends these.

    Raises UserError for arguments that cannot be, and NonFiniteError when a loss or a gradient is no finite number any
    more; the error's `result` is what was learned
    before.
    """
    settings = _settings(settings, changes)
    data = _data(data, {name: value for name, value in (("size", size), ("channels", channels)) if value is not None})
    if estimator is None:
        estimator = NoEstimator() if estimates_itself(objective) else Gumbel()
    if hypergradient is None:
        hypergradient = OneStep() if getattr(objective, "two_levels", True) else NoHypergradient()
    require_parts(
        {
            "data": (data, Splits, "augrad.Splits.from_arrays(images, labels) makes one; or name a folder"),
            "policy": (policy, Policy | None, "augrad.Policy.over and augrad.load_policy give one"),
            "objective": (objective, Objective, "augrad.objectives has some, as in augrad.objectives.Bilevel()"),
            "estimator": (estimator, Estimator, "augrad.estimators has some, as in augrad.estimators.Gumbel()"),
            "hypergradient": (hypergradient, Hypergradient, "augrad.hypergradients has some, as in OneStep()"),
            "standard": (standard, StandardAugmentation, "augrad.data.standard.StandardAugmentation makes one"),
        }
    )
    if not isinstance(regularizers, Sequence):
        raise UserError(f"regularizers: expected a sequence of terms, as in [term], got {regularizers!r:.200}")
    for index, regularizer in enumerate(regularizers):
        require_parts({f"regularizers[{index}]": (regularizer, Regularizer, "augrad.regularizers has some")})
    seed, where = checked_seed(seed), find_device(str(device))
    require_builder(model, data)
    for name, builder in {"optimizer": optimizer, "policy_optimizer": policy_optimizer}.items():
        if not callable(builder):
            raise UserError(
                f"{name}: expected what makes an optimiser when called with the parameters, as in "
                f"functools.partial(torch.optim.SGD, lr=0.1), got {builder!r:.200}"
            )
    if callback is not None and not callable(callback):
        raise UserError(f"callback: expected a function, which is called with each row, got {callback!r:.200}")
    if policy is None:
        policy = default_start(seed)
    judging = judging_of(choose, compare, train, optimizer)
    told = {
        "objective": objective,
        "estimator": estimator,
        "hypergradient": hypergradient,
        "regularizers": list(regularizers),
        "standard": standard,
        "optimizer": optimizer,
        "policy_optimizer": policy_optimizer,
    }
    state, parts = begin_search(
        data, model, policy=policy, settings=settings, seed=seed, device=where, **told
    )  # fmt: skip
    if not anything_learnable(policy):
        warnings.warn(
            "policy: nothing of it can be learned: its weights, probabilities and magnitudes are fixed, or have "
            "requires_grad False; the classifier is trained with the policy as it is",
            AugradWarning,
            stacklevel=2,
        )
    start = deepcopy(policy)
    require_judgeable(judging, parts, start)
    told = {"seed": seed, "settings": asdict(settings), **described(told)}
    run = _Run(state, parts, start, told, callback, checkpoint)
    with ExitStack() as stack:
        run.stop = stack.enter_context(StopRequest())
        if progress is not None:
            require_flag(progress, "progress")
        shown = _is_watched() if progress is None else progress
        run.progress = stack.enter_context(SearchProgress(settings.steps, state.step, disable=not shown))
        try:
            finished = run_search(state, parts, run)
        except NonFiniteError as error:
            error.result = run.result(finished=False)
            raise
    result = run.result(finished)
    return judged(result, parts, judging, shown) if finished else result


class _Run:
    """Observes a search: keeps its rows, shows them, writes the checkpoint."""

    stop: StopRequest
    progress: SearchProgress

    def __init__(
        self,
        state: SearchState,
        parts: SearchParts,
        start: Policy,
        told: dict[str, Any],
        callback: Callable[[Row], object] | None,
        checkpoint: str | os.PathLike[str] | None,
    ) -> None:
        self.state, self.parts, self.start, self.told, self.callback = state, parts, start, told, callback
        self.began = policy_digest(state.policy)
        self.kept: list[Row] = []
        self.enough = False
        self.file = None if checkpoint is None else expanded(checkpoint)
        # Unlike the method of Path, this one takes what cannot be a name, too.
        if self.file is not None and os.path.exists(self.file):
            self._take_up(self.file)
        elif self.file is not None:
            self.checkpoint(state.state_dict())  # what cannot be written is found out now

    def _take_up(self, file: Path) -> None:
        saved, start = load_checkpoint(file), f"checkpoint: {file}: the search"
        kinds = {"told": dict, "state": dict, "rows": list}
        if any(not isinstance(saved.get(key), kind) for key, kind in kinds.items()):
            raise UserError(f"checkpoint: {file}: not one of augrad.learn; give another path, or remove the file")
        require_same(saved["told"], self.told, start, defaults={"settings": asdict(SearchSettings())})
        take_up(self.state, self.parts, saved, start, f"checkpoint: {file}")
        if saved.get("policy", self.began) != self.began:  # older ones have none
            raise UserError(
                f"{start} was started with other numbers of its policy; give it the same, or start a new one"
            )
        self.kept = list(saved["rows"])

    def rows(self, rows: list[Row]) -> None:
        self.kept += rows
        last = rows[-1]
        train, held_out = (loss if isinstance(loss := last.get(f"{name}_loss"), float) else None for name in _LOSSES)
        self.progress.update(int(last["step"] or 0), train, held_out)
        if self.callback is not None:
            for row in rows:
                self.enough = _is_true(self.callback(dict(row))) or self.enough

    def checkpoint(self, state: dict[str, Any]) -> None:
        if self.file is not None:
            origin = origin_of(self.state, self.parts)
            save_checkpoint(
                self.file,
                {"told": self.told, "origin": origin, "policy": self.began, "state": state, "rows": self.kept},
            )

    def interrupted(self) -> bool:
        return self.stop.came or self.enough

    def result(self, finished: bool) -> SearchResult:
        state, data = self.state, self.parts.data
        found = evaluate(state.model, data.test, self.parts.settings.autocast)
        metrics = {
            "steps": state.step,
            "policy_from_step": state.best_step,
            "selection_loss": state.best_loss if state.best_step else None,
            "search_classifier_test_accuracy": float(found.accuracy),
        }
        best = state.best_policy()
        for policy in (best, state.policy):
            policy.provenance = search_provenance(self.parts.seed, self.told, data, metrics)
        return SearchResult(
            policy=best,
            final_policy=state.policy,
            initial=self.start,
            model=state.model,
            metrics=self.kept,
            steps=state.step,
            finished=finished,
            best_step=state.best_step,
            best_loss=state.best_loss,
            test_accuracy=float(found.accuracy),
            taken=taken_from(state, self.parts),
            data=data,
            seed=self.parts.seed,
            summary=metrics,
        )


_LOSSES = ("train", "val")


def _settings(settings: SearchSettings, changes: Mapping[str, Any]) -> SearchSettings:
    """The settings with these changes. Raises UserError for a name that is none, and for a value that cannot be."""
    if not isinstance(settings, SearchSettings):
        raise UserError(f"settings: expected an augrad.SearchSettings, got {settings!r:.200}")
    names = [field.name for field in fields(SearchSettings)]
    for name in changes:
        if name not in names:
            arguments = [argument for argument in inspect.signature(learn).parameters if argument != "changes"]
            raise UserError(f"{name}: no such argument; there are {', '.join([*arguments, *names])}")
    return replace(settings, **changes)


def _data(given: object, of_folder: Mapping[str, Any]) -> Splits:
    """The data set in a folder or a file, or the one that is given; `require_parts` refuses what is neither."""
    is_path = isinstance(given, str | os.PathLike)
    place = expanded(given) if is_path else None  # type: ignore[arg-type]
    is_folder = place is not None and place.is_dir()
    if of_folder and not is_folder:
        got = repr(given) if is_path else type(given).__name__
        raise UserError(f"{next(iter(of_folder))}: is for a folder of pictures, got {got} as data; leave it out")
    if place is None or not place.exists():
        return given  # type: ignore[return-value]
    return load_folder(place, **of_folder) if is_folder else load_arrays(place)


def _is_watched() -> bool:
    """Whether a person looks at standard error: at a terminal, or at what a cell of a notebook prints."""
    console = terminal(stderr=True)
    return console.is_interactive or console.is_jupyter


def _is_true(answer: object) -> bool:
    """Whether it is the truth value true: of Python, or of NumPy or PyTorch, as comparisons of their numbers give."""
    return plain(answer.item() if isinstance(answer, Tensor | np.ndarray) and answer.shape == () else answer) is True
