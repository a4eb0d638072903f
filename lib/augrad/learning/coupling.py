"""What an image does to the other images of its batch through the statistics of BatchNorm.

The policy minimises the expectation of J = mean_j s_j, where s_j is a number of image j, such as the score of the
bilevel objective. The part of J's derivative that goes through the draw b_i of image i is that of E[J | b_i]. Without
statistics of the batch, s_j depends on b_j alone, and B E[J | b_i] is s_i, up to a constant. BatchNorm makes every s_j
depend on every draw. What image i then does to J is, for a batch of `MOST_EXACT` images or fewer,

    S_i = B (J - J_i),

where J_i is J with the draw of the next image for image i, too. J_i does not depend on b_i, so E[S_i | b_i] is
B E[J | b_i], exactly, up to a constant. It takes one more evaluation for each image. A larger batch takes the first
order of that difference in 1 / B. Let image j have the share p_j in the statistics and in J = sum_j p_j s_j, with the
sum of the shares 1. Then

    S_i = dJ / dp_i = s_i + sum_l <dJ / d stat_l, m_li - stat_l>      at p = 1 / B,

(the influence function, Hampel 1974; Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6).
stat_l is the mean over all images of what each of them, m_li, contributes to the statistics of layer l: its values'
mean and mean squared deviation. dJ / d stat_l is the whole derivative, through everything behind, later statistics
included. One reverse pass gives it for all images. The mean of S_i is that of s_i.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from augrad.errors import UserError
from augrad.learning.classifier import logits_with
from augrad.models.batch_norm import Shares

MOST_EXACT = 8
"""The largest batch in which what an image does is measured."""

Own = Callable[[Float[Tensor, "B C H W"], Int[Tensor, " B"], Shares | None], Float[Tensor, " B"]]
"""images, labels, shares in the batch's statistics (None: even ones) -> s, a number for each image."""


def is_exact(count: int) -> bool:
    """Whether what an image does is measured in a batch of `count` images, and not taken to first order."""
    return 1 < count <= MOST_EXACT


def attributed(
    own: Own,
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, " B"],
    others: Float[Tensor, "B C H W"] | None = None,
) -> Float[Tensor, " B"]:
    """S_i for each of `images`, of which `own` gives the numbers s_i.

    others: the same images, each with the next one's draw; for a batch that `is_exact`. Where the images have a
    gradient, the sum of the result has that of the sum of s_i, in which what goes through the statistics is contained.
    """
    follows = torch.is_grad_enabled() and images.requires_grad
    if others is not None:
        found = own(images, labels, None)
        with torch.no_grad():
            whole = len(images) * (found.mean() - _exchanged(own, images, others, labels))
    else:
        with torch.enable_grad():
            more = _none(images)
            found = own(images, labels, Shares(more, len(images)))
            (moved,) = torch.autograd.grad(found.mean(), more, retain_graph=follows)
        whole = found + moved
    return found + (whole - found).detach() if follows else whole.detach()


def attributed_beside(
    own: Own, images: Float[Tensor, "B C H W"], labels: Int[Tensor, " B"], companions: Float[Tensor, "B C H W"]
) -> Float[Tensor, " B"]:
    """S_i for each of `images` in a batch of its own, in which it stands in its place among `companions`.

    So S_i depends on no other image of `images`, and where it `is_exact`, it has its gradient with respect to its own.
    Raises UserError for images with a gradient elsewhere.
    """
    count, follows = len(images), torch.is_grad_enabled() and images.requires_grad
    if is_exact(count):
        with torch.no_grad():
            before = own(companions, labels, None).mean()
        return count * (_exchanged(own, companions, images, labels) - before)
    if follows:
        raise UserError(
            "an image's effect through BatchNorm on the others is known to first order, and cannot be differentiated "
            "with respect to one image; take magnitude=score"
        )
    both = torch.cat([companions, images])
    with torch.enable_grad():
        more = _none(both)
        found = own(both, labels.repeat(2), Shares(more, count))
        (moved,) = torch.autograd.grad(found[:count].mean(), more)
    return (found.detach() + moved)[count:]


def _none(images: Tensor) -> Float[Tensor, " B"]:
    wide = torch.promote_types(images.dtype, torch.float32)
    return torch.zeros(len(images), dtype=wide, device=images.device, requires_grad=True)


def _exchanged(own: Own, images: Tensor, others: Tensor, labels: Tensor) -> Float[Tensor, " B"]:
    """The batch's mean of s with one of `images` exchanged for that of `others`; a mean for each of them."""
    places = torch.eye(len(images), dtype=torch.bool, device=images.device)[..., None, None, None]
    return torch.stack([own(torch.where(place, others, images), labels, None).mean() for place in places])


def couples_otherwise(model: nn.Module, images: Float[Tensor, "B C H W"]) -> bool:
    """Whether an image changes what the network in training mode makes of the others, other than through `couples`.

    images: a few, of which the last one is replaced by its negative. The model stays as it is. False for a network that
    cannot be called with them; training says why.
    """
    count = len(images) - 1
    shares = Shares(torch.zeros(len(images), device=images.device), count)
    last = images[count:]
    try:
        with torch.no_grad():
            one, other = (
                logits_with(model, {}, torch.cat([images[:count], changed]), shares)[:count]
                for changed in (last, 1 - last)
            )
    except (RuntimeError, ValueError, TypeError):
        return False
    return not torch.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True)
