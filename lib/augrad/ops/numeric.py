"""What every operation shares: the dtype rule, checks, what becomes of NaN, and the straight-through construction.

NaN and infinity, in every engine, forward and backward. A pixel that is not a number makes NaN whatever is computed
from it, also with weight 0: itself under an operation on values, the pixel's other channels where it takes the grey
value or the hue, the window of a filter (3 x 3, 13 x 13), the blends of resampling that it counts in
(`augrad.ops.geometric.COUNTS`), the channel under auto_contrast and equalize, the image under contrast. Moving moves
it; what cutout cuts out is gone. Comparisons with it are false. An infinite pixel follows the same arithmetic. A
magnitude that is not a number, of an operation that has one, makes its own image NaN, and the gradients of that image
and magnitude. Magnitudes without a meaning (`augrad.ops.meaning`) are refused where they can be read; on a GPU, where
nothing is read back, infinity counts as NaN, and 8 bits, which hold no NaN, are undefined.

Values outside [0, 1], in every engine. They are no error, but operations are made for [0, 1]: brightness, color,
contrast, sharpness, grayscale, invert, auto_contrast and sample_pairing clamp to it, solarize_add what it adds to;
equalize counts them as 0 or 1 (and gives values in [0, 1]); all others carry them through. What leaves an image alone
(color, grayscale and hue on C = 1, auto_contrast and equalize on one value, sharpness below 3 pixels) leaves them, too.
A warning says so once in a process.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache, partial, wraps
from itertools import count
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.errors import ImageRangeWarning, UserError
from augrad.ops.given import check_interpolation, checked_fill, require_numbers, require_tensor
from augrad.ops.meaning import Meaning, may_look


@lru_cache(maxsize=1024)
@torch.inference_mode(False)  # kept for all later calls: autograd must be able to save it
def _kept(values: tuple, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device)


def constant(values: tuple, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of these numbers, made once for each device: no copy from the host in a step. Never write to it."""
    if torch.compiler.is_compiling():
        return torch.tensor(values, dtype=dtype, device=device)
    return _kept(values, dtype, device)


def per_image(values: Float[Tensor, " B"], images: Tensor) -> Tensor:
    """[B] -> [B, 1, 1, 1] in the images' dtype."""
    return values.to(images.dtype)[:, None, None, None]


_TOLERANCE = 0.25
"""How far outside [0, 1] images may lie without a warning: enlarging sharply overshoots by less."""
_LOOKS = count()
_WHOLE_LOOKS = 8


@lru_cache(maxsize=1)
def _warn_of_range(low: float, high: float) -> None:
    warnings.warn(
        f"expected floating point images in [0, 1], got values from {low:.3g} to {high:.3g}; augment before Normalize, "
        "divide 0..255 by 255. Some operations clamp such values, and no operation means the same for them.",
        ImageRangeWarning,
        stacklevel=2,
    )


