"""Adversarial: the policy makes the training images as hard as it can.

Adversarial AutoAugment, Zhang et al. 2020; with a teacher, TeachAugment, Suzuki 2022.
"""

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from augrad.checks import checked
from augrad.data.standard import StandardDraw
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.estimators.estimate import Scalar
from augrad.learning.classifier import logits_with, losses_of, weights_of
from augrad.learning.step import ModelBuilder, bfloat16_autocast, build_classifier, training_pass
from augrad.models.batch_norm import Shares
from augrad.objectives.objective import Aim, Step, attributed_scalar, drawn_batch, warn_of_other_coupling
from augrad.policy import Policy


@checked
@dataclass(frozen=True)
class Adversarial:
    """The policy maximises the classifier's training loss and minimises the loss of a teacher:

        s_i = - l_i(w; T(x_i; b_i)) + teacher_weight * l_i(teacher; T(x_i; b_i)).

    The first term alone leads to extremes, because images that nobody can read are the hardest. The teacher's weights
    are a moving average of the classifier's (TeachAugment). It cannot read such images either, so the second term
    forbids them, and what remains is hard for the classifier but can be read. This works as far as the teacher reads
    better than the classifier. Early in a training it does not yet, and a teacher_weight above 1 is safer there. With
    teacher_weight = 0 (Adversarial AutoAugment) something else must bound the policy: the `SelectionEntropy`
    regulariser, or ranges that do no harm.

    The classifier minimises its loss on fresh draws of the policy. Its weights are held fixed in s_i: the policy sees
    the present loss and does not look through the training, so there is no hypergradient.
    What an image does to the others through BatchNorm is added to its s_i (see `augrad.learning.coupling`).
    teacher_weight: at least 0; 0 means no teacher. teacher_decay: of the moving average, in [0, 1). The teacher is in
    evaluation mode, and its buffers are those of the classifier.
    Cost: one forward pass of the classifier and one of the teacher for each evaluation of the scalar.
    Raises UserError for a negative weight and a decay outside [0, 1).
    """

    teacher_weight: float = 1.0
    teacher_decay: float = 0.999
    two_levels: ClassVar[bool] = False
    judges_policy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.teacher_weight >= 0:
            raise UserError(f"teacher_weight: expected a number of at least 0, got {self.teacher_weight}")
        if not 0 <= self.teacher_decay < 1:
            raise UserError(f"teacher_decay: expected at least 0 and below 1, got {self.teacher_decay}")

    def model(self, model: nn.Module | ModelBuilder, splits: Splits, seed: int, device: torch.device) -> nn.Module:
        """The classifier."""
        classifier = build_classifier(model, splits, seed, device)
        warn_of_other_coupling(classifier, splits)
        return classifier

    def companion(self, model: nn.Module) -> nn.Module | None:
        """The teacher, at first a copy of the classifier; None where its weight is 0."""
        return copy.deepcopy(model).requires_grad_(False).eval() if self.teacher_weight else None

    def __call__(self, step: Step) -> Aim:
        if step.companion is not None:
            follow(step.companion, step.model, self.teacher_decay)
        batch, augmented, *_ = drawn_batch(step)
        trained = training_pass(step.model, augmented, batch.labels, step.autocast, step.graphs)
        after = step.standard.draw(batch.images, step.generator)
        scalar = self.scalar(step.model, step.companion, batch.images, batch.labels, step.policy, step.autocast, after)
        metrics = {"train_loss": trained.loss, "train_accuracy": trained.accuracy}
        return Aim(scalar, len(batch.labels), trained.gradients, metrics)

    def scalar(
        self,
        model: nn.Module,
        teacher: nn.Module | None,
        images: Float[Tensor, "B C H W"],
        labels: Int[Tensor, " B"],
        policy: Policy,
        autocast: bool = False,
        after: StandardDraw | None = None,
    ) -> Scalar:
        """The function sample -> s_i [B]; without a teacher, its term is left out.

        after: what the images undergo after the policy, the same in every call; None: nothing.
        """
        then = StandardDraw() if after is None else after
        weights = weights_of(model)

        def own(images: Tensor, labels: Tensor, shares: Shares | None = None) -> Tensor:
            with bfloat16_autocast(autocast, images.device):
                scores = -losses_of(logits_with(model, weights, images, shares), labels)
                if teacher is None:
                    return scores
                return scores + self.teacher_weight * losses_of(teacher(images), labels)

        return attributed_scalar(model, own, images, labels, policy, then)


@torch.no_grad()
def follow(teacher: nn.Module, model: nn.Module, decay: float) -> None:
    """teacher <- decay * teacher + (1 - decay) * model, for the parameters; the buffers are copied."""
    for own, other in zip(teacher.parameters(), model.parameters(), strict=True):
        own.lerp_(other, 1 - decay)
    for own, other in zip(teacher.buffers(), model.buffers(), strict=True):
        own.copy_(other)
