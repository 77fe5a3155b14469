"""FID and CMMD of arms against their baselines, with intervals by the grouped jackknife.

Differences are paired: both arms without the same images, group by group.
"""

import math
from itertools import product
from typing import Any

import pandas as pd

from tacolab import jackknife
from tacolab.config import OWN, Study
from tacolab.report.differences import mismatch
from tacolab.report.inputs import ARM, WITHOUT

NAMES = ("fid", "cmmd")
COLUMNS = [
    *("dataset", "arm", "reference", "lmbda", "metric", "images"),
    *("value", "value_low", "value_high", "of_reference"),
    *("change", "change_low", "change_high"),
    *("change_percent", "change_percent_low", "change_percent_high", "note"),
]


def table(study: Study, points: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """A row per data set, arm, lambda and distance that was measured; mean over seeds."""
    own = points[(points["kind"] == ARM) & (points["control"] == OWN)]
    numbers = [f"{name}{end}" for name in NAMES for end in ("", "_low", "_high")]
    means = own.groupby(["dataset", "source", "lmbda"])[["images", *numbers]].mean()
    measured: dict[Any, dict[Any, float]] = means.to_dict("index")
    left_out = _by_coding(groups[groups["control"] == OWN])
    rows = []
    for dataset, arm in product(study.protocol.datasets, study.arms_with_runs()):
        for lmbda, name in product(study.lambdas_of(arm), NAMES):
            here = measured.get((dataset, arm, lmbda), {})
            if math.isnan(here.get(name, math.nan)):
                continue
            reference = study.baseline_of(arm)
            row: dict[str, Any] = {"dataset": dataset, "arm": arm, "reference": reference}
            row |= {"lmbda": lmbda, "metric": name, "images": int(here["images"])}
            row |= {"value": here[name], "note": mismatch(study, arm, reference)}
            row |= {f"value_{end}": here[f"{name}_{end}"] for end in ("low", "high")}
            base = measured.get((dataset, reference, lmbda), {}) if arm != reference else {}
            if not math.isnan(base.get(name, math.nan)):
                pairs = _pairs(left_out, (dataset, arm, lmbda), (dataset, reference, lmbda))
                row |= _changes(here[name], base[name], pairs[name], pairs["size"])
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _by_coding(groups: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    """Of every data set, arm and lambda: size and distances without each group, over seeds."""
    keys = ["dataset", "source", "lmbda"]
    means = groups.groupby([*keys, "group"])[["size", *WITHOUT]].mean().reset_index("group")
    return dict(iter(means.groupby(keys)))


def _pairs(left_out: dict[Any, pd.DataFrame], *codings: Any) -> dict[str, Any]:
    """Both codings without each group; nothing where the groups are not of the same sizes."""
    none = pd.DataFrame(columns=["group", "size", *WITHOUT])
    here, base = (left_out.get(coding, none).reset_index() for coding in codings)
    pairs = here.merge(base, on=["group", "size"], suffixes=("", "_base"))
    if not len(pairs) == len(here) == len(base):
        pairs = pairs.iloc[:0]
    found = {name: pairs[[f"{name}_without", f"{name}_without_base"]] for name in NAMES}
    return {"size": pairs["size"].tolist(), **found}


def _changes(
    value: float, base: float, without: pd.DataFrame, sizes: list[int]
) -> dict[str, float]:
    row = {"of_reference": base}
    a, b = without.to_numpy(float).T
    row |= _around("change", value - base, a - b, sizes)
    if base:
        row |= _around("change_percent", 100 * (value / base - 1), 100 * (a / b - 1), sizes)
    return row


def _around(name: str, value: float, without: Any, sizes: list[int]) -> dict[str, float]:
    low, high = jackknife.interval(value, without, sizes) or (math.nan, math.nan)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
