"""Products of the training loss's hessian with vectors; the matrix itself is never made."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.errors import UserError
from augrad.hypergradients.hypergradient import Loss, TwoLevels
from augrad.learning.classifier import Weights, flatten, gradients_of_loss, leaves_of, unflatten

Product = Callable[[Float[Tensor, " P"]], Float[Tensor, " P"]]
"""A matrix-vector product v -> A v with a symmetric matrix A; v and A v are flat vectors over all P weights."""


class Expansion(NamedTuple):
    """The first two derivatives of a loss at some weights.

    gradients: by the weights' names, of those that the loss depends on. product: the matrix-vector product v -> H v
    with the loss's hessian H.
    """

    gradients: Weights
    product: Product


def expand(loss: Loss, weights: Weights) -> Expansion:
    """The gradient of `loss` at `weights`, and the product with its hessian H.

    H v is the derivative of <gradient, v> with v held fixed (Pearlmutter 1994).
    Cost: one forward and one backward pass, whose graph stays in memory as long as the product does. Each call of the
    product differentiates both of them once more.
    Raises UserError where a layer's gradient cannot be differentiated.
    """
    leaves, found = _differentiated(loss, weights, again=True)
    # Where a loss is linear in some weights, its gradient there is a constant, which cannot be differentiated.
    curved = {name: gradient for name, gradient in found.items() if gradient.requires_grad}

    def product(vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        if not curved:
            return torch.zeros_like(vector)
        along = unflatten(vector, leaves)
        try:
            bent = torch.autograd.grad(
                list(curved.values()),
                list(leaves.values()),
                [along[name] for name in curved],
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise UserError(
                "this hypergradient method differentiates the network's gradient, and a layer does not allow it "
                f"({str(error).partition(chr(10))[0]:.300}); take OneStep or T1T2 (hypergradient=one_step or t1t2)"
            ) from error
        return torch.cat([part.flatten() for part in bent])

    return Expansion({name: gradient.detach() for name, gradient in found.items()}, product)


def gradients_at(loss: Loss, weights: Weights) -> Weights:
    """The gradient of `loss` at `weights`, of those that it depends on, by one forward and one backward pass."""
    return _differentiated(loss, weights, again=False)[1]


def _differentiated(loss: Loss, weights: Weights, again: bool) -> tuple[Weights, Weights]:
    """The weights as leaves, and the gradients there; again: these can be differentiated, too."""
    leaves = leaves_of(weights)
    with torch.enable_grad():
        return leaves, gradients_of_loss(loss(leaves), leaves, again)


def damped_hessian(levels: TwoLevels, damping: float) -> Product:
    """The product v -> (H + D + damping I) v at the weights before the step.

    H is the hessian of the training loss on the step's batch, augmented with the step's draw. D is the diagonal matrix
    of the optimiser's weight decay: what the decay minimises, half of it times |w|^2, has this hessian.
    """
    product = expand(levels.batch.loss, levels.weights).product
    decay = levels.optimizer.decay
    diagonal = flatten({name: torch.full_like(w, decay[name] + damping) for name, w in levels.weights.items()})
    return lambda vector: product(vector) + diagonal * vector
