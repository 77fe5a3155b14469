"""The verdict table: every claim of the study beside what was measured, and what supports it."""

import math
from typing import Any

import numpy as np
import pandas as pd

from tacolab.config import Study
from tacolab.quality.bootstrap import ConfidenceInterval
from tacolab.stages.report.judge import evidence
from tacolab.stages.report.judge.claims import (
    CONFIRMED,
    CONTRADICTED,
    NOT_CONFIRMED,
    UNDECIDABLE,
    Finding,
    claims,
    judge,
    together,
)
from tacolab.stages.report.judge.evidence import Claim, Evidence, Measured
from tacolab.stages.report.measure.differences import NOT_MEASURED, no_interval

COLUMNS = [
    *("id", "claim", "claimed", "arm", "reference", "dataset", "metric", "lmbda", "quantity"),
    *("measured", "verdict", "support", "note", "value", "value_low", "value_high", "claimed_in"),
]


def table(study: Study, measured: Measured) -> pd.DataFrame:
    """Every claim, claimed and measured, with its verdict and the control that supports it."""
    rows = [_row(study, claim, measured) for claim in claims().to_dict("records")]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(study: Study, claim: Claim, measured: Measured) -> dict[str, Any]:
    arm = claim["arm"]
    row: dict[str, Any] = {name: claim[name] for name in COLUMNS if name in claim}
    row |= {"reference": study.baseline_of(arm) if arm in study.arms_with_runs() else ""}
    if why := _not_asked(study, claim):
        return row | {"verdict": NOT_MEASURED, "note": why}
    found = evidence.of(study, claim, measured)
    row |= decide(claim["relation"], found)
    row["reference"] = found.against or row["reference"]
    if row["verdict"] == NOT_MEASURED:
        row["note"] = row["note"] or found.gap
    return row


def _not_asked(study: Study, claim: Claim) -> str:
    """What the config lacks for a claim; "" where it means to measure it."""
    arm, lmbda, dataset = claim["arm"], claim["lmbda"], claim["dataset"]
    if claim["relation"] == "same time":
        return "" if study.timing else "no times in this run"
    if arm not in study.arms:
        return f"no arm '{arm}' in this config"
    if arm not in study.arms_with_runs():
        return f"arm '{arm}' is not in this phase"
    if dataset not in study.protocol.datasets:
        return f"data set '{dataset}' is not evaluated"
    for name in dict.fromkeys((arm, study.baseline_of(arm))):
        if lmbda and lmbda not in study.lambdas_of(name):
            return f"{name} has no model at λ {lmbda}"
    return ""


def decide(relation: str, found: Evidence) -> dict[str, Any]:
    """The cells of a verdict: from the findings' intervals, where nothing speaks against them."""
    known = [one for one in found.found if np.isfinite(one.found.value)]
    judged = [judge(relation, one.found, found.margin) for one in known]
    doubts = [_doubt(relation, *pair, found.margin) for pair in zip(known, judged, strict=True)]
    final = [NOT_CONFIRMED if why else v for v, why in zip(judged, doubts, strict=True)]
    decided = [verdict for verdict in final if verdict != NOT_MEASURED]
    of = max(found.expected, len(found.found))
    verdict = together(relation, decided, of - len(decided))
    notes = [found.blocked, found.beside, *_first(doubts)]
    if relation == "undecidable":
        verdict = UNDECIDABLE
    elif found.blocked:
        verdict = NOT_MEASURED
    elif known and not decided:
        notes.append(no_interval(known[0].images))
    elif decided:
        if len(decided) < of and verdict == NOT_CONFIRMED:
            notes.append(f"{len(decided)} of {of} say something so far")
        against = [f.at for f, v in zip(known, final, strict=True) if v == CONTRADICTED and f.at]
        if len(set(final)) > 1 and against:
            notes.append(f"contradicted at {', '.join(against)}")
    seeds = [one.seeds for one in known if math.isfinite(one.seeds[0])]
    if len(seeds) == len(known) == 1 and not any(doubts):
        notes.append(f"single seeds {seeds[0][0]:+z.2f} to {seeds[0][1]:+z.2f}")
    cells: dict[str, Any] = {
        "quantity": found.quantity,
        "measured": "; ".join(map(str, known)),
        "verdict": verdict,
        "support": found.support,
        "note": "; ".join(dict.fromkeys(note for note in notes if note)),
    }
    if len(known) == 1:
        only = known[0].found
        cells |= {"value": only.value, "value_low": only.low, "value_high": only.high}
    return cells


def _doubt(relation: str, one: Finding, verdict: str, margin: float) -> str:
    """Why a finding may not give the verdict that its interval over images gives."""
    if verdict not in (CONFIRMED, CONTRADICTED):
        return ""
    if why := one.doubts.get(verdict):
        return why
    low, high = one.seeds
    if (
        math.isfinite(low)
        and judge(relation, ConfidenceInterval(low, low, high), margin) != verdict
    ):
        return f"training noise is larger: single seeds {low:+z.2f} to {high:+z.2f}"
    return ""


def _first(doubts: list[str]) -> list[str]:
    """The first, and how many more there are: each lambda would say it in other numbers."""
    some = [why for why in doubts if why]
    more = f" (and {len(some) - 1} more)" if len(some) > 1 else ""
    return [some[0] + more] if some else []
