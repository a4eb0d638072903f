"""Density matching (Faster AutoAugment, Hataya et al. 2020): augmented images are to look like real ones."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from augrad.checks import checked
from augrad.data.pixels import to_float
from augrad.data.standard import StandardDraw
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.estimators.estimate import Scalar
from augrad.learning.classifier import accuracy_of, gradients_of_loss, losses_of, trainable, weights_of
from augrad.learning.step import ModelBuilder, bfloat16_autocast, build_normalized
from augrad.models.batch_norm import Shares
from augrad.objectives.critic import Critic, critic_loss
from augrad.objectives.objective import Aim, Step, attributed_scalar, warn_of_other_coupling
from augrad.policy import Policy


@checked
@dataclass(frozen=True)
class DensityMatching:
    """A critic learns to tell real images from augmented ones, and the policy learns to deceive the critic.

    The critic D also has a classification head, with the cross-entropy CE. Each batch is halved: the images x of the
    first half stay real, those of the second are augmented, y = T(x'; b). The critic minimises

        mean D(y) - mean D(x) + penalty_weight mean (|grad D| - 1)^2 + class_weight mean CE(x)

    (WGAN-GP, Gulrajani et al. 2017; each gradient is taken at a point between an x and a y). The policy minimises

        mean_i s_i,    s_i = - D(y_i) + class_weight CE(y_i)

    (Hataya et al. 2020). What training images undergo after the policy (`Step.standard`) is done to real images, too,
    so that the policy alone makes the difference. The critic's weights are held fixed in s_i: there is no training
    between the policy and s_i, hence no hypergradient. The network that the search trains is the critic. As a
    classifier it learns from real images only; its loss on the selection split says nothing about the policy, and the
    latest policy is kept.
    What an augmented image does to the others through BatchNorm is added to its s_i (see `augrad.learning.coupling`).
    penalty_weight, class_weight: at least 0.
    Cost: two passes of the critic forward and backward, one of which is differentiated twice, and a forward pass on the
    whole batch for each evaluation of the scalar.
    Raises UserError for weights below 0 and for batches of fewer than two images.
    """

    penalty_weight: float = 10.0
    class_weight: float = 0.1
    two_levels: ClassVar[bool] = False
    judges_policy: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("penalty_weight", "class_weight"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name}: expected a number of at least 0, got {getattr(self, name)}")

    def model(self, model: nn.Module | ModelBuilder, splits: Splits, seed: int, device: torch.device) -> Critic:
        """The critic: the network that the builder makes for one class more. Raises UserError for a finished module."""
        if isinstance(model, nn.Module):
            raise UserError(
                "model: DensityMatching trains a network with one output more than there are classes, got a finished "
                "module; give what builds one when called as model(in_channels=..., class_count=...)"
            )

        critic = Critic(build_normalized(model, splits, seed, device, outputs=splits.class_count + 1))
        warn_of_other_coupling(critic, splits)
        return critic

    def companion(self, model: nn.Module) -> None:
        """None."""

    def __call__(self, step: Step) -> Aim:
        critic, batch = step.model, step.batch(0)
        assert isinstance(critic, Critic)
        half = len(batch) // 2
        if half < 1:
            raise UserError(
                "batch_size: DensityMatching needs batches of at least two images, one real and one to augment, "
                f"got {len(batch)}; raise it"
            )
        images, labels = to_float(batch.images[: 2 * half]), batch.labels[: 2 * half]
        real, other = images.split(half)
        with torch.no_grad():
            augmented = step.policy(other, generator=step.generator)
            augmented = step.standard.draw(augmented, step.generator)(augmented)
            real = step.standard.draw(real, step.generator)(real)
        mix = torch.rand(half, generator=step.generator, device="cpu").to(images.device, non_blocking=True)
        with bfloat16_autocast(step.autocast, images.device):
            loss = critic_loss(critic, real, augmented, labels[:half], mix, self.penalty_weight, self.class_weight)
        gradients = gradients_of_loss(loss.total, dict(trainable(critic)))
        metrics = {
            "train_loss": loss.cross_entropy.detach(),
            "train_accuracy": accuracy_of(loss.logits.detach(), labels[:half]),
            "critic_loss": loss.total.detach(),
            "critic_distance": loss.distance.detach(),
            "gradient_penalty": loss.penalty.detach(),
        }
        after = step.standard.draw(other, step.generator)
        scalar = self.scalar(critic, real, other, labels[half:], step.policy, step.autocast, after)
        return Aim(scalar, half, gradients, metrics)

    def scalar(
        self,
        critic: Critic,
        real: Float[Tensor, "R C H W"],
        images: Float[Tensor, "B C H W"],
        labels: Int[Tensor, " B"],
        policy: Policy,
        autocast: bool = False,
        after: StandardDraw | None = None,
    ) -> Scalar:
        """The function sample -> s_i [B] for `images`, which the policy augments.

        real: they pass through the critic in the same batch, and have undergone `standard` already. after: what
        `images` undergo after the policy, the same in every call; None: nothing.
        """
        then = StandardDraw() if after is None else after
        weights = weights_of(critic)

        def own(images: Tensor, labels: Tensor, shares: Shares | None = None) -> Tensor:
            if shares is not None:  # the statistics are those of the real images, too, which have no scores
                among = len(real) + shares.among
                more = torch.cat([shares.more.new_zeros(len(real)), shares.more * (shares.among / among)])
                shares = Shares(more, among)
            with bfloat16_autocast(autocast, images.device):
                judged = critic.judge(torch.cat([real, images]), weights, shares)
            realness, logits = judged.realness[len(real) :], judged.logits[len(real) :]
            return self.class_weight * losses_of(logits, labels) - realness

        return attributed_scalar(critic, own, images, labels, policy, then)
