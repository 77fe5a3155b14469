"""FID and CMMD of arms against their baselines, with intervals by the grouped jackknife.

The intervals of two arms are combined as if they were independent. Both are measured on the same
images, so this is too wide rather than too narrow.
"""

import math
from itertools import product
from typing import Any

import pandas as pd

from tacolab.config import OWN, Study
from tacolab.report.differences import mismatch
from tacolab.report.inputs import ARM

NAMES = ("fid", "cmmd")
COLUMNS = [
    *("dataset", "arm", "reference", "lmbda", "metric", "images"),
    *("value", "value_low", "value_high", "of_reference"),
    *("change", "change_low", "change_high"),
    *("change_percent", "change_percent_low", "change_percent_high", "note"),
]


def table(study: Study, points: pd.DataFrame) -> pd.DataFrame:
    """A row per data set, arm, lambda and distance that was measured; mean over seeds."""
    own = points[(points["kind"] == ARM) & (points["control"] == OWN)]
    numbers = [f"{name}{end}" for name in NAMES for end in ("", "_low", "_high")]
    means = own.groupby(["dataset", "source", "lmbda"])[["images", *numbers]].mean()
    measured: dict[Any, dict[Any, float]] = means.to_dict("index")
    rows = []
    for dataset, arm in product(study.protocol.datasets, study.arms_with_runs()):
        for lmbda, name in product(study.lambdas_of(arm), NAMES):
            here = measured.get((dataset, arm, lmbda), {})
            if not math.isnan(here.get(name, math.nan)):
                reference = study.baseline_of(arm)
                base = measured.get((dataset, reference, lmbda), {}) if arm != reference else {}
                rows.append(
                    {"dataset": dataset, "arm": arm, "reference": reference, "lmbda": lmbda}
                    | {"metric": name, "images": int(here["images"])}
                    | _row(name, here, base)
                    | {"note": mismatch(study, arm, reference)}
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(name: str, here: dict[Any, float], base: dict[Any, float]) -> dict[str, float]:
    value, low, high = (here[f"{name}{end}"] for end in ("", "_low", "_high"))
    row = {"value": value, "value_low": low, "value_high": high}
    of_reference = base.get(name, math.nan)
    if math.isnan(of_reference) or not of_reference:
        return row
    half, half_base = (high - low) / 2, (base[f"{name}_high"] - base[f"{name}_low"]) / 2
    ratio = value / of_reference
    wide = math.hypot(half, ratio * half_base) / of_reference
    return (
        row
        | {"of_reference": of_reference}
        | _around("change", value - of_reference, math.hypot(half, half_base))
        | _around("change_percent", 100 * (ratio - 1), 100 * wide)
    )


def _around(name: str, value: float, half: float) -> dict[str, float]:
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
