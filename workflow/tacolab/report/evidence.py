"""What was measured of each claim: the findings that decide it, and what must be known of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tacolab.config import Cut, Study
from tacolab.report import times
from tacolab.report.bootstrap import Interval
from tacolab.report.claims import Finding
from tacolab.report.controls import JUDGED
from tacolab.report.differences import EQUAL, WORSE
from tacolab.report.layout import METRICS

FID_SAMPLES = 10_000  # fewer say nothing
CURVE = "rate at equal quality [%]"
UNITS = {
    "psnr": ("PSNR", " [dB]"),
    "ms_ssim": ("MS-SSIM", " [dB]"),
    "lpips_published": ("LPIPS", " (published range)"),
    "lpips": ("LPIPS", " (standard range)"),
    "fid": ("FID", ""),
    "cmmd": ("CMMD", ""),
}
RISING = [metric.column for metric in METRICS if metric.higher_is_better]

Claim = Mapping[Any, Any]


@dataclass(frozen=True)
class Measured:
    """Tables that claims are looked up in, see the modules that make them.

    distances: change of FID and CMMD against the baseline. timing: rows of stage `timing`.
    published: the authors' weights against the authors' numbers. unequal: arms that must not be
    judged by their baselines, and why.
    """

    bd: pd.DataFrame
    points: pd.DataFrame
    controls: pd.DataFrame
    distances: pd.DataFrame
    timing: pd.DataFrame
    published: pd.DataFrame
    unequal: Mapping[str, str]


@dataclass(frozen=True)
class Evidence:
    """Findings about a claim.

    quantity: what they are of, with its unit. margin: of "equal", or the limit that the claim
    names. expected: how many there will be. blocked: why they must not be judged. beside: what
    else to know of them. support: what other captions, or other sizes, do.
    """

    quantity: str = ""
    found: list[Finding] = field(default_factory=list)
    margin: float = 0.0
    expected: int = 1
    blocked: str = ""
    beside: str = ""
    support: str = ""


def of(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """What this run says of a claim; without findings where it says nothing."""
    relation = claim["relation"]
    if relation == "same time":
        return _times(study, claim, measured)
    if relation == "undecidable":
        return _undecidable(study, claim, measured)
    if relation == "reproduced":
        return _reproduced(study, claim, measured)
    if relation == "saturates":
        return _cut(study, claim, measured)
    if claim["metric"] in ("fid", "cmmd"):
        return _distance(study, claim, measured)
    return (_single if claim["lmbda"] else _curve)(study, claim, measured)


def named(metric: str, what: str = "") -> str:
    """`change of PSNR at equal rate [dB]`."""
    name, unit = UNITS[metric]
    return f"change of {name}{f' {what}' if what else ''}{unit}"


def _finding(line: Claim, column: str, doubt: str = "") -> Finding:
    found = Interval(line[column], line[f"{column}_low"], line[f"{column}_high"])
    at = f"λ {line['lmbda']}" if line.get("lmbda") else ""
    return Finding(at, found, int(line["images"]), doubt)


def _matching(frame: pd.DataFrame, claim: Claim) -> list[dict[Any, Any]]:
    """Rows of a claim's arm, data set and metric; at its lambda if it names one."""
    chosen = frame[(frame["arm"] == claim["arm"]) & (frame["dataset"] == claim["dataset"])]
    return _at(chosen[chosen["metric"] == claim["metric"]], claim)


def _at(frame: pd.DataFrame, claim: Claim) -> list[dict[Any, Any]]:
    chosen = frame.loc[frame["lmbda"] == claim["lmbda"]] if claim["lmbda"] else frame
    found: list[dict[Any, Any]] = chosen.to_dict("records")
    return found


def _lambdas(study: Study, claim: Claim) -> int:
    return 1 if claim["lmbda"] else len(study.lambdas_of(claim["arm"]))


