"""FID and CMMD of arms against their baselines, with intervals by the grouped jackknife.

Differences are paired: both arms without the same images, group by group.
"""

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import pandas as pd

from tacolab import jackknife
from tacolab.config import OWN, Study
from tacolab.report.inputs import ARM, SAMPLES, WITHOUT

NAMES = ("fid", "cmmd")
COLUMNS = [
    *("dataset", "arm", "reference", "lmbda", "metric", "images", "samples"),
    *("rate_change", "rate_change_low", "rate_change_high"),
    *("of_reference", "of_arm", "of_arm_low", "of_arm_high"),
    *("change", "change_low", "change_high"),
    *("change_percent", "change_percent_low", "change_percent_high", "note"),
]


RATE = ["rate_change", "rate_change_low", "rate_change_high"]
WHERE = ["dataset", "arm", "lmbda"]


def table(
    study: Study,
    points: pd.DataFrame,
    groups: pd.DataFrame,
    singles: pd.DataFrame,
    unequal: Mapping[str, str],
) -> pd.DataFrame:
    """A row per data set, arm, lambda and distance that was measured; mean over seeds.

    samples: patches or images behind it. rate_change: of the same arms and images, which may be all
    that a distance's change is made of. singles: of `differences.points_table`. unequal: of
    `comparable.mismatches`.
    """
    own = points[(points["kind"] == ARM) & (points["control"] == OWN)]
    numbers = [f"{name}{end}" for name in NAMES for end in ("", "_low", "_high")]
    means = own.groupby(["dataset", "source", "lmbda"])[["images", SAMPLES, *numbers]].mean()
    measured: dict[Any, dict[Any, float]] = means.to_dict("index")
    rates: dict[Any, Any] = singles.drop_duplicates(WHERE).set_index(WHERE)[RATE].to_dict("index")
    left_out = _by_coding(groups[groups["control"] == OWN])
    rows = []
    for dataset, arm in product(study.protocol.datasets, study.arms_with_runs()):
        for lmbda, name in product(study.lambdas_of(arm), NAMES):
            here = measured.get((dataset, arm, lmbda), {})
            if math.isnan(here.get(name, math.nan)):
                continue
            reference = study.baseline_of(arm)
            samples = here[SAMPLES] if name == "fid" else here["images"]
            row: dict[str, Any] = {"dataset": dataset, "arm": arm, "reference": reference}
            row |= {"lmbda": lmbda, "metric": name, "images": int(here["images"])}
            row |= {"samples": samples, "of_arm": here[name], "note": unequal.get(arm, "")}
            row |= {f"of_arm_{end}": here[f"{name}_{end}"] for end in ("low", "high")}
            base = measured.get((dataset, reference, lmbda), {}) if arm != reference else {}
            if not math.isnan(base.get(name, math.nan)):
                pairs = _pairs(left_out, (dataset, arm, lmbda), (dataset, reference, lmbda))
                row |= _changes(here[name], base[name], pairs[name], pairs["size"])
                row |= rates.get((dataset, arm, lmbda), {})
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
