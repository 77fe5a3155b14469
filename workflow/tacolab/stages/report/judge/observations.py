"""What this run observed of each claim: a function for each relation of claims.csv.

Each looks the claim up and returns its evidence, without observations where the run says nothing.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tacolab.config import OWN, Cut, Study
from tacolab.quality.bootstrap import ConfidenceInterval
from tacolab.stages.report.judge import caveats
from tacolab.stages.report.judge.caveats import Caveats, Row, if_any
from tacolab.stages.report.judge.claims import Claim
from tacolab.stages.report.judge.evidence import Effect, Evidence, MeasuredTables, Observation
from tacolab.stages.report.judge.lookup import change_of, matching, observed, of_control
from tacolab.stages.report.judge.support import support
from tacolab.stages.report.layout import METRICS
from tacolab.stages.report.measure import times
from tacolab.stages.report.measure.baselines import stand_ins
from tacolab.stages.report.measure.controls import JUDGED
from tacolab.stages.report.measure.differences import BETTER, EQUAL, WORSE
from tacolab.stages.report.measure.distances import FID_SAMPLES, NAMES, too_few

CURVE = "rate at equal quality [%]"
RISING = [metric.column for metric in METRICS if metric.higher_is_better]


def evidence_of(study: Study, claim: Claim, measured: MeasuredTables) -> Evidence:
    """What this run says of a claim."""
    return OBSERVED_BY[claim["relation"]](study, claim, measured)


def _planned(study: Study, claim: Claim) -> int:
    """How many lambdas there will be."""
    return 1 if claim["lmbda"] else len(study.lambdas_of(claim["arm"]))


def _against_baseline(study: Study, claim: Claim, measured: MeasuredTables) -> Evidence:
    """An arm beside its baseline: a distance, the quality at one lambda, or the whole curve."""
    if claim["metric"] in NAMES:
        return _distance(study, claim, measured)
    return (_one_lambda if claim["lmbda"] else _curve)(study, claim, measured)


def _curve(study: Study, claim: Claim, measured: MeasuredTables) -> Evidence:
    """The whole curve against the baseline's; without one, what single lambdas say."""
    baseline = study.baseline_of(claim["arm"])
    singles = matching(measured.points, claim, claim["metric"])
    whole = [
        row
        for row in matching(measured.bd, claim, claim["metric"])
        if row["reference"] == baseline and np.isfinite(row["bd_rate_low"])
    ]
    planned = _planned(study, claim)
    if whole:
        expected = 1
        observations = [observed(r, "bd_rate", caveats.scrap_of_curves(r), True) for r in whole]
        of_all = caveats.unequal(claim, measured)
        of_all += caveats.unfinished_curve(len(singles), planned)
    else:
        expected = planned
        observations = [observed(row, "at_equal_quality", seeds=True) for row in singles]
        of_all = _of_single_lambdas(claim, measured, singles)
    return Evidence(
        CURVE,
        tuple(observations),
        study.protocol.margins.bd_rate,
        expected,
        of_all + caveats.not_coded(claim, measured, claim["arm"], baseline),
        support=support(claim, claim["control"], measured.controls),
    )


def _of_single_lambdas(claim: Claim, measured: MeasuredTables, rows: Sequence[Row]) -> Caveats:
    """The rows' own notes: they say why there is no interval, or what to know of it."""
    notes = "; ".join(dict.fromkeys(row["note"] for row in rows if row["note"]))
    unequal = caveats.unequal(claim, measured)
    if unequal or not any(np.isfinite(row["at_equal_quality_low"]) for row in rows):
        return if_any(Effect.NOT_JUDGED, notes) or unequal
    return if_any(Effect.REMARK, notes)


def _one_lambda(study: Study, claim: Claim, measured: MeasuredTables) -> Evidence:
    """One lambda: quality at equal rate; what is claimed of the same lambda stands beside it."""
    rows = matching(measured.points, claim, claim["metric"])
    unequal = caveats.unequal(claim, measured) if rows else ()
    missing = caveats.not_coded(claim, measured, claim["arm"], study.baseline_of(claim["arm"]))
    return _at_lambdas(study, claim, measured, rows, unequal, missing)


def _distance(study: Study, claim: Claim, measured: MeasuredTables) -> Evidence:
    """FID or CMMD at one lambda, or at each."""
    metric, arm, baseline = claim["metric"], claim["arm"], study.baseline_of(claim["arm"])
    rows = matching(measured.distances, claim, metric)
    rows = [row for row in rows if pd.notna(row["change"])]
    few = too_few(min((row["samples"] for row in rows), default=math.inf))
    if metric == "fid" and few:
        barred = if_any(Effect.NOT_JUDGED, few)
        barred += if_any(Effect.NOT_JUDGED, stand_ins(study, arm, baseline))
    else:
        barred = caveats.unequal(claim, measured) if rows else ()
    nothing = f"no {metric.upper()} of it and its baseline on {claim['dataset']}"
    missing = caveats.not_coded(claim, measured, arm, baseline)
    missing = missing or if_any(Effect.NOTHING_THERE, nothing)
    return _at_lambdas(study, claim, measured, rows, barred, missing)


