"""How far a classifier's confidence is from its accuracy."""

from jaxtyping import Float, Int
from torch import Tensor, zeros

BINS = 15


def calibration_error(logits: Float[Tensor, "N K"], labels: Int[Tensor, " N"]) -> float:
    """The expected calibration error, in 0..1 (Guo et al. 2017, equation 3), over 15 bins of equal width.

    An image's confidence is the largest of its probabilities. The error is the mean over the bins, each weighed by its
    number of images, of the distance between the mean confidence and the accuracy in it.
    """
    confidence, choice = logits.double().softmax(-1).max(-1)
    gap = confidence - (choice == labels).double()
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    sums = zeros(BINS, dtype=gap.dtype, device=gap.device).index_add(0, place, gap)
    return float(sums.abs().sum() / len(labels))
