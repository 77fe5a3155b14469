"""The verdict table: every claim of the study beside what was measured, and what supports it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tacolab.config import Study
from tacolab.report.bootstrap import Interval
from tacolab.report.claims import NOT_CONFIRMED, UNDECIDABLE, Finding, claims, judge, together
from tacolab.report.controls import JUDGED
from tacolab.report.differences import EQUAL, NOT_MEASURED, no_interval

FID_SAMPLES = 10_000  # fewer say nothing
COLUMNS = [
    *("id", "claim", "claimed", "arm", "reference", "dataset", "metric", "lmbda", "quantity"),
    *("measured", "verdict", "support", "note", "value", "value_low", "value_high", "source"),
]
CURVE = "rate at equal quality [%]"


@dataclass(frozen=True)
class Measured:
    """Tables that claims are looked up in, see the modules that make them.

    distances: change of FID and CMMD against the baseline. times: of linear against softmax
    attention. published: the authors' weights against the authors' numbers.
    """

    bd: pd.DataFrame
    points: pd.DataFrame
    controls: pd.DataFrame
    distances: pd.DataFrame
    times: pd.DataFrame
    published: pd.DataFrame


def table(study: Study, measured: Measured) -> pd.DataFrame:
    """Every claim, claimed and measured, with its verdict and the control that supports it."""
    rows = [_row(study, claim, measured) for claim in claims().to_dict("records")]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(study: Study, claim: Mapping[Any, Any], measured: Measured) -> dict[str, Any]:
    row = _judged(study, claim, measured)
    if row["verdict"] == NOT_MEASURED and not row.get("note"):
        row["note"] = _gap(study, claim)
    return row


def _gap(study: Study, claim: Mapping[Any, Any]) -> str:
    """What this run lacks for a claim."""
    arm, lmbda, dataset = claim["arm"], claim["lmbda"], claim["dataset"]
    for name in dict.fromkeys((arm, study.baseline_of(arm))):
        if lmbda and lmbda not in study.lambdas_of(name):
            return f"{name} has no model at λ {lmbda}"
    if claim["relation"] == "saturates":
        return f"captions {claim['control']} are not evaluated on {dataset}"
    if claim["metric"] in ("fid", "cmmd"):
        return f"no {claim['metric'].upper()} on {dataset} in this run"
    return ""


def _judged(study: Study, claim: Mapping[Any, Any], measured: Measured) -> dict[str, Any]:
    arm = claim["arm"]
    known = arm in study.arms_with_runs()
    row = {name: claim[name] for name in COLUMNS if name in claim}
    row |= {"reference": study.baseline_of(arm) if known else "", "verdict": NOT_MEASURED}
    relation, metric = claim["relation"], claim["metric"]
    if relation == "same time":
        found = _times(measured.times, metric)
        row["note"] = "" if found else "no times of the earlier experiment in this run"
        return row | _decided(claim, "time per pair [%]", found, study.protocol.margins.time)
    if not known:
        return row | {"note": f"no arm '{arm}' in this config"}
    if claim["dataset"] not in study.protocol.datasets:
        return row | {"note": f"data set '{claim['dataset']}' is not evaluated"}
    if relation == "undecidable":
        return row | _undecidable(claim, measured)
    row["support"] = _support(claim, measured.controls)
    lambdas = 1 if claim["lmbda"] else len(study.lambdas_of(arm))
    if relation == "reproduced":
        found = _published(measured.published, metric)
        return row | _decided(claim, _UNITS[metric], found, claim["to"], lambdas)
    if relation == "saturates":
        found = _cut(claim, measured.controls)
        row["support"] = ""
        return row | _decided(claim, CURVE, found, study.protocol.margins.bd_rate, lambdas)
    if metric in ("fid", "cmmd"):
        found, note = _distances(claim, measured.distances)
        quantity = _UNITS[metric]
        if relation == EQUAL:
            quantity = f"change of {metric.upper()} [%]"
        decided = _decided(claim, quantity, found, study.protocol.margins.fid, lambdas)
        return row | decided | ({"verdict": NOT_MEASURED, "note": note} if note else {})
    rows = _matching(measured.points, claim)
    if claim["lmbda"]:
        found = [_finding(line, "change") for line in rows.to_dict("records")]
        decided = _decided(claim, _UNITS[metric], found, claim["to"])
    else:
        found = [_finding(line, "bd_rate") for line in _curve(measured.bd, claim, row)]
        found = [one for one in found if np.isfinite(one.found.low)]
        if found:
            lambdas = 1
        else:  # without a whole curve the single lambdas say what they can
            found = [_finding(line, "at_equal_quality") for line in rows.to_dict("records")]
        decided = _decided(claim, CURVE, found, study.protocol.margins.bd_rate, lambdas)
    notes = list(dict.fromkeys(note for note in rows["note"] if note))
    if any(rows["verdict"] == NOT_MEASURED) and any("not comparable" in note for note in notes):
        decided["verdict"] = NOT_MEASURED
    if decided["verdict"] == NOT_MEASURED and notes:
        decided["note"] = notes[0]
    return row | decided


_UNITS = {
    "bpp_real": "deviation of bpp [%]",
    "psnr": "change of PSNR [dB]",
    "ms_ssim": "change of MS-SSIM [dB]",
    "lpips_published": "change of LPIPS (published range)",
    "lpips": "change of LPIPS (standard range)",
    "fid": "change of FID",
    "cmmd": "change of CMMD",
}


def _matching(frame: pd.DataFrame, claim: Mapping[Any, Any]) -> pd.DataFrame:
    """Rows of a claim's arm, data set and metric; at its lambda if it names one."""
    chosen = frame[(frame["arm"] == claim["arm"]) & (frame["dataset"] == claim["dataset"])]
    chosen = chosen[chosen["metric"] == claim["metric"]]
    return _at(chosen, claim)


