"""What was measured of each claim: the findings that decide it, and what must be known of them."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from tacolab.config import OWN, Cut, Study
from tacolab.quality.bootstrap import ConfidenceInterval
from tacolab.stages.report.judge.claims import CONFIRMED, CONTRADICTED, Finding, judge
from tacolab.stages.report.layout import METRICS
from tacolab.stages.report.measure import times
from tacolab.stages.report.measure.baselines import stand_ins
from tacolab.stages.report.measure.controls import JUDGED
from tacolab.stages.report.measure.differences import EQUAL, NOT_MEASURED, OVERLAP, WORSE, scrap
from tacolab.stages.report.measure.distances import FID_SAMPLES, too_few

NEAR = 0.2  # of a claimed level: farther off its size says nothing
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
    judged by their baselines, and why. coded: (data set, arm, captions) of which there is anything.
    """

    bd: pd.DataFrame
    points: pd.DataFrame
    controls: pd.DataFrame
    distances: pd.DataFrame
    timing: pd.DataFrame
    published: pd.DataFrame
    unequal: Mapping[str, str]
    coded: Collection[tuple[str, str, str]]


@dataclass(frozen=True)
class Evidence:
    """Findings about a claim.

    quantity: what they are of, with its unit. margin: of "equal", or the limit that the claim
    names. expected: how many there will be. against: what was compared with. blocked: why they must
    not be judged. beside: what else to know of them. gap: why there are none. support: what other
    captions, or other sizes, do.
    """

    quantity: str = ""
    found: list[Finding] = field(default_factory=list)
    margin: float = 0.0
    expected: int = 1
    against: str = ""
    blocked: str = ""
    beside: str = ""
    gap: str = ""
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


def _finding(
    line: Claim, column: str, doubts: Mapping[str, str] | None = None, seeds: bool = False
) -> Finding:
    found = ConfidenceInterval(line[column], line[f"{column}_low"], line[f"{column}_high"])
    at = f"λ {line['lmbda']}" if line.get("lmbda") else ""
    ends = (line["seeds_low"], line["seeds_high"]) if seeds else (math.nan, math.nan)
    return Finding(at, found, int(line["images"]), ends, doubts or {})


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


def _not_coded(study: Study, claim: Claim, measured: Measured) -> str:
    """Which of both arms has no picture yet."""
    dataset, arm = claim["dataset"], claim["arm"]
    for name in dict.fromkeys((arm, study.baseline_of(arm))):
        if (dataset, name, OWN) not in measured.coded:
            return f"{dataset} is not coded by {name} yet"
    return ""


