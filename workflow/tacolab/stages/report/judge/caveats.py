"""Caveats of measurements: each function says one thing that may speak against a verdict.

Each returns one caveat or none, as a tuple, so that they are collected by adding them up.
"""

import math
from collections.abc import Mapping
from typing import Any

from tacolab.config import OWN
from tacolab.quality.bootstrap import ConfidenceInterval
from tacolab.stages.report.judge.claims import Claim
from tacolab.stages.report.judge.evidence import Caveat, Effect, MeasuredTables
from tacolab.stages.report.judge.relations import CONFIRMED, CONTRADICTED, judge
from tacolab.stages.report.measure.differences import EQUAL, NOT_MEASURED, OVERLAP, WORSE, scrap

Caveats = tuple[Caveat, ...]
Row = Mapping[Any, Any]  # of one of the measured tables

NEAR = 0.2  # of a claimed level: farther off its size says nothing


def if_any(effect: Effect, text: str) -> Caveats:
    """A caveat with this text; none where the text is empty."""
    return (Caveat(effect, text),) if text else ()


# Of a claim.


def unequal(claim: Claim, measured: MeasuredTables) -> Caveats:
    """The arm must not be judged by its baseline."""
    return if_any(Effect.NOT_JUDGED, measured.unequal.get(claim["arm"], ""))


def not_coded(claim: Claim, measured: MeasuredTables, *arms: str, captions: str = OWN) -> Caveats:
    """One of the arms has no picture yet."""
    for name in dict.fromkeys(arms):
        if (claim["dataset"], name, captions) not in measured.coded:
            return if_any(Effect.NOTHING_THERE, f"{claim['dataset']} is not coded by {name} yet")
    return ()


def unfinished_curve(lambdas: int, planned: int) -> Caveats:
    """The curve goes through fewer points than it will."""
    text = f"so far: curve of {lambdas} of {planned} λ"
    return if_any(Effect.REMARK, text if lambdas < planned else "")


def same_lambda(claim: Claim, row: Row) -> Caveats:
    """What a claim of two numbers speaks of, and whether its size is right."""
    if math.isnan(row["change"]):
        return ()
    text = f"same λ: {row['of_reference']:.4f} to {row['of_arm']:.4f}"
    text += f", bpp {row['rate_change']:+z.2f} %"
    size = float(claim["to"] - claim["from"])
    if not (math.isfinite(size) and math.isfinite(row["change_low"])):
        return if_any(Effect.REMARK, text)
    if abs(row["of_reference"] / claim["from"] - 1) > NEAR:
        text += f"; claimed from another level, {claim['from']:.4f}"
    else:
        inside = row["change_low"] <= size <= row["change_high"]
        text += f"; its interval {'holds' if inside else 'excludes'} the claimed {size:+.4f}"
    return if_any(Effect.REMARK, text)


# Of one interval.


def training_noise(relation: str, seeds: tuple[float, float], margin: float) -> Caveats:
    """Single seeds do not all say the same: images know nothing about training."""
    low, high = seeds
    if not math.isfinite(low):
        return ()
    said = judge(relation, ConfidenceInterval(low, low, high), margin)
    agreed = {CONFIRMED: Effect.NO_CONTRADICTION, CONTRADICTED: Effect.NO_CONFIRMATION}
    text = f"training noise is larger: single seeds {low:+z.2f} to {high:+z.2f}"
    return if_any(agreed.get(said, Effect.NO_DECISION), text)


def scrap_of_curves(row: Row) -> Caveats:
    """Two whole curves share too little to be compared."""
    return if_any(Effect.NO_DECISION, "" if row["overlap"] >= OVERLAP else scrap(row["overlap"]))


def opposite_at_the_same_lambda(row: Row, relation: str) -> Caveats:
    """Claims were made at the same lambda: who saw a rise there is not contradicted by what rate
    did, and who saw none is not confirmed by it."""
    if relation not in ("up", "down"):
        return ()
    same = ConfidenceInterval(row["change"], row["change_low"], row["change_high"])
    return {
        CONFIRMED: if_any(Effect.NO_CONTRADICTION, "at the same λ it is as claimed, by the rate"),
        CONTRADICTED: if_any(Effect.NO_CONFIRMATION, "at the same λ it is the opposite"),
    }.get(judge(relation, same, 0.0), ())


def rate_may_have_made_it(row: Row, relation: str, rising: bool) -> Caveats:
    """A change at the same lambda is what the change of rate would make. rising: of a metric of
    which more is better."""
    better = row["change"] > 0 if rising else row["change"] < 0
    # Also where nothing is known of the rate.
    if row["rate_change_high"] <= 0 if better else row["rate_change_low"] >= 0:
        return ()
    # Equal is confirmed by rate that did not move, not by rate that moved the right way.
    effect = Effect.NO_CONTRADICTION if relation in (EQUAL, "within") else Effect.NO_DECISION
    return if_any(effect, f"{_moved(row)} too, so it may be the rate")


def rate_may_hide_it(row: Row, relation: str, margin: float) -> Caveats:
    """Nothing changed at the same lambda, but rate did. margin: of an equal rate [%]."""
    if relation not in (EQUAL, "within"):
        return ()
    if -margin <= row["rate_change_low"] and row["rate_change_high"] <= margin:
        return ()
    return if_any(Effect.NO_CONFIRMATION, f"{_moved(row)}, which may hide a change")


def _moved(row: Row) -> str:
    return f"bpp changes by {row['rate_change']:+z.2f} %"


def nothing_to_saturate(shortest: str, verdict: str | None) -> Caveats:
    """Whole captions are no better than much shorter ones.

    shortest: the control with the shortest captions. verdict: on the rate that it needs; None where
    it was not measured.
    """
    if verdict == WORSE:
        return ()
    text = f"no gain is seen that could saturate: {shortest} {verdict}"
    if verdict is None:
        text = "whether long captions gain anything is not measured: no shorter cut"
    elif verdict == NOT_MEASURED:
        text = f"whether long captions gain anything is not told by {shortest}"
    return if_any(Effect.NO_CONFIRMATION, text)
