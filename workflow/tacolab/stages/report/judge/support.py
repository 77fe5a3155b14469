"""What supports a verdict: how much the content of the captions does at all."""

from typing import Any

import pandas as pd

from tacolab.stages.report.judge.claims import Claim
from tacolab.stages.report.judge.evidence import Observation
from tacolab.stages.report.judge.lookup import NAMES_UNITS, change_of, observed, of_control
from tacolab.stages.report.measure.controls import JUDGED
from tacolab.stages.report.measure.differences import NOT_MEASURED


def support(claim: Claim, control: str, controls: pd.DataFrame) -> str:
    """What other captions change, in words; "" for a claim without them."""
    if not control:
        return ""
    rows = of_control(controls, claim, control)
    metric = claim["metric"] if claim["metric"] in JUDGED else "lpips_published"
    column = JUDGED[metric]
    known = _known(rows, column)
    if not known:
        return _plain(control, rows, metric)
    verdicts = dict.fromkeys(str(row[f"{column}_verdict"]) for row in rows)
    said = ", ".join(verdict for verdict in verdicts if verdict != NOT_MEASURED)  # a stand-in's
    text = f"captions {control}: {_span(known)} % rate at equal {NAMES_UNITS[metric][0]}"
    return f"{text} ({said})" if said else text


def _plain(control: str, rows: list[dict[Any, Any]], metric: str) -> str:
    """Where no curve says what quality costs: the changes of rate and quality themselves."""
    names = {f"{metric}_change": change_of(metric), "bpp_change": "change of bpp [%]"}
    known = {name: _known(rows, column) for column, name in names.items()}
    parts = [f"{name} {_span(found)}" for name, found in known.items() if found]
    if not parts:
        return f"captions {control}: not measured"
    return f"captions {control}, same λ: {', '.join(parts)}"


def _known(rows: list[dict[Any, Any]], column: str) -> list[Observation]:
    return [one for one in (observed(row, column) for row in rows) if one.known]


def _span(found: list[Observation]) -> str:
    """The one observation, or the range of several."""
    if len(found) == 1:
        return str(found[0])
    values = [one.interval.value for one in found]
    return f"{min(values):+z.3g} to {max(values):+z.3g}"
