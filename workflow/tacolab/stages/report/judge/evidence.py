"""What was measured of a claim: intervals, and the caveats that go with them, as plain data."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import pandas as pd

from tacolab.quality.bootstrap import ConfidenceInterval
from tacolab.stages.report.judge.relations import (
    CONFIRMED,
    CONTRADICTED,
    UNDECIDABLE,
)
from tacolab.stages.report.measure.differences import NOT_MEASURED


@dataclass(frozen=True)
class MeasuredTables:
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


class Effect(Enum):
    """What a caveat does to a verdict. Its text stands in the note in any case but the last."""

    REMARK = auto()  # nothing
    NO_CONFIRMATION = auto()  # what would be confirmed is not confirmed
    NO_CONTRADICTION = auto()  # what would be contradicted is not confirmed
    NO_DECISION = auto()  # both
    NOT_JUDGED = auto()  # numbers are shown, but no verdict rests on them
    UNDECIDABLE = auto()  # no run on these images could tell
    NOTHING_THERE = auto()  # none; why there are no numbers, where no other caveat says so


# Of a single interval: verdicts that are taken back. Of the whole claim: the verdict instead.
TAKES_BACK = {
    Effect.NO_CONFIRMATION: (CONFIRMED,),
    Effect.NO_CONTRADICTION: (CONTRADICTED,),
    Effect.NO_DECISION: (CONFIRMED, CONTRADICTED),
}
GIVES = {Effect.NOT_JUDGED: NOT_MEASURED, Effect.UNDECIDABLE: UNDECIDABLE}


@dataclass(frozen=True)
class Caveat:
    """What must be known of a measurement: what it does to the verdict, and its text."""

    effect: Effect
    text: str


@dataclass(frozen=True)
class Observation:
    """One interval. at: where, "λ 0.0016"; "" for the whole curve. images: behind it.

    seeds: smallest and largest value that single seeds give, NaN where there is one.
    """

    at: str
    interval: ConfidenceInterval
    images: int
    seeds: tuple[float, float] = (math.nan, math.nan)
    caveats: tuple[Caveat, ...] = ()

    @property
    def known(self) -> bool:
        return math.isfinite(self.interval.value)

    def __str__(self) -> str:
        """With as many digits as the width of the interval makes sense of."""
        value, low, high = self.interval.value, self.interval.low, self.interval.high
        width = high - low
        size = width if 0 < width < math.inf else abs(value)
        digits = min(6, max(2, 1 - math.floor(math.log10(size)))) if size else 2
        text = f"{value:+z.{digits}f}"
        if width > 0:
            text += f" [{low:+z.{digits}f}, {high:+z.{digits}f}]"
        return f"{self.at}: {text}" if self.at else text


@dataclass(frozen=True)
class Evidence:
    """Everything that was measured of a claim.

    quantity: what the observations are of, with its unit. margin: of "equal", or the limit that the
    claim names. expected: how many observations there will be. caveats: of all of them together.
    against: what was compared with. support: what other captions, or other sizes, do.
    """

    quantity: str = ""
    observations: Sequence[Observation] = ()
    margin: float = 0.0
    expected: int = 1
    caveats: tuple[Caveat, ...] = ()
    against: str = ""
    support: str = ""