def _look_at_range(images: Tensor) -> None:
    """Warn, once in a process, of images far outside [0, 1].

    Only on a CPU, where looking is cheap: all of the first few batches, then one row of one image of each.
    """
    if not images.is_floating_point() or not may_look(images) or _warn_of_range.cache_info().currsize:
        return
    seen = images if next(_LOOKS) < _WHOLE_LOOKS else images[0, :, images.shape[2] // 2]
    low, high = (float(end) for end in torch.aminmax(seen.detach()))
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        _warn_of_range(low, high)


def check_images(images: Tensor) -> None:
    """Raise UserError unless `images` is a [B, C, H, W] batch, C = 1 or 3, not empty, floating point or uint8.

    Warns, once in a process, of images far outside [0, 1] where they can be looked at.
    """
    require_tensor(images)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(
            f"expected images [B, C, H, W] with C = 1 or 3, got shape {tuple(images.shape)}; add or permute dimensions"
        )
    if 0 in images.shape:
        raise UserError(f"expected at least one image of at least one pixel, got shape {tuple(images.shape)}; skip it")
    _look_at_range(images)


def rounded_down(levels: Tensor) -> Tensor:
    """The whole numbers below, in place, as torchvision and PIL enhance; what lies just below one counts as it."""
    return levels.add_(1e-3).floor_()


def in_own_dtype(
    kernel: Callable[..., Tensor],
    to_levels: Callable[[Tensor], Tensor] = Tensor.round_,
    meaning: Meaning | None = None,
    name: str | None = None,
) -> Callable[..., Tensor]:
    """Give a float32/float64 kernel the dtype rule of every operation.

    float32 and float64 pass as they are; float16 and bfloat16 are computed in float32 and come out in their own dtype;
    uint8 is computed in float32 on [0, 1], without gradients, and comes out by `to_levels`, to the nearest level unless
    told otherwise. Magnitudes of fewer bits count as float32.
    meaning: of the magnitude, None where it is ignored; images whose magnitude is NaN become NaN. name: of the
    operation, where the kernel has another one.
    Raises UserError for other dtypes, for images that are not [B, C, H, W] or are empty, for magnitudes that are
    not [B], and, on a CPU, for those without a meaning.
    """
    name = name or kernel.__name__

    def in_float(images: Tensor, magnitude: Tensor, *arguments: object, **options: object) -> Tensor:
        if images.dtype == torch.uint8:
            with torch.no_grad():
                result = kernel(images.to(torch.float32).div_(255), magnitude, *arguments, **options)
                return to_levels(result * 255).to(torch.uint8)
        if images.dtype in (torch.float16, torch.bfloat16):
            return kernel(images.to(torch.float32), magnitude, *arguments, **options).to(images.dtype)
        return kernel(images, magnitude, *arguments, **options)

    def or_nan(images: Tensor, magnitude: Tensor, *arguments: object, **options: object) -> Tensor:
        lost = ~magnitude.detach().isfinite()
        scale = torch.where(lost, float("nan"), 1.0)  # in products, not instead of them: gradients become NaN, too
        magnitude = magnitude * scale
        result = in_float(images, magnitude, *arguments, **options)
        nothing = images * per_image(scale, images) + per_image(magnitude, images)
        return torch.where(lost[:, None, None, None], nothing, result)

    @wraps(kernel)
    def operation(images: Tensor, magnitude: Tensor, *arguments: object, **options: object) -> Tensor:
        check_images(images)
        require_numbers(magnitude)
        if "fill" in options:
            checked_fill(options["fill"])
        if "interpolation" in options:
            check_interpolation(options["interpolation"])
        if magnitude.shape != images.shape[:1]:
            raise UserError(
                f"expected one magnitude per image, shape {tuple(images.shape[:1])}, got {tuple(magnitude.shape)}"
            )
        magnitude = magnitude.to(torch.promote_types(magnitude.dtype, torch.float32))
        eight_bits = images.dtype == torch.uint8
        may_be_nan = meaning is not None and meaning.check(magnitude, name, eight_bits)
        compute = or_nan if may_be_nan and not eight_bits else in_float
        if torch.is_autocast_enabled(images.device.type):  # half precision would move pixels by whole rows
            with torch.autocast(images.device.type, enabled=False):
                return compute(images, magnitude, *arguments, **options)
        return compute(images, magnitude, *arguments, **options)

    operation.meaning = meaning  # type: ignore[attr-defined]
    return operation


def with_magnitude(
    least: float | None = None, most: float | None = None, to_levels: Callable[[Tensor], Tensor] = Tensor.round_
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """`in_own_dtype` for an operation whose magnitude means something from `least` to `most`; None: no such end."""
    ends = {key: end for key, end in (("least", least), ("most", most)) if end is not None}
    return partial(in_own_dtype, to_levels=to_levels, meaning=Meaning(**ends))


class _Surrogate(torch.autograd.Function):
    """`value`; its gradients are those of value + (images - constant) + derivative * (magnitude - constant)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, images: Tensor | None, magnitude: Tensor | None, derivative: Tensor | None) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, images, magnitude, derivative = inputs
        ctx.straight, ctx.shape = images is not None, None if magnitude is None else magnitude.shape
        ctx.save_for_backward(*([] if derivative is None else [derivative]))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        by_magnitude = None
        if ctx.shape is not None:
            by_magnitude = (gradient * ctx.saved_tensors[0]).sum_to_size(ctx.shape)
        return gradient, gradient if ctx.straight else None, by_magnitude, None


def straight_through(value: Tensor, images: Tensor) -> Tensor:
    """`value` in the forward pass, exactly; in the backward pass its gradient goes to `images` as it is."""
    if not images.requires_grad:
        return value
    if torch.compiler.is_compiling():
        return images + (value - images.detach())
    return _Surrogate.apply(value, images, None, None)  # type: ignore[no-any-return]


def with_surrogate(value: Tensor, magnitude: Tensor, slope: Callable[[], Tensor]) -> Tensor:
    """`value` in the forward pass, exactly; `slope()` as its derivative by `magnitude` [B, 1, 1, 1] in the other.

    The slope is only computed when a gradient is wanted.
    """
    if not magnitude.requires_grad:
        return value
    if torch.compiler.is_compiling():
        return value + slope() * (magnitude - magnitude.detach())
    return _Surrogate.apply(value, None, magnitude, slope())  # type: ignore[no-any-return]
