"""The study's claims, and how an interval decides one: a verdict never follows from words.

claims.csv has a claim per row: arm, data set, metric, lambda (none: the whole curve), relation.

- better, worse, equal, not worse: of the rate at equal quality [%] against the arm's baseline, with
  the margin of the config; equal of FID [%] at equal rate;
- up, down, within: of the metric's change at one lambda and equal rate; `to` is the limit of
  `within`;
- saturates: captions cut as the control says are no worse than whole ones, and shorter ones are;
- same time: of the time per pair [%], with its margin;
- reproduced: every point within `to` of the authors' own (bpp in %, PSNR in dB);
- undecidable: n = 24 images decide no FID.
"""

import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from tacolab.quality.bootstrap import ConfidenceInterval
from tacolab.stages.report.measure.differences import BETTER, EQUAL, NOT_MEASURED, OPEN, WORSE, word

CONFIRMED, NOT_CONFIRMED, CONTRADICTED = "confirmed", "not confirmed", "contradicted"
UNDECIDABLE = "not decidable"
OF_ALL = ("same time", "reproduced", EQUAL, "not worse")  # said of every size, of every lambda
VERDICTS = (CONFIRMED, NOT_CONFIRMED, CONTRADICTED, NOT_MEASURED, UNDECIDABLE)


@dataclass(frozen=True)
class Finding:
    """What was measured of a claim. at: where, "λ 0.0016"; "" for the whole curve.

    seeds: smallest and largest value that single seeds give, where there are several. doubts:
    verdict -> why this finding may not give it, whatever its interval says.
    """

    at: str
    found: ConfidenceInterval
    images: int
    seeds: tuple[float, float] = (math.nan, math.nan)
    doubts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """With as many digits as the width of the interval makes sense of."""
        found = self.found
        width = found.high - found.low
        size = width if 0 < width < math.inf else abs(found.value)
        digits = min(6, max(2, 1 - math.floor(math.log10(size)))) if size else 2
        text = f"{found.value:+z.{digits}f}"
        if width > 0:
            text += f" [{found.low:+z.{digits}f}, {found.high:+z.{digits}f}]"
        return f"{self.at}: {text}" if self.at else text


def claims() -> pd.DataFrame:
    """The reported claims, see above."""
    text = Path(__file__).with_name("claims.csv").read_bytes()
    frame = pd.read_csv(io.BytesIO(text), dtype={"lmbda": str})
    texts = frame.columns.difference(["from", "to"])
    frame[texts] = frame[texts].fillna("")
    return frame


def judge(relation: str, found: ConfidenceInterval, margin: float) -> str:
    """The verdict on one interval. margin: of "equal", or the limit that the claim names."""
    low, high = found.low, found.high
    if np.isnan(low):
        return NOT_MEASURED
    inside = -margin <= low and high <= margin
    beyond = low > margin or high < -margin
    if relation == "undecidable":
        return NOT_CONFIRMED
    if relation in (BETTER, WORSE):
        if word(found, margin) == EQUAL and (high < 0 if relation == BETTER else low > 0):
            return NOT_CONFIRMED  # as claimed, but so little that it counts as nothing
        said = word(found, margin)
        return {relation: CONFIRMED, OPEN: NOT_CONFIRMED}.get(said, CONTRADICTED)
    if relation in ("up", "down"):
        right, wrong = (low > 0, high < 0) if relation == "up" else (high < 0, low > 0)
    elif relation in (EQUAL, "within", "same time", "reproduced"):
        right, wrong = inside, beyond
    elif relation in ("not worse", "saturates"):
        right, wrong = high <= margin, low > margin
    else:
        raise ValueError(f"claims.csv: unknown relation '{relation}'")
    return CONFIRMED if right else CONTRADICTED if wrong else NOT_CONFIRMED


def together(relation: str, verdicts: Iterable[str], undecided: int = 0) -> str:
    """Of several lambdas or sizes: what all say; one exception refutes what is said of all.

    undecided: how many say nothing (yet); with any, nothing else is decided.
    """
    said = set(verdicts)
    if not said:
        return NOT_MEASURED
    if relation in OF_ALL and CONTRADICTED in said:
        return CONTRADICTED
    return said.pop() if len(said) == 1 and not undecided else NOT_CONFIRMED