def _at_lambdas(
    study: Study,
    claim: Claim,
    measured: MeasuredTables,
    rows: list[dict[Any, Any]],
    barred: Caveats,
    missing: Caveats,
) -> Evidence:
    """At equal rate where a curve tells it, else at the same lambda as far as rate allows."""
    metric, relation = claim["metric"], claim["relation"]
    percent = "_percent" if relation == EQUAL else ""
    known = [row for row in rows if np.isfinite(row[f"at_equal_rate{percent}"])]
    if known:
        at, column = "at equal rate", f"at_equal_rate{percent}"
        beside = [caveats.opposite_at_the_same_lambda(row, relation) for row in known]
    else:
        at, column, known = "at the same λ", f"change{percent}", rows
        margin = study.protocol.margins.bd_rate
        beside = [
            caveats.rate_may_have_made_it(row, relation, metric in RISING)
            + caveats.rate_may_hide_it(row, relation, margin)
            for row in known
        ]
    return Evidence(
        f"change of {metric.upper()} {at} [%]" if percent else change_of(metric, at),
        tuple(observed(row, column, of) for row, of in zip(known, beside, strict=True)),
        {"within": claim["to"], EQUAL: study.protocol.margins.fid}.get(relation, 0.0),
        _planned(study, claim),
        barred + (caveats.same_lambda(claim, rows[0]) if len(rows) == 1 else ()) + missing,
        support=support(claim, claim["control"], measured.controls),
    )


def _cmmd_instead(study: Study, claim: Claim, measured: MeasuredTables) -> Evidence:
    """FID of 24 images; what there is instead: CMMD with its interval."""
    rows = matching(measured.distances, claim, "cmmd")
    found = tuple(observed(row, "change") for row in rows if pd.notna(row["change"]))
    instead = "CMMD with its interval instead" if found else "no CMMD in this run either"
    why = f"n = 24: a FID needs {FID_SAMPLES:,} samples; {instead}"
    quantity = "instead: change of CMMD at the same λ"
    return Evidence(quantity, found, caveats=if_any(Effect.UNDECIDABLE, why))


def _deviations(study: Study, claim: Claim, measured: MeasuredTables) -> Evidence:
    """From the authors' numbers: of the same 24 images, so nothing is sampled."""
    arm = claim["arm"]
    column, quantity = {
        "bpp_real": ("bpp_deviation", "deviation of bpp [%]"),
        "psnr": ("psnr_deviation", "deviation of PSNR [dB]"),
    }[claim["metric"]]
    rows = measured.published
    own = rows[(rows["caption"] == OWN) & rows[column].notna()]
    own = own[(own["arm"] == arm) & (own["dataset"] == claim["dataset"])]
    return Evidence(
        quantity,
        tuple(
            Observation(f"λ {row['lmbda']}", ConfidenceInterval(*[row[column]] * 3), row["images"])
            for row in own.to_dict("records")
        ),
        claim["to"],
        _planned(study, claim),
        if_any(Effect.NOT_JUDGED, stand_ins(study, arm)) + caveats.not_coded(claim, measured, arm),
        against="the authors' numbers",
        support=support(claim, claim["control"], measured.controls),
    )


def _cut_captions(study: Study, claim: Claim, measured: MeasuredTables) -> Evidence:
    """Whole captions against cut ones; only what gains at all can saturate."""
    arm, dataset, control = claim["arm"], claim["dataset"], claim["control"]
    column = JUDGED[claim["metric"]]
    lengths = {
        name: source.tokens
        for name, source in study.captions.items()
        if isinstance(source, Cut) and of_control(measured.controls, claim, name)
    }
    cuts = sorted(lengths, key=lambda name: lengths[name])
    shortest = cuts[0] if cuts else control
    gains: dict[str, str] = {}
    if shortest != control:
        rows = of_control(measured.controls, claim, shortest)
        gains = {row["lmbda"]: row[f"{column}_verdict"] for row in rows}
    lenders = (arm, study.baseline_of(arm), study.protocol.baseline)
    curve = next((name for name in lenders if len(study.lambdas_of(name)) > 1), arm)
    missing = "no curve yet that tells what quality costs"
    if (dataset, arm, control) not in measured.coded:
        missing = f"captions {control} are not evaluated on {dataset}"
    return Evidence(
        CURVE,
        tuple(
            observed(row, column, caveats.nothing_to_saturate(shortest, gains.get(row["lmbda"])))
            for row in of_control(measured.controls, claim, control)
        ),
        study.protocol.margins.bd_rate,
        _planned(study, claim),
        if_any(Effect.NOT_JUDGED, stand_ins(study, arm, curve))
        + if_any(Effect.NOTHING_THERE, missing),
        against="whole captions",
        support="; ".join(support(claim, name, measured.controls) for name in cuts),
    )


def _times_per_pair(study: Study, claim: Claim, measured: MeasuredTables) -> Evidence:
    """The earlier experiment, and beside it what it left as it was: the text's length."""
    found = tuple(
        Observation(
            row["at"],
            ConfidenceInterval(row["change"], row["change_low"], row["change_high"]),
            images=0,
        )
        for row in times.earlier(measured.timing, claim["metric"]).to_dict("records")
    )
    how = study.timing
    alike = "channels varied, which makes both kinds dearer alike" if found else ""
    return Evidence(
        "time per pair [%]",
        found,
        study.protocol.margins.time,
        len(how.machines) * len(how.width_factors) if how else 1,
        if_any(Effect.REMARK, alike)
        + if_any(Effect.NOTHING_THERE, "no times of the earlier experiment in this run"),
        against="softmax attention",
        support=times.swept(measured.timing, claim["metric"]),
    )


OBSERVED_BY: dict[str, Callable[[Study, Claim, MeasuredTables], Evidence]] = {
    BETTER: _against_baseline,
    WORSE: _against_baseline,
    EQUAL: _against_baseline,
    "not worse": _against_baseline,
    "up": _against_baseline,
    "down": _against_baseline,
    "within": _against_baseline,
    "saturates": _cut_captions,
    "same time": _times_per_pair,
    "reproduced": _deviations,
    "undecidable": _cmmd_instead,
}
