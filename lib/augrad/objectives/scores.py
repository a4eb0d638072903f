"""What the weights of a step, moved along a vector, do to each image's loss: exactly, and by differences."""

import traceback
import warnings
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from augrad.errors import UserError
from augrad.learning.classifier import Weights, logits_with, losses_of
from augrad.models.batch_norm import Shares
from augrad.shared_state import forward_mode

with warnings.catch_warnings():
    # PyTorch scripts some forward-mode formulas when it first needs them, and warns that scripting is deprecated:
    # its own affair.
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)  # in earlier releases
    import torch._decomp.decompositions_for_jvp

Derivative = Literal["jvp", "finite_difference", "shared_difference"]
"""How scores are computed, see `augrad.objectives.bilevel.Bilevel`."""


def directional_scores(
    model: nn.Module,
    weights: Weights,
    u: Weights,
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, " B"],
    shares: Shares | None = None,
) -> Float[Tensor, " B"]:
    """The scores s_i = <u, grad_w l_i(w)> at w = `weights`, by one forward-mode pass.

    They are differentiable with respect to the images, and the model's buffers stay as they are. BatchNorm normalises
    with the batch's statistics, which change with w. So the mean of s_i is exactly the derivative along u of the
    batch's mean loss. What an image does to the other images' losses through these statistics is part of the others'
    scores, not of its own; `augrad.learning.coupling.attributed` adds it. shares: as it asks for them.
    Raises UserError, naming the layer, for a model with one that has no forward-mode derivative.
    """

    def losses(weights: Weights) -> Tensor:
        return losses_of(logits_with(model, weights, images, shares), labels)

    try:
        with forward_mode():
            return torch.func.jvp(losses, (weights,), (u,))[1]
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # a shape that does not fit would have shown in the training step
        raise UserError(
            f"derivative: jvp cannot be taken: {_layer_of(error, model)} has no forward-mode derivative "
            f"({str(error).partition(chr(10))[0]:.300}); take finite_difference"
        ) from error


def difference_scores(
    model: nn.Module,
    weights: Weights,
    u: Weights,
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, " B"],
    shares: Shares | None = None,
    radius: float | None = None,
) -> Float[Tensor, " B"]:
    """The same scores by a central difference between weights at distance `radius` along u (DARTS, eq. 8).

    radius: None: 0.001, and with `shares` 0.03: in the derivative with respect to the shares, units that switch between
    the two passes are noise, which falls with the distance.

    In single precision the scores of a wide residual network are wrong by at most two hundredths of their standard
    deviation, least near the default radius (docs/search_cost.md). The result has no gradient with respect to the
    images: ReLU units switch at different places in the two passes, so a derivative of the difference is useless.
    """
    step = _step_along(u, radius or (1e-3 if shares is None else 3e-2))
    ahead, behind = (_losses_along(model, weights, u, sign * step, images, labels, shares) for sign in (1.0, -1.0))
    return (ahead - behind) / (2 * step)


def ahead_scores(
    model: nn.Module,
    weights: Weights,
    u: Weights,
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, " B"],
    losses: Float[Tensor, " B"],
    radius: float = 3e-4,
) -> Float[Tensor, " B"]:
    """The same scores by a one-sided difference, which takes one pass because the `losses` at `weights` are known.

    It is as exact as the central difference: at these distances rounding is the larger error (docs/search_cost.md).
    """
    step = _step_along(u, radius)
    return (_losses_along(model, weights, u, step, images, labels, None) - losses) / step


def _losses_along(
    model: nn.Module,
    weights: Weights,
    u: Weights,
    distance: Float[Tensor, ""],
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, " B"],
    shares: Shares | None,
) -> Float[Tensor, " B"]:
    moved = {name: w + distance * u[name] for name, w in weights.items()}
    with torch.set_grad_enabled(torch.is_grad_enabled() and shares is not None and shares.more.requires_grad):
        return losses_of(logits_with(model, moved, images.detach(), shares), labels)


def _step_along(u: Weights, radius: float) -> Float[Tensor, ""]:
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(tangent) for tangent in u.values()]))
    return radius / norm.clamp_min(torch.finfo(norm.dtype).tiny)


def _layer_of(error: BaseException, model: nn.Module) -> str:
    """The innermost layer in whose `forward` the error was raised, by its name."""
    names = {module: name for name, module in model.named_modules()}
    owners = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    found = [owner for owner in owners if isinstance(owner, nn.Module) and names.get(owner)]
    return f"{names[found[-1]]} ({type(found[-1]).__name__})" if found else "the network"
