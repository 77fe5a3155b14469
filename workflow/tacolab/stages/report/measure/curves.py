"""Rate-distortion curves and their Bjontegaard differences."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tacolab.config import OWN, Study
from tacolab.quality.bd_rate import MIN_POINTS, bd_quality, bd_rate, bd_rate_by_akima, overlap
from tacolab.quality.curves import ResampledCurve
from tacolab.stages.report.frames import ANCHOR, ARM
from tacolab.stages.report.layout import METRICS, Metric

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Points by rising rate: rate [bpp] and value (MS-SSIM in dB), both finite."""

    name: str
    rate: Array
    value: Array

    def __len__(self) -> int:
        return len(self.rate)


def scaled(metric: Metric, values: Array) -> Array:
    """Values as they are drawn and integrated: MS-SSIM crowds at 1, so it goes on a dB scale."""
    if metric.column != "ms_ssim":
        return values
    with np.errstate(divide="ignore"):
        return np.asarray(-10 * np.log10(1 - values), dtype=np.float64)


def curve(
    points: pd.DataFrame, dataset: str, source: str, metric: Metric, control: str | None = OWN
) -> Curve:
    """The curve of an arm (mean over its seeds at each lambda) or, with control None, an anchor."""
    chosen = points[(points["dataset"] == dataset) & (points["source"] == source)]
    if control is None:
        chosen = chosen[chosen["kind"] == ANCHOR]
        step = "quality"
    else:
        chosen = chosen[(chosen["kind"] == ARM) & (chosen["control"] == control)]
        step = "lmbda"
    chosen = chosen.groupby(step)[["bpp_real", metric.column]].mean().sort_values("bpp_real")
    rate = chosen["bpp_real"].to_numpy(dtype=np.float64)
    value = scaled(metric, chosen[metric.column].to_numpy(dtype=np.float64))
    finite = np.isfinite(rate) & np.isfinite(value)
    return Curve(source, rate[finite], value[finite])


def bd_table(study: Study, points: pd.DataFrame) -> pd.DataFrame:
    """Every arm against its baseline and the classical codecs, per data set and metric.

    bd_rate: mean rate difference at equal quality [%], negative is better; by pchip, with akima
    as a check. bd_quality: mean quality difference at equal rate in the metric's unit (so for
    LPIPS negative is better). overlap: share of both curves' quality range that they have in
    common, over which bd_rate is taken. Cells are empty where the `note` says why.
    """
    rows = []
    for dataset in study.protocol.datasets:
        anchors: list[tuple[str, str | None]] = [(codec, None) for codec in study.protocol.anchors]
        for arm in study.arms_with_runs():
            for reference, control in [(study.baseline_of(arm), OWN), *anchors]:
                if (arm, OWN) == (reference, control):
                    continue
                for metric in METRICS:
                    test = curve(points, dataset, arm, metric)
                    anchor = curve(points, dataset, reference, metric, control)
                    row: dict[str, float | str] = {
                        "dataset": dataset,
                        "arm": arm,
                        "reference": reference,
                        "metric": metric.column,
                    }
                    rows.append(row | difference(metric, anchor, test))
    return pd.DataFrame(rows, columns=["dataset", "arm", "reference", "metric", *_DIFFERENCE])


_DIFFERENCE = ("bd_rate", "bd_rate_akima", "bd_quality", "overlap", "note")


def difference(metric: Metric, anchor: Curve, test: Curve) -> dict[str, float | str]:
    """Bjontegaard differences of `test` against `anchor`, see `bd_table`."""
    empty: dict[str, float | str] = dict.fromkeys(_DIFFERENCE, math.nan)
    sign = 1.0 if metric.higher_is_better else -1.0
    for one in (test, anchor):
        if len(one) < MIN_POINTS:
            return empty | {"note": f"needs {MIN_POINTS} points, {one.name} has {len(one)}"}
        if (np.diff(one.rate) <= 0).any() or (np.diff(sign * one.value) <= 0).any():
            return empty | {"note": f"quality does not rise with rate everywhere on {one.name}"}
    shared = overlap(anchor.value, test.value)
    if shared == 0:
        return empty | {"note": "the quality ranges do not overlap", "overlap": 0.0}
    sides = [ResampledCurve(one.rate[None], sign * one.value[None]) for one in (anchor, test)]
    apart = overlap(anchor.rate, test.rate) == 0
    return {
        "bd_rate": float(bd_rate(*sides)[0]),
        "bd_rate_akima": bd_rate_by_akima(*sides),
        "bd_quality": sign * float(bd_quality(*sides)[0]),
        "overlap": shared,
        "note": "the rate ranges do not overlap" if apart else "",
    }