def _curve(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """The whole curve against the baseline's; without one, what single lambdas say."""
    arm, margin = claim["arm"], study.protocol.margins.bd_rate
    singles = _matching(measured.points, claim)
    whole = _matching(measured.bd, {**claim, "lmbda": ""})
    whole = [line for line in whole if line["reference"] == study.baseline_of(arm)]
    found = [_finding(line, "bd_rate") for line in whole if np.isfinite(line["bd_rate_low"])]
    expected = 1
    if not found:
        found = [_finding(line, "at_equal_quality") for line in singles]
        expected = _lambdas(study, claim)
    blocked = measured.unequal.get(arm, "")
    if not any(np.isfinite(one.found.low) for one in found):
        blocked = next((line["note"] for line in singles if line["note"]), blocked)
    support = _support(claim, measured.controls)
    return Evidence(CURVE, found, margin, expected, blocked, support=support)


def _single(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """One lambda: quality at equal rate; what is claimed of the same lambda stands beside it."""
    metric = claim["metric"]
    rows = _matching(measured.points, claim)
    at, found = "at equal rate", [_finding(line, "at_equal_rate") for line in rows]
    if not _known(found):
        at, found = "at the same λ", [_at_same_lambda(study, line, metric) for line in rows]
    return Evidence(
        named(metric, at),
        found,
        claim["to"] if claim["relation"] == "within" else 0.0,
        blocked=measured.unequal.get(claim["arm"], "") if rows else "",
        beside="; ".join(_same_lambda(claim, line) for line in rows),
        support=_support(claim, measured.controls),
    )


def _at_same_lambda(study: Study, line: Claim, metric: str) -> Finding:
    better = line["change"] if metric in RISING else -line["change"]
    return _finding(line, "change", _by_rate(study, line, better))


def _same_lambda(claim: Claim, line: Claim) -> str:
    """What a claim of two numbers speaks of, and whether its size is right."""
    if math.isnan(line["change"]):
        return ""
    text = f"same λ: {line['of_reference']:.4f} to {line['of_arm']:.4f}"
    text += f", bpp {line['rate_change']:+z.2f} %"
    size = float(claim["to"] - claim["from"])
    if math.isfinite(size) and math.isfinite(line["change_low"]):
        inside = line["change_low"] <= size <= line["change_high"]
        text += f"; its interval {'holds' if inside else 'excludes'} the claimed {size:+.4f}"
    return text


def _by_rate(study: Study, line: Claim, better: float) -> str:
    """Doubt about a change at the same lambda that the rate alone may have made.

    better: by how much quality is; 0 where it is said to be the same.
    """
    margin, rate = study.protocol.margins.bd_rate, line["rate_change"]
    if (better >= 0 and rate > margin) or (better <= 0 and rate < -margin):
        return f"bpp changes by {rate:+z.2f} % too, so it may be the rate"
    return ""


def _distance(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """FID or CMMD, which have no curve to be judged by: at the same lambda."""
    same = claim["relation"] == EQUAL
    rows = [line for line in _matching(measured.distances, claim) if pd.notna(line["change"])]
    column = "change_percent" if same else "change"
    found = [
        _finding(line, column, _by_rate(study, line, 0.0 if same else -line["change"]))
        for line in rows
    ]
    blocked = measured.unequal.get(claim["arm"], "") if rows else ""
    if claim["metric"] == "fid" and rows:
        fewest = int(min(line["samples"] for line in rows))
        if fewest < FID_SAMPLES:
            blocked = f"n = {fewest:,} samples: a FID needs {FID_SAMPLES:,}"
    return Evidence(
        f"change of {claim['metric'].upper()} [%]" if same else named(claim["metric"]),
        found,
        study.protocol.margins.fid,
        _lambdas(study, claim),
        blocked,
        beside="" if len(rows) != 1 else _same_lambda(claim, rows[0]),
        support=_support(claim, measured.controls),
    )


def _undecidable(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """FID of 24 images; what there is instead: CMMD with its interval."""
    rows = _matching(measured.distances, {**claim, "metric": "cmmd"})
    found = [_finding(line, "change") for line in rows if pd.notna(line["change"])]
    instead = "CMMD with its interval instead" if found else "no CMMD in this run either"
    why = f"n = 24: a FID needs {FID_SAMPLES:,} samples; {instead}"
    return Evidence("instead: change of CMMD", found, beside=why)


def _reproduced(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """Deviations from the authors' numbers: of the same 24 images, so nothing is sampled."""
    column, quantity = {
        "bpp_real": ("bpp_deviation", "deviation of bpp [%]"),
        "psnr": ("psnr_deviation", "deviation of PSNR [dB]"),
    }[claim["metric"]]
    rows = measured.published
    own = rows[(rows["caption"] == "own") & rows[column].notna()]
    found = [
        Finding(f"λ {line['lmbda']}", Interval(*[line[column]] * 3), line["images"])
        for line in own.to_dict("records")
    ]
    return Evidence(
        quantity,
        found,
        claim["to"],
        _lambdas(study, claim),
        support=_support(claim, measured.controls),
    )


def _cut(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """Whole captions against cut ones; only what gains at all can saturate."""
    rows = _of_control(claim, claim["control"], measured.controls)
    lengths = {
        name: source.tokens
        for name, source in study.captions.items()
        if isinstance(source, Cut) and len(_of_control(claim, name, measured.controls))
    }
    shortest = min(lengths, key=lambda name: lengths[name], default=claim["control"])
    column = JUDGED[claim["metric"]]
    gains: dict[str, str] = {}
    if shortest != claim["control"]:
        for line in _of_control(claim, shortest, measured.controls):
            gains[line["lmbda"]] = line[f"{column}_verdict"]

    def doubt(lmbda: str) -> str:
        if lmbda not in gains:
            return "whether long captions gain anything is not measured: no shorter cut"
        if gains[lmbda] != WORSE:
            return f"no gain to saturate: {shortest} is not worse than whole captions"
        return ""

    found = [_finding(line, column, doubt(line["lmbda"])) for line in rows]
    return Evidence(
        CURVE,
        found,
        study.protocol.margins.bd_rate,
        _lambdas(study, claim),
        support="; ".join(
            _support({**claim, "control": name}, measured.controls)
            for name in sorted(lengths, key=lambda name: lengths[name])
        ),
    )


def _times(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """The earlier experiment, and beside it what it left as it was: the text's length."""
    rows = times.earlier(measured.timing, claim["metric"])
    found = [
        Finding(line["at"], Interval(line["change"], line["change_low"], line["change_high"]), 0)
        for line in rows.to_dict("records")
    ]
    return Evidence(
        "time per pair [%]",
        found,
        study.protocol.margins.time,
        beside="channels varied, which makes both kinds dearer alike" if found else "",
        support=times.swept(measured.timing, claim["metric"]),
    )


def _of_control(claim: Claim, control: str, controls: pd.DataFrame) -> list[dict[Any, Any]]:
    rows = controls[(controls["source"] == claim["arm"]) & (controls["control"] == control)]
    return _at(rows[rows["dataset"] == claim["dataset"]], claim)


def _support(claim: Claim, controls: pd.DataFrame) -> str:
    """What the control of a claim says: how much the content of the captions does at all."""
    control = claim["control"]
    if not control:
        return ""
    rows = _of_control(claim, control, controls)
    column = JUDGED.get(claim["metric"], JUDGED["lpips_published"])
    known = _known([_finding(line, column) for line in rows])
    if not known:
        return _plain_support(claim, rows)
    verdicts = ", ".join(dict.fromkeys(str(line[f"{column}_verdict"]) for line in rows))
    return f"captions {control}: {_span(known, '.2f')} % rate at equal quality ({verdicts})"


def _plain_support(claim: Claim, rows: list[dict[Any, Any]]) -> str:
    """Where no curve says what quality costs: the changes of rate and quality themselves."""
    metric = (
        claim["metric"] if claim["metric"] in ("psnr", "lpips_published") else "lpips_published"
    )
    parts = []
    for column, name in ((f"{metric}_change", named(metric)), ("bpp_change", "change of bpp [%]")):
        known = _known([_finding(line, column) for line in rows])
        if known:
            parts.append(f"{name} {_span(known, '.1g')}")
    if not parts:
        return f"captions {claim['control']}: not measured"
    return f"captions {claim['control']}, same λ: {', '.join(parts)}"


def _known(found: list[Finding]) -> list[Finding]:
    return [one for one in found if np.isfinite(one.found.value)]


def _span(found: list[Finding], digits: str) -> str:
    """The one finding, or the range of several."""
    if len(found) == 1:
        return str(found[0])
    values = [one.found.value for one in found]
    return f"{min(values):+z{digits}} to {max(values):+z{digits}}"
