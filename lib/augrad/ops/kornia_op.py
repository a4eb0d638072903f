"""Two-dimensional operations of `kornia.augmentation`, one of their parameters driven by the magnitude."""

import copy
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.errors import UserError
from augrad.ops.counter import Drawn
from augrad.ops.definition import Definition
from augrad.ops.spec import Kind

DECIDED = {
    "p": "the policy decides whether it is applied",
    "p_batch": "the policy decides whether it is applied",
    "same_on_batch": "every image has its own draw",
    "keepdim": "images are batches",
}
"""Arguments that kornia's operations have in common, and who decides them here."""
_OF_THE_CALL = ("batch_prob", "forward_input_shape")
_PROBE = (5, 3, 24, 20)


def is_operation(found: object) -> bool:
    """Whether it is a class of kornia's two-dimensional operations, or one derived from them."""
    if not isinstance(found, type) or not any(base.__module__.startswith("kornia.") for base in found.__mro__):
        return False
    from kornia.augmentation import AugmentationBase2D

    return issubclass(found, AugmentationBase2D)


@dataclass(frozen=True, eq=False)
class KorniaFunction:
    """`f(images, magnitude, draw) -> images`: the operation as it is, applied to every image.

    Its parameters are what its own generator gives with the numbers that follow from `draw` [B, 1] (see
    `augrad.ops.counter`), but the one named `parameter`: that is neutral + magnitude, in all its components; whole
    numbers are rounded, without a gradient. What comes out is clamped to [0, 1].
    arguments: of the constructor, as JSON. A call leaves no trace: the module that does the work is a copy.
    """

    operation: type
    arguments: str
    parameter: str | None
    neutral: float

    def __call__(
        self, images: Float[Tensor, "B C H W"], magnitude: Float[Tensor, " B"], draw: Tensor | None = None
    ) -> Tensor:
        module = copy.copy(_module(self.operation, self.arguments, images.device, images.dtype))
        with Drawn(images.new_zeros(len(images)) if draw is None else draw[:, 0]):
            parameters = {
                name: _in_type_of(images, value) for name, value in module.forward_parameters(images.shape).items()
            }
            if self.parameter is not None:
                value = self.neutral + magnitude
                parameters[self.parameter] = _in_place_of(parameters[self.parameter], value)
            return module(images, params=parameters).clamp(0, 1)


def _in_type_of(images: Tensor, value: Tensor) -> Tensor:
    return value.to(images.dtype) if value.is_floating_point() else value


def _in_place_of(drawn: Tensor, value: Float[Tensor, " B"]) -> Tensor:
    value = value.reshape(-1, *[1] * (drawn.ndim - 1)).expand(drawn.shape)
    return value if drawn.is_floating_point() else value.detach().round().to(drawn.dtype)


@lru_cache(maxsize=64)
def _module(operation: Callable[..., Any], arguments: str, device: torch.device, dtype: torch.dtype) -> Any:
    """The operation, its parameters drawn on `device` in `dtype`; never called itself, only its copies are."""
    given = {name: _tuples(value) for name, value in json.loads(arguments).items()}
    always = {"p": 1.0} if "p" in inspect.signature(operation).parameters else {}
    module = operation(**given, **always)
    module.p = module.p_batch = 1.0
    module.set_rng_device_and_dtype(device, dtype)
    return module


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that kornia expects."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def kornia_function(operation: Any, definition: Definition) -> tuple[KorniaFunction, Kind, int]:
    """The function, its kind, and how many numbers it draws: 1 if anything but the driven parameter is random, else 0.

    Raises UserError for arguments that the constructor does not take, for a parameter that is none or cannot be
    driven by one number for each image, and for a kind that the operation is not.
    """
    name = operation.__name__
    if definition.draws is not None:
        raise UserError(f"draws: expected no such option, got {definition.draws}; {name} knows what it draws")
    if definition.has_magnitude and definition.parameter is None:
        names = _names(_drawn_if_possible(operation, definition))
        raise UserError(f"parameter: expected one of {names}, got nothing; name the one that the magnitude drives")
    arguments = _arguments(operation, definition)
    function = KorniaFunction(operation, arguments, definition.parameter, definition.neutral or 0.0)
    first, second = (_drawn(operation, arguments, seed) for seed in (0.1, 0.5))
    if definition.parameter is not None:
        _require_drivable(name, definition.parameter, first)
    random = any(not torch.equal(first[key], second[key]) for key in first if key != definition.parameter)
    return function, _kind(operation, definition), int(random)


