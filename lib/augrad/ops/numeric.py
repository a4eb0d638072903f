"""What every operation shares: the dtype rule, checks, what becomes of NaN, and the straight-through construction.

NaN and infinity, in every engine, forward and backward. A pixel that is not a number makes NaN whatever is computed
from it, also with weight 0: itself under an operation on values, the pixel's other channels where it takes the grey
value or the hue, the window of a filter (3 x 3, 13 x 13), the blends of resampling that it counts in
(`augrad.ops.geometric.COUNTS`), the channel under auto_contrast and equalize, the image under contrast. Moving moves
it; what cutout cuts out is gone. Comparisons with it are false. An infinite pixel follows the same arithmetic,
except that the derivative with respect to the magnitude, which has no value there, is an infinity, a number or NaN
according to the engine. A magnitude that is not a number, of an operation that has one, makes its own image NaN, and
the gradients of that image and magnitude. Magnitudes without a meaning (`augrad.ops.meaning`) are refused where they
can be read; on a GPU, where nothing is read back, infinity counts as NaN, and 8 bits, which hold no NaN, are undefined.

Values outside [0, 1], in every engine. They are no error, but operations are made for [0, 1]: brightness, color,
contrast, sharpness, grayscale, invert, auto_contrast and sample_pairing clamp to it, solarize_add what it adds to;
equalize counts them as 0 or 1 (and gives values in [0, 1]); all others carry them through. What leaves an image alone
(color, grayscale and hue on C = 1, auto_contrast and equalize on one value, sharpness below 3 pixels) leaves them, too.
A warning says so once in a process.
"""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial, wraps
from itertools import count
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.errors import ImageRangeWarning, UserError
from augrad.ops.given import check_draw, check_interpolation, checked_fill, require_numbers, require_tensor
from augrad.ops.meaning import Meaning, may_look
from augrad.ops.memory_format import in_own_memory
from augrad.shared_state import differentiates_forward


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
    low, high = (end.item() for end in torch.aminmax(seen.detach()))
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


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Full precision on `device` (the meta device has no autocast)."""
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def in_own_dtype(
    kernel: Callable[..., Tensor],
    meaning: Meaning | None = None,
    name: str | None = None,
    on_levels: Callable[..., Tensor] | None = None,
    draws: int = 0,
) -> Callable[..., Tensor]:
    """Give a float32/float64 kernel the dtype rule of every operation.

    float32 and float64 pass as they are; float16 and bfloat16 are computed in float32 and come out in their own dtype;
    uint8 is computed in float32 on [0, 1], without gradients, and comes out as the nearest level. Magnitudes
    of fewer bits count as float32. Results lie in memory as `augrad.ops.memory_format` says.
    meaning: of the magnitude, None where it is ignored; images whose magnitude is NaN become NaN. name: of the
    operation, where the kernel has another one. on_levels: for uint8 instead of the kernel, see
    `augrad.ops.levels`. draws: how many uniform numbers [B, draws] the kernel takes as its third argument, `draw`.
    Raises UserError for other dtypes, for images that are not [B, C, H, W] or are empty, for magnitudes that are
    not [B], for a `draw` that is no such numbers, and, on a CPU, for magnitudes without a meaning.
    """
    name = name or kernel.__name__

    def in_float(images: Tensor, magnitude: Tensor, *arguments: object, **options: object) -> Tensor:
        if images.dtype == torch.uint8:
            with torch.no_grad():
                if on_levels is not None:
                    return on_levels(images.to(torch.float32), magnitude, *arguments, **options).to(torch.uint8)
                result = kernel(images.to(torch.float32).div_(255), magnitude, *arguments, **options)
                return (result * 255).round_().to(torch.uint8)
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
            options["fill"] = checked_fill(options["fill"])
        if "interpolation" in options:
            check_interpolation(options["interpolation"])
        if magnitude.shape != images.shape[:1]:
            raise UserError(
                f"expected one magnitude per image, shape {tuple(images.shape[:1])}, got {tuple(magnitude.shape)}"
            )
        draw = arguments[0] if draws and arguments else options.get("draw")
        if draw is not None:
            check_draw(draw, (len(images), draws), name)
        magnitude = magnitude.to(torch.promote_types(magnitude.dtype, torch.float32))
        eight_bits = images.dtype == torch.uint8
        may_be_nan = meaning is not None and meaning.check(magnitude, name, eight_bits)
        way = or_nan if may_be_nan and not eight_bits else in_float

        def compute(images: Tensor) -> Tensor:
            return way(images, magnitude, *arguments, **options)

        with without_autocast(images.device):  # half precision would move pixels by whole rows
            return in_own_memory(compute, images)

    operation.meaning = meaning  # type: ignore[attr-defined]
    return operation


def with_magnitude(
    least: float | None = None, most: float | None = None, **options: Any
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """`in_own_dtype` with these options for an operation whose magnitude means something from `least` to `most`; None:
    no such end."""
    ends = {key: end for key, end in (("least", least), ("most", most)) if end is not None}
    return partial(in_own_dtype, meaning=Meaning(**ends), **options)


def transformed() -> bool:
    """Whether there is something that needs to see every expression, instead of a function with its own derivative:
    `torch.compile`, a transform of `torch.func`, or forward-mode differentiation."""
    functions = torch._C._are_functorch_transforms_active
    return torch.compiler.is_compiling() or functions() or differentiates_forward()


def is_known(values: Tensor) -> bool:
    """Whether numbers can be read from `values`: under `torch.func.vmap` they may be different ones at once."""
    functions = torch._C._functorch  # type: ignore[attr-defined]
    while functions.is_functorch_wrapped_tensor(values):
        if functions.is_batchedtensor(values):
            return False
        values = functions.get_unwrapped(values)
    return True


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, images: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:  # type: ignore[override]
        return None, gradient

    @staticmethod
    def jvp(ctx: Any, value: Tensor | None, images: Tensor) -> Tensor:  # type: ignore[override]
        return images.clone()


def straight_through(value: Tensor, images: Tensor) -> Tensor:
    """`value`, a constant, in the forward pass, exactly; in the backward pass its gradient goes to `images` as is."""
    if torch.compiler.is_compiling():
        return images + (value - images.detach()) if images.requires_grad else value
    if not images.requires_grad and not transformed():
        return value
    return _StraightThrough.apply(value, images)  # type: ignore[no-any-return]


class _WithSurrogate(torch.autograd.Function):
    """value, slope, images, magnitude [B], draw -> value."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, slope: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.slope, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        images, magnitude, *draw = ctx.saved_tensors
        by_magnitude = None
        if ctx.needs_input_grad[3]:  # where this is to have a graph, so has the slope
            by_magnitude = (gradient * ctx.slope(images, magnitude, *draw)).sum((1, 2, 3)).to(magnitude.dtype)
        return gradient, None, None, by_magnitude, *[None] * len(draw)

    @staticmethod
    def jvp(  # type: ignore[override]
        ctx: Any, value: Tensor | None, slope: None, images: Any, magnitude: Tensor | None, *draw: Any
    ) -> Tensor:
        images, primal, *extra = ctx.saved_tensors
        moved = torch.zeros_like(images) if value is None else value
        if magnitude is None:
            return moved.clone()
        return moved + ctx.slope(images, primal, *extra) * per_image(magnitude, images)


def with_surrogate(
    value: Tensor, slope: Callable[..., Tensor], images: Tensor, magnitude: Float[Tensor, " B"], *draw: Tensor
) -> Tensor:
    """`value` in the forward pass; `slope(images, magnitude, *draw)`, shaped like it, as its derivative by `magnitude`.

    The slope is only computed where that derivative is wanted, and differentiated where that is differentiated again.
    """
    if torch.compiler.is_compiling():
        if not magnitude.requires_grad:
            return value
        with torch.no_grad():
            derivative = slope(images, magnitude, *draw)
        return value + derivative * per_image(magnitude - magnitude.detach(), images)
    if not magnitude.requires_grad and not transformed():
        return value
    return _WithSurrogate.apply(value, slope, images, magnitude, *draw)  # type: ignore[no-any-return]
