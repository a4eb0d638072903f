"""Which candidates a hard draw is of, and what their tables say. Definitions: `augrad.policy.draws`."""

from typing import no_type_check

import numpy as np
from numba import njit


@njit(nogil=True)
@no_type_check
def _index(cumulative, uniform):
    """How many of the cumulative sums `uniform` of the last one reaches, one less if it is all of them."""
    position = np.float64(uniform) * cumulative[-1]
    low, high = 0, len(cumulative) - 1
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] <= position:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True)
@no_type_check
def _summed(values, sums):
    """The sums of the first values, the first two, ... -> `sums`."""
    total = 0.0
    for index in range(len(values)):
        total += values[index]
        sums[index] = total
    return total


@njit(nogil=True)
@no_type_check
def _look_up(packed, subpolicy, slot, level, of_sign):
    subpolicies, all_stages, width, _ = packed.shape
    batch, stages = slot.shape
    if stages != all_stages:
        raise IndexError("expected an index for each stage")
    row, op, there = np.empty(slot.size, np.int64), np.empty(slot.shape, np.int64), np.empty(slot.shape, np.bool_)
    low, high, sign = np.empty(slot.shape), np.empty(slot.shape), np.empty(slot.shape)
    reach = np.empty(slot.shape, level.dtype)  # of its type, as without these functions
    for image in range(batch):
        which = subpolicy[image]
        for stage in range(stages):
            one = slot[image, stage]
            if not (0 <= which < subpolicies and 0 <= one < width):
                raise IndexError("index out of range")
            row[image * stages + stage] = (which * stages + stage) * width + one
            entry = packed[which, stage, one]
            low[image, stage], high[image, stage] = entry[0], entry[1]
            sign[image, stage] = -1.0 if entry[2] > 0 and of_sign[image, stage] < 0.5 else 1.0
            reach[image, stage] = level[image, stage] if entry[3] > 0 else 1.0
            op[image, stage], there[image, stage] = max(np.int64(entry[4]) - 1, 0), entry[4] > 0
    return row, op, there, low, high, reach, sign


@no_type_check
def candidate_kernels():
    """(choose, look_up)."""

    @njit(nogil=True)
    @no_type_check
    def choose(chances, weights, packed, of_subpolicy, of_slot, level, of_sign):
        """(subpolicy [B], slot [B, L], `look_up` of them, the sum of all chances and weights).

        The sum is NaN where one of them is. chances [S], weights [S, L, K]: up to a factor, float64. of_subpolicy [B],
        of_slot [B, L]: uniform in [0, 1).
        """
        batch, stages = of_slot.shape
        chances_summed, weights_summed = np.empty_like(chances), np.empty_like(weights)
        total = _summed(chances, chances_summed)
        for which in range(weights.shape[0]):
            for stage in range(stages):
                total += _summed(weights[which, stage], weights_summed[which, stage])
        subpolicy, slot = np.empty(batch, np.int64), np.empty((batch, stages), np.int64)
        for image in range(batch):
            which = _index(chances_summed, of_subpolicy[image])
            subpolicy[image] = which
            for stage in range(stages):
                slot[image, stage] = _index(weights_summed[which, stage], of_slot[image, stage])
        return subpolicy, slot, _look_up(packed, subpolicy, slot, level, of_sign), total

    @njit(nogil=True)
    @no_type_check
    def look_up(packed, subpolicy, slot, level, of_sign):
        """`augrad.policy.draws.Entries` of the candidates `slot` [B, L] in `subpolicy` [B], by these uniform numbers.

        packed: see `augrad.policy.tables.Tables`. Raises IndexError for candidates that there are not.
        """
        return _look_up(packed, subpolicy, slot, level, of_sign)

    return choose, look_up
