"""Bjontegaard differences of rate-distortion curves: the one place that computes them.

By monotone cubics (pchip), over all bootstrap resamples at once; the numbers are those of the
package `bjontegaard`, which a test compares. That package gives the check by akima.
"""

import bjontegaard
import numpy as np

from tacolab.quality.curves import ResampledCurve
from tacolab.quality.pchip import Array, Pchip

# A cubic needs four points. The package would interpolate through two, which says little.
MIN_POINTS = 4


def bd_rate(reference: ResampledCurve, test: ResampledCurve) -> Array:
    """Bjontegaard's mean rate difference of a test against a reference [%], (R,).

    NaN where a curve does not rise, or nothing overlaps.
    """
    return np.asarray(100 * np.expm1(_mean_gap(reference.by_quality, test.by_quality)))


def bd_quality(reference: ResampledCurve, test: ResampledCurve) -> Array:
    """The mean quality difference at equal rate, in the unit of quality; see `bd_rate`."""
    return _mean_gap(reference.by_rate, test.by_rate)


def _mean_gap(one: Pchip, other: Pchip) -> Array:
    """The mean of other - one over the range of x that both have."""
    low = np.maximum(one.x[:, 0], other.x[:, 0])
    high = np.minimum(one.x[:, -1], other.x[:, -1])
    width = np.where(high > low, high - low, np.nan)
    return np.asarray((other.integral(low, high) - one.integral(low, high)) / width)


def bd_rate_by_akima(reference: ResampledCurve, test: ResampledCurve) -> float:
    """The estimate of `bd_rate` (row 0) once more, by another interpolation."""
    curves = (axis[0] for one in (reference, test) for axis in (one.rate, one.quality))
    options = {"require_matching_points": False, "min_overlap": 0}
    return float(bjontegaard.bd_rate(*curves, method="akima", **options))


def overlap(one: Array, other: Array) -> float:
    """Length of the range that two sets of values share over that of their union, 0 to 1."""
    common = min(one.max(), other.max()) - max(one.min(), other.min())
    union = max(one.max(), other.max()) - min(one.min(), other.min())
    return max(0.0, float(common / union))
