"""Monotone cubics (pchip) of many curves at once, over a leading axis of bootstrap resamples.

The same interpolation as scipy's PchipInterpolator, for which every resample would be a call of its
own. Arrays are (resamples, points) with rising x in a row.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