def _at(frame: pd.DataFrame, claim: Mapping[Any, Any]) -> pd.DataFrame:
    return frame.loc[frame["lmbda"] == claim["lmbda"]] if claim["lmbda"] else frame


def _curve(
    bd: pd.DataFrame, claim: Mapping[Any, Any], row: Mapping[str, Any]
) -> list[dict[Any, Any]]:
    chosen = bd[(bd["arm"] == claim["arm"]) & (bd["dataset"] == claim["dataset"])]
    chosen = chosen[chosen["metric"] == claim["metric"]]
    found: list[dict[Any, Any]] = chosen[chosen["reference"] == row["reference"]].to_dict("records")
    return found


def _finding(line: Mapping[Any, Any], column: str) -> Finding:
    found = Interval(line[column], line[f"{column}_low"], line[f"{column}_high"])
    at = f"λ {line['lmbda']}" if line.get("lmbda") else ""
    return Finding(at, found, int(line["images"]))


def _decided(
    claim: Mapping[Any, Any],
    quantity: str,
    found: list[Finding],
    margin: float,
    expected: int = 1,
) -> dict[str, Any]:
    """The cells of a verdict on one or several findings. expected: how many there will be."""
    known = [one for one in found if np.isfinite(one.found.value)]
    judged = [judge(claim["relation"], one.found, margin) for one in known]
    decided = [verdict for verdict in judged if verdict != NOT_MEASURED]
    of = max(expected, len(found))
    verdict = together(claim["relation"], decided, of - len(decided))
    cells: dict[str, Any] = {
        "quantity": quantity,
        "measured": "; ".join(_text(one) for one in known),
        "verdict": verdict,
    }
    if verdict == NOT_CONFIRMED and len(decided) < of:
        cells["note"] = f"so far: {len(decided)} of {of} have an interval"
    if len(known) == 1:
        only = known[0].found
        cells |= {"value": only.value, "value_low": only.low, "value_high": only.high}
    if known and not decided:
        cells["note"] = no_interval(known[0].images)
    return cells


def _text(one: Finding) -> str:
    """With as many digits as the width of the interval makes sense of."""
    found = one.found
    width = found.high - found.low
    size = width if width > 0 else abs(found.value)
    digits = min(6, max(2, 1 - math.floor(math.log10(size)))) if size else 2
    text = f"{found.value:+z.{digits}f}"
    if width > 0:
        text += f" [{found.low:+z.{digits}f}, {found.high:+z.{digits}f}]"
    return f"{one.at}: {text}" if one.at else text


