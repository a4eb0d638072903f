"""Whether an operation's derivatives are there, and are what they are said to be."""

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.errors import UserError
from augrad.ops.probe_batch import call, magnitudes_of, probe_images
from augrad.ops.spec import Op

STEPS = (1e-6, 1e-3)
"""Half-widths of the differences, one of which an exact derivative has to agree with, as shares of the range: a small
one meets few kinks, a large one survives functions that compute in float32."""
MOST_ERROR = 0.05
"""How far, relative to its size, an exact derivative may be from the difference."""
WIDE = 0.125
"""The half-width for a surrogate, which has to point the right way only."""
LEAST_AGREEMENT = 0.1
"""The least cosine between a surrogate's derivatives and the differences."""

_PROJECTIONS = 8
_WAYS = (
    "give surrogate: finite_difference, or surrogate: package.module.slope, a function with the same arguments that "
    "returns d pixel / d magnitude [B, C, H, W]; or write magnitude_grad: none, if your estimator learns magnitudes by "
    "their score, as the default one does"
)
_THROUGH = "write image_grad: straight_through to pass the gradient as the identity does"


def require_image_gradient(op: Op, taken: list[int]) -> None:
    """Raises UserError if there is none for any of the numbers of channels, or one that is not finite.

    For one of them it may be zero: what takes colours away leaves nothing of a single channel.
    """
    found = []
    for channels in taken:
        images = probe_images(channels).requires_grad_()
        output = _followed(op, images, magnitudes_of(op), "the images", _THROUGH)
        weighted = (output * _projections(images)[0]).sum()
        found += torch.autograd.grad(weighted, images, allow_unused=True) if output.requires_grad else [None]
    if not any(gradient is not None and gradient.any() for gradient in found):
        came = "none" if all(gradient is None for gradient in found) else "zeros"
        raise UserError(f"expected a gradient for the images, got {came}; {_THROUGH}")
    if not all(gradient is None or gradient.isfinite().all() for gradient in found):
        raise UserError(
            f"expected a finite gradient for the images, got NaN or infinity, perhaps at values of 0 or 1; {_THROUGH}"
        )


def require_magnitude_gradient(op: Op, images: Float[Tensor, "B C H W"], driven: str) -> None:
    """Raises UserError unless the derivatives of weighted sums of the pixels are finite, not all zero, and

    - for "exact" those of central finite differences, to MOST_ERROR;
    - for "straight_through" on the same side as the differences over WIDE of the range: a cosine of at least
      LEAST_AGREEMENT between the two.
    """
    if op.magnitude_grad == "none":
        return
    found = _derivatives(op, images, driven)
    if found is None or not found.any():
        came = "none" if found is None else "zeros"
        raise UserError(f"expected a derivative with respect to {driven}, got {came} from autograd; {_WAYS}")
    if not found.isfinite().all():
        raise UserError(f"expected a finite derivative with respect to {driven}, got NaN or infinity; {_WAYS}")
    if op.magnitude_grad == "exact":
        _require_exact(op, images, driven, found)
        return
    true = _differences(op, images, WIDE)
    cosine = float((found * true).sum() / (found.norm() * true.norm()).clamp_min(1e-30))
    if not cosine >= LEAST_AGREEMENT:
        raise UserError(
            f"expected a surrogate that points the way of finite differences with respect to {driven}, got a cosine of "
            f"{cosine:.2f} between the two, less than {LEAST_AGREEMENT}; is its sign right?"
        )


def _require_exact(op: Op, images: Tensor, driven: str, found: Float[Tensor, "K B"]) -> None:
    def distance(true: Tensor) -> float:
        return float((found - true).norm() / true.norm().clamp_min(1e-30))

    true = min((_differences(op, images, step) for step in STEPS), key=distance)
    if not distance(true) <= MOST_ERROR:
        worst = int((found - true).abs().argmax())
        ours, theirs = float(found.flatten()[worst]), float(true.flatten()[worst])
        raise UserError(
            f"expected the derivative with respect to {driven} that finite differences give, got {ours:.4g} from "
            f"autograd where they say {theirs:.4g}; if the operation puts something in its place on purpose, write "
            f"magnitude_grad: straight_through; else {_WAYS}"
        )


def _projections(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "K B C H W"]:
    """Weights of the pixels, smooth and rough, whose sums are differentiated."""
    generator = torch.Generator().manual_seed(1)
    shape = (_PROJECTIONS, *images.shape)
    rough = torch.randn(shape, generator=generator, dtype=images.dtype)
    coarse = torch.randn(_PROJECTIONS * len(images), images.shape[1], 3, 3, generator=generator, dtype=images.dtype)
    smooth = torch.nn.functional.interpolate(coarse, size=images.shape[2:], mode="bilinear").reshape(shape)
    return smooth + 0.2 * rough


def _followed(op: Op, images: Tensor, magnitude: Tensor, of: str, advice: str) -> Tensor:
    """A call that autograd follows; some functions refuse it, such as those that go through NumPy."""
    try:
        return call(op, images, magnitude)
    except UserError:
        raise
    except Exception as error:
        came = f"{type(error).__name__}: {error}"
        raise UserError(f"expected a gradient for {of}, got an exception with autograd, {came}; {advice}") from error


def _derivatives(op: Op, images: Float[Tensor, "B C H W"], driven: str) -> Float[Tensor, "K B"] | None:
    magnitude = magnitudes_of(op).requires_grad_()
    output = _followed(op, images, magnitude, driven, _WAYS)
    if not output.requires_grad:
        return None
    rows = [
        torch.autograd.grad((output * weights).sum(), magnitude, retain_graph=True, allow_unused=True)[0]
        for weights in _projections(images)
    ]
    return None if rows[0] is None else torch.stack(rows)


@torch.no_grad()
def _differences(op: Op, images: Float[Tensor, "B C H W"], share: float) -> Float[Tensor, "K B"]:
    assert op.low is not None
    assert op.high is not None
    magnitude, step = magnitudes_of(op), share * abs(op.high - op.low)
    slope = (call(op, images, magnitude + step) - call(op, images, magnitude - step)) / (2 * step)
    return (_projections(images) * slope).sum((2, 3, 4))
