"""The bootstrap over images: resampled means of many codings at once, and what follows from them.

All codings of a data set get the same resamples, so that differences between them are paired.
Row 0 of every array is the estimate from the images as they are; the others are resamples.
"""

import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

RESAMPLES = 10_000
SEED = 20_240_721
LEVEL = 0.95
MIN_IMAGES = 10  # with fewer a bootstrap knows too little of its own error
UNDEFINED = 0.01  # of the resamples may have no value (curves that do not rise or overlap)
BLOCK = 1 << 21  # numbers drawn at once


@dataclass(frozen=True)
class ConfidenceInterval:
    """An estimate and its 95 % interval over images; NaN where there is none."""

    value: float
    low: float
    high: float


NOTHING = ConfidenceInterval(np.nan, np.nan, np.nan)


def resampled_means(values: Array, resamples: int = RESAMPLES, seed: int = SEED) -> Array:
    """Means over the images of (n, k) values: (1 + resamples, k), the plain means first.

    NaN is a value that an image does not have (MS-SSIM of a small one): the mean is that of the
    others. 30,504 images and 400 columns take about 10 s and 300 MB.
    """
    n = len(values)
    known = np.isfinite(values)
    whole = bool(known.all())
    filled = values if whole else np.where(known, values, 0.0)
    presence = known.astype(np.float64)
    random = np.random.default_rng(seed)
    means = np.empty((1 + resamples, values.shape[1]))

    def weigh(weights: Array) -> Array:
        totals = weights.sum(axis=1, keepdims=True) if whole else weights @ presence
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(weights @ filled / totals)

    means[:1] = weigh(np.ones((1, n)))
    block = max(1, BLOCK // max(1, n))
    for start in range(1, 1 + resamples, block):
        rows = min(block, 1 + resamples - start)
        drawn = random.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        means[start : start + rows] = weigh(counts.astype(np.float64))
    return means


def interval(values: Array, n: int) -> ConfidenceInterval:
    """The estimate in row 0 with percentiles of the others; n: images behind it.

    Percentiles of resampled means are those of a normal distribution with the sample's own, too
    small variance: of 24 images they cover 93 %, of 10 only 90 %. So they are taken further out, as
    far as Student's t asks (the expanded percentile interval: Hesterberg, What teachers should know
    about the bootstrap, The American Statistician 2015).
    """
    resampled = values[1:]
    finite = np.isfinite(resampled)
    if not np.isfinite(values[0]):
        return NOTHING
    if n < MIN_IMAGES or not len(resampled) or finite.mean() < 1 - UNDEFINED:
        return ConfidenceInterval(float(values[0]), np.nan, np.nan)
    reach = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt(n / (n - 1))
    tail = float(stats.norm.cdf(-reach))
    low, high = np.quantile(resampled[finite], [tail, 1 - tail])
    return ConfidenceInterval(float(values[0]), float(low), float(high))


class Means:
    """Resampled means of codings over the images that all of them have."""

    def __init__(self, images: pd.DataFrame, coding: list[str], values: list[str]) -> None:
        """images: a row per image and coding; coding: columns that name one (None is ""); values:
        the first is known of every image."""
        keys = images[coding].fillna("").astype(str)
        names = pd.Series(map(tuple, keys.to_numpy()), index=images.index, dtype=object)
        wide = images[["image_id", *values]].assign(coding=names)
        table = wide.pivot(index="image_id", columns="coding", values=values)
        cells = table.to_numpy(dtype=np.float64)
        present = np.isfinite(cells[:, : cells.shape[1] // len(values)]).all(axis=1)
        self.images = int(present.sum())
        self._columns: dict[Any, int] = {name: at for at, name in enumerate(table.columns)}
        # Of a few images there will be no intervals.
        resamples = RESAMPLES if self.images >= MIN_IMAGES else 0
        self._means = resampled_means(cells[present], resamples)

    @property
    def estimates(self) -> Self:
        """Without the resamples."""
        few = copy.copy(self)
        few._means = self._means[:1]
        return few

    def __call__(self, coding: tuple[str, ...], value: str) -> Array:
        """(1 + resamples,) means of one value of one coding."""
        return np.asarray(self._means[:, self._columns[value, coding]])
