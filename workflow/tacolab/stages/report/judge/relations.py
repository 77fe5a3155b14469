"""How an interval decides what a claim says: a pure function for each relation of claims.csv.

- better, worse, equal, not worse: of the rate at equal quality [%] against the arm's baseline, with
  the margin of the config; equal of FID [%] at equal rate;
- up, down, within: of the metric's change at one lambda and equal rate; `to` is the limit of
  `within`;
- saturates: captions cut as the control says are no worse than whole ones, and shorter ones are;
- same time: of the time per pair [%], with its margin;
- reproduced: every point within `to` of the authors' own (bpp in %, PSNR in dB);
- undecidable: n = 24 images decide no FID.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tacolab.quality.bootstrap import ConfidenceInterval
from tacolab.stages.report.measure.differences import BETTER, EQUAL, NOT_MEASURED, OPEN, WORSE, word

CONFIRMED, NOT_CONFIRMED, CONTRADICTED = "confirmed", "not confirmed", "contradicted"
UNDECIDABLE = "not decidable"
VERDICTS = (CONFIRMED, NOT_CONFIRMED, CONTRADICTED, NOT_MEASURED, UNDECIDABLE)


def _decided(right: bool, wrong: bool) -> str:
    return CONFIRMED if right else CONTRADICTED if wrong else NOT_CONFIRMED


def _better(found: ConfidenceInterval, margin: float) -> str:
    return _worded(BETTER, found, margin, so_little=found.high < 0)


def _worse(found: ConfidenceInterval, margin: float) -> str:
    return _worded(WORSE, found, margin, so_little=found.low > 0)


def _worded(claimed: str, found: ConfidenceInterval, margin: float, so_little: bool) -> str:
    """so_little: as claimed where it is equal, but by so little that it counts as nothing."""
    said = word(found, margin)
    if said == EQUAL and so_little:
        return NOT_CONFIRMED
    return _decided(right=said == claimed, wrong=said != OPEN)


def _up(found: ConfidenceInterval, margin: float) -> str:
    return _decided(right=found.low > 0, wrong=found.high < 0)


def _down(found: ConfidenceInterval, margin: float) -> str:
    return _decided(right=found.high < 0, wrong=found.low > 0)


def _inside(found: ConfidenceInterval, margin: float) -> str:
    inside = -margin <= found.low and found.high <= margin
    return _decided(right=inside, wrong=found.low > margin or found.high < -margin)


def _not_above(found: ConfidenceInterval, margin: float) -> str:
    return _decided(right=found.high <= margin, wrong=found.low > margin)


def _open(found: ConfidenceInterval, margin: float) -> str:
    return NOT_CONFIRMED


@dataclass(frozen=True)
class Relation:
    """judge: the verdict on an interval; its margin is that of "equal", or the limit that the claim
    names. of_all: said of every size and lambda, so that one exception contradicts it."""

    judge: Callable[[ConfidenceInterval, float], str]
    of_all: bool = False


RELATIONS = {
    BETTER: Relation(_better),
    WORSE: Relation(_worse),
    EQUAL: Relation(_inside, of_all=True),
    "not worse": Relation(_not_above, of_all=True),
    "up": Relation(_up),
    "down": Relation(_down),
    "within": Relation(_inside),
    "saturates": Relation(_not_above),
    "same time": Relation(_inside, of_all=True),
    "reproduced": Relation(_inside, of_all=True),
    "undecidable": Relation(_open),
}


def judge(relation: str, found: ConfidenceInterval, margin: float) -> str:
    """The verdict on one interval: it follows from nothing else."""
    return NOT_MEASURED if np.isnan(found.low) else RELATIONS[relation].judge(found, margin)


def together(relation: str, verdicts: Iterable[str], undecided: int = 0) -> str:
    """Of several lambdas or sizes: what all say; one exception refutes what is said of all.

    undecided: how many say nothing (yet); with any, nothing else is decided.
    """
    said = set(verdicts)
    if not said:
        return NOT_MEASURED
    if RELATIONS[relation].of_all and CONTRADICTED in said:
        return CONTRADICTED
    return said.pop() if len(said) == 1 and not undecided else NOT_CONFIRMED
