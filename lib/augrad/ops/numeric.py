"""What every operation shares: the dtype rule, shape checks, and the straight-through construction."""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.errors import UserError
from augrad.ops.given import checked_fill, require_numbers, require_tensor


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


def check_images(images: Tensor) -> None:
    """Raise UserError unless `images` is a [B, C, H, W] batch, C = 1 or 3, not empty, floating point or uint8."""
    require_tensor(images)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(
            f"expected images [B, C, H, W] with C = 1 or 3, got shape {tuple(images.shape)}; add or permute dimensions"
        )
    if 0 in images.shape:
        raise UserError(f"expected at least one image of at least one pixel, got shape {tuple(images.shape)}; skip it")


def rounded_down(levels: Tensor) -> Tensor:
    """The whole numbers below, in place, as torchvision and PIL enhance; what lies just below one counts as it."""
    return levels.add_(1e-3).floor_()


def in_own_dtype(
    kernel: Callable[..., Tensor], to_levels: Callable[[Tensor], Tensor] = Tensor.round_
) -> Callable[..., Tensor]:
    """Give a float32/float64 kernel the dtype rule of every operation.

    float32 and float64 pass as they are; float16 and bfloat16 are computed in float32 and come out in their own dtype;
    uint8 is computed in float32 on [0, 1], without gradients, and comes out by `to_levels`, to the nearest level unless
    told otherwise. Magnitudes of fewer bits count as float32.
    Raises UserError for other dtypes, for images that are not [B, C, H, W] or are empty, and for magnitudes that are
    not [B].
    """

    def in_float(images: Tensor, magnitude: Tensor, *arguments: object, **options: object) -> Tensor:
        if images.dtype == torch.uint8:
            with torch.no_grad():
                result = kernel(images.to(torch.float32).div_(255), magnitude, *arguments, **options)
                return to_levels(result * 255).to(torch.uint8)
        if images.dtype in (torch.float16, torch.bfloat16):
            return kernel(images.to(torch.float32), magnitude, *arguments, **options).to(images.dtype)
        return kernel(images, magnitude, *arguments, **options)

    @wraps(kernel)
    def operation(images: Tensor, magnitude: Tensor, *arguments: object, **options: object) -> Tensor:
        check_images(images)
        require_numbers(magnitude)
        if "fill" in options:
            checked_fill(options["fill"])
        if magnitude.shape != images.shape[:1]:
            raise UserError(
                f"expected one magnitude per image, shape {tuple(images.shape[:1])}, got {tuple(magnitude.shape)}"
            )
        magnitude = magnitude.to(torch.promote_types(magnitude.dtype, torch.float32))
        if torch.is_autocast_enabled(images.device.type):  # half precision would move pixels by whole rows
            with torch.autocast(images.device.type, enabled=False):
                return in_float(images, magnitude, *arguments, **options)
        return in_float(images, magnitude, *arguments, **options)

    return operation


def with_surrogate(value: Tensor, magnitude: Tensor, slope: Callable[[], Tensor]) -> Tensor:
    """`value` in the forward pass; `slope()` as its derivative by `magnitude` ([B,1,1,1]) in the backward pass.

    The slope is only computed when a gradient is wanted.
    """
    if not magnitude.requires_grad:
        return value
    with torch.no_grad():
        derivative = slope()
    return value + derivative * (magnitude - magnitude.detach())
