"""Bilevel: the policy minimises the validation loss of the classifier that it trains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from augrad.checks import Draws, checked, require_returned
from augrad.cuda_graphs import NO_GRAPHS, Graphs
from augrad.data.pixels import to_float
from augrad.data.seeding import global_draws_kept
from augrad.data.standard import StandardDraw
from augrad.data.types import Splits
from augrad.errors import UserError
from augrad.estimators.estimate import CoupledScalar, Scalar, beside_of, is_centred
from augrad.hypergradients.hypergradient import (
    Link,
    Term,
    TrainingBatch,
    TwoLevels,
    ValidationPass,
    forward_and_backward,
)
from augrad.learning.classifier import Weights, accuracy_of, couples, logits_with, losses_of, weights_of
from augrad.learning.coupling import attributed, attributed_beside, is_exact
from augrad.learning.network import drawn_by
from augrad.learning.pure_optimizer import pure_optimizer
from augrad.learning.step import (
    ModelBuilder,
    TrainingPass,
    accumulated,
    bfloat16_autocast,
    build_classifier,
    training_pass,
)
from augrad.models.shake import shaken_layers
from augrad.objectives.objective import (
    Aim,
    Step,
    drawn_batch,
    exchanged,
    redrawn,
    shared_weights,
    warn_of_other_coupling,
)
from augrad.objectives.scores import Derivative, ahead_scores, difference_scores, directional_scores
from augrad.policy import Policy
from augrad.ranks import ALONE, Ranks, parts_of
from augrad.types import Drawn, PolicySample, RelaxedSample

Draw = TypeVar("Draw", bound=Drawn)


@dataclass(frozen=True)
class SharedDraw:
    """A scalar that costs less at one draw of the policy than at others.

    draw: that draw; an estimator may use it as its own (see `augrad.estimators.estimate.hard_draw`). there: gives the
    scalar at `draw`. elsewhere: the scalar at any draw.
    """

    draw: PolicySample
    there: Callable[[], Float[Tensor, " B"]]
    elsewhere: Scalar

    @property
    def centred(self) -> bool:
        return is_centred(self.elsewhere)

    @property
    def beside(self) -> Callable[[PolicySample], Scalar] | None:
        return beside_of(self.elsewhere)

    def __call__(self, sample: PolicySample | RelaxedSample) -> Float[Tensor, " B"]:
        return self.there() if sample is self.draw else self.elsewhere(sample)


@checked
@dataclass(frozen=True)
class Bilevel:
    """The policy minimises the validation loss of the classifier that is trained with it.

    At each step the classifier minimises its loss on a training batch, augmented by a fresh draw of the policy. The
    hypergradient method starts from that same step and returns a vector u; the score of image i is
    s_i(b) = <u, grad_w l_i(w; T(x_i; b))>, and the mean score's derivative is that of the validation loss.

    derivative: how s_i is computed.
      "jvp": exactly, by one forward-mode pass.
      "finite_difference": as a difference of two plain passes. The scores have no gradient with respect to the images.
      "shared_difference": on the same draw as the classifier's step, whose losses are known: one plain pass. The scores
        have no gradient with respect to the images. u and the scores then depend on the same draw, as they do in the
        exact derivative of the loss after the step; with a fresh draw a term of the order of 1 / batch size is missing.
        An estimator that needs draws of its own gets "finite_difference". It takes a hypergradient method whose term is
        at the weights before the step (`OneStep`, `Neumann`, `ConjugateGradients`, `T1T2`), draws=1, single precision
        and a network without dropout.
    Of Shake-Shake and ShakeDrop, whose backward pass has other weights than the forward pass, only "jvp" gives the
    products with the gradients by which the network is trained.
    In a network with `torch.nn.BatchNorm1d`, `2d` or `3d` in training mode, what an image does to the others through
    the batch's statistics is added to its score (see `augrad.learning.coupling`). In batches of at most 8 images it is
    measured, with one more pass for each; in larger ones it is known to first order in 1 / batch size, and costs one
    reverse pass through what the scores are computed by. There it has the bias of derivatives through ReLU and
    max-pooling, which miss the jumps of a gradient. "shared_difference" then costs as much as "finite_difference".
    Other layers that compute statistics of the batch, `SyncBatchNorm` among them, are left out, with a warning.
    draws: how many draws of the policy each training image is scored with. More of an estimate's noise comes from the
    draws than from the choice of the images, so a second draw helps. Each costs another pass over the batch.
    Raises UserError for another derivative, for draws below 1, and where "shared_difference" cannot be used.
    """

    derivative: Derivative = "jvp"
    draws: Draws = 1
    two_levels: ClassVar[bool] = True
    judges_policy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.derivative == "shared_difference" and self.draws > 1:
            raise UserError(
                "derivative: shared_difference has the one draw of the classifier's step, got "
                f"draws={self.draws}; take jvp for more"
            )

    def model(self, model: nn.Module | ModelBuilder, splits: Splits, seed: int, device: torch.device) -> nn.Module:
        """The classifier. Raises UserError for a network whose losses the derivative cannot take the difference of.

        That is one that draws at random, with "shared_difference", whose passes need the same draws; and Shake-Shake
        and ShakeDrop with either difference, which knows the forward pass alone.
        """
        classifier = build_classifier(model, splits, seed, device)
        if self.derivative != "jvp" and (shaken := shaken_layers(classifier)):
            raise UserError(
                f"derivative: {self.derivative} differentiates the forward pass, and the network is trained by a "
                f"backward pass with other weights ({shaken[0]}); take jvp"
            )
        if self.derivative == "shared_difference":
            drawing = drawn_by(classifier, to_float(splits.train.images[:8]))
            if drawing is not None:
                raise UserError(
                    "derivative: shared_difference compares a pass with the classifier's step, which had another "
                    f"dropout mask, or other random numbers ({drawing}); set the rate to 0, or take jvp"
                )
        warn_of_other_coupling(classifier, splits)
        return classifier

    def companion(self, model: nn.Module) -> None:
        """None."""

    def __call__(self, step: Step) -> Aim:
        model, ranks = step.model, step.ranks
        batch, augmented, sample, whole = drawn_batch(step)
        with global_draws_kept(augmented.device):  # so that the passes to come have this one's masks of nn.Dropout
            trained = training_pass(
                model, augmented, batch.labels, step.autocast, step.graphs, accumulation_steps=step.accumulation_steps
            )
        trained = of_all(ranks, trained, weights_of(model), batch.whole)
        held_out, validated = step.validation, len(step.validation)
        if not ranks.alone:
            held_out = held_out[ranks.share(validated, held_out.images.device)]

        def validate(weights: Weights, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            with bfloat16_autocast(step.autocast, images.device):
                logits = logits_with(model, weights, to_float(images))
            return logits, losses_of(logits, labels).mean()

        def validate_together(weights: Weights) -> tuple[Tensor, Tensor]:
            shared = shared_weights(ranks, weights)
            logits, loss = accumulated(
                lambda part: validate(shared, held_out.images[part], held_out.labels[part]),
                len(held_out),
                step.accumulation_steps,
            )
            return (loss if ranks.alone else ranks.total(loss * ranks.weight(validated))), logits

        def validation_pass(values: Sequence[Tensor], images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
            given = dict(zip(names, values, strict=True))

            def validate_part(weights: Weights) -> tuple[Tensor, Tensor]:
                logits, loss = validate(weights, images, labels)
                return loss, logits

            found = forward_and_backward(validate_part, given)
            return found.logits, found.loss, *found.gradients.values()

        def differentiate(weights: Weights) -> ValidationPass:
            values, images, labels = list(weights.values()), held_out.images, held_out.labels
            logits, loss, *gradients = accumulated(
                lambda part: step.graphs("validation pass", validation_pass, values, images[part], labels[part]),
                len(labels),
                step.accumulation_steps,
            )
            loss, *gradients = ranks.mean_over(validated, [loss.clone(), *gradients])
            return ValidationPass(dict(zip(names, gradients, strict=True)), loss, logits)

        before = weights_of(model)
        names = list(before)
        levels = TwoLevels(
            before,
            trained.gradients,
            batch,
            pure_optimizer(model, step.optimizer, step.clip_norm),
            validate_together,
            lambda ahead: drawn_batch(step, ahead)[0],
            differentiate,
        )
        link = step.hypergradient(levels, step.memory)
        require_returned(link, Link, "hypergradient", step.hypergradient)
        metrics = {
            "train_loss": trained.loss,
            "val_loss": link.validation_loss,
            "train_accuracy": trained.accuracy,
            "val_accuracy": ranks.mean_over(validated, [accuracy_of(link.validation_logits, held_out.labels)])[0],
            **link.metrics,
        }
        after = tuple(self._after(step, term.batch) for term in link.terms)
        scalar = self.scalar(model, link.terms, step.policy, after, step.graphs, ranks, step.accumulation_steps)
        if self.derivative == "shared_difference":
            (term,) = self._require_shared(link.terms, levels, step.autocast)

            def ahead(values: Sequence[Tensor], along: Sequence[Tensor], *batch: Tensor) -> tuple[Tensor, ...]:
                images, labels, losses = batch
                return (ahead_scores(model, *vectors_of(term, values, along), images, labels, losses),)

            def beside(values: Sequence[Tensor], along: Sequence[Tensor], *batch: Tensor) -> tuple[Tensor, ...]:
                return (attributed(partial(difference_scores, model, *vectors_of(term, values, along)), *batch),)

            def there_of(part: slice) -> tuple[Tensor, ...]:
                given = *vectors_in(term), augmented[part], batch.labels[part]
                if not couples(model):
                    return step.graphs("scores ahead", ahead, *given, trained.losses[part])
                others = exchanged(step.policy, batch.images[part], sample[part], after[0][part])
                return step.graphs("shared scores", beside, *given, *others)

            @torch.no_grad()
            def there() -> Tensor:
                return accumulated(there_of, len(batch.labels), step.accumulation_steps)[0]

            own = ranks.share(batch.whole, augmented.device)
            scalar = SharedDraw(whole, lambda: ranks.put_together(there(), own, batch.whole), scalar)
        return Aim(scalar, self.draws * image_count(link.terms), trained.gradients, metrics, link.memory)

    def _require_shared(self, terms: tuple[Term, ...], levels: TwoLevels, autocast: bool) -> tuple[Term, ...]:
        if autocast:
            raise UserError(
                "derivative: shared_difference takes the difference of nearly equal losses, which bfloat16 "
                "does not tell apart; set autocast to false, or take jvp"
            )
        if len(terms) != 1 or terms[0].weights is not levels.weights or terms[0].batch is not levels.batch:
            raise UserError(
                "derivative: shared_difference has the losses of the classifier's own step only, and this "
                "hypergradient method looks at others; take one_step, neumann, cg or t1t2, or jvp for the derivative"
            )
        return terms

    def _after(self, step: Step, batch: TrainingBatch) -> StandardDraw:
        """What the images of a term undergo after the policy; drawn for those of all processes."""
        images = batch.images[:1].expand(batch.whole, *batch.images.shape[1:])
        drawn = step.standard.draw(self._repeated(images), step.generator)
        return drawn if step.ranks.alone else drawn[step.ranks.share(batch.whole, images.device, self.draws)]

    def _repeated(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "N C H W"]:
        return images.repeat(self.draws, 1, 1, 1)

    def scalar(
        self,
        model: nn.Module,
        terms: tuple[Term, ...],
        policy: Policy,
        after: tuple[StandardDraw, ...] | None = None,
        graphs: Graphs = NO_GRAPHS,
        ranks: Ranks = ALONE,
        accumulation_steps: int = 1,
    ) -> Scalar:
        """The function sample -> s_i [B], with B = draws * `image_count(terms)`.

        The images are those of the first term's batch, then those of the second, and so on; of each term first every
        image's first draw, then every image's second. The scores are scaled so that the mean over all of them is the
        sum of the terms' means.
        after: what each term's images undergo after the policy, the same in every call; None: nothing. graphs: runs the
        passes that need no gradient with respect to the images, as CUDA graphs where it can. ranks: the processes, each
        of which computes the numbers of its own images; the sample is for those of all of them, as is the result.
        accumulation_steps: in how many parts of a batch.
        """
        derivative = directional_scores if self.derivative == "jvp" else difference_scores
        total, coupled = self.draws * image_count(terms), couples(model)
        after = tuple(StandardDraw() for _ in terms) if after is None else after

        def scores(weights: Weights, u: Weights, images: Tensor, labels: Tensor, *others: Tensor) -> Tensor:
            own = partial(derivative, model, weights, u)
            return attributed(own, images, labels, *others) if coupled else own(images, labels)

        def scores_beside(weights: Weights, u: Weights, images: Tensor, labels: Tensor, companions: Tensor) -> Tensor:
            return attributed_beside(partial(derivative, model, weights, u), images, labels, companions)

        def scores_of(
            term: Term,
            part: slice,
            then: StandardDraw,
            sample: PolicySample | RelaxedSample,
            companions: PolicySample | None,
        ) -> Float[Tensor, " B"]:
            images, labels = self._repeated(term.batch.images[part]), term.batch.labels[part].repeat(self.draws)
            augmented = then(policy(images, params=sample))
            follows = torch.is_grad_enabled() and augmented.requires_grad
            if self.derivative != "jvp" and follows:
                raise UserError(
                    f"derivative: {self.derivative} has no gradient with respect to the images, which this "
                    "estimator asks for; take jvp, or an estimator that does not differentiate"
                )
            score, name, others = scores, "scores", ()
            if companions is not None:
                score, name, others = scores_beside, "scores beside", (redrawn(policy, images, companions, then),)
            elif coupled:
                others = exchanged(policy, images, sample, then)
            share = self.draws * term.batch.whole / total
            if follows:
                return score(term.weights, term.u, augmented, labels, *others) / share

            def scoring_pass(values: Sequence[Tensor], along: Sequence[Tensor], *batch: Tensor) -> tuple[Tensor, ...]:
                return (score(*vectors_of(term, values, along), *batch),)

            with torch.no_grad():
                (found,) = graphs(name, scoring_pass, *vectors_in(term), augmented, labels, *others)
                return found / share

        def scores_in_parts(
            term: Term, then: StandardDraw, sample: PolicySample | RelaxedSample, companions: PolicySample | None
        ) -> Float[Tensor, " B"]:
            if accumulation_steps == 1:
                return scores_of(term, slice(None), then, sample, companions)
            labels = term.batch.labels
            places = torch.arange(self.draws * len(labels), device=labels.device).view(self.draws, -1)

            def scores_there(part: slice) -> tuple[Tensor]:
                own = part if self.draws == 1 else places[:, part].flatten()
                among = None if companions is None else companions[own]
                found = scores_of(term, part, then[own], sample[own], among)
                return (found.view(self.draws, -1).T,)

            return accumulated(scores_there, len(labels), accumulation_steps)[0].T.flatten()

        def scalar(sample: PolicySample | RelaxedSample, companions: PolicySample | None = None) -> Float[Tensor, " B"]:
            parts, start = [], 0
            for term, then in zip(terms, after, strict=True):
                count = self.draws * term.batch.whole
                chosen = slice(start, start := start + count)
                own = ranks.share(term.batch.whole, term.batch.labels.device, self.draws)
                among = None if companions is None else taken(ranks, companions[chosen], own)
                found = scores_in_parts(term, then, taken(ranks, sample[chosen], own), among)
                parts.append(ranks.put_together(found, own, count))
            return torch.cat(parts)

        if not coupled:
            return scalar
        centred = all(
            is_exact(self.draws * (part.stop - part.start))
            for term in terms
            for part in parts_of(len(term.batch.labels), accumulation_steps)
        )
        return CoupledScalar(scalar, centred, lambda companions: partial(scalar, companions=companions))


def vectors_in(term: Term) -> tuple[list[Tensor], list[Tensor]]:
    """The weights and u of a term, as a graph takes them."""
    return list(term.weights.values()), list(term.u.values())


def vectors_of(term: Term, values: Sequence[Tensor], along: Sequence[Tensor]) -> tuple[Weights, Weights]:
    """The inverse of `vectors_in`: such values, by the names that they have in the term."""
    weights, u = (dict(zip(term.weights, part, strict=True)) for part in (values, along))
    return weights, u


def image_count(terms: tuple[Term, ...]) -> int:
    """How many images the batches of the terms have together, in all processes."""
    return sum(term.batch.whole for term in terms)


def taken(ranks: Ranks, sample: Draw, own: Int[Tensor, " b"]) -> Draw:
    """The draws of these images, which are this process's."""
    return sample if ranks.alone else sample.map(lambda drawn: ranks.taken(drawn, own.to(drawn.device)))


def of_all(ranks: Ranks, trained: TrainingPass, weights: Weights, size: int) -> TrainingPass:
    """A pass over this process's share of a batch of `size` images, as one over the whole; `losses` are the share's.

    weights: of the network. Some of them may be without a gradient in this process, and have one in another.
    """
    if ranks.alone:
        return trained
    there = ranks.anywhere([name in trained.gradients for name in weights])
    names = [name for name, has in zip(weights, there, strict=True) if has]
    own = [trained.gradients[name] if name in trained.gradients else torch.zeros_like(weights[name]) for name in names]
    loss, accuracy, *found = ranks.mean_over(size, [trained.loss, trained.accuracy, *own])
    return TrainingPass(loss, accuracy, trained.losses, dict(zip(names, found, strict=True)))
