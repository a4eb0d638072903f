"""Operations that are not augrad's own: any importable `f(images, magnitude) -> images`, and kornia's."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.errors import UserError
from augrad.ops.definition import FINITE_DIFFERENCE, Definition, make_definition
from augrad.ops.imported import find
from augrad.ops.kornia_op import is_operation, kornia_function
from augrad.ops.meaning import Meaning
from augrad.ops.numeric import in_own_dtype, per_image, with_surrogate
from augrad.ops.probe import Finding, probe
from augrad.ops.probe_batch import require_alike
from augrad.ops.spec import Op

WINDOW = 0.125
"""Half-width of the finite difference that stands in for a derivative, as a share of the magnitude's range."""

Slope = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class External:
    """The `apply` of such an operation: the rules of types and gradients around a function that knows neither.

    function: gets floating point images (float32 or float64) [B, C, H, W] in [0, 1], the magnitudes [B] in
    the images' type and, where the operation draws, `draw` [B, D].
    slope: the surrogate. channels: the numbers of channels that the function takes.
    """

    name: str
    definition: Definition
    function: Callable[..., Tensor]
    slope: Slope | None = None
    channels: tuple[int, ...] = (1, 3)

    def __call__(self, images: Tensor, magnitude: Tensor, /, *draw: Tensor, **options: float | str | Tensor) -> Tensor:
        """Raises UserError for images with a number of channels that the function does not take, and if it does not
        return a tensor of the shape and type of its images."""
        meaning = Meaning() if self.definition.has_magnitude else None
        return in_own_dtype(self._applied, meaning=meaning, name=self.name)(images, magnitude, *draw)

    def _applied(self, images: Tensor, magnitude: Tensor, *draw: Tensor) -> Tensor:
        if images.shape[1] not in self.channels:
            raise UserError(
                f"{self.name} takes images with {' or '.join(map(str, self.channels))} channels, got "
                f"{images.shape[1]}; take it out of the space"
            )
        magnitude = magnitude.to(images.dtype)
        by_autograd = self.definition.magnitude_grad != "none" and self.slope is None
        through = self.definition.image_grad == "straight_through" and images.requires_grad
        shown = images.detach() if through else images
        value: object = self.function(shown, magnitude if by_autograd else magnitude.detach(), *draw)
        value = require_alike(images, value)
        if through:
            value = value + (images - shown)
        slope = self.slope
        if slope is None:
            return value
        return with_surrogate(value, slope, images, magnitude, *draw)


@dataclass(frozen=True, eq=False)
class OfImages:
    """A function of the images alone as one of images and magnitude."""

    function: Callable[..., Tensor]

    def __call__(self, images: Tensor, magnitude: Tensor, *draw: Tensor) -> Tensor:
        return self.function(images, *draw)


@dataclass(frozen=True, eq=False)
class FiniteDifference:
    """(f(m + h) - f(m - h)) / 2h: the exact derivative of the forward pass averaged over m - h .. m + h.

    h: `step`. One-sided at the ends of lowest..highest: the function never sees a magnitude outside.
    """

    function: Callable[..., Tensor]
    lowest: float
    highest: float
    step: float

    def __call__(
        self, images: Float[Tensor, "B C H W"], magnitude: Float[Tensor, " B"], *draw: Tensor
    ) -> Float[Tensor, "B C H W"]:
        above = torch.maximum((magnitude + self.step).clamp(max=self.highest), magnitude)
        below = torch.minimum((magnitude - self.step).clamp(min=self.lowest), magnitude)
        difference = self.function(images, above, *draw) - self.function(images, below, *draw)
        return difference / per_image(above - below, images)


def external_op(name: str, options: Any = None) -> tuple[Op, Finding]:
    """The operation that `name` stands for, imported and checked, and what the checks found.

    name: `package.module.function`; or `kornia.augmentation.Class` (any two-dimensional operation of kornia's, or of
    a class derived from them); `kornia.augmentation.Class.parameter` is the same with the option `parameter`.
    options: a mapping with those of `augrad.ops.definition.Definition`, or None.
    Raises UserError for a name that cannot be imported, options that do not fit, and where `augrad.ops.probe.probe`
    does.
    """
    definition = make_definition(options)
    found, parameter = find(name)
    if parameter is not None:
        if definition.parameter not in (None, parameter):
            raise UserError(f"parameter: expected {parameter}, the end of the name, got {definition.parameter!r}")
        if not definition.has_magnitude:
            raise UserError("low: expected the range of the magnitude that drives the parameter, got nothing")
    kind, draws = definition.kind or "geometric", definition.draws or 0
    if is_operation(found):
        completed = definition.model_copy(update={"parameter": parameter or definition.parameter})
        function, kind, draws = kornia_function(found, completed)
    else:
        function = _function(name, found, definition)
    apply = External(name, definition, function, _slope(definition, function))
    op = Op(
        name,
        apply,
        definition.low,
        definition.high,
        definition.unit,
        bool(definition.signed),
        _magnitude_grad(definition),
        kind,
        draws,
    )
    driven = parameter or definition.parameter
    finding = probe(op, f"the parameter {driven}" if driven else "the magnitude")
    if finding.channels != apply.channels:
        op = replace(op, apply=replace(apply, channels=finding.channels))
    return op, finding


def definitions_of(ops: Iterable[Op]) -> dict[str, Definition]:
    """The definitions of those that are not augrad's own, by name."""
    return {op.name: op.apply.definition for op in ops if isinstance(op.apply, External)}


def _magnitude_grad(definition: Definition) -> Any:
    if not definition.has_magnitude:
        return "none"
    return definition.magnitude_grad or ("straight_through" if definition.surrogate else "exact")


def _function(name: str, found: Any, definition: Definition) -> Callable[..., Tensor]:
    for key in ("parameter", "neutral", "arguments"):
        value = getattr(definition, key)
        if value is not None:
            raise UserError(f"{key}: expected no such option, got {value!r:.60}; it is for operations of kornia")
    if isinstance(found, type) or not callable(found):
        what = "a class" if isinstance(found, type) else f"a value of type {type(found).__name__}"
        raise UserError(
            f"expected a function f(images, magnitude) -> images or a two-dimensional operation of kornia, got {what}"
        )
    function = cast(Callable[..., Tensor], found)
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # some built-in functions have none
        return function if definition.has_magnitude else OfImages(function)
    arguments = [
        "images",
        *(["magnitude"] if definition.has_magnitude else []),
        *(["draw"] if definition.draws else []),
    ]
    try:
        signature.bind(*arguments)
    except TypeError:
        advice = "" if definition.has_magnitude else "; if it takes a magnitude, give low, high and unit"
        raise UserError(
            f"expected a function of ({', '.join(arguments)}), got {name.rpartition('.')[2]}{signature}{advice}"
        ) from None
    return function if definition.has_magnitude else OfImages(function)


def _slope(definition: Definition, function: Callable[..., Tensor]) -> Slope | None:
    if definition.surrogate is None:
        return None
    if definition.surrogate != FINITE_DIFFERENCE:
        found, rest = find(definition.surrogate)
        if rest is not None or isinstance(found, type) or not callable(found):
            raise UserError(f"surrogate: expected a function, got {definition.surrogate}, which is none")
        return cast(Slope, found)
    assert definition.low is not None
    assert definition.high is not None
    return FiniteDifference(function, *definition.reach(), WINDOW * abs(definition.high - definition.low))
