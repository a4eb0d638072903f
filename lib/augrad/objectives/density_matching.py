"""Density matching (Faster AutoAugment, Hataya et al. 2020): augmented images are to look like other real ones."""

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
from augrad.learning.classifier import accuracy_of, losses_of, trainable, weights_of
from augrad.learning.step import ModelBuilder, bfloat16_autocast, build_normalized
from augrad.objectives.critic import Critic, critic_loss
from augrad.objectives.objective import Aim, Step
from augrad.policy import Policy
from augrad.types import PolicySample, RelaxedSample


@checked
@dataclass(frozen=True)
class DensityMatching:
    """A critic D with a classification head learns to tell real images from augmented ones, the policy to deceive it.

    Each batch is halved. The critic minimises, with x real (the first half) and y augmented (the second),
        mean D(y) - mean D(x) + penalty_weight mean (|grad D| - 1)^2 + class_weight mean CE(x)
    (WGAN-GP; the penalty for each image, between an x and a y), and the policy
        mean_i s_i,    s_i = - D(y_i) + class_weight CE(y_i)
    (Hataya et al. 2020). What training images undergo after the policy (`Step.standard`), real ones undergo, too: only
    the policy is to tell the two apart. The critic's weights count as fixed in s_i: no training lies between the policy
    and s_i, and there is no hypergradient. What the search trains is the critic; as a classifier it has seen real
    images only, so its loss on the selection split says nothing of the policy, and the latest policy is kept.
    Cost: two passes of the critic forward and backward, one of them twice differentiated, and a forward pass on the
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

        def wider(in_channels: int, class_count: int) -> nn.Module:
            return model(in_channels=in_channels, class_count=class_count + 1)

        return Critic(build_normalized(wider, splits, seed, device))

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
        mix = torch.rand(half, generator=step.generator).to(images.device, non_blocking=True)
        with bfloat16_autocast(step.autocast, images.device):
            loss = critic_loss(critic, real, augmented, labels[:half], mix, self.penalty_weight, self.class_weight)
        parameters = trainable(critic)
        found = torch.autograd.grad(loss.total, list(parameters.values()), allow_unused=True)
        gradients = {name: gradient for name, gradient in zip(parameters, found, strict=True) if gradient is not None}
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
        """sample -> s_i [B], for `images`, which the policy augments; `real` images share the critic's batch.

        after: what `images` undergo after the policy, alike in every call (None: nothing); `real` ones have undergone
        it already.
        """
        after = StandardDraw() if after is None else after
        weights = weights_of(critic)

        def scalar(sample: PolicySample | RelaxedSample) -> Float[Tensor, " B"]:
            augmented = after(policy(images, params=sample))
            with bfloat16_autocast(autocast, images.device):
                judged = critic.judge(torch.cat([real, augmented]), weights)
            realness, logits = judged.realness[len(real) :], judged.logits[len(real) :]
            return self.class_weight * losses_of(logits, labels) - realness

        return scalar
