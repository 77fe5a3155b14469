"""Grouped jackknife: an interval for a number that all images give together.

A bootstrap would draw images twice, and duplicates alone raise FID and CMMD.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

GROUPS = 20
LEVEL = 0.95


def grouped(count: int) -> npt.NDArray[np.int64]:
    """The group of each of `count` images, spread over the list; fewer groups than 20 for fewer."""
    return np.arange(count) % min(GROUPS, count)


def interval(
    value: float, left_out: Sequence[float], sizes: Sequence[int]
) -> tuple[float, float] | None:
    """The 95 % interval around `value`; None where there is only one group.

    left_out: the value without each group. sizes: images in each group, which may differ by one.
    Variance of the delete-m_j jackknife (Busing, Meijer, van der Leeden, Statistics and Computing
    1999), which for equal groups is the usual one; Student's t with groups - 1 degrees of freedom.
    """
    groups = len(left_out)
    if groups < 2:
        return None
    without, m = np.asarray(left_out, float), np.asarray(sizes, float)
    n = m.sum()
    h = n / m
    pseudo = h * value - (h - 1) * without
    centre = groups * value - ((1 - m / n) * without).sum()
    variance = np.mean((pseudo - centre) ** 2 / (h - 1))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, groups - 1) * np.sqrt(variance))
    return value - reach, value + reach
