"""Rate-distortion curves in every bootstrap resample, and single points beside them.

Arrays have a leading axis of resamples, see `bootstrap`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tacolab.quality.pchip import Array, Pchip

REACH = 0.1  # of ln(rate): a curve is continued in a straight line so far beyond its ends


@dataclass(frozen=True)
class ResampledCurve:
    """A curve in every resample, (R, points): rate [bpp] and quality that rises with it."""

    rate: Array
    quality: Array

    def __len__(self) -> int:
        return self.rate.shape[1]

    @cached_property
    def by_rate(self) -> Pchip:
        """Quality over ln(rate)."""
        return Pchip(np.log(self.rate), self.quality)

    @cached_property
    def by_quality(self) -> Pchip:
        """ln(rate) over quality."""
        return Pchip(self.quality, np.log(self.rate))

    def tells(self, log_rate: Array) -> NDArray[np.bool_]:
        """Whether it says what rate buys there: where more bits buy less, nothing."""
        return np.asarray(self.reaches(log_rate) & self.by_rate.rises(log_rate))

    def reaches(self, log_rate: Array) -> NDArray[np.bool_]:
        """Whether the curve, and what is near its ends, goes to these rates."""
        x = self.by_rate.x
        return np.asarray((log_rate >= x[:, 0] - REACH) & (log_rate <= x[:, -1] + REACH))

    def spans(self, rate: float, quality: float) -> bool:
        """Whether a point lies between the ends of the curve as it was measured, in both."""
        ends = ((self.rate[0], rate), (self.quality[0], quality))
        return all(bool(values.min() <= value <= values.max()) for values, value in ends)

    def holds(self, quality: Array) -> NDArray[np.bool_]:
        """Whether it comes to these qualities there. The inverse curve alone does not say so: where
        it ends flat, its straight line goes to any quality at the same rate."""
        x = self.by_rate.x
        low, high = self.by_rate(x[:, 0] - REACH), self.by_rate(x[:, -1] + REACH)
        return np.asarray((quality >= low) & (quality <= high))


def at_equal_rate(reference: ResampledCurve, rate: Array, quality: Array) -> Array:
    """Quality of single points (R,) above a curve at the same rate; NaN where it does not rise."""
    at = np.log(rate)
    return np.where(reference.tells(at), quality - reference.by_rate(at), np.nan)


def at_equal_quality(reference: ResampledCurve, rate: Array, quality: Array) -> Array:
    """Rate of single points (R,) above a curve at the same quality [%]; NaN off the curve."""
    needed = reference.by_quality(quality)
    more = 100 * np.expm1(np.log(rate) - needed)
    return np.where(reference.reaches(needed) & reference.holds(quality), more, np.nan)


Point = tuple[Array, Array]  # rate and quality, (R,) each


def rate_beside(curve: ResampledCurve, point: Point, other: Point) -> Array:
    """Rate of `point` against `other` at equal quality [%].

    The curve need not hold them: it says what a difference in quality costs there.
    """
    needed, other_needed = curve.by_quality(point[1]), curve.by_quality(other[1])
    more = 100 * np.expm1(np.log(point[0] / other[0]) - (needed - other_needed))
    near = curve.reaches(needed) & curve.reaches(other_needed)
    return np.where(near & curve.holds(point[1]) & curve.holds(other[1]), more, np.nan)


def quality_beside(curve: ResampledCurve, point: Point, other: Point) -> Array:
    """Quality of `point` above `other` at equal rate, likewise."""
    at, other_at = np.log(point[0]), np.log(other[0])
    above = (point[1] - other[1]) - (curve.by_rate(at) - curve.by_rate(other_at))
    return np.where(curve.tells(at) & curve.tells(other_at), above, np.nan)
