"""The codings of a data set, resampled together: values and curves of arms in every resample."""

import copy
from decimal import Decimal
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd

from tacolab.config import OWN, Study
from tacolab.quality.bootstrap import Array, Means
from tacolab.quality.curves import ResampledCurve
from tacolab.stages.report.frames import ANCHOR
from tacolab.stages.report.layout import METRICS, Metric
from tacolab.stages.report.measure.curves import scaled

CODING = ["source", "control", "lmbda", "quality", "seed"]
VALUES = ["bpp_real", *(metric.column for metric in METRICS)]


class Codings:
    """The codings of one data set, resampled together."""

    def __init__(self, images: pd.DataFrame) -> None:
        self.means = Means(images, CODING, VALUES)
        self.images = self.means.images
        self._curves: dict[tuple[str, str, str, str | None], ResampledCurve] = {}
        self._points: dict[tuple[str, str], dict[str, list[tuple[str, ...]]]] = {}
        for row in images[CODING].drop_duplicates().fillna("").astype(str).to_numpy():
            source, control, lmbda, quality, _ = name = tuple(row)
            of = self._points.setdefault((source, control), {})
            of.setdefault(lmbda or quality, []).append(name)

    @property
    def sources(self) -> list[tuple[str, str]]:
        """Every (arm, control); an anchor's control is ""."""
        return list(self._points)

    @cached_property
    def estimates(self) -> Self:
        """Without the resamples: arrays of one row."""
        few = copy.copy(self)
        few.means, few._curves = self.means.estimates, {}
        return few

    def lambdas(self, arm: str, control: str = OWN) -> list[str]:
        """By rising lambda."""
        return sorted(self._points.get((arm, control), {}), key=Decimal)

    def seeds(self, arm: str, lmbda: str, control: str = OWN) -> list[str]:
        return [name[-1] for name in self._points.get((arm, control), {}).get(lmbda, [])]

    def value(
        self, arm: str, lmbda: str, column: str, control: str = OWN, seed: str | None = None
    ) -> Array:
        """(R,): the mean over seeds, or one of them where that seed was trained."""
        names = self._points[arm, control][lmbda]
        chosen = [name for name in names if name[-1] == seed] or names
        return np.asarray(np.mean([self.means(name, column) for name in chosen], axis=0))

    def curve(
        self, arm: str, metric: Metric, control: str = OWN, seed: str | None = None
    ) -> ResampledCurve:
        """The curve of an arm; of an anchor with control ""."""
        name = (arm, metric.column, control, seed)
        if name not in self._curves:
            points = [
                (
                    self.value(arm, lmbda, "bpp_real", control, seed),
                    self.quality(arm, lmbda, metric, control, seed),
                )
                for lmbda in self.lambdas(arm, control)
            ]
            rate, quality = (np.column_stack(axis) for axis in zip(*points, strict=True))
            self._curves[name] = ResampledCurve(rate, quality)
        return self._curves[name]

    def quality(
        self, arm: str, lmbda: str, metric: Metric, control: str = OWN, seed: str | None = None
    ) -> Array:
        """(R,) in the unit of the figures, with its sign turned where lower is better."""
        sign = 1.0 if metric.higher_is_better else -1.0
        value = self.value(arm, lmbda, metric.column, control, seed)
        return sign * scaled(metric, value)

    def all_seeds(self, arm: str) -> list[str]:
        """Every seed that any lambda of an arm was trained with."""
        return list(dict.fromkeys(s for lm in self.lambdas(arm) for s in self.seeds(arm, lm)))


def sampled(study: Study, images: pd.DataFrame) -> dict[str, Codings]:
    """The arms with their own captions and the anchors, by data set."""
    chosen = images[(images["kind"] == ANCHOR) | (images["control"] == OWN)]
    return {
        dataset: Codings(chosen[chosen["dataset"] == dataset])
        for dataset in study.protocol.datasets
        if (chosen["dataset"] == dataset).any()
    }
