"""The verdict table: every claim of the study beside what was measured, and what supports it."""

import math
from typing import Any

import pandas as pd

from tacolab.config import Study
from tacolab.stages.report.judge.caveats import training_noise
from tacolab.stages.report.judge.claims import Claim, claims
from tacolab.stages.report.judge.evidence import (
    GIVES,
    TAKES_BACK,
    Effect,
    Evidence,
    MeasuredTables,
    Observation,
)
from tacolab.stages.report.judge.observations import evidence_of
from tacolab.stages.report.judge.relations import (
    CONTRADICTED,
    NOT_CONFIRMED,
    judge,
    together,
)
from tacolab.stages.report.measure.differences import NOT_MEASURED, no_interval

COLUMNS = [
    *("id", "claim", "claimed", "arm", "reference", "dataset", "metric", "lmbda", "quantity"),
    *("measured", "verdict", "support", "note", "value", "value_low", "value_high", "claimed_in"),
    "in_config",
]


def table(study: Study, measured: MeasuredTables) -> pd.DataFrame:
    """Every claim, claimed and measured, with its verdict and the control that supports it.

    in_config: whether the config measures it, now or in a later phase. These claims come first.
    """
    rows = [_row(study, claim, measured) for claim in claims().to_dict("records")]
    found = pd.DataFrame(rows, columns=COLUMNS)
    return found.sort_values("in_config", ascending=False, kind="stable", ignore_index=True)


def _row(study: Study, claim: Claim, measured: MeasuredTables) -> dict[str, Any]:
    arm = claim["arm"]
    row: dict[str, Any] = {name: claim[name] for name in COLUMNS if name in claim}
    row |= {"reference": study.baseline_of(arm) if arm in study.arms_with_runs() else ""}
    lacking = _lacking(study, claim)
    row["in_config"] = not lacking
    if why := lacking or _later(study, claim):
        return row | {"verdict": NOT_MEASURED, "note": why}
    found = evidence_of(study, claim, measured)
    row["reference"] = found.against or row["reference"]
    return row | decide(claim["relation"], found)


def _lacking(study: Study, claim: Claim) -> str:
    """What the config lacks for a claim; "" where it means to measure it."""
    arm, lmbda, dataset = claim["arm"], claim["lmbda"], claim["dataset"]
    if claim["relation"] == "same time":
        return "" if study.timing else "no times in this run"
    if arm not in study.arms:
        return f"no arm '{arm}' in this config"
    if dataset not in study.protocol.datasets:
        return f"data set '{dataset}' is not evaluated"
    for name in dict.fromkeys((arm, study.baseline_of(arm))):
        if lmbda and lmbda not in study.lambdas_of(name):
            return f"{name} has no model at λ {lmbda}"
    return ""


def _later(study: Study, claim: Claim) -> str:
    """That a claim's arm has no model before a later phase; "" where it has, or needs none."""
    arm = claim["arm"]
    waits = claim["relation"] != "same time" and arm not in study.arms_with_runs()
    return f"arm '{arm}' is not in this phase" if waits else ""


def decide(relation: str, found: Evidence) -> dict[str, Any]:
    """The cells of a verdict: from the observed intervals, as far as caveats let them decide."""
    known = [one for one in found.observations if one.known]
    judged = [_judged(relation, one, found.margin) for one in known]
    verdicts, against = [verdict for verdict, _ in judged], [why for _, why in judged if why]
    decided = [verdict for verdict in verdicts if verdict != NOT_MEASURED]
    planned = max(found.expected, len(found.observations))
    given = [GIVES[one.effect] for one in found.caveats if one.effect in GIVES]
    verdict = given[0] if given else together(relation, decided, planned - len(decided))
    notes = [one.text for one in found.caveats if one.effect is not Effect.NOTHING_THERE]
    notes += _first(against)
    if not given:
        notes += _undecided(known, len(decided), planned, verdict)
        notes += _exceptions(known, verdicts)
    if not against:
        notes += _single_seeds(known)
    if verdict == NOT_MEASURED and not notes:
        notes = [one.text for one in found.caveats]
    cells: dict[str, Any] = {
        "quantity": found.quantity,
        "measured": "; ".join(map(str, known)),
        "verdict": verdict,
        "support": found.support,
        "note": "; ".join(dict.fromkeys(notes)),
    }
    if len(known) == 1:
        only = known[0].interval
        cells |= {"value": only.value, "value_low": only.low, "value_high": only.high}
    return cells


def _judged(relation: str, one: Observation, margin: float) -> tuple[str, str]:
    """The verdict on one interval, and the caveat that took back what the interval says."""
    verdict = judge(relation, one.interval, margin)
    for caveat in (*one.caveats, *training_noise(relation, one.seeds, margin)):
        if verdict in TAKES_BACK[caveat.effect]:
            return NOT_CONFIRMED, caveat.text
    return verdict, ""


def _first(texts: list[str]) -> list[str]:
    """The first, and how many more there are: each lambda would say it in other numbers."""
    more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    return [texts[0] + more] if texts else []


def _undecided(known: list[Observation], decided: int, planned: int, verdict: str) -> list[str]:
    """Observations without an interval, or that are still to come."""
    if known and not decided:
        return [no_interval(known[0].images)]
    if decided and decided < planned and verdict == NOT_CONFIRMED:
        return [f"{decided} of {planned} say something so far"]
    return []


def _exceptions(known: list[Observation], verdicts: list[str]) -> list[str]:
    """Where a claim is contradicted that is not everywhere."""
    at = [one.at for one, v in zip(known, verdicts, strict=True) if v == CONTRADICTED and one.at]
    return [f"contradicted at {', '.join(at)}"] if at and len(set(verdicts)) > 1 else []


def _single_seeds(known: list[Observation]) -> list[str]:
    """The spread over trainings, beside the one observation."""
    if len(known) != 1 or not math.isfinite(known[0].seeds[0]):
        return []
    low, high = known[0].seeds
    return [f"single seeds {low:+z.2f} to {high:+z.2f}"]
