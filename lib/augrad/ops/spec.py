"""What an operation is: a pure function of images and one magnitude per image, its range and its gradient contract."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from augrad.errors import UserError
from augrad.ops.meaning import LARGEST, Meaning

Unit = Literal["factor", "fraction", "degree", "strength", "threshold", "addend", "bits", "pixel", "weight"]
MagnitudeGradient = Literal["exact", "straight_through", "none"]
Kind = Literal["identity", "geometric", "color", "filter", "erase", "mix"]


@dataclass(frozen=True)
class Warp:
    """The shape of an operation that is an affine map of coordinates.

    matrix: `f(magnitude, height, width) -> (a, b, c, d, e, f)`: the output pixel at (x, y) reads at
    (a x + b y + c, d x + e y + f). Positions run from -1 to 1 between the edges of the image, x to the right, y down,
    as those of `torch.nn.functional.affine_grid` (align_corners=False).
    """

    matrix: Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class AffineColor:
    """The shape of an operation that is an affine map of the colours, clamped to [0, 1].

    coefficients: `f(magnitude) -> (gain, grey, mean, offset)`: x becomes gain * x + grey * luma(x) + mean * M + offset,
    with M the mean grey value of the image. What has the coefficient 0 whatever the magnitude does not count, even
    where it is NaN.
    needs_color: it leaves images of one channel alone.
    """

    coefficients: Callable[..., tuple[Any, ...]]
    needs_color: bool = False

    @property
    def counts(self) -> tuple[bool, ...]:
        """Which coefficients count: those that are not 0 whatever the magnitude."""
        return tuple(value != 0 for value in self.coefficients(0.6180339887))


@dataclass(frozen=True)
class Curve:
    """The shape of an operation that changes each value by itself.

    value: `f(value, magnitude) -> value`. slope: `f(value, magnitude) -> slope`, what stands for the derivative by the
    magnitude where that of `value` says nothing; None: its own derivative. straight_through: the derivative by the
    value is 1.
    """

    value: Callable[..., Any]
    slope: Callable[..., Any] | None = None
    straight_through: bool = False


Shape = Warp | AffineColor | Curve
"""What engines know of an operation. Its functions say, for numbers, what the operation is; they consist of arithmetic
and of those functions that `augrad.engines.numba.small` knows, so that PyTorch evaluates and differentiates them for
tensors, and compiled code the same source for one number."""


STEP = 2.0**-40
"""The imaginary part that stands for a derivative of 1 where a shape's function is called with complex numbers: its
square is lost beside the real parts (Squire and Trapp 1998), and no product is so small that it is slow to compute with
(subnormal) in single precision."""


@runtime_checkable
class OpFunction(Protocol):
    """`f(images [B,C,H,W] in 0..1, magnitude [B] in absolute units, ...) -> images`, pure: no input is written to."""

    def __call__(
        self,
        images: Float[Tensor, "B C H W"],
        magnitude: Float[Tensor, " B"],
        /,
        *draw: Tensor,
        **options: float | str | Tensor,
    ) -> Tensor: ...


@dataclass(frozen=True)
class Op:
    """One operation.

    name: as in `augrad.ops` and in policy files. apply: the pure function. low, high: the default range of the
    magnitude, `low` being the identity (for solarize and posterize low > high numerically: strength reads the same
    way for every op).
    unit: None for operations without a magnitude. signed: a random sign is part of the draw. magnitude_grad: how the
    gradient of the magnitude comes about. kind: "geometric" moves masks, boxes and key points too. draws: how many
    uniform numbers in [0, 1) the operation takes as a third argument `draw` [B, draws]. options: which of the
    policy's keyword settings it understands: `fill`, `interpolation`, and `others`, the batch the policy was called
    with. kind "mix": what an image becomes depends on its place in the batch, so the whole batch comes at once.
    shape: what lets every engine compute it; None: its own function, and the kernels that engines have for it.
    """

    name: str
    apply: OpFunction
    low: float | None = None
    high: float | None = None
    unit: Unit | None = None
    signed: bool = False
    magnitude_grad: MagnitudeGradient = "none"
    kind: Kind = "color"
    draws: int = 0
    options: tuple[str, ...] = ()
    shape: Shape | None = None

    @property
    def has_magnitude(self) -> bool:
        """Whether the magnitude changes what the operation does."""
        return self.unit is not None

    @property
    def meaning(self) -> Meaning:
        """Which magnitudes mean something, whatever the range."""
        return getattr(self.apply, "meaning", None) or Meaning()

    def check_range(self, low: object, high: object, signed: bool) -> None:
        """Raise UserError unless all magnitudes from `low` to `high`, with `signed` their opposites, too, mean
        something, and are numbers that a policy file holds."""
        least, most = self.meaning.within(LARGEST, signed)
        for bound in (low, high):
            if isinstance(bound, bool) or not isinstance(bound, Real) or not least <= bound <= most:  # type: ignore[operator]
                signs = " and of both signs (signed: false draws one alone)" if signed else ""
                raise UserError(
                    f"{self.name}: expected finite numbers from {least:g} to {most:g} as low and high, in {self.unit}"
                    f"{signs}, got {bound!r:.40}"
                )
