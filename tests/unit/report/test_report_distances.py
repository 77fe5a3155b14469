"""FID and CMMD of arms against their baselines: paired, and at equal rate."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import report_study
from tacolab import config
from tacolab.stages.report.frames import DISTANCES, SAMPLES, WITHOUT
from tacolab.stages.report.measure import distances
from tacolab.stages.report.measure.differences import POINT_COLUMNS

TEXT = {"text": "minilm", "captions": "human"}
LAMBDAS = ["0.0004", "0.0016", "0.004"]
RATES = dict(zip(LAMBDAS, (0.1, 0.2, 0.4), strict=True))


def study() -> config.Study:
    plain = report_study.study(lambdas=LAMBDAS)
    one = TEXT | {"lambdas": ["0.0016"]}
    plain["arms"] = {"taco": TEXT, "early": one, "keywords": one | {"baseline": "early"}}
    plain["protocol"] = {"baseline": "taco", "datasets": {"kodak": {}}, "anchors": {}}
    return config.validate(plain, "test")


def coding(arm: str, lmbda: str, rate: float, more: float = 0.0) -> tuple[Any, list[Any]]:
    """A point and its groups; FID falls by 2 where the rate doubles, and `more` is added."""
    fid = 10 - 2 * np.log2(rate) + more
    names = {"dataset": "kodak", "source": arm, "lmbda": lmbda, "seed": "100", "control": "own"}
    point = names | {"kind": "arm", "images": 100, SAMPLES: 400.0, "bpp_real": rate}
    point |= dict.fromkeys(DISTANCES, np.nan) | {
        "fid": fid,
        "fid_low": fid - 9,
        "fid_high": fid + 9,
    }
    groups = []
    for group, by in enumerate((-3.0, 1.0, 0.5, 2.0)):  # the same images move all codings alike
        without = fid + by + (0.01 * group if arm == "keywords" else 0)
        groups.append(
            names | {"group": group, "size": 25} | {WITHOUT[0]: without, WITHOUT[1]: np.nan}
        )
    return point, groups


def table(codings: list[tuple[Any, list[Any]]]) -> pd.DataFrame:
    points = pd.DataFrame([point for point, _ in codings])
    groups = pd.DataFrame([group for _, some in codings for group in some])
    singles = pd.DataFrame(columns=POINT_COLUMNS)
    return distances.table(study(), points, groups, singles, {}).set_index(["arm", "lmbda"])


def test_at_equal_rate_nothing_is_left_of_what_the_rate_made() -> None:
    """15 % more bits than a baseline whose one lambda is no curve: that of taco tells."""
    taco = [coding("taco", lmbda, rate) for lmbda, rate in RATES.items()]
    early = coding("early", "0.0016", 0.2, more=1.0)
    for more, found in ((1.0, 0.0), (1.5, 0.5)):
        row = table([*taco, early, coding("keywords", "0.0016", 0.23, more)]).loc[
            ("keywords", "0.0016")
        ]
        assert row["change"] == pytest.approx(-2 * np.log2(1.15) + found)
        assert row["at_equal_rate"] == pytest.approx(found, abs=0.02)
        assert row["at_equal_rate_low"] < found < row["at_equal_rate_high"]
        assert row["at_equal_rate_high"] - row["at_equal_rate_low"] < 0.2  # paired, not +-9
        percent = 100 * row["at_equal_rate"] / row["of_reference"]
        assert row["at_equal_rate_percent"] == pytest.approx(percent)


def test_without_a_curve_there_is_only_the_same_lambda() -> None:
    rows = [coding("early", "0.0016", 0.2), coding("keywords", "0.0016", 0.23)]
    row = table(rows).loc[("keywords", "0.0016")]
    assert row["change_low"] < row["change"] < row["change_high"]
    assert np.isnan(row["at_equal_rate"])
    far = [coding("taco", lmbda, rate) for lmbda, rate in RATES.items()]
    row = table([*far, rows[0], coding("keywords", "0.0016", 2.0)]).loc[("keywords", "0.0016")]
    assert np.isnan(row["at_equal_rate"]) and row["samples"] == 400
