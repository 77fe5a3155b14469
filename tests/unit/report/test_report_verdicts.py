"""The verdict table: each claim finds its numbers, its verdict and its control."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import report_study
from tacolab import config
from tacolab.stages.report.frames import DISTANCES, IDENTITY, SAMPLES, UNROUNDED, VALUES, WITHOUT
from tacolab.stages.report.judge import verdicts
from tacolab.stages.report.judge.evidence import MeasuredTables
from tacolab.stages.report.measure import baselines, controls, distances, published
from tacolab.stages.report.measure.codings import sampled
from tacolab.stages.report.measure.differences import bd_table, points_table
from test_report_statistics import LAMBDAS, coded

TEXT = report_study.TEXT
GROUPS = ["dataset", "source", "lmbda", "seed", "control", "group", "size", *WITHOUT]
FACTORS = {"taco": 1.0, "context": 0.97, "linear": 1.03, "taco@2": 1.0, "early": 1.0}


def study() -> config.Study:
    plain = report_study.study(lambdas=LAMBDAS)
    plain["captions"]["shuffled"] = {"kind": "shuffled"}
    short = TEXT | {"training": {"epochs": 2}}
    plain["arms"] = {
        "taco": TEXT | {"training": {"export_epochs": [2]}},
        "taco@2": {"of": {"arm": "taco", "epoch": 2}},
        "context": TEXT,
        "linear": short | {"baseline": "taco@2"},
        "keywords": short | {"lambdas": ["0.0004"]},  # its baseline was forgotten
        "published": TEXT | {"checkpoints": dict.fromkeys(LAMBDAS[1:4], "weights.pth")},
        "others": TEXT | {"checkpoints": {LAMBDAS[2]: "others.pth"}},
    }
    plain["protocol"]["datasets"] = {"kodak": {"controls": ["shuffled"]}}
    plain["protocol"]["anchors"] = {}
    plain["timing"] = {"machines": {"here": ""}}
    return config.validate(plain, "test")


def timing() -> pd.DataFrame:
    """Training takes as long, inference 5 % longer."""
    rows: list[dict[str, Any]] = []
    for part, ratio in (("training", 1.001), ("forward", 1.05)):
        row = {"experiment": "widths", "part": part, "machine": "v100", "channels": 192}
        row |= {"attention": "linformer", "ratio": ratio, "tokens": 38, "side": 256}
        rows.append(row | {"ratio_low": ratio - 0.005, "ratio_high": ratio + 0.005})
    for tokens, ratio in ((2048, 0.7), (38, 1.02), (77, 1.0)):
        row = {"experiment": "sweep", "part": "encoder", "machine": "v100", "side": 256}
        row |= {"ratio": ratio, "ratio_low": ratio - 0.1, "ratio_high": ratio + 0.1}
        rows.append(row | {"attention": "linformer", "tokens": tokens})
    rows.append(rows[-1] | {"side": 512, "ratio": 9.0})
    rows.append(rows[-3] | {"side": 512, "ratio": 0.8, "ratio_low": 0.7, "ratio_high": 0.9})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    arms, random = study(), np.random.default_rng(11)
    frames = [coded(name, FACTORS[name], random, noise=0.005) for name in list(FACTORS)[:4]]
    keywords = coded("keywords", 1.0, random, noise=0.005, lambdas=LAMBDAS[:1])
    weights = coded("published", 1.0, random, noise=0.005, lambdas=LAMBDAS[1:4])
    others = coded("others", 2.0, random, noise=0.005, lambdas=LAMBDAS[2:3])
    own = pd.concat([*frames, keywords, weights, others], ignore_index=True)
    # A wrong caption costs context 2 % more bits, the others nothing.
    wrong = own.assign(control="shuffled")
    wrong.loc[wrong["source"] == "context", "bpp_real"] *= 1.02
    images = pd.concat([own, wrong], ignore_index=True)
    for name in UNROUNDED:
        images[name] = np.nan
    points = images.groupby(IDENTITY, dropna=False)[[*VALUES, *UNROUNDED]].mean().reset_index()
    points["images"] = 60
    for name in (*DISTANCES, SAMPLES):
        points[name] = np.nan
    at = (points["lmbda"] == "0.0004") & (points["control"] == "own")
    left_out: list[tuple[Any, ...]] = []
    for arm, value in (("taco", 0.5), ("context", 0.6), ("keywords", 0.9)):
        here = at & (points["source"] == arm)
        points.loc[here, ["cmmd", "cmmd_low", "cmmd_high"]] = [value, value - 0.3, value + 0.3]
        # Without some images each arm's distance is another, and the difference hardly.
        for group, by in enumerate((-0.1, 0.0, 0.1)):
            without = value + by + (0.001 * group if arm != "taco" else 0)
            left_out.append(("kodak", arm, "0.0004", "100", "own", group, 20, np.nan, without))
    codings = sampled(arms, images)
    unequal = baselines.mismatches(arms, [])
    singles = points_table(arms, codings, unequal)
    groups = pd.DataFrame(left_out, columns=GROUPS)
    measured = MeasuredTables(
        bd_table(arms, points, codings, unequal),
        singles,
        controls.table(arms, images),
        distances.table(arms, points, groups, singles, unequal),
        timing(),
        published.table(arms, points),
        unequal,
        {("kodak", name, "own") for name in arms.arms},
    )
    return verdicts.table(arms, measured).set_index("id")


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("context-kodak-psnr", "confirmed"),
        ("linear-kodak-psnr", "confirmed"),  # against the baseline after as many epochs
        ("linear-time-train", "confirmed"),
        ("linear-time-encode", "contradicted"),
        ("context-kodak-fid", "not decidable"),
        ("keywords-kodak-psnr", "not measured"),
        ("keywords-kodak-cmmd", "not measured"),
        ("published-kodak-bpp", "contradicted"),
        ("context-coco-lpips", "not measured"),
        ("context-saturates-lpips", "not measured"),
    ],
)
def test_verdict_of_a_claim(table: pd.DataFrame, claim: str, verdict: str) -> None:
    assert table.loc[claim, "verdict"] == verdict, table.loc[claim].to_dict()


def test_a_verdict_stands_beside_its_interval_and_its_control(table: pd.DataFrame) -> None:
    row = table.loc["context-kodak-psnr"]
    assert row["reference"] == "taco"
    assert row["value_low"] < -3 < row["value_high"] < 0
    assert row["value"] == pytest.approx(-3, abs=0.3)
    assert "captions shuffled" in row["support"] and row["support"].endswith("(worse)")
    assert "captions shuffled" in table.loc["linear-kodak-psnr", "support"]
    assert table.loc["linear-kodak-psnr", "support"].endswith("(equal)")
    assert table.loc["linear-kodak-psnr", "reference"] == "taco@2"


def test_what_cannot_be_judged_says_why(table: pd.DataFrame) -> None:
    assert "trained for 2 epochs against 3" in table.loc["keywords-kodak-psnr", "note"]
    assert "trained for 2 epochs against 3" in table.loc["keywords-kodak-cmmd", "note"]
    assert table.loc["context-coco-lpips", "note"] == "data set 'coco' is not evaluated"
    assert table.loc["context-saturates-lpips", "note"] == "no arm 'context-long' in this config"
    fid = table.loc["context-kodak-fid"]
    # Each arm's interval is +-0.3, but without the same images both move alike.
    assert "n = 24" in fid["note"] and "λ 0.0004: +0.1000 [+0.0950, " in fid["measured"]


def test_claims_that_the_config_does_not_measure_come_last(table: pd.DataFrame) -> None:
    here = table["in_config"]
    assert here.any() and not here.all() and here.is_monotonic_decreasing
    # Of these arms nothing may be judged: it is measured all the same.
    assert here["keywords-kodak-psnr"] and not here["context-coco-lpips"]
    left = table[~here]
    assert set(left["verdict"]) == {"not measured"} and left["note"].all()


def test_weights_of_yet_others_say_nothing_about_the_authors(table: pd.DataFrame) -> None:
    assert table.loc["published-kodak-bpp", "measured"].count("λ") == 3


def test_the_earlier_experiment_stands_beside_what_it_left_out(table: pd.DataFrame) -> None:
    row = table.loc["linear-time-encode"]
    assert row["note"] == "channels varied, which makes both kinds dearer alike"
    assert row["support"] == (
        "sizes varied instead, encoder: v100: -30.0 [-40.0, -20.0] % at 2,048 tokens and 256 "
        "pixels, -20.0 [-30.0, -10.0] % at 38 tokens and 512 pixels"
    )
    assert table.loc["linear-time-train", "support"] == ""


def test_deviations_from_the_authors_numbers_are_flagged() -> None:
    arms = study()
    known = published.published().query("caption == 'own'").set_index("lmbda")
    rows = []
    for lmbda, bpp, psnr in (("0.0008", 1.004, 0.04), ("0.0016", 1.006, 0.0), ("0.004", 1, 0.06)):
        truth = known.loc[lmbda]
        row = dict.fromkeys([*IDENTITY, *VALUES, *UNROUNDED], np.nan)
        row |= {"dataset": "kodak", "kind": "arm", "source": "published", "control": "own"}
        # PSNR of unrounded pixels counts, as the authors measured it.
        row |= {"lmbda": lmbda, "images": 24, "psnr": 20.0, "psnr_float": truth["psnr"] + psnr}
        rows.append(row | {"bpp_real": truth["bpp"] * bpp})
    found = published.table(arms, pd.DataFrame(rows))
    assert found["flagged"].tolist() == [False, True, True]
    assert found["bpp_deviation"].tolist() == pytest.approx([0.4, 0.6, 0.0])
    assert found["psnr_deviation"].tolist() == pytest.approx([0.04, 0.0, 0.06])
