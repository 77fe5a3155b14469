"""The study's claims: claims.csv has one per row.

arm, dataset, metric; lmbda: none for the whole curve; relation: see `relations`; from, to: the
numbers that are claimed, or a limit; control: the captions whose effect supports the verdict.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tacolab.stages.report.judge.relations import RELATIONS

Claim = Mapping[Any, Any]  # a row of claims.csv


def claims() -> pd.DataFrame:
    """The reported claims, see above. Raises ValueError where a relation is unknown."""
    text = Path(__file__).with_name("claims.csv").read_bytes()
    frame = pd.read_csv(io.BytesIO(text), dtype={"lmbda": str})
    texts = frame.columns.difference(["from", "to"])
    frame[texts] = frame[texts].fillna("")
    if unknown := set(frame["relation"]) - set(RELATIONS):
        raise ValueError(f"claims.csv: unknown relation '{min(unknown)}'")
    return frame