def _curve(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """The whole curve against the baseline's; without one, what single lambdas say."""
    arm, planned = claim["arm"], _lambdas(study, claim)
    singles = _matching(measured.points, claim)
    whole = _matching(measured.bd, {**claim, "lmbda": ""})
    whole = [line for line in whole if line["reference"] == study.baseline_of(arm)]
    whole = [line for line in whole if np.isfinite(line["bd_rate_low"])]
    found = [_finding(line, "bd_rate", _overlap(line), seeds=True) for line in whole]
    expected, beside, blocked = 1, "", measured.unequal.get(arm, "")
    if not found:
        found = [_finding(line, "at_equal_quality", seeds=True) for line in singles]
        expected = planned
        notes = "; ".join(dict.fromkeys(line["note"] for line in singles if line["note"]))
        if blocked or not any(np.isfinite(one.found.low) for one in found):
            blocked = notes or blocked
        else:
            beside = notes
    elif len(singles) < planned:
        beside = f"so far: curve of {len(singles)} of {planned} λ"
    return Evidence(
        CURVE,
        found,
        study.protocol.margins.bd_rate,
        expected,
        blocked=blocked,
        beside=beside,
        gap=_not_coded(study, claim, measured),
        support=_support(claim, measured.controls),
    )


def _overlap(line: Claim) -> dict[str, str]:
    """Doubts about a difference of whole curves."""
    if line["overlap"] >= OVERLAP:
        return {}
    return dict.fromkeys((CONFIRMED, CONTRADICTED), scrap(line["overlap"]))


def _single(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """One lambda: quality at equal rate; what is claimed of the same lambda stands beside it."""
    rows = _matching(measured.points, claim)
    return _one_lambda(study, claim, measured, rows, claim["metric"] in RISING)


def _distance(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """FID or CMMD at one lambda, or at each."""
    rows = [line for line in _matching(measured.distances, claim) if pd.notna(line["change"])]
    found = _one_lambda(study, claim, measured, rows, rising=False)
    why = too_few(min((line["samples"] for line in rows), default=math.inf))
    if claim["metric"] == "fid" and why:
        others = stand_ins(study, claim["arm"], study.baseline_of(claim["arm"]))
        return replace(found, blocked="; ".join(filter(None, [why, others])))
    gap = found.gap or f"no {claim['metric'].upper()} of it and its baseline on {claim['dataset']}"
    return replace(found, gap=gap)


def _one_lambda(
    study: Study, claim: Claim, measured: Measured, rows: list[dict[Any, Any]], rising: bool
) -> Evidence:
    """At equal rate where a curve tells it, else at the same lambda as far as rate allows."""
    metric, relation = claim["metric"], claim["relation"]
    percent = "_percent" if relation == EQUAL else ""
    margin = {"within": claim["to"], EQUAL: study.protocol.margins.fid}.get(relation, 0.0)
    known = [line for line in rows if np.isfinite(line[f"at_equal_rate{percent}"])]
    if known:
        at, column = "at equal rate", f"at_equal_rate{percent}"
        found = [_finding(line, column, _as_claimed(line, relation)) for line in known]
    else:
        at, column = "at the same λ", f"change{percent}"
        found = [_finding(line, column, _by_rate(study, line, rising, relation)) for line in rows]
    quantity = f"change of {metric.upper()} {at} [%]" if percent else named(metric, at)
    return Evidence(
        quantity,
        found,
        margin,
        _lambdas(study, claim),
        blocked=measured.unequal.get(claim["arm"], "") if rows else "",
        beside=_same_lambda(claim, rows[0]) if len(rows) == 1 else "",
        gap=_not_coded(study, claim, measured),
        support=_support(claim, measured.controls),
    )


def _as_claimed(line: Claim, relation: str) -> dict[str, str]:
    """Claims were made at the same lambda: who saw a rise there is not contradicted by what rate
    did, and who saw none is not confirmed by it."""
    if relation not in ("up", "down"):
        return {}
    same = ConfidenceInterval(line["change"], line["change_low"], line["change_high"])
    said = judge(relation, same, 0.0)
    if said == CONFIRMED:
        return {CONTRADICTED: "at the same λ it is as claimed, by the rate"}
    return {CONFIRMED: "at the same λ it is the opposite"} if said == CONTRADICTED else {}


def _by_rate(study: Study, line: Claim, rising: bool, relation: str) -> dict[str, str]:
    """Doubts about a change at the same lambda: rate may have made it, or hidden it."""
    low, high = line["rate_change_low"], line["rate_change_high"]
    margin = study.protocol.margins.bd_rate
    moved = f"bpp changes by {line['rate_change']:+z.2f} %"
    better = line["change"] > 0 if rising else line["change"] < 0
    doubts = {}
    if not (high <= 0 if better else low >= 0):  # also where nothing is known of it
        doubts = dict.fromkeys((CONFIRMED, CONTRADICTED), f"{moved} too, so it may be the rate")
    if relation in (EQUAL, "within"):
        doubts.pop(CONFIRMED, None)
        if not (-margin <= low and high <= margin):
            doubts[CONFIRMED] = f"{moved}, which may hide a change"
    return doubts


def _same_lambda(claim: Claim, line: Claim) -> str:
    """What a claim of two numbers speaks of, and whether its size is right."""
    if math.isnan(line["change"]):
        return ""
    text = f"same λ: {line['of_reference']:.4f} to {line['of_arm']:.4f}"
    text += f", bpp {line['rate_change']:+z.2f} %"
    size = float(claim["to"] - claim["from"])
    if not (math.isfinite(size) and math.isfinite(line["change_low"])):
        return text
    if abs(line["of_reference"] / claim["from"] - 1) > NEAR:
        return f"{text}; claimed from another level, {claim['from']:.4f}"
    inside = line["change_low"] <= size <= line["change_high"]
    return f"{text}; its interval {'holds' if inside else 'excludes'} the claimed {size:+.4f}"


def _undecidable(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """FID of 24 images; what there is instead: CMMD with its interval."""
    rows = _matching(measured.distances, {**claim, "metric": "cmmd"})
    found = [_finding(line, "change") for line in rows if pd.notna(line["change"])]
    instead = "CMMD with its interval instead" if found else "no CMMD in this run either"
    why = f"n = 24: a FID needs {FID_SAMPLES:,} samples; {instead}"
    return Evidence("instead: change of CMMD at the same λ", found, beside=why)


def _reproduced(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """Deviations from the authors' numbers: of the same 24 images, so nothing is sampled."""
    column, quantity = {
        "bpp_real": ("bpp_deviation", "deviation of bpp [%]"),
        "psnr": ("psnr_deviation", "deviation of PSNR [dB]"),
    }[claim["metric"]]
    rows = measured.published
    own = rows[(rows["caption"] == OWN) & rows[column].notna()]
    own = own[(own["arm"] == claim["arm"]) & (own["dataset"] == claim["dataset"])]
    found = [
        Finding(f"λ {line['lmbda']}", ConfidenceInterval(*[line[column]] * 3), line["images"])
        for line in own.to_dict("records")
    ]
    coded = (claim["dataset"], claim["arm"], OWN) in measured.coded
    return Evidence(
        quantity,
        found,
        claim["to"],
        _lambdas(study, claim),
        against="the authors' numbers",
        blocked=stand_ins(study, claim["arm"]),
        gap="" if coded else f"{claim['dataset']} is not coded by {claim['arm']} yet",
        support=_support(claim, measured.controls),
    )


def _cut(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """Whole captions against cut ones; only what gains at all can saturate."""
    arm, dataset, control = claim["arm"], claim["dataset"], claim["control"]
    rows = _of_control(claim, control, measured.controls)
    lengths = {
        name: source.tokens
        for name, source in study.captions.items()
        if isinstance(source, Cut) and len(_of_control(claim, name, measured.controls))
    }
    cuts = sorted(lengths, key=lambda name: lengths[name])
    column = JUDGED[claim["metric"]]
    shorter = [name for name in cuts[:1] if name != control]
    gains = {
        line["lmbda"]: line[f"{column}_verdict"]
        for name in shorter
        for line in _of_control(claim, name, measured.controls)
    }

    def doubts(lmbda: str) -> dict[str, str]:
        if lmbda not in gains:
            return {
                CONFIRMED: "whether long captions gain anything is not measured: no shorter cut"
            }
        if gains[lmbda] == NOT_MEASURED:
            return {CONFIRMED: f"whether long captions gain anything is not told by {cuts[0]}"}
        if gains[lmbda] != WORSE:
            return {CONFIRMED: f"no gain is seen that could saturate: {cuts[0]} {gains[lmbda]}"}
        return {}

    lenders = (arm, study.baseline_of(arm), study.protocol.baseline)
    curve = next((name for name in lenders if len(study.lambdas_of(name)) > 1), arm)
    gap = "no curve yet that tells what quality costs"
    if (dataset, arm, control) not in measured.coded:
        gap = f"captions {control} are not evaluated on {dataset}"
    return Evidence(
        CURVE,
        [_finding(line, column, doubts(line["lmbda"])) for line in rows],
        study.protocol.margins.bd_rate,
        _lambdas(study, claim),
        against="whole captions",
        blocked=stand_ins(study, arm, curve),
        gap=gap,
        support="; ".join(_support({**claim, "control": name}, measured.controls) for name in cuts),
    )


def _times(study: Study, claim: Claim, measured: Measured) -> Evidence:
    """The earlier experiment, and beside it what it left as it was: the text's length."""
    rows = times.earlier(measured.timing, claim["metric"])
    found = [
        Finding(
            line["at"],
            ConfidenceInterval(line["change"], line["change_low"], line["change_high"]),
            0,
        )
        for line in rows.to_dict("records")
    ]
    how = study.timing
    return Evidence(
        "time per pair [%]",
        found,
        study.protocol.margins.time,
        len(how.machines) * len(how.width_factors) if how else 1,
        against="softmax attention",
        beside="channels varied, which makes both kinds dearer alike" if found else "",
        gap="no times of the earlier experiment in this run",
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
    metric = claim["metric"] if claim["metric"] in JUDGED else "lpips_published"
    column = JUDGED[metric]
    known = _known([_finding(line, column) for line in rows])
    if not known:
        return _plain_support(claim, rows, metric)
    verdicts = dict.fromkeys(str(line[f"{column}_verdict"]) for line in rows)
    said = ", ".join(verdict for verdict in verdicts if verdict != NOT_MEASURED)  # a stand-in's
    text = f"captions {control}: {_span(known)} % rate at equal {UNITS[metric][0]}"
    return f"{text} ({said})" if said else text


def _plain_support(claim: Claim, rows: list[dict[Any, Any]], metric: str) -> str:
    """Where no curve says what quality costs: the changes of rate and quality themselves."""
    parts = []
    for column, name in ((f"{metric}_change", named(metric)), ("bpp_change", "change of bpp [%]")):
        known = _known([_finding(line, column) for line in rows])
        if known:
            parts.append(f"{name} {_span(known)}")
    if not parts:
        return f"captions {claim['control']}: not measured"
    return f"captions {claim['control']}, same λ: {', '.join(parts)}"


def _known(found: list[Finding]) -> list[Finding]:
    return [one for one in found if np.isfinite(one.found.value)]


def _span(found: list[Finding]) -> str:
    """The one finding, or the range of several."""
    if len(found) == 1:
        return str(found[0])
    values = [one.found.value for one in found]
    return f"{min(values):+z.3g} to {max(values):+z.3g}"