def _undecidable(claim: Mapping[Any, Any], measured: Measured) -> dict[str, Any]:
    """FID of 24 images; what there is instead: CMMD with its interval."""
    found, _ = _distances({**claim, "metric": "cmmd", "relation": "up"}, measured.distances)
    cells = _decided({"relation": "up"}, "instead: change of CMMD", found, 0.0)
    return cells | {
        "verdict": UNDECIDABLE,
        "note": f"n = 24: a FID needs {FID_SAMPLES:,} samples; "
        + ("CMMD with its interval instead" if found else "no CMMD in this run either"),
    }


def _distances(claim: Mapping[Any, Any], frame: pd.DataFrame) -> tuple[list[Finding], str]:
    rows = _matching(frame, claim)
    column = "change_percent" if claim["relation"] == EQUAL else "change"
    notes = [note for note in rows["note"] if note] if len(rows) else []
    return [_finding(line, column) for line in rows.to_dict("records")], "".join(notes[:1])


def _times(frame: pd.DataFrame, metric: str) -> list[Finding]:
    rows = frame[frame["metric"] == metric]
    return [
        Finding(line["at"], Interval(line["change"], line["change_low"], line["change_high"]), 0)
        for line in rows.to_dict("records")
    ]


def _published(frame: pd.DataFrame, metric: str) -> list[Finding]:
    """Deviations from the authors' numbers: of the same 24 images, so nothing is sampled."""
    column = {"bpp_real": "bpp_deviation", "psnr": "psnr_deviation"}[metric]
    own = frame[(frame["caption"] == "own") & frame[column].notna()]
    return [
        Finding(
            f"λ {line['lmbda']}", Interval(line[column], line[column], line[column]), line["images"]
        )
        for line in own.to_dict("records")
    ]


def _cut(claim: Mapping[Any, Any], controls: pd.DataFrame) -> list[Finding]:
    rows = _of_control(claim, controls)
    column = JUDGED[claim["metric"]]
    return [_finding(line, column) for line in rows.to_dict("records")]


def _of_control(claim: Mapping[Any, Any], controls: pd.DataFrame) -> pd.DataFrame:
    rows = controls[
        (controls["source"] == claim["arm"]) & (controls["control"] == claim["control"])
    ]
    rows = rows[rows["dataset"] == claim["dataset"]]
    return _at(rows, claim)


def _plain_support(claim: Mapping[Any, Any], rows: pd.DataFrame) -> str:
    """Where no curve says what quality costs: the changes of rate and quality themselves."""
    metric = claim["metric"] if f"{claim['metric']}_change" in rows else "lpips_published"
    parts = []
    for column, unit in ((f"{metric}_change", _UNITS[metric]), ("bpp_change", "change of bpp [%]")):
        found = [_finding(line, column) for line in rows.to_dict("records")]
        known = [one for one in found if np.isfinite(one.found.value)]
        values = [one.found.value for one in known]
        if len(known) > 1:
            parts.append(f"{unit} {min(values):+z.1g} to {max(values):+z.1g}")
        elif known:
            parts.append(f"{unit} {_text(known[0])}")
    if not parts:
        return f"captions {claim['control']}: not measured"
    return f"captions {claim['control']}, same λ: {', '.join(parts)}"


def _support(claim: Mapping[Any, Any], controls: pd.DataFrame) -> str:
    """What the control of a claim says: how much the content of the captions does at all."""
    if not claim["control"]:
        return ""
    rows = _of_control(claim, controls)
    column = JUDGED.get(claim["metric"], JUDGED["lpips_published"])
    found = [_finding(line, column) for line in rows.to_dict("records")]
    known = [one for one in found if np.isfinite(one.found.value)]
    if not known:
        return _plain_support(claim, rows)
    words = dict.fromkeys(str(verdict) for verdict in rows[f"{column}_verdict"])
    values = [one.found.value for one in known]
    span = f"{min(values):+z.2f} to {max(values):+z.2f}" if len(known) > 1 else _text(known[0])
    return f"captions {claim['control']}: {span} % rate at equal quality ({', '.join(words)})"
