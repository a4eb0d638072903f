"""Whether an operation keeps the contract of all operations, found out on a small batch before anyone relies on it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from augrad.errors import UserError
from augrad.ops.probe_batch import BATCH, call, draws_of, ends_of, magnitudes_of, probe_images, require_alike
from augrad.ops.probe_gradients import require_image_gradient, require_magnitude_gradient
from augrad.ops.spec import Op
from augrad.shared_state import generators_kept

_SEEDED = "let it take its random numbers as a third argument, and say how many: draws: 2"


@dataclass(frozen=True)
class Finding:
    """channels: the numbers of channels that the operation takes. change_at_low: the largest change of a pixel at the
    weak end of the range, 0 for an operation without a magnitude."""

    channels: tuple[int, ...]
    change_at_low: float


def probe(op: Op, driven: str = "the magnitude") -> Finding:
    """Checks `op` on five images of 24 x 20 pixels, in colour and grey, in float64 and float32, and its gradients.

    driven: what the magnitude is called in messages; they do not name the operation.
    Raises UserError if the operation

    - raises an exception for both numbers of channels (for one of them it is only noted),
    - returns another shape or type, values outside [0, 1] or that are not finite,
    - writes to its input, moves the global generator, or gives other images when it is called again,
    - lets an image depend on the others of the batch,
    - is not changed by its magnitude, or gives it no derivative, or a wrong one (see `require_magnitude_gradient`),
    - gives the images no gradient.
    """
    with generators_kept():  # some draw from the global generator, and are refused for it
        return _probe(op, driven)


def _probe(op: Op, driven: str) -> Finding:
    taken: list[int] = []
    failure: Exception | None = None
    for channels in (3, 1):
        try:
            with torch.no_grad():
                call(op, probe_images(channels), magnitudes_of(op))
            taken.append(channels)
        except UserError:
            raise
        except Exception as error:
            failure = failure or error
    if not taken:
        assert failure is not None
        shapes = op.has_magnitude and "size of tensor" in str(failure)
        hint = "; a magnitude for each image is magnitude[:, None, None, None] beside the images" if shapes else ""
        raise UserError(
            f"expected images for images {list(probe_images(3).shape)} in float64 with magnitudes [{BATCH}], got an "
            f"exception: {type(failure).__name__}: {failure}{hint}"
        ) from failure
    for channels in taken:
        _require_contract(op, probe_images(channels))
    with torch.enable_grad():
        require_image_gradient(op, taken)
    change_at_low = 0.0
    if op.has_magnitude:
        low, high = ends_of(op)
        moving = [channels for channels in taken if _difference(op, channels, low, high) > 1e-6]
        if not moving:
            raise UserError(
                f"expected images that {driven} changes, got the same ones at both ends of its range, {op.low} and "
                f"{op.high}"
            )
        for channels in moving:
            with torch.enable_grad():
                require_magnitude_gradient(op, probe_images(channels), driven)
        change_at_low = max(_difference(op, channels, low, None) for channels in taken)
    return Finding(tuple(sorted(taken)), change_at_low)


@torch.no_grad()
def _difference(op: Op, channels: int, one: Tensor, other: Tensor | None) -> float:
    """The largest difference of a pixel between two magnitudes, or to the images themselves."""
    images = probe_images(channels)
    second = images if other is None else call(op, images, other)
    return float((call(op, images, one) - second).abs().max())


@torch.no_grad()
def _require_contract(op: Op, images: Tensor) -> None:
    magnitude, before, generator = magnitudes_of(op), images.clone(), torch.get_rng_state()
    output = call(op, images, magnitude)
    if not torch.equal(generator, torch.get_rng_state()):
        raise UserError(f"expected a function of its arguments, got one that draws from torch's generator; {_SEEDED}")
    require_alike(images, output)
    single = images.to(torch.float32)
    require_alike(single, call(op, single, magnitude.to(torch.float32)))
    if not torch.equal(images, before):
        raise UserError("expected that the input is left as it is, got one that was written to; work on a copy")
    _require_range(output, "inside the range of the magnitude")
    if not torch.equal(output, call(op, images, magnitude)):
        raise UserError(f"expected the same images for the same input, got others at the second call; {_SEEDED}")
    for end in ends_of(op) if op.has_magnitude else ():
        _require_range(call(op, images, end), f"at magnitude {float(end[0]):g}")
    draws = draws_of(op)
    for index in range(BATCH):
        one = slice(index, index + 1)
        alone = op.apply(images[one], magnitude[one], *(draw[one] for draw in draws))
        if (alone - output[one]).abs().max() > 1e-6:
            raise UserError(
                "expected every image to depend on itself and its own magnitude, got another image when it is alone "
                "in its batch; use magnitude[:, None, None, None], and no statistics of the batch"
            )


def _require_range(output: Tensor, where: str) -> None:
    if not output.isfinite().all():
        raise UserError(f"expected finite values, got NaN or infinity {where}")
    low, high = float(output.min()), float(output.max())
    if low < -1e-6 or high > 1 + 1e-6:
        raise UserError(f"expected values in [0, 1], got {low:.4g} .. {high:.4g} {where}; end it with .clamp(0, 1)")
