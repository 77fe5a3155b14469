"""FID and CMMD of arms against their baselines, with intervals by the grouped jackknife.

Differences are paired: both arms without the same images, group by group. At one lambda arms differ
in rate too; at equal rate they are compared by the slope of the baseline's curve.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from tacolab.config import OWN, Study
from tacolab.quality import jackknife
from tacolab.quality.bootstrap import Array
from tacolab.quality.curves import ResampledCurve, quality_beside
from tacolab.stages.report.frames import ARM, SAMPLES, WITHOUT

NAMES = ("fid", "cmmd")
ENDS = ("", "_low", "_high")
RATE = [f"rate_change{end}" for end in ENDS]
AT_EQUAL_RATE = "at_equal_rate"
FID_SAMPLES = 10_000  # fewer say nothing
COLUMNS = [
    *("dataset", "arm", "reference", "lmbda", "metric", "images", "samples", *RATE),
    *("of_reference", "of_arm", "of_arm_low", "of_arm_high"),
    *(f"{name}{end}" for name in ("change", "change_percent") for end in ENDS),
    *(f"{AT_EQUAL_RATE}{name}{end}" for name in ("", "_percent") for end in ENDS),
    "note",
]
WHERE = ["dataset", "source", "lmbda"]


@dataclass(frozen=True)
class MeasuredDistance:
    """A distance of one coding, mean over seeds.

    rate: [bpp]. values: (1 + groups,), of all images and without each group. sizes: of the groups.
    """

    rate: float
    images: int
    samples: float
    values: Array
    low: float
    high: float
    sizes: list[int]


Place = tuple[str, str, str]  # data set, arm, lambda


def table(
    study: Study,
    points: pd.DataFrame,
    groups: pd.DataFrame,
    singles: pd.DataFrame,
    unequal: Mapping[str, str],
) -> pd.DataFrame:
    """A row per data set, arm, lambda and distance that was measured.

    samples: patches or images behind it. rate_change: of the same arms and images. change: at the
    same lambda; at_equal_rate: where the curve of the baseline, or of the study's, says what rate
    does to the distance. singles: of `differences.points_table`. unequal: of
    `comparable.mismatches`.
    """
    places = ["dataset", "arm", "lmbda"]
    rates: dict[Any, Any] = singles.drop_duplicates(places).set_index(places)[RATE].to_dict("index")
    rows = []
    for name in NAMES:
        codings = _codings(points, groups, name)
        for dataset, arm in product(study.protocol.datasets, study.arms_with_runs()):
            reference = study.baseline_of(arm)
            for lmbda in study.lambdas_of(arm):
                here = codings.get((dataset, arm, lmbda))
                if here is None:
                    continue
                row: dict[str, Any] = {"dataset": dataset, "arm": arm}
                row["reference"] = "" if arm == reference else reference
                row |= {"lmbda": lmbda, "metric": name, "images": here.images}
                notes = [unequal.get(arm, ""), too_few(here.samples) if name == "fid" else ""]
                row |= {"samples": here.samples, "note": "; ".join(filter(None, notes))}
                row |= {"of_arm": here.values[0], "of_arm_low": here.low, "of_arm_high": here.high}
                base = codings.get((dataset, reference, lmbda))
                if base is not None and arm != reference:
                    row |= rates.get((dataset, arm, lmbda), {})
                    row |= _changes(here, base, _curve(study, codings, dataset, reference))
                rows.append(row)
    order = [*study.protocol.datasets]
    rows.sort(key=lambda row: order.index(row["dataset"]))
    return pd.DataFrame(rows, columns=COLUMNS)


def too_few(samples: float) -> str:
    """Why a FID decides nothing; "" where it may."""
    if samples >= FID_SAMPLES:
        return ""
    return f"n = {int(samples):,} samples: a FID needs {FID_SAMPLES:,}"


def _codings(
    points: pd.DataFrame, groups: pd.DataFrame, name: str
) -> dict[Place, MeasuredDistance]:
    own = points[(points["kind"] == ARM) & (points["control"] == OWN) & points[name].notna()]
    without = groups[(groups["control"] == OWN)].groupby([*WHERE, "group"])
    left_out = without[["size", *WITHOUT]].mean().reset_index("group")
    by_coding: dict[Any, pd.DataFrame] = dict(iter(left_out.groupby(WHERE)))
    found: dict[Place, MeasuredDistance] = {}
    for place, part in own.groupby(WHERE):
        means = part[["bpp_real", "images", SAMPLES, *(f"{name}{end}" for end in ENDS)]].mean()
        values: list[float] = [means[name]]
        sizes: list[int] = []
        if place in by_coding:
            values += by_coding[place][f"{name}_without"].tolist()
            sizes = [int(n) for n in by_coding[place]["size"]]
        found[place] = MeasuredDistance(  # type: ignore[index]  # a tuple of three, as WHERE says
            float(means["bpp_real"]),
            int(means["images"]),
            float(means[SAMPLES] if name == "fid" else means["images"]),
            np.array(values, dtype=np.float64),
            float(means[f"{name}_low"]),
            float(means[f"{name}_high"]),
            sizes,
        )
    return found


def _curve(
    study: Study, codings: Mapping[Place, MeasuredDistance], dataset: str, reference: str
) -> list[MeasuredDistance]:
    """The baseline's codings by rising rate, or those of the study's where it has one lambda."""
    for arm in (reference, study.protocol.baseline):
        of = [codings.get((dataset, arm, lmbda)) for lmbda in study.lambdas_of(arm)]
        known = sorted((one for one in of if one is not None), key=lambda one: one.rate)
        if len(known) > 1:
            return known
    return []


def _changes(
    here: MeasuredDistance, base: MeasuredDistance, curve: list[MeasuredDistance]
) -> dict[str, float]:
    paired = all(one.sizes == here.sizes for one in (base, *curve))
    a, b = (one.values if paired else one.values[:1] for one in (here, base))
    sizes = here.sizes if paired else []
    found = {"of_reference": float(b[0])}
    above = np.full_like(a, np.nan)
    if curve:
        slope = np.column_stack([-one.values[: len(a)] for one in curve])
        rate = np.broadcast_to([one.rate for one in curve], slope.shape)
        sides = ((np.full_like(a, one.rate), -values) for one, values in ((here, a), (base, b)))
        above = -quality_beside(ResampledCurve(np.array(rate), slope), *sides)
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers = {
            "change": a - b,
            "change_percent": 100 * (a / b - 1),
            AT_EQUAL_RATE: above,
            f"{AT_EQUAL_RATE}_percent": 100 * above / b,
        }
    for name, values in numbers.items():
        found |= _around(name, values, sizes)
    return found


def _around(name: str, values: Array, sizes: list[int]) -> dict[str, float]:
    found = None
    if np.isfinite(values).all() and len(values) > 1:
        found = jackknife.interval(float(values[0]), values[1:].tolist(), sizes)
    low, high = found or (np.nan, np.nan)
    return {name: float(values[0]), f"{name}_low": low, f"{name}_high": high}
