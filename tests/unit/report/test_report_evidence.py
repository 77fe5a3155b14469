"""What decides a claim, what stands beside it, and what speaks against deciding it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import report_study
from tacolab import config
from tacolab.report import distances, verdicts
from tacolab.report.claims import claims
from tacolab.report.controls import COLUMNS as CONTROLS
from tacolab.report.differences import BD_COLUMNS, POINT_COLUMNS
from tacolab.report.evidence import Measured

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
    row |= {"metric": metric, "images": 5000, "rate_change": 0.5}
    for name, value in values.items():
        row |= {name: value, f"{name}_low": value - 0.002, f"{name}_high": value + 0.002}
    return row


def distance(change: float, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(distances.COLUMNS, np.nan) | {"note": ""}
    row |= {"dataset": "coco", "arm": "keywords", "reference": "taco", "lmbda": "0.0004"}
    row |= {"metric": "fid", "images": 30_504, "samples": 30_504, "rate_change": 0.5}
    row |= {"of_reference": 0.8241, "of_arm": 0.8241 + change}
    row |= {"change": change, "change_low": change - 0.002, "change_high": change + 0.002}
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
    measured = Measured(
        pd.DataFrame(columns=BD_COLUMNS),
        pd.DataFrame(points or [], columns=POINT_COLUMNS),
        pd.DataFrame(controls or [], columns=CONTROLS),
        pd.DataFrame(far or [], columns=distances.COLUMNS),
        pd.DataFrame(),
        pd.DataFrame(),
        unequal or {},
    )
    table = verdicts.table(arms or study(), measured)
    assert list(table["id"]) == list(claims()["id"])
    return table.set_index("id").loc[claim]


def test_quality_at_one_lambda_is_judged_at_equal_rate() -> None:
    """LPIPS rises as claimed, but all of it is the rate that was saved."""
    line = single("lpips_published", change=0.007, at_equal_rate=0.0)
    row = verdict("keywords-coco-lpips", points=[line | {"rate_change": -9.0}])
    assert row["verdict"] == "not confirmed"
    assert row["quantity"] == "change of LPIPS at equal rate (published range)"
    assert "bpp -9.00 %" in row["note"]
    line = single("lpips_published", change=0.007, at_equal_rate=0.006)
    row = verdict("keywords-coco-lpips", points=[line])
    assert row["verdict"] == "confirmed" and row["value"] == 0.006


@pytest.mark.parametrize(("change", "said"), [(0.007, "holds"), (0.003, "excludes")])
def test_the_claimed_size_stands_beside_the_measured_one(change: float, said: str) -> None:
    line = single("lpips_published", change=change, at_equal_rate=change)
    line |= {"of_reference": 0.03, "of_arm": 0.03 + change}
    row = verdict("keywords-coco-lpips", points=[line])
    assert row["note"].startswith(f"same λ: 0.0300 to {0.03 + change:.4f}, bpp +0.50 %")
    assert row["note"].endswith(f"its interval {said} the claimed +0.0070")


@pytest.mark.parametrize(
    ("rate", "expected"), [(0.5, "confirmed"), (-3.0, "not confirmed"), (3.0, "confirmed")]
)
def test_without_a_curve_a_change_counts_where_the_rate_cannot_have_made_it(
    rate: float, expected: str
) -> None:
    line = single("lpips_published", change=0.007) | {"rate_change": rate}
    row = verdict("keywords-coco-lpips", points=[line])
    assert row["verdict"] == expected
    assert ("it may be the rate" in row["note"]) == (expected == "not confirmed")


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        ({}, "confirmed", "bpp +0.50 %; its interval excludes the claimed -0.0084"),
        ({"rate_change": 3.0}, "not confirmed", "it may be the rate"),
        ({"samples": 9_999}, "not measured", "n = 9,999 samples: a FID needs 10,000"),
    ],
)
def test_a_fid_decides_with_enough_samples_and_at_a_rate_that_did_not_make_it(
    values: dict[str, Any], expected: str, note: str
) -> None:
    row = verdict("keywords-coco-fid", far=[distance(-0.02, **values)])
    assert row["verdict"] == expected and note in row["note"]


@pytest.mark.parametrize(
    ("rows", "expected", "note"),
    [
        ([("cut20", 3.0, "worse"), ("cut77", 0.0, "equal")], "confirmed", ""),
        ([("cut20", 3.0, "worse"), ("cut77", 2.0, "worse")], "contradicted", ""),
        ([("cut20", 0.0, "equal"), ("cut77", 0.0, "equal")], "not confirmed", "no gain"),
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
    row = verdict("keywords-coco-lpips", arms, [line])
    assert row["verdict"] == "not measured" and row["value"] == 0.006
    assert row["note"] == f"stand-in: {whose} has made-up captions"


def test_unequal_training_is_never_judged() -> None:
    line = single("lpips_published", change=0.007, at_equal_rate=0.006)
    row = verdict("keywords-coco-lpips", points=[line], unequal={"keywords": "2 epochs against 3"})
    assert row["verdict"] == "not measured" and row["note"].startswith("2 epochs against 3")
