"""Arms with weighted tokens at the smallest lambda of the study, claimed and measured."""

import pandas as pd

from tacolab.config import Study
from tacolab.stages.report.judge.claims import claims

LMBDA = "0.0004"
COLUMNS = [
    *("dataset", "arm", "reference", "metric", "claimed_from", "claimed_to"),
    *("of_reference", "of_arm", "change", "change_low", "change_high"),
    *("rate_change", "rate_change_low", "rate_change_high"),
    *("at_equal_rate", "at_equal_rate_low", "at_equal_rate_high", "note"),
]


def table(study: Study, singles: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """singles, distances: differences of arms from their baselines at single lambdas."""
    arms = [n for n in study.arms_with_runs() if study.arms[n].token_weighting != "none"]
    differences = pd.concat([singles, distances]) if len(distances) else singles
    chosen = differences[differences["arm"].isin(arms) & (differences["lmbda"] == LMBDA)]
    said = {(c["arm"], c["dataset"], c["metric"]): c for c in claims().to_dict("records")}
    rows = []
    for line in chosen.to_dict("records"):
        row = {name: line.get(name) for name in COLUMNS}
        claim = said.get((line["arm"], line["dataset"], line["metric"]))
        if claim and claim["from"] == claim["from"]:  # not NaN
            row |= {"claimed_from": claim["from"], "claimed_to": claim["to"]}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)