def _arguments(operation: Any, definition: Definition) -> str:
    given = dict(definition.arguments or {})
    for key in given:
        if key in DECIDED:
            raise UserError(f"arguments.{key}: expected no such argument, got {given[key]!r}; {DECIDED[key]}")
    known = inspect.signature(operation).parameters
    driven = known.get(definition.parameter or "")
    if driven is not None and driven.default is inspect.Parameter.empty and driven.name not in given:
        # The range is what the operation would draw from if it drew.
        given[driven.name] = [(definition.neutral or 0.0) + end for end in definition.reach()]
    needed = [
        key
        for key, parameter in known.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    missing = [key for key in needed if key not in given]
    if missing:
        raise UserError(f"arguments: expected also {', '.join(missing)}, which {operation.__name__} needs, got "
                        f"{', '.join(given) or 'none'}")  # fmt: skip
    unknown = [key for key in given if key not in known]
    if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        close = get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known)}"
        raise UserError(f"arguments.{unknown[0]}: expected an argument of {operation.__name__}, got none; {hint}")
    try:
        text = json.dumps(given, sort_keys=True)
    except (TypeError, ValueError):
        raise UserError("arguments: expected numbers, strings, true, false, lists and objects, got others") from None
    try:
        _module(operation, text, torch.device("cpu"), torch.float64)
    except Exception as error:
        raise UserError(
            f"arguments: expected arguments that {operation.__name__} takes, got {text}; it says: {error}"
        ) from error
    return text


def _drawn_if_possible(operation: Any, definition: Definition) -> dict[str, Tensor]:
    """Drawn parameters, or none where the operation cannot be made without the range that the magnitude would fill."""
    try:
        return _drawn(operation, json.dumps(dict(definition.arguments or {})), 0.5)
    except Exception:
        return {}


def _drawn(operation: Any, arguments: str, seed: float) -> dict[str, Tensor]:
    module = copy.copy(_module(operation, arguments, torch.device("cpu"), torch.float64))
    with Drawn(seed + torch.linspace(0, 0.3, _PROBE[0])):
        drawn = module.forward_parameters(torch.Size(_PROBE))
    return {key: value for key, value in drawn.items() if key not in _OF_THE_CALL and isinstance(value, Tensor)}


def _names(drawn: dict[str, Tensor]) -> str:
    drivable = [key for key, value in drawn.items() if value.ndim in (1, 2) and len(value) == _PROBE[0]]
    return ", ".join(drivable) or "its parameters"


def _require_drivable(name: str, parameter: str, drawn: dict[str, Tensor]) -> None:
    if parameter not in drawn:
        close = get_close_matches(parameter, drawn, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}?" if close else f"{name} has {_names(drawn)}"
        raise UserError(f"parameter: expected a parameter that {name} draws, got {parameter!r}; {hint}")
    value = drawn[parameter]
    if value.ndim not in (1, 2) or len(value) != _PROBE[0]:
        raise UserError(
            f"parameter: expected one number for each image, got {parameter}, which is {list(value.shape)} for a batch "
            f"of {list(_PROBE)}; {name} has {_names(drawn)}"
        )


def _kind(operation: Any, definition: Definition) -> Kind:
    from kornia.augmentation import GeometricAugmentationBase2D, IntensityAugmentationBase2D

    if issubclass(operation, GeometricAugmentationBase2D) and definition.kind not in (None, "geometric"):
        raise UserError(
            f"kind: expected geometric, got {definition.kind}; {operation.__name__} moves pixels, and masks would stay"
        )
    if definition.kind is not None:
        return definition.kind
    return "color" if issubclass(operation, IntensityAugmentationBase2D) else "geometric"
