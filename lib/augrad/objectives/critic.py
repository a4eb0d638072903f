"""A critic with a classification head, and the losses of WGAN-GP (Gulrajani et al. 2017)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from augrad.learning.classifier import Weights, losses_of, untouched
from augrad.models.batch_norm import Shares
from augrad.models.normalized import Normalized


class Judgement(NamedTuple):
    """What the critic says of each image: how real it looks (unbounded), and the logits of its class."""

    realness: Float[Tensor, " B"]
    logits: Float[Tensor, "B K"]


class Critic(nn.Module):
    """A network of K + 1 outputs, the last of which is the critic's: two linear heads on the same features.

    As a module it is a classifier: images in [0, 1] -> logits of the K classes.
    """

    def __init__(self, network: Normalized) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.network(images)[:, :-1]

    def judge(
        self, images: Float[Tensor, "B C H W"], weights: Weights | None = None, shares: Shares | None = None
    ) -> Judgement:
        """Both heads, for images in [0, 1]. weights: in place of the parameters, by their names; buffers stay alone.

        shares: with weights, the images' shares in the statistics of BatchNorm.
        """
        if weights is None:
            return _split(self.network(images))
        own = {name.removeprefix("network."): weight for name, weight in weights.items()}
        with untouched(self, shares):
            return _split(torch.func.functional_call(self.network, own, (images,)))


def _split(outputs: Float[Tensor, "B N"]) -> Judgement:
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    return Judgement(outputs[:, -1], outputs[:, :-1])


def gradient_norms(function: Callable[[Tensor], Tensor], images: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """|d function(x)_i / d x_i|_2 of each image, over its channels and pixels together; can be differentiated again.

    function: [B, C, H, W] -> [B]. One that couples the images of a batch (BatchNorm) is taken by its sum.
    """
    with torch.enable_grad():
        leaves = images.detach().requires_grad_()
        (found,) = torch.autograd.grad(function(leaves).sum(), leaves, create_graph=True)
    return torch.linalg.vector_norm(found.flatten(1), dim=1)


class CriticLoss(NamedTuple):
    """total = - distance + penalty_weight * penalty + class_weight * cross_entropy.

    distance: mean realness of the real images less that of the augmented ones. penalty: mean of (norm - 1)^2.
    cross_entropy: of the real images. logits: theirs.
    """

    total: Float[Tensor, ""]
    distance: Float[Tensor, ""]
    penalty: Float[Tensor, ""]
    cross_entropy: Float[Tensor, ""]
    logits: Float[Tensor, "B K"]


def critic_loss(
    critic: Critic,
    real: Float[Tensor, "B C H W"],
    augmented: Float[Tensor, "B C H W"],
    labels: Int[Tensor, " B"],
    mix: Float[Tensor, " B"],
    penalty_weight: float,
    class_weight: float,
) -> CriticLoss:
    """What the critic minimises (Hataya et al. 2020; the penalty of Gulrajani et al. 2017, algorithm 1).

    labels: of the real images. mix: where between an augmented (0) and a real image (1) each penalty is taken.
    Real and augmented images pass through the critic together: they are standardised by the same numbers and share the
    statistics of BatchNorm, so that nothing but their content tells them apart. The penalty's norm is that of the
    gradient with respect to the standardised image, and its pass leaves BatchNorm's running statistics alone.
    """
    judged = critic.judge(torch.cat([real, augmented]))
    realness, fake = judged.realness.split([len(real), len(augmented)])
    between = mix[:, None, None, None]
    between = standardized(critic.network, between * real + (1 - between) * augmented)
    with untouched(critic):
        norms = gradient_norms(lambda x: _split(critic.network.network(x)).realness, between)
    logits = judged.logits[: len(real)]
    distance, penalty = realness.mean() - fake.mean(), (norms - 1).square().mean()
    cross_entropy = losses_of(logits, labels).mean()
    total = -distance + penalty_weight * penalty + class_weight * cross_entropy
    return CriticLoss(total, distance, penalty, cross_entropy, logits)


def standardized(network: Normalized, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """The images as the network behind the standardisation sees them."""
    return (images - network.mean) / network.deviation
