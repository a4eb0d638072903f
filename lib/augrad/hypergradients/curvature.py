"""The hessian of the training loss, by what it makes of vectors."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from augrad.hypergradients.hypergradient import Loss, TwoLevels
from augrad.learning.classifier import Weights, flatten, unflatten

Product = Callable[[Float[Tensor, " P"]], Float[Tensor, " P"]]
"""A symmetric matrix, as what it makes of a vector."""


class Expansion(NamedTuple):
    """A loss around some weights: its gradient, and v -> H v with its hessian H."""

    gradients: Weights
    product: Product


def expand(loss: Loss, weights: Weights) -> Expansion:
    """Gradient and hessian of `loss` at `weights`; H v is the derivative of <gradient, v> (Pearlmutter 1994).

    Cost: one forward and one backward pass whose graph is kept as long as the product is, and for each v a backward
    pass through both.
    """
    leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    with torch.enable_grad():
        found = torch.autograd.grad(
            loss(leaves), list(leaves.values()), create_graph=True, allow_unused=True, materialize_grads=True
        )
    # A loss that is linear in some weights has a gradient there that depends on nothing.
    curved = [(index, gradient) for index, gradient in enumerate(found) if gradient.requires_grad]

    def product(vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        if not curved:
            return torch.zeros_like(vector)
        along = list(unflatten(vector, leaves).values())
        bent = torch.autograd.grad(
            [gradient for _, gradient in curved],
            list(leaves.values()),
            [along[index] for index, _ in curved],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return torch.cat([part.flatten() for part in bent])

    return Expansion({name: gradient.detach() for name, gradient in zip(leaves, found, strict=True)}, product)


def damped_hessian(levels: TwoLevels, damping: float) -> Product:
    """v -> (H + D + damping) v at the present weights, D the optimiser's weight decay (the objective's own curvature).

    The hessian is that of the present batch on the present draw.
    """
    product = expand(levels.batch.loss, levels.weights).product
    decay = levels.optimizer.decay
    diagonal = flatten({name: torch.full_like(w, decay[name] + damping) for name, w in levels.weights.items()})
    return lambda vector: product(vector) + diagonal * vector
