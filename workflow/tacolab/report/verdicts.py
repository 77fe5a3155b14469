"""The verdict table: every claim of the study beside what was measured, and what supports it."""

from typing import Any

import numpy as np
import pandas as pd

from tacolab.config import Study
from tacolab.report import evidence
from tacolab.report.claims import (
    CONFIRMED,
    CONTRADICTED,
    NOT_CONFIRMED,
    UNDECIDABLE,
    claims,
    judge,
    together,
)
from tacolab.report.differences import NOT_MEASURED, no_interval
from tacolab.report.evidence import Claim, Evidence, Measured

COLUMNS = [
    *("id", "claim", "claimed", "arm", "reference", "dataset", "metric", "lmbda", "quantity"),
    *("measured", "verdict", "support", "note", "value", "value_low", "value_high", "source"),
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
    if row["verdict"] == NOT_MEASURED:
        row["note"] = row["note"] or _gap(claim)
    if claim["relation"] != "same time" and (why := _stand_in(study, arm)):
        row |= {"verdict": NOT_MEASURED, "note": why}
    return row


def _not_asked(study: Study, claim: Claim) -> str:
    """What the config lacks for a claim; "" where it means to measure it."""
    arm, lmbda, dataset = claim["arm"], claim["lmbda"], claim["dataset"]
    if claim["relation"] == "same time":
        return "" if study.timing else "no times in this run"
    if arm not in study.arms_with_runs():
        return f"no arm '{arm}' in this config"
    if dataset not in study.protocol.datasets:
        return f"data set '{dataset}' is not evaluated"
    for name in dict.fromkeys((arm, study.baseline_of(arm))):
        if lmbda and lmbda not in study.lambdas_of(name):
            return f"{name} has no model at λ {lmbda}"
    return ""


def _stand_in(study: Study, arm: str) -> str:
    """What the arm or its baseline has in place of the real thing: no verdict may rest on it."""
    names = dict.fromkeys((arm, study.baseline_of(arm)))
    parts = [
        f"{name} has {study.arms[name].stand_in}" for name in names if study.arms[name].stand_in
    ]
    return f"stand-in: {'; '.join(parts)}" if parts else ""


def _gap(claim: Claim) -> str:
    """Why nothing was found."""
    if claim["relation"] == "same time":
        return "no times of the earlier experiment in this run"
    if claim["relation"] == "saturates":
        return f"captions {claim['control']} are not evaluated on {claim['dataset']}"
    if claim["metric"] in ("fid", "cmmd"):
        return f"no {claim['metric'].upper()} on {claim['dataset']} in this run"
    return ""


def decide(relation: str, found: Evidence) -> dict[str, Any]:
    """The cells of a verdict: from the findings' intervals, where nothing speaks against them."""
    known = [one for one in found.found if np.isfinite(one.found.value)]
    judged = [judge(relation, one.found, found.margin) for one in known]
    decided = [verdict for verdict in judged if verdict != NOT_MEASURED]
    notes = [found.blocked, found.beside]
    for at, one in enumerate(known):
        if one.doubt and judged[at] in (CONFIRMED, CONTRADICTED):
            decided[decided.index(judged[at])] = NOT_CONFIRMED
            notes.append(one.doubt)
    of = max(found.expected, len(found.found))
    verdict = together(relation, decided, of - len(decided))
    if relation == "undecidable":
        verdict = UNDECIDABLE
    elif found.blocked:
        verdict = NOT_MEASURED
    elif verdict == NOT_CONFIRMED and len(decided) < of:
        notes.append(f"so far: {len(decided)} of {of} have an interval")
    elif known and not decided:
        notes.append(no_interval(known[0].images))
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
