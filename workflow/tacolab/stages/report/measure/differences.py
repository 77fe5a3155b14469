"""Differences between arms, with intervals over images: of whole curves and at single lambdas.

Arms at one lambda differ in rate *and* in quality. So a curve is judged by its Bjontegaard
difference, and a single lambda by the rate that the baseline's curve needs for the same quality.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from tacolab.config import OWN, Study
from tacolab.quality.bd_rate import bd_quality, bd_rate
from tacolab.quality.bootstrap import MIN_IMAGES, Array, ConfidenceInterval, interval
from tacolab.quality.curves import (
    ResampledCurve,
    at_equal_quality,
    at_equal_rate,
    quality_beside,
    rate_beside,
)
from tacolab.stages.report.layout import METRICS, Metric
from tacolab.stages.report.measure import curves
from tacolab.stages.report.measure.codings import Codings

BETTER, WORSE, EQUAL, OPEN = "better", "worse", "equal", "not decided"
NOT_MEASURED = "not measured"
OVERLAP = 0.5  # of the range of quality: with less two curves are not compared

BD_COLUMNS = [
    *("dataset", "arm", "reference", "metric", "images"),
    *("bd_rate", "bd_rate_low", "bd_rate_high", "bd_rate_akima"),
    *("bd_quality", "bd_quality_low", "bd_quality_high", "overlap"),
    *("seeds_low", "seeds_high", "verdict", "note"),
]
POINT_COLUMNS = [
    *("dataset", "arm", "reference", "lmbda", "metric", "images", "seeds"),
    *("rate_change", "rate_change_low", "rate_change_high"),
    *("of_reference", "of_arm", "change", "change_low", "change_high"),
    *("at_equal_rate", "at_equal_rate_low", "at_equal_rate_high"),
    *("at_equal_quality", "at_equal_quality_low", "at_equal_quality_high"),
    *("seeds_low", "seeds_high", "verdict", "note"),
]


def word(found: ConfidenceInterval, margin: float) -> str:
    """The verdict on a difference in rate [%]: from its interval alone."""
    if np.isnan(found.low):
        return NOT_MEASURED
    if -margin <= found.low and found.high <= margin:
        return EQUAL
    if found.high < 0:
        return BETTER
    return WORSE if found.low > 0 else OPEN


@dataclass(frozen=True)
class Pair:
    """An arm beside what it is compared with: another arm, or an anchor (control "")."""

    of: Codings
    arm: str
    reference: str
    metric: Metric
    control: str = OWN

    def curves(
        self, seed: str | None = None, other: str | None = None
    ) -> tuple[ResampledCurve, ResampledCurve]:
        """Of the reference and of the arm, over all seeds or of one each."""
        reference = self.of.curve(self.reference, self.metric, self.control, other)
        return reference, self.of.curve(self.arm, self.metric, OWN, seed)

    def over_seeds(self, value: Callable[["Pair", str, str | None], Array]) -> dict[str, float]:
        """Smallest and largest value that any two seeds give; empty with one seed each."""
        seeds = self.of.all_seeds(self.arm)
        others: list[str | None] = [None]  # an anchor has none
        if self.control == OWN:
            others = [*self.of.all_seeds(self.reference)]
        if max(len(seeds), len(others)) < 2:
            return {"seeds_low": np.nan, "seeds_high": np.nan}
        estimates = dataclasses.replace(self, of=self.of.estimates)
        values = [value(estimates, *pair)[0] for pair in product(seeds, others)]
        return {"seeds_low": float(np.min(values)), "seeds_high": float(np.max(values))}


def bd_table(
    study: Study,
    points: pd.DataFrame,
    codings: dict[str, Codings],
    unequal: Mapping[str, str],
) -> pd.DataFrame:
    """Every arm's curve against its baseline and the classical codecs: see `curves.bd_table`.

    unequal: of `comparable.mismatches`. *_low, *_high: 95 % intervals over images; seeds_low,
    seeds_high: bd_rate of single seeds.
    """
    metrics = {metric.column: metric for metric in METRICS}
    rows = []
    for row in curves.bd_table(study, points).to_dict("records"):
        control = OWN if row["reference"] in study.arms else ""
        if row["dataset"] not in codings:  # nothing is there yet
            continue
        pair = Pair(
            codings[row["dataset"]], row["arm"], row["reference"], metrics[row["metric"]], control
        )
        more = {"images": pair.of.images, "verdict": NOT_MEASURED}
        if pd.notna(row["bd_rate"]):
            more |= _curve(study, pair, row["overlap"])
        if control == OWN and pair.arm in unequal:
            more |= {"verdict": NOT_MEASURED, "note": unequal[pair.arm]}
        rows.append({str(name): value for name, value in row.items()} | more)
    return pd.DataFrame(rows, columns=BD_COLUMNS)


def _curve(study: Study, pair: Pair, overlap: float) -> dict[str, object]:
    """The intervals of a Bjontegaard difference that there is."""
    reference, test = pair.curves()
    rate = interval(bd_rate(reference, test), pair.of.images)
    quality = interval(bd_quality(reference, test), pair.of.images)
    found: dict[str, object] = {
        **columns("bd_rate", rate),
        **columns("bd_quality", quality, pair.metric),
        **pair.over_seeds(lambda pair, *seeds: bd_rate(*pair.curves(*seeds))),
        "verdict": word(rate, study.protocol.margins.bd_rate),
    }
    if np.isnan(rate.low):
        return found | {"note": no_interval(pair.of.images)}
    return found | ({"verdict": OPEN, "note": scrap(overlap)} if overlap < OVERLAP else {})


def scrap(overlap: float) -> str:
    """Why a difference over a scrap of both curves is none of the curves."""
    return f"the curves share {100 * overlap:.0f} % of their range of quality"


def points_table(
    study: Study, codings: dict[str, Codings], unequal: Mapping[str, str]
) -> pd.DataFrame:
    """Every arm at every lambda against its baseline, per data set and metric.

    rate_change [%] and change, from of_reference to of_arm (in the metric's unit; MS-SSIM in dB):
    at the same lambda. at_equal_rate: quality
    above the baseline's curve at the same rate; at_equal_quality [%]: rate above it at the same
    quality, on which the verdict rests. seeds_low, seeds_high: the latter of single seeds.
    """
    rows = []
    for dataset, of in codings.items():
        for arm in study.arms_with_runs():
            reference = study.baseline_of(arm)
            if arm == reference or not of.lambdas(reference):
                continue
            for lmbda, metric in product(of.lambdas(arm), METRICS):
                row: dict[str, object] = {
                    "dataset": dataset,
                    "arm": arm,
                    "reference": reference,
                    "lmbda": lmbda,
                }
                row |= _point(study, Pair(of, arm, reference, metric), lmbda)
                if arm in unequal:
                    notes = (unequal[arm], str(row["note"]))
                    row |= {"verdict": NOT_MEASURED, "note": "; ".join(filter(None, notes))}
                rows.append(row)
    return pd.DataFrame(rows, columns=POINT_COLUMNS)


def _point(study: Study, pair: Pair, lmbda: str) -> dict[str, object]:
    of, metric = pair.of, pair.metric
    rate, quality = of.value(pair.arm, lmbda, "bpp_real"), of.quality(pair.arm, lmbda, metric)
    missing: Array = np.full_like(rate, np.nan)
    rate_change, base, above, more = missing, missing, missing, missing
    if lmbda in of.lambdas(pair.reference):
        rate_change = 100 * (rate / of.value(pair.reference, lmbda, "bpp_real") - 1)
        base = of.quality(pair.reference, lmbda, metric)
    reference, _ = pair.curves()
    # What quality costs, where the reference is a single point beside the study's baseline.
    baseline = study.protocol.baseline
    slope = of.curve(baseline, metric) if of.lambdas(baseline) else reference
    curve = len(reference) > 1
    if curve:
        above = at_equal_rate(reference, rate, quality)
        more = at_equal_quality(reference, rate, quality)
    elif len(slope) > 1 and lmbda in of.lambdas(pair.reference):
        other = of.value(pair.reference, lmbda, "bpp_real"), base
        above = quality_beside(slope, (rate, quality), other)
        more = rate_beside(slope, (rate, quality), other)
    at = of.lambdas(pair.arm).index(lmbda)

    def of_seeds(pair: Pair, seed: str, other: str | None) -> Array:
        one, two = pair.curves(seed, other)
        return at_equal_quality(one, two.rate[:, at], two.quality[:, at])

    found = [interval(values, of.images) for values in (rate_change, quality - base, above, more)]
    beyond = curve and not reference.spans(rate[0], quality[0])
    verdict, note = _judge(study, pair, curve, beyond, found[0], found[1], found[3])
    sign = 1 if metric.higher_is_better else -1
    return {
        "metric": metric.column,
        "images": of.images,
        "seeds": len(of.seeds(pair.arm, lmbda)),
        **columns("rate_change", found[0]),
        "of_reference": sign * float(base[0]),
        "of_arm": sign * float(quality[0]),
        **columns("change", found[1], metric),
        **columns("at_equal_rate", found[2], metric),
        **columns("at_equal_quality", found[3]),
        **(pair.over_seeds(of_seeds) if curve else {}),
        "verdict": verdict,
        "note": note,
    }


def _judge(
    study: Study,
    pair: Pair,
    curve: bool,
    beyond: bool,
    rate_change: ConfidenceInterval,
    change: ConfidenceInterval,
    more: ConfidenceInterval,
) -> tuple[str, str]:
    """Verdict and note on a single lambda."""
    if pair.of.images < MIN_IMAGES:
        return NOT_MEASURED, no_interval(pair.of.images)
    if not curve and np.isnan(more.low):
        # Fewer bits and better quality need no curve.
        verdict = NOT_MEASURED
        if rate_change.high < 0 and change.low > 0:
            verdict = BETTER
        elif rate_change.low > 0 and change.high < 0:
            verdict = WORSE
        return verdict, f"{pair.reference} has one lambda: no curve to compare with"
    if np.isnan(more.low):
        return NOT_MEASURED, f"off the curve of {pair.reference}, or that does not rise"
    note = "" if curve else f"at equal quality by the curve of {study.protocol.baseline}"
    if beyond:
        note = f"beyond the end of the curve of {pair.reference}"
    return word(more, study.protocol.margins.bd_rate), note


def no_interval(images: int) -> str:
    """Why there is an estimate but no interval."""
    if images < MIN_IMAGES:
        return f"{images} image{'s' if images != 1 else ''}: too few for an interval"
    return "the curves do not rise or overlap in too many resamples"


def columns(name: str, found: ConfidenceInterval, metric: Metric | None = None) -> dict[str, float]:
    """Cells of an interval; of a quality in the metric's own sign."""
    low, high = found.low, found.high
    sign = 1 if metric is None or metric.higher_is_better else -1
    if sign < 0:
        low, high = -high, -low
    return {name: sign * found.value, f"{name}_low": low, f"{name}_high": high}
