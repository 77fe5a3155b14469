"""Many curves at once: monotone cubics (pchip) over a leading axis of bootstrap resamples.

The same interpolation as scipy's PchipInterpolator and so as the package `bjontegaard`, for which
every resample would be a call of its own. Arrays are (resamples, points) with rising x in a row.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

REACH = 0.1  # of ln(rate): a curve is continued in a straight line so far beyond its ends


@dataclass(frozen=True)
class Pchip:
    """y over x, both (R, n) with n > 1; a row whose x does not rise is NaN."""

    x: Array
    y: Array

    @cached_property
    def _rising(self) -> NDArray[np.bool_]:
        return np.asarray((np.diff(self.x, axis=1) > 0).all(axis=1))

    @cached_property
    def _step(self) -> Array:
        return np.where(self._rising[:, None], np.diff(self.x, axis=1), np.nan)

    @cached_property
    def slopes(self) -> Array:
        """dy/dx at the points: Fritsch and Butland's weighted harmonic mean, 0 at a turn."""
        h, chord = self._step, np.diff(self.y, axis=1) / self._step
        if chord.shape[1] == 1:
            return np.repeat(chord, 2, axis=1)
        before, after = 2 * h[:, 1:] + h[:, :-1], h[:, 1:] + 2 * h[:, :-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = (before + after) / (before / chord[:, :-1] + after / chord[:, 1:])
        inner = np.where(chord[:, :-1] * chord[:, 1:] > 0, mean, 0.0)
        first = _end_slope(h[:, 0], h[:, 1], chord[:, 0], chord[:, 1])
        last = _end_slope(h[:, -1], h[:, -2], chord[:, -1], chord[:, -2])
        return np.column_stack([first, inner, last])

    def __call__(self, at: Array) -> Array:
        """y at (R,) places; beyond the ends in a straight line."""
        _, t, h, (y0, y1, m0, m1) = self._piece(np.clip(at, self.x[:, 0], self.x[:, -1]))
        inside = (
            (2 * t**3 - 3 * t**2 + 1) * y0
            + (t**3 - 2 * t**2 + t) * h * m0
            + (3 * t**2 - 2 * t**3) * y1
            + (t**3 - t**2) * h * m1
        )
        below = np.minimum(at - self.x[:, 0], 0) * self.slopes[:, 0]
        return np.asarray(inside + below + np.maximum(at - self.x[:, -1], 0) * self.slopes[:, -1])

    def rises(self, at: Array) -> NDArray[np.bool_]:
        """Whether the piece that holds `at`, or the end that is nearest, goes up."""
        _, _, _, (y0, y1, _, _) = self._piece(np.clip(at, self.x[:, 0], self.x[:, -1]))
        return np.asarray(y1 > y0)

    def integral(self, low: Array, high: Array) -> Array:
        """Over [low, high], both (R,) and within the curve."""
        return self._area(high) - self._area(low)

    def _area(self, to: Array) -> Array:
        """From the first point to (R,) places."""
        h, y, m = self._step, self.y, self.slopes
        pieces = h * (y[:, :-1] + y[:, 1:]) / 2 + h**2 * (m[:, :-1] - m[:, 1:]) / 12
        before = np.concatenate([np.zeros((len(h), 1)), np.cumsum(pieces, axis=1)], axis=1)
        k, t, step, (y0, y1, m0, m1) = self._piece(to)
        part = step * (
            (t**4 / 2 - t**3 + t) * y0
            + (t**4 / 4 - 2 * t**3 / 3 + t**2 / 2) * step * m0
            + (t**3 - t**4 / 2) * y1
            + (t**4 / 4 - t**3 / 3) * step * m1
        )
        return np.asarray(np.take_along_axis(before, k, axis=1)[:, 0] + part)

    def _piece(self, at: Array) -> tuple[NDArray[np.intp], Array, Array, list[Array]]:
        """The cubic that holds `at`: its number, place in it (0 to 1), width, ends and slopes."""
        k = (at[:, None] >= self.x[:, 1:-1]).sum(axis=1, keepdims=True)

        def take(values: Array, shift: int = 0) -> Array:
            return np.take_along_axis(values, k + shift, axis=1)[:, 0]

        h = take(self._step)
        ends = [take(self.y), take(self.y, 1), take(self.slopes), take(self.slopes, 1)]
        return k, (at - take(self.x)) / h, h, ends


def _end_slope(h0: Array, h1: Array, m0: Array, m1: Array) -> Array:
    """Three-point formula at an end, kept in shape."""
    slope = ((2 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
    slope = np.where(np.sign(slope) != np.sign(m0), 0.0, slope)
    steep = (np.sign(m0) != np.sign(m1)) & (np.abs(slope) > 3 * np.abs(m0))
    return np.where(steep, 3 * m0, slope)


@dataclass(frozen=True)
class Sampled:
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


def bd_rate(reference: Sampled, test: Sampled) -> Array:
    """Bjontegaard's mean rate difference of a test against a reference [%], (R,).

    NaN where a curve does not rise, or nothing overlaps.
    """
    return np.asarray(100 * np.expm1(_mean_gap(reference.by_quality, test.by_quality)))


def bd_quality(reference: Sampled, test: Sampled) -> Array:
    """The mean quality difference at equal rate, in the unit of quality; see `bd_rate`."""
    return _mean_gap(reference.by_rate, test.by_rate)


def _mean_gap(one: Pchip, other: Pchip) -> Array:
    """The mean of other - one over the range of x that both have."""
    low = np.maximum(one.x[:, 0], other.x[:, 0])
    high = np.minimum(one.x[:, -1], other.x[:, -1])
    width = np.where(high > low, high - low, np.nan)
    return np.asarray((other.integral(low, high) - one.integral(low, high)) / width)


def at_equal_rate(reference: Sampled, rate: Array, quality: Array) -> Array:
    """Quality of single points (R,) above a curve at the same rate; NaN where it does not rise."""
    at = np.log(rate)
    return np.where(reference.tells(at), quality - reference.by_rate(at), np.nan)


def at_equal_quality(reference: Sampled, rate: Array, quality: Array) -> Array:
    """Rate of single points (R,) above a curve at the same quality [%]; NaN off the curve."""
    needed = reference.by_quality(quality)
    more = 100 * np.expm1(np.log(rate) - needed)
    return np.where(reference.reaches(needed) & reference.holds(quality), more, np.nan)


Point = tuple[Array, Array]  # rate and quality, (R,) each


def rate_beside(curve: Sampled, point: Point, other: Point) -> Array:
    """Rate of `point` against `other` at equal quality [%].

    The curve need not hold them: it says what a difference in quality costs there.
    """
    needed, other_needed = curve.by_quality(point[1]), curve.by_quality(other[1])
    more = 100 * np.expm1(np.log(point[0] / other[0]) - (needed - other_needed))
    near = curve.reaches(needed) & curve.reaches(other_needed)
    return np.where(near & curve.holds(point[1]) & curve.holds(other[1]), more, np.nan)


def quality_beside(curve: Sampled, point: Point, other: Point) -> Array:
    """Quality of `point` above `other` at equal rate, likewise."""
    at, other_at = np.log(point[0]), np.log(other[0])
    above = (point[1] - other[1]) - (curve.by_rate(at) - curve.by_rate(other_at))
    return np.where(curve.tells(at) & curve.tells(other_at), above, np.nan)
