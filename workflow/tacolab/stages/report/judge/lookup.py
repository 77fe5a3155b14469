"""How a claim is looked up in the measured tables."""

import math
from typing import Any

import pandas as pd

from tacolab.quality.bootstrap import ConfidenceInterval
from tacolab.stages.report.judge.caveats import Caveats, Row
from tacolab.stages.report.judge.claims import Claim
from tacolab.stages.report.judge.evidence import Observation

NAMES_UNITS = {
    "psnr": ("PSNR", " [dB]"),
    "ms_ssim": ("MS-SSIM", " [dB]"),
    "lpips_published": ("LPIPS", " (published range)"),
    "lpips": ("LPIPS", " (standard range)"),
    "fid": ("FID", ""),
    "cmmd": ("CMMD", ""),
}


def change_of(metric: str, at: str = "") -> str:
    """`change of PSNR at equal rate [dB]`."""
    name, unit = NAMES_UNITS[metric]
    return f"change of {name}{f' {at}' if at else ''}{unit}"


def matching(frame: pd.DataFrame, claim: Claim, metric: str) -> list[dict[Any, Any]]:
    """Rows of a claim's arm and data set in this metric; at its lambda if it names one."""
    chosen = frame[(frame["arm"] == claim["arm"]) & (frame["dataset"] == claim["dataset"])]
    return _at_lambda(chosen[chosen["metric"] == metric], claim)


def of_control(frame: pd.DataFrame, claim: Claim, control: str) -> list[dict[Any, Any]]:
    """Rows of a claim's arm and data set with these captions; at its lambda if it names one."""
    chosen = frame[(frame["source"] == claim["arm"]) & (frame["dataset"] == claim["dataset"])]
    return _at_lambda(chosen[chosen["control"] == control], claim)


def _at_lambda(frame: pd.DataFrame, claim: Claim) -> list[dict[Any, Any]]:
    chosen = frame.loc[frame["lmbda"] == claim["lmbda"]] if claim["lmbda"] else frame
    return list(chosen.to_dict("records"))


def observed(row: Row, column: str, caveats: Caveats = (), seeds: bool = False) -> Observation:
    """A cell with its interval. seeds: the row says what single seeds give of it."""
    found = ConfidenceInterval(row[column], row[f"{column}_low"], row[f"{column}_high"])
    at = f"λ {row['lmbda']}" if row.get("lmbda") else ""
    ends = (row["seeds_low"], row["seeds_high"]) if seeds else (math.nan, math.nan)
    return Observation(at, found, int(row["images"]), ends, caveats)
