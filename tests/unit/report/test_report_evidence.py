"""What decides a claim, what stands beside it, and what speaks against deciding it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import report_study
from tacolab import config
from tacolab.quality.bootstrap import ConfidenceInterval
from tacolab.stages.report.judge import verdicts
from tacolab.stages.report.judge.claims import claims
from tacolab.stages.report.judge.evidence import Evidence, MeasuredTables, Observation
from tacolab.stages.report.measure import distances
from tacolab.stages.report.measure.baselines import mismatches
from tacolab.stages.report.measure.controls import COLUMNS as CONTROLS
from tacolab.stages.report.measure.differences import BD_COLUMNS, POINT_COLUMNS

TEXT = {"text": "minilm", "captions": "human"}


def study(**arms: Any) -> config.Study:
    plain = report_study.study(lambdas=["0.0004"])
    plain["datasets"]["coco"] = plain["datasets"]["photos"]
    plain["captions"] |= {f"cut{n}": {"kind": "cut", "tokens": n} for n in (20, 77)}
    plain["captions"]["shuffled"] = {"kind": "shuffled"}
    plain["arms"] = {"taco": TEXT, "keywords": TEXT, "context-long": TEXT} | arms
    plain["protocol"] = {"baseline": "taco", "datasets": {"coco": {}, "kodak": {}}, "anchors": {}}
    return config.validate(plain, "test")


def single(metric: str, **values: Any) -> dict[str, Any]:
    """A row of keywords on COCO against its baseline; intervals are the value +- 0.002."""
    row: dict[str, Any] = dict.fromkeys(POINT_COLUMNS, np.nan) | {"note": "", "seeds": 1}
    row |= {"dataset": "coco", "arm": "keywords", "reference": "taco", "lmbda": "0.0004"}
    row |= {"metric": metric, "images": 5000}
    for name, value in ({"rate_change": 0.5} | values).items():
        row |= {name: value, f"{name}_low": value - 0.002, f"{name}_high": value + 0.002}
    return row


def distance(change: float, rate: float = -0.5, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(distances.COLUMNS, np.nan) | {"note": ""}
    row |= {"dataset": "coco", "arm": "keywords", "reference": "taco", "lmbda": "0.0004"}
    row |= {"metric": "fid", "images": 30_504, "samples": 30_504}
    row |= {"rate_change": rate, "rate_change_low": rate - 0.1, "rate_change_high": rate + 0.1}
    row |= {"of_reference": 0.8241, "of_arm": 0.8241 + change}
    percent = 100 * change / 0.8241
    for name, value in (("change", change), ("change_percent", percent)):
        row |= {name: value, f"{name}_low": value - 0.002, f"{name}_high": value + 0.002}
    return row | values


def cut(control: str, rate: float, verdict: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(CONTROLS, np.nan)
    row |= {"dataset": "coco", "source": "context-long", "control": control, "lmbda": "0.0004"}
    row |= {"images": 5000, "rate_at_lpips": rate, "rate_at_lpips_verdict": verdict}
    return row | {"rate_at_lpips_low": rate - 0.3, "rate_at_lpips_high": rate + 0.3}


def verdict(
    claim: str,
    arms: config.Study | None = None,
    points: list[dict[str, Any]] | None = None,
    far: list[dict[str, Any]] | None = None,
    controls: list[dict[str, Any]] | None = None,
    unequal: dict[str, str] | None = None,
) -> pd.Series:
    measured = MeasuredTables(
        pd.DataFrame(columns=BD_COLUMNS),
        pd.DataFrame(points or [], columns=POINT_COLUMNS),
        pd.DataFrame(controls or [], columns=CONTROLS),
        pd.DataFrame(far or [], columns=distances.COLUMNS),
        pd.DataFrame(),
        pd.DataFrame(),
        unequal or {},
        {("coco", name, "own") for name in (arms or study()).arms}
        | {("coco", "context-long", str(line["control"])) for line in controls or []},
    )
    table = verdicts.table(arms or study(), measured)
    assert sorted(table["id"]) == sorted(claims()["id"])
    return table.set_index("id").loc[claim]


def test_quality_at_one_lambda_is_judged_at_equal_rate() -> None:
    """LPIPS rises as claimed, but all of it is the rate that was saved."""
    line = single("lpips_published", change=0.007, at_equal_rate=0.0)
    line |= {"rate_change": -9.0, "rate_change_low": -9.1, "rate_change_high": -8.9}
    row = verdict("keywords-coco-lpips", points=[line])
    assert row["verdict"] == "not confirmed"
    assert row["quantity"] == "change of LPIPS at equal rate (published range)"
    assert "bpp -9.00 %" in row["note"]
    line = single("lpips_published", change=0.007, at_equal_rate=0.006)
    row = verdict("keywords-coco-lpips", points=[line])
    assert row["verdict"] == "confirmed" and row["value"] == 0.006


@pytest.mark.parametrize(
    ("level", "change", "said"),
    [
        (0.0262, 0.007, "its interval holds the claimed +0.0070"),
        (0.0262, 0.003, "its interval excludes the claimed +0.0070"),
        (0.3, 0.007, "claimed from another level, 0.0262"),
    ],
)
def test_the_claimed_size_stands_beside_the_measured_one(
    level: float, change: float, said: str
) -> None:
    line = single("lpips_published", change=change, at_equal_rate=change)
    line |= {"of_reference": level, "of_arm": level + change}
    row = verdict("keywords-coco-lpips", points=[line])
    assert row["note"] == f"same λ: {level:.4f} to {level + change:.4f}, bpp +0.50 %; {said}"


def test_what_was_seen_at_the_same_lambda_is_not_contradicted_by_the_rate() -> None:
    """PSNR falls as claimed, by less than the saved bits are worth."""
    line = single("psnr", change=-0.3, at_equal_rate=0.1, rate_change=-9.0)
    row = verdict("keywords-coco-psnr", points=[line])
    assert row["verdict"] == "not confirmed" and "as claimed, by the rate" in row["note"]
    line = single("psnr", change=0.3, at_equal_rate=0.1, rate_change=-9.0)
    assert verdict("keywords-coco-psnr", points=[line])["verdict"] == "contradicted"


def test_nor_is_the_opposite_confirmed_by_the_rate() -> None:
    """PSNR rises at the same lambda, by less than the bits that it took are worth."""
    line = single("psnr", change=0.1, at_equal_rate=-0.1, rate_change=9.0)
    row = verdict("keywords-coco-psnr", points=[line])
    assert row["verdict"] == "not confirmed" and "the opposite" in row["note"]
    line = single("psnr", change=0.001, at_equal_rate=-0.1, rate_change=9.0)
    assert verdict("keywords-coco-psnr", points=[line])["verdict"] == "confirmed"


@pytest.mark.parametrize(
    ("claim", "change", "rate", "expected"),
    [
        ("keywords-coco-lpips", 0.007, 0.5, "confirmed"),  # worse with more bits
        ("keywords-coco-lpips", 0.007, 3.0, "confirmed"),
        ("keywords-coco-lpips", 0.007, -0.5, "not confirmed"),
        ("keywords-coco-lpips", -0.007, 0.5, "not confirmed"),
        ("keywords-coco-lpips", -0.007, -0.5, "contradicted"),
        ("keywords-coco-lpips", 0.007, np.nan, "not confirmed"),
        ("keywords-coco-psnr-near", -0.05, 0.5, "confirmed"),
        ("keywords-coco-psnr-near", -0.05, 15.0, "not confirmed"),  # bits hide a loss
        ("keywords-coco-psnr-near", 0.05, -15.0, "not confirmed"),
        ("keywords-coco-psnr-near", -1.0, 15.0, "contradicted"),
        ("keywords-coco-psnr-near", 1.0, 15.0, "not confirmed"),
    ],
)
def test_without_a_curve_a_change_counts_where_the_rate_cannot_have_made_it(
    claim: str, change: float, rate: float, expected: str
) -> None:
    metric = "psnr" if "psnr" in claim else "lpips_published"
    row = verdict(claim, points=[single(metric, change=change, rate_change=rate)])
    assert row["verdict"] == expected
    assert ("bpp changes by" in row["note"]) == (expected == "not confirmed")


EQUAL_RATE = {"at_equal_rate": -0.02, "at_equal_rate_low": -0.022, "at_equal_rate_high": -0.018}


@pytest.mark.parametrize(
    ("rate", "values", "expected", "note"),
    [
        (-0.5, {}, "confirmed", "bpp -0.50 %; its interval excludes the claimed -0.0084"),
        (0.5, {}, "not confirmed", "it may be the rate"),
        (0.5, EQUAL_RATE, "confirmed", "bpp +0.50 %"),
        (-0.5, {"samples": 9_999}, "not measured", "n = 9,999 samples: a FID needs 10,000"),
    ],
)
def test_a_fid_decides_with_enough_samples_and_at_a_rate_that_did_not_make_it(
    rate: float, values: dict[str, Any], expected: str, note: str
) -> None:
    row = verdict("keywords-coco-fid", far=[distance(-0.02, rate, **values)])
    assert row["verdict"] == expected and note in row["note"]


@pytest.mark.parametrize(
    ("percent", "rate", "expected"),
    [
        (0.5, 0.3, "confirmed"),
        (0.5, -3.0, "not confirmed"),  # equal at fewer bits is better
        (10.0, 5.0, "contradicted"),  # more bits make no FID worse
        (10.0, -5.0, "not confirmed"),
    ],
)
def test_an_equal_fid_is_one_at_equal_rate(percent: float, rate: float, expected: str) -> None:
    line = distance(0.8241 * percent / 100, rate, arm="context")
    arms = study(context=TEXT)
    row = verdict("context-coco-fid", arms, far=[line])
    assert row["verdict"] == expected
    beside = {f"at_equal_rate_percent{end}": percent for end in ("", "_low", "_high")}
    row = verdict("context-coco-fid", arms, far=[line | beside])
    assert row["verdict"] == ("confirmed" if percent < 2 else "contradicted")


@pytest.mark.parametrize(
    ("seeds", "expected"), [((-3.0, -2.0), "confirmed"), ((-7.6, 3.1), "not confirmed")]
)
def test_training_noise_may_be_larger_than_the_difference(
    seeds: tuple[float, float], expected: str
) -> None:
    found = [Observation("", ConfidenceInterval(-2.4, -2.5, -2.3), 5000, seeds)]
    cells = verdicts.decide("better", Evidence("rate", found, 1.0))
    assert cells["verdict"] == expected and f"{seeds[0]:+.2f} to {seeds[1]:+.2f}" in cells["note"]


@pytest.mark.parametrize(
    ("rows", "expected", "note"),
    [
        ([("cut20", 3.0, "worse"), ("cut77", 0.0, "equal")], "confirmed", ""),
        ([("cut20", 3.0, "worse"), ("cut77", 2.0, "worse")], "contradicted", ""),
        ([("cut20", 0.0, "equal"), ("cut77", 0.0, "equal")], "not confirmed", "no gain"),
        ([("cut20", 0.8, "equal"), ("cut77", 2.5, "worse")], "contradicted", ""),
        ([("cut77", 0.0, "equal")], "not confirmed", "no shorter cut"),
        ([("cut20", 3.0, "worse")], "not measured", "captions cut77 are not evaluated"),
    ],
)
def test_only_a_gain_can_saturate(
    rows: list[tuple[str, float, str]], expected: str, note: str
) -> None:
    row = verdict("context-saturates-lpips", controls=[cut(*line) for line in rows])
    assert row["verdict"] == expected and note in row["note"], row.to_dict()
    for control, _, _ in rows:
        assert f"captions {control}:" in row["support"]


@pytest.mark.parametrize("whose", ["keywords", "taco"])
def test_a_stand_in_gets_its_numbers_but_no_verdict(whose: str) -> None:
    arms = study(**{whose: TEXT | {"stand_in": "made-up captions"}})
    line = single("lpips_published", change=0.007, at_equal_rate=0.006)
    unequal = mismatches(arms, [])
    row = verdict("keywords-coco-lpips", arms, [line], unequal=unequal)
    assert row["verdict"] == "not measured" and row["value"] == 0.006
    assert row["note"].startswith(f"stand-in: {whose} has made-up captions")


def test_a_borrowed_curve_may_be_a_stand_in_too() -> None:
    arms = study(taco=TEXT | {"lambdas": ["0.0004", "0.004"], "stand_in": "random weights"})
    rows = [cut("cut20", 3.0, "worse"), cut("cut77", 0.0, "equal")]
    row = verdict("context-saturates-lpips", arms, controls=rows)
    assert row["verdict"] == "not measured" and row["reference"] == "whole captions"


@pytest.mark.parametrize(
    ("claim", "note"),
    [
        ("keywords-coco-lpips", ""),
        ("keywords-kodak-psnr", "kodak is not coded by keywords yet"),
        ("keywords-coco-fid", "no FID of it and its baseline on coco"),
        ("context-coco-lpips", "no arm 'context' in this config"),
        ("keywords-clic-lpips", "data set 'clic' is not evaluated"),
    ],
)
def test_what_is_missing_is_named(claim: str, note: str) -> None:
    assert verdict(claim)["note"] == note


def test_unequal_training_is_never_judged() -> None:
    line = single("lpips_published", change=0.007, at_equal_rate=0.006)
    row = verdict("keywords-coco-lpips", points=[line], unequal={"keywords": "2 epochs against 3"})
    assert row["verdict"] == "not measured" and row["note"].startswith("2 epochs against 3")


def test_a_verdict_off_the_measured_curve_says_so() -> None:
    arms = study(linear=TEXT)
    line = single("psnr", at_equal_quality=3.0) | {"arm": "linear"}
    row = verdict("linear-coco-psnr", arms, points=[line])
    assert (row["verdict"], row["note"]) == ("confirmed", "")
    note = "beyond the end of the curve of taco"
    row = verdict("linear-coco-psnr", arms, points=[line | {"note": note}])
    assert (row["verdict"], row["note"]) == ("confirmed", note)
    why = "trained for 2 epochs against 3: not comparable"
    line |= {"note": f"{why}; {note}"}
    row = verdict("linear-coco-psnr", arms, points=[line], unequal={"linear": why})
    assert (row["verdict"], row["note"]) == ("not measured", f"{why}; {note}")
