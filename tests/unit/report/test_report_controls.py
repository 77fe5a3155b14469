"""Own captions against a control, in finished and in unfinished studies."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import report_study
from tacolab import config
from tacolab.quality.bootstrap import ConfidenceInterval
from tacolab.quality.curves import ResampledCurve, at_equal_quality, rate_beside
from tacolab.stages.report.judge import verdicts
from tacolab.stages.report.judge.evidence import Evidence, Observation
from tacolab.stages.report.measure import controls
from test_report_statistics import LAMBDAS, coded

TEXT = {"text": "minilm", "captions": "human"}


def table(frames: list[pd.DataFrame], **arms: Any) -> pd.DataFrame:
    plain = report_study.study(lambdas=LAMBDAS)
    plain["arms"] = {"taco": TEXT} | arms
    plain["protocol"]["anchors"] = {}
    return controls.table(config.validate(plain, "test"), pd.concat(frames, ignore_index=True))


def control(frame: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The same codings with an empty caption, for which they need `factor` times the rate."""
    return frame.assign(control="empty", bpp_real=factor * frame["bpp_real"])


def test_a_control_that_came_before_its_own_coding_waits() -> None:
    own = coded("taco", 1.0, np.random.default_rng(1))
    found = table([own[own["lmbda"] != "0.0016"], control(own, 1.02)])
    assert found["lmbda"].tolist() == [name for name in LAMBDAS if name != "0.0016"]
    assert table([control(own, 1.02)]).empty


def test_a_seed_without_its_control_does_not_count() -> None:
    """The other seed needs 5 % less rate: training noise, and nothing that a caption does."""
    random = np.random.default_rng(2)
    own = coded("taco", 1.0, random)
    found = table([own, coded("taco", 0.95, random, seed="101"), control(own, 1.0)])
    assert found["bpp_change"].to_numpy() == pytest.approx(0, abs=1e-9)
    assert set(found["seeds"]) == {1}


def test_an_arm_without_a_curve_borrows_the_studys() -> None:
    """Its baseline, too, has a single lambda."""
    random = np.random.default_rng(3)
    one = {"lambdas": ["0.0016"]}
    frames = [coded(name, 1.0, random, lambdas=["0.0016"]) for name in ("early", "keywords")]
    found = table(
        [coded("taco", 1.0, random), *frames, control(frames[1], 1.03)],
        early=TEXT | one,
        keywords=TEXT | one | {"baseline": "early"},
    )
    assert found["rate_at_psnr"].item() == pytest.approx(3, abs=1e-6)
    assert found["rate_at_psnr_verdict"].item() == "worse"


def test_a_quality_that_the_curve_never_has_costs_no_rate() -> None:
    """The curve ends flat, so its inverse ends steep: 5 dB would cost what 20 dB do."""
    curve = ResampledCurve(np.array([[0.1, 0.2, 0.4, 0.8]]), np.array([[20.0, 30.0, 30.5, 31.0]]))
    rate, one, two = (np.array([value]) for value in (0.1, 20.0, 5.0))
    assert at_equal_quality(curve, rate, one) == pytest.approx(0)
    assert np.isnan(at_equal_quality(curve, rate, two))
    assert np.isnan(rate_beside(curve, (rate, two), (rate, one)))
    assert rate_beside(curve, (2 * rate, one), (rate, one)) == pytest.approx(100)


@pytest.mark.parametrize(
    ("relation", "values", "expected"),
    [
        ("better", [-3.0], "not confirmed"),
        ("better", [-3.0, -3.0], "confirmed"),
        ("better", [-3.0, np.nan], "not confirmed"),
        ("reproduced", [0.0], "not confirmed"),
        ("reproduced", [5.0], "contradicted"),  # one exception is enough
        ("better", [np.nan, np.nan], "not measured"),
    ],
)
def test_a_claim_of_two_lambdas_is_not_decided_by_one(
    relation: str, values: list[float], expected: str
) -> None:
    found = [
        Observation("λ", ConfidenceInterval(x if x == x else 1.0, x - 0.1, x + 0.1), 60)
        for x in values
    ]
    cells = verdicts.decide(relation, Evidence("rate", found, 1.0, expected=2))
    assert cells["verdict"] == expected
    assert ("1 of 2 say something so far" in cells["note"]) == (expected == "not confirmed")
