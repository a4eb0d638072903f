"""What a run can be told besides its parts: plain values, checked when they arrive."""

import inspect
import math
from dataclasses import field
from functools import partial, wraps
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticKnownError

from augrad.checks import refused
from augrad.errors import UserError

Settings = TypeVar("Settings")


def _unless_flag(kind: Literal["int_type", "float_type"], value: Any) -> Any:
    """The value; true is not 1."""
    if isinstance(value, bool | np.bool_):
        raise PydanticKnownError(kind)
    return value


_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)
Whole = Annotated[int, BeforeValidator(partial(_unless_flag, "int_type"))]
Number = Annotated[float, BeforeValidator(partial(_unless_flag, "float_type"))]
PositiveInt = Annotated[Whole, Field(gt=0)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
MOST_SEEDS = 10_000
"""Trainings of one policy beyond which there is no end to a comparison."""
Schedule = Literal["cosine", "constant"]


AUTO: Literal["auto"] = "auto"
BatchSize = PositiveInt | Literal["auto"]
"""How many images a batch of training images has; see `batch_size_of`."""
Folds = Annotated[Whole, Field(ge=2)] | Literal["auto"] | None
"""Into how many parts train and validation images are divided; see `augrad.data.folds.folds_of`."""


def _told_in_words(kind: type[Settings]) -> type[Settings]:
    """What cannot be is a UserError, from Python too, and begins with the name of the setting."""
    made = kind.__init__

    @wraps(made)
    def init(self: Any, *positional: Any, **named: Any) -> None:
        try:
            made(self, *positional, **named)
        except ValidationError as error:
            raise refused(error) from None

    kind.__init__ = init  # type: ignore[method-assign]
    kind.__signature__ = _without_limits(kind)  # type: ignore[attr-defined]
    return kind


def _without_limits(kind: type) -> inspect.Signature:
    """What `help` shows: names, plain types and defaults."""
    hints = get_type_hints(kind)
    parameters = inspect.signature(kind).parameters.values()
    return inspect.Signature(
        [one.replace(annotation=hints.get(one.name, one.annotation)) for one in parameters], return_annotation=None
    )


@_told_in_words
@dataclass(frozen=True, config=_CONFIG)
class TrainSettings:
    """How a classifier is trained.

    epochs: as usual. batch_size: a number, or "auto" (see `batch_size_of`). steps: how many steps there are, whatever
    the epochs; None: as many as the epochs have. A budget in steps means the same for few images as for many. schedule:
    of the learning rate, after `warmup_epochs` of linear rise; cosine ends at `final_rate` times its peak. clip_norm:
    limit of the gradient's total norm, None for none. autocast: bfloat16 forward passes. label_smoothing: the share of
    a label that is spread evenly over all classes, in the loss that is minimised; every loss that is reported is
    without it. ema: the decay of a moving average of the weights, which starts at those after the first step; the
    averaged network is what is evaluated and returned. None: the weights as they are. channels_last: whether weights
    and images are laid out channels last, which is faster on a GPU under autocast. compile: whether the training passes
    run by `torch.compile`; evaluations do not. cuda_graphs: whether, on a GPU, training passes and policy are CUDA
    graphs, without which a small network waits for Python; None: where nothing in the network forbids it.
    accumulation_steps: in how many parts a batch goes through the network, one after another, their gradients being
    summed: for batches whose activations do not fit into memory. BatchNorm normalises each part by itself.
    """

    epochs: PositiveInt = 50
    steps: PositiveInt | None = None
    batch_size: BatchSize = AUTO
    schedule: Schedule = "cosine"
    warmup_epochs: Annotated[Number, Field(ge=0)] = 0.0
    final_rate: Fraction = 0.01
    clip_norm: Annotated[Number, Field(gt=0)] | None = None
    autocast: bool = False
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    ema: Annotated[Number, Field(gt=0, lt=1)] | None = None
    channels_last: bool = False
    compile: bool = False
    cuda_graphs: bool | None = None
    accumulation_steps: PositiveInt = 1


@_told_in_words
@dataclass(frozen=True, config=_CONFIG)
class SearchSettings:
    """How policy and classifier are updated together.

    steps, batch_size, validation_batch_size: of the joint loop; validation batches rotate through the whole split.
    batch_size: a number, or "auto" (see `batch_size_of`).
    schedule, final_rate, clip_norm, autocast: of the classifier, as in TrainSettings. rounds: how many classifiers are
    trained, one after the other, each for as many steps (the last one for what is left) and with the whole schedule;
    the policy goes on (SLACK's cold start, Marrie et al. 2023). warmup_steps: the first steps of a round, at most
    `warmup_share` of them, in which only the classifier learns (an untrained one prefers whatever is easy).
    policy_schedule, policy_final_rate: of the policy's learning rate. policy_rates: its factor for parameter groups of
    the policy, by name (subpolicy_logits, op_logits, ...), where it is not 1.
    normalize: divide each step's per-image scores by their standard deviation, so that the policy's pace depends
    neither on the learning rate nor on the loss. signal_floor: where that deviation (per unit of learning rate) is
    below this share of the largest that its moving average has been, the policy's steps shrink with its square: once
    the classifier has learned what the policy can teach, the hypergradient carries little but noise. 0: never.
    select_every: steps between looks at the selection split. select: which policy the search ends with: "average", the
    mean over its last steps (see `augrad.search.average`); "best", the one at the look with the lowest loss there;
    "last", the one at the last look. None: best for whole trainings, whose loss is of one policy alone, else average.
    keep_model: whether what the search trained is written, too (model.pt): the result of learning a policy to the end.
    checkpoint_every, log_every: steps between checkpoints, and between writes of the metrics. Every step has its row;
    what there is of each operation stands in the rows of these steps, of the first and of the last one.
    cuda_graphs: whether the classifier's passes run as CUDA graphs on a GPU, where a small network's step is otherwise
    as long as the launching of its kernels. None: if the network is made of modules of PyTorch's and augrad's alone,
    without dropout. True is for a network whose `forward` does the same in Python at each call.
    accumulation_steps: as in TrainSettings, of training and validation batches and of the scores of bilevel.
    """

    steps: PositiveInt = 1000
    batch_size: BatchSize = AUTO
    validation_batch_size: PositiveInt = 256
    schedule: Schedule = "cosine"
    final_rate: Fraction = 0.02
    clip_norm: Annotated[Number, Field(gt=0)] | None = None
    autocast: bool = False
    rounds: PositiveInt = 1
    warmup_steps: Annotated[Whole, Field(ge=0)] = 100
    warmup_share: Fraction = 0.2
    policy_schedule: Schedule = "cosine"
    policy_final_rate: Fraction = 0.05
    policy_rates: dict[str, Annotated[Number, Field(gt=0)]] = field(default_factory=dict)
    normalize: bool = True
    signal_floor: Fraction = 1.0
    select_every: PositiveInt = 50
    select: Literal["average", "best", "last"] | None = None
    keep_model: bool = False
    checkpoint_every: PositiveInt = 200
    log_every: PositiveInt = 10
    cuda_graphs: bool | None = None
    accumulation_steps: PositiveInt = 1


@_told_in_words
@dataclass(frozen=True, config=_CONFIG)
class ChoiceSettings:
    """Which policies fresh classifiers are trained with at the end of a search, see `augrad.search.choice`.

    reaches: their distances from the start, in that of the learned policy: 0 is the start, 1 the learned one, 2 twice
    as far. furthest: as long as the largest distance is the best, twice that distance is tried, too, up to this one.
    none: whether no augmentation is tried, too. also: other policies that are, names of built-in ones or files. seeds:
    trainings with each, all on the same seeds. folds: each of these on another division of the train and validation
    images into so many parts, of which one is held out (see `augrad.data.folds`); None: as they are; "auto": three, or
    None where validation images have a source of their own. processes: how many trainings run at a time, see
    `augrad.train.many.judged_trainings`.
    """

    reaches: Annotated[tuple[Annotated[Number, Field(ge=0)], ...], Field(min_length=1)] = (0.0, 1.0, 2.0, 4.0)
    furthest: Annotated[Number, Field(ge=0)] = 64.0
    none: bool = True
    also: tuple[str, ...] = ()
    seeds: Annotated[PositiveInt, Field(le=MOST_SEEDS)] = 2
    folds: Folds = None
    processes: PositiveInt | None = None


CONTROLS = ("none", "initial", "random", "randaugment", "trivialaugment_wide")
"""What a policy is judged against unless one says otherwise."""


@_told_in_words
@dataclass(frozen=True, config=_CONFIG)
class CompareSettings:
    """What a search judges its policy against at its end, with trainings of the same classifier with each.

    policies: none (no augmentation), initial (the start of the search), random (drawn anew for each seed, over what the
    start chooses from), names of built-in policies, or files. seeds: trainings with each, all on the same seeds, which
    are apart from the search's. with_validation: whether they train on the validation images, too, which the search has
    seen. processes: how many trainings run at a time; None: one for each processor, and one on a GPU.
    """

    policies: Annotated[tuple[str, ...], Field(min_length=1)] = CONTROLS
    seeds: Annotated[PositiveInt, Field(le=MOST_SEEDS)] = 3
    with_validation: bool = True
    processes: PositiveInt | None = None


def require_settings(train: object) -> None:
    """Raises UserError for what is no TrainSettings."""
    if not isinstance(train, TrainSettings):
        raise UserError(f"train: expected an augrad.TrainSettings, as in TrainSettings(steps=400), got {train!r:.200}")


_LARGEST, _SMALLEST, _AN_EPOCH = 128, 16, 4
"""Batches of "auto": the largest and the smallest, and how many an epoch has at least."""


def batch_size_of(asked: BatchSize, images: int) -> int:
    """Of so many training images. "auto": 128, or for fewer than 512 images the largest power of two with which an
    epoch has at least four batches, but not below 16: with a single batch there would be few steps, each on nearly the
    same images.
    """
    if asked != AUTO:
        return asked
    fitting = 2 ** max(images // _AN_EPOCH, 1).bit_length() // 2
    return min(max(fitting, _SMALLEST), _LARGEST)


def steps_of(settings: TrainSettings, steps_per_epoch: int) -> int:
    """How many steps a training has."""
    return settings.epochs * steps_per_epoch if settings.steps is None else settings.steps


def round_of(settings: SearchSettings) -> int:
    """The number of steps of a round; the last one may have fewer."""
    return math.ceil(settings.steps / settings.rounds)


def warmup_of(settings: SearchSettings) -> int:
    """The number of steps at the beginning of a round in which the policy has none."""
    return min(settings.warmup_steps, int(settings.warmup_share * round_of(settings)))


def rate_at(step: int, total: int, schedule: Schedule, final: float, warmup: float = 0.0) -> float:
    """The learning rate's factor at `step` of `total`.

    A linear rise over `warmup` steps, then constant or half a cosine to `final`.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    progress = (step - warmup) / max(total - warmup, 1)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
