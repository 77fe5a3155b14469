"""Intervals over images and the verdicts that follow, on curves with known differences."""

import bjontegaard
import numpy as np
import pandas as pd
import pytest

import report_study
from tacolab import config
from tacolab.plan import Plan
from tacolab.quality import bootstrap
from tacolab.quality.bd_rate import bd_quality, bd_rate
from tacolab.quality.bootstrap import ConfidenceInterval, interval, resampled_means
from tacolab.quality.curves import ResampledCurve
from tacolab.stages.report.frames import ARM, IDENTITY, VALUES
from tacolab.stages.report.inputs import Model
from tacolab.stages.report.judge.claims import claims
from tacolab.stages.report.judge.observations import OBSERVED_BY
from tacolab.stages.report.judge.relations import RELATIONS, judge, together
from tacolab.stages.report.layout import METRICS
from tacolab.stages.report.measure.baselines import mismatches
from tacolab.stages.report.measure.codings import Codings
from tacolab.stages.report.measure.differences import Pair, bd_table, points_table, word

LAMBDAS = ["0.0004", "0.0008", "0.0016", "0.004", "0.009"]
PSNR = METRICS[0]


def coded(
    arm: str,
    factor: float,
    random: np.random.Generator,
    images: int = 60,
    noise: float = 0.02,
    seed: str = "100",
    lambdas: list[str] = LAMBDAS,
) -> pd.DataFrame:
    """An arm that needs `factor` times the rate for the same quality, but for noise per image.

    Images differ much more from each other than arms do: hard ones need more rate at less quality.
    """
    hard = np.random.default_rng(images).normal(size=images)  # the same images for every arm
    rows = []
    for lmbda in lambdas:
        rate = 12 * float(lmbda) ** 0.55 * np.exp(0.5 * hard + noise * random.normal(size=images))
        psnr = 45 + 4 * np.log(float(lmbda)) - 3 * hard + 10 * noise * random.normal(size=images)
        rows.append(
            pd.DataFrame(dict.fromkeys(VALUES, np.nan), index=range(images)).assign(
                dataset="kodak", kind=ARM, source=arm, lmbda=lmbda, quality=None, seed=seed,
                control="own", image_id=[f"i{n}" for n in range(images)], captions=1, height=256,
                width=256, bpp_real=factor * rate, psnr=psnr, ms_ssim=1 - np.exp(-psnr / 5),
                lpips=np.exp(-psnr / 10), lpips_published=np.exp(-psnr / 9),
            )
        )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def bd(of: Codings) -> ConfidenceInterval:
    return interval(bd_rate(*Pair(of, "test", "base", PSNR).curves()), of.images)


@pytest.mark.filterwarnings("ignore:Curves do not overlap")
def test_curves_agree_with_the_package_bjontegaard() -> None:
    random = np.random.default_rng(1)
    options = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
    for points in (4, 6, 9):
        rate, test_rate = np.sort(random.uniform(0.1, 1, (2, 20, points)), axis=2)
        quality = 30 + np.cumsum(random.exponential(size=(20, points)), axis=1)
        test = quality + random.normal(size=(20, 1))
        sides = ResampledCurve(rate, quality), ResampledCurve(test_rate, test)
        found, quality_found = bd_rate(*sides), bd_quality(*sides)
        for row in range(20):
            curves = rate[row], quality[row], test_rate[row], test[row]
            expected = bjontegaard.bd_rate(*curves, **options)
            assert found[row] == pytest.approx(expected, abs=1e-7, nan_ok=True)
            if np.isfinite(quality_found[row]):
                expected = bjontegaard.bd_psnr(*curves, **options)
                assert quality_found[row] == pytest.approx(expected, abs=1e-9)


def test_a_curve_that_falls_somewhere_has_no_difference() -> None:
    rate = np.array([[0.1, 0.2, 0.4, 0.8]] * 2)
    quality = np.array([[30.0, 31, 32, 33], [30.0, 32, 31, 33]])
    found = bd_rate(ResampledCurve(rate, quality[[0, 0]]), ResampledCurve(rate * 0.9, quality))
    assert found[0] == pytest.approx(-10) and np.isnan(found[1])


@pytest.mark.parametrize(("factor", "images"), [(0.97, 60), (1.0, 60), (0.97, 10)])
def test_95_percent_intervals_cover_the_true_difference(factor: float, images: int) -> None:
    """In 200 studies the interval holds the true BD-rate about 95 times in 100."""
    random = np.random.default_rng(7)
    hard = np.random.default_rng(images).normal(size=images)[:, None]
    points = np.array([float(lmbda) for lmbda in LAMBDAS])

    def arm(factor: float) -> tuple[np.ndarray, np.ndarray]:
        """Rates and PSNR of images at every lambda, as in `coded`."""
        noise = 0.02 * random.normal(size=(2, images, len(points)))
        rate = factor * 12 * points**0.55 * np.exp(0.5 * hard + noise[0])
        return rate, 45 + 4 * np.log(points) - 3 * hard + 10 * noise[1]

    held = []
    for _ in range(200):
        values = np.concatenate([*arm(1.0), *arm(factor)], axis=1)
        means = resampled_means(values, 2000 if images == 10 else 500)
        base, base_psnr, test, test_psnr = np.split(means, 4, axis=1)
        found = interval(
            bd_rate(ResampledCurve(base, base_psnr), ResampledCurve(test, test_psnr)), images
        )
        held.append(found.low <= 100 * (factor - 1) <= found.high)
    assert 0.92 <= np.mean(held) <= 0.99, np.mean(held)


@pytest.mark.parametrize(
    ("factor", "noise", "expected"),
    [
        (0.95, 0.02, "better"),
        (1.05, 0.02, "worse"),
        (1.0, 0.005, "equal"),
        (0.997, 0.001, "equal"),  # surely fewer bits, but within the margin fixed beforehand
        (1.0, 0.2, "not decided"),
    ],
)
def test_a_known_difference_gets_its_verdict(factor: float, noise: float, expected: str) -> None:
    random = np.random.default_rng(3)
    frames = [coded("base", 1.0, random, noise=noise), coded("test", factor, random, noise=noise)]
    found = bd(Codings(pd.concat(frames)))
    assert word(found, 1.0) == expected, found
    assert found.low < found.value < found.high


def test_the_same_resamples_serve_both_arms() -> None:
    """Images differ a hundredfold, arms not at all: unpaired resamples would see differences."""
    base = coded("base", 1.0, np.random.default_rng(1))
    twin = base.assign(source="test")
    found = bd(Codings(pd.concat([base, twin])))
    assert found == ConfidenceInterval(0.0, 0.0, 0.0)


def test_resamples_are_the_same_in_every_run_and_block(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).normal(size=(50, 3))
    values[::7, 1] = np.nan
    found = resampled_means(values, 400)
    assert found[0] == pytest.approx(np.nanmean(values, axis=0))
    assert found[1:].std(axis=0) == pytest.approx(
        np.nanstd(values, axis=0) / np.sqrt(np.isfinite(values).sum(axis=0)), rel=0.2
    )
    assert (resampled_means(values, 400) == found).all()
    monkeypatch.setattr(bootstrap, "BLOCK", 50 * 7)
    assert resampled_means(values, 400) == pytest.approx(found, abs=1e-12)


def test_few_images_have_an_estimate_but_no_interval() -> None:
    random = np.random.default_rng(3)
    frames = [coded("base", 1.0, random, images=9), coded("test", 0.5, random, images=9)]
    found = bd(Codings(pd.concat(frames)))
    assert found.value < -30 and np.isnan(found.low)
    assert word(found, 1.0) == "not measured"


def study(**arms: object) -> config.Study:
    """taco at every lambda; the kodak set alone."""
    plain = report_study.study(lambdas=LAMBDAS)
    plain["arms"] = {"taco": plain["arms"]["taco"] | {"extra_seeds": {}}, **arms}
    plain["protocol"]["datasets"] = {"kodak": {}}
    plain["protocol"]["anchors"] = {}
    return config.validate(plain, "test")


def point(
    frames: list[pd.DataFrame], arms: config.Study, metric: str = "psnr", arm: str = "other"
) -> pd.Series:
    table = points_table(arms, {"kodak": Codings(pd.concat(frames))}, {})
    table = table[table["arm"] == arm]
    (row,) = table[(table["metric"] == metric) & (table["lmbda"] == "0.0016")].to_dict("records")
    return pd.Series(row)


TEXTLESS = {"text": None, "captions": "human"}


def test_a_single_lambda_is_compared_with_the_curve_at_its_rate() -> None:
    """5 % more rate at the same lambda and quality: worse than the curve by what 5 % buys there."""
    random = np.random.default_rng(6)
    frames = [
        coded("taco", 1.0, random, noise=0.002),
        coded("other", 1.05, random, noise=0.002, lambdas=["0.0016"]),
    ]
    arms = study(other=TEXTLESS | {"lambdas": ["0.0016"]})
    row = point(frames, arms)
    for name, truth, near in (
        ("rate_change", 5.0, 0.1),
        ("change", 0.0, 0.02),
        ("at_equal_rate", -4 * np.log(1.05) / 0.55, 0.03),
        ("at_equal_quality", 5.0, 0.3),
    ):
        assert row[name] == pytest.approx(truth, abs=near), name
        assert row[f"{name}_low"] < truth < row[f"{name}_high"], name
    assert row["verdict"] == "worse" and row["note"] == ""
    lpips = point(frames, arms, "lpips")
    assert lpips["at_equal_rate"] > 0 and lpips["verdict"] == "worse"


def test_beyond_the_curve_nothing_is_said_but_close_to_its_end() -> None:
    random = np.random.default_rng(5)
    base = coded("taco", 1.0, random, lambdas=LAMBDAS[2:])
    for factor, known in ((0.93, True), (0.5, False)):
        test = coded("other", factor, random, lambdas=["0.0016"])
        row = point([base, test], study(other=TEXTLESS | {"lambdas": ["0.0016"]}))
        assert np.isfinite(row["at_equal_rate"]) == known
        assert row["note"] == "beyond the end of the curve of taco"
        assert row["rate_change_high"] < 0
    far = test.assign(psnr=test["psnr"] - 20)
    row = point([base, far], study(other=TEXTLESS | {"lambdas": ["0.0016"]}))
    assert row["verdict"] == "not measured" and "off the curve" in row["note"]


def test_a_baseline_of_one_lambda_decides_only_what_is_better_in_both() -> None:
    random = np.random.default_rng(5)
    base = coded("taco", 1.0, random, lambdas=["0.0016"])
    test = coded("other", 0.9, random, lambdas=["0.0016"])
    arms = study(other=TEXTLESS | {"lambdas": ["0.0016"]})
    row = point([base, test], arms)
    assert row["verdict"] == "not measured" and "no curve" in row["note"]
    row = point([base, test.assign(psnr=test["psnr"] + 1)], arms)
    assert row["verdict"] == "better"


def test_a_baseline_of_one_lambda_borrows_the_slope_of_the_studys() -> None:
    """An arm with 4 % more bits than its baseline, at the quality that 1 % of them buys."""
    random = np.random.default_rng(8)
    base = coded("taco", 1.0, random, noise=0.002)
    own = coded("early", 1.2, random, noise=0.002, lambdas=["0.0016"])
    test = coded("other", 1.2 * 1.04, random, noise=0.002, lambdas=["0.0016"])
    test["psnr"] += 4 * np.log(1.01) / 0.55
    one = TEXTLESS | {"lambdas": ["0.0016"]}
    row = point([base, own, test], study(early=one, other=one | {"baseline": "early"}), arm="other")
    assert row["at_equal_quality"] == pytest.approx(3, abs=0.4)
    assert row["verdict"] == "worse" and "by the curve of taco" in row["note"]


def test_arms_of_unequal_epochs_are_not_judged() -> None:
    """keywords has 2 of taco's 3 epochs: judged by taco's export at 2, never by taco."""
    short = TEXTLESS | {"training": {"epochs": 2}}
    export = {"of": {"arm": "taco", "epoch": 2}}
    plain = report_study.study()["arms"]["taco"]
    arms = study(
        taco=plain | {"extra_seeds": {}, "training": {"export_epochs": [2]}},
        **{"taco@2": export, "other": short, "matched": short | {"baseline": "taco@2"}},
    )
    unequal = mismatches(arms, [])
    assert unequal == {
        "taco@2": "trained for 2 epochs against 3: not comparable",
        "other": "trained for 2 epochs against 3: not comparable",
    }
    random = np.random.default_rng(5)
    names = {"taco": 1.0, "taco@2": 1.1, "other": 1.05, "matched": 1.05}
    images = pd.concat([coded(name, factor, random) for name, factor in names.items()])
    points = images.groupby(IDENTITY, dropna=False)[VALUES].mean().reset_index()
    table = bd_table(arms, points, {"kodak": Codings(images)}, unequal)
    verdicts = table[table["metric"] == "psnr"].set_index("arm")["verdict"]
    assert verdicts["other"] == "not measured" and verdicts["matched"] == "better"


@pytest.mark.parametrize(("pairs", "why"), [(405, ""), (200, "trained on 200 image-caption pairs")])
@pytest.mark.parametrize("baseline", ["taco", "taco@2"])
def test_epochs_of_fewer_captions_are_no_match(baseline: str, pairs: int, why: str) -> None:
    """Human captions are five per image and some more: that difference is none."""
    exported = {"export_epochs": [2]}
    taco = report_study.study()["arms"]["taco"] | {"extra_seeds": {}, "training": exported}
    other = TEXTLESS | {
        "baseline": baseline,
        "training": {"epochs": 3 if baseline == "taco" else 2},
    }
    export = {"of": {"arm": "taco", "epoch": 2}}
    plan = Plan(study(taco=taco, **{"taco@2": export, "other": other}))
    trained = [a for a in plan if a.stage.name == "train" and a.names["lmbda"] == "0.0016"]
    samples = {"taco": 408, "other": pairs}
    models = [Model(a, {"samples": samples[a.names["arm"]]}) for a in trained]
    found = mismatches(plan.study, models).get("other", "")
    assert found.startswith(why) and bool(found) == bool(why)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"milestones": [1, 7]}, "trained with milestones [1] against []"),
        ({"milestones": [6, 7]}, ""),  # after the last epoch
        ({"learning_rate": 0.5}, "trained with learning_rate 0.5 against 0.0001: not comparable"),
        ({"validation_images": 3}, ""),
        (
            {"schedule": "cosine"},
            "trained with schedule cosine over 3 epochs against steps: not comparable",
        ),
    ],
)
def test_arms_trained_in_another_way_are_not_judged(change: dict[str, object], why: str) -> None:
    found = mismatches(study(other=TEXTLESS | {"training": change}), [])
    assert found.get("other", "").startswith(why) and bool(found) == bool(why)


def test_a_curve_that_falls_where_a_point_lies_does_not_tell_what_rate_buys() -> None:
    """More bits of the baseline buy less there: the point would profit from every bit it wastes."""
    random = np.random.default_rng(5)
    base = coded("taco", 1.0, random, noise=0.002)
    test = coded("other", 1.05, random, noise=0.002, lambdas=["0.0016"])
    arms = study(other=TEXTLESS | {"lambdas": ["0.0016"]})
    for falls, known in (("0.009", True), ("0.004", False)):  # from the lambda before it on
        later = base["lmbda"].astype(float) >= float(falls)
        row = point([base.assign(psnr=base["psnr"] - 12 * later), test], arms)
        assert np.isfinite(row["at_equal_rate"]) == known, falls
        assert np.isnan(row["at_equal_quality"]) and row["verdict"] == "not measured"


def test_a_scrap_of_two_curves_decides_nothing() -> None:
    random = np.random.default_rng(5)
    base, test = coded("taco", 1.0, random), coded("other", 0.5, random)
    arms = study(other=TEXTLESS)
    for up, verdict, note in (
        (0.0, "better", ""),
        (8.0, "not decided", "the curves share 22 % of their range of quality"),
    ):
        images = pd.concat([base, test.assign(psnr=test["psnr"] + up)])
        points = images.groupby(IDENTITY, dropna=False)[VALUES].mean().reset_index()
        table = bd_table(arms, points, {"kodak": Codings(images)}, {})
        (row,) = table[(table["metric"] == "psnr") & (table["arm"] == "other")].to_dict("records")
        assert (row["verdict"], row["note"]) == (verdict, note)


def test_seeds_are_averaged_and_their_spread_stands_beside() -> None:
    random = np.random.default_rng(5)
    frames = [coded("taco", 1.0, random, noise=0.002), coded("other", 1.02, random, noise=0.002)]
    frames.append(coded("other", 0.94, random, noise=0.002, seed="101", lambdas=["0.0016"]))
    row = point(frames, study(other=TEXTLESS | {"extra_seeds": {"0.0016": [101]}}))
    assert row["seeds"] == 2
    assert row["rate_change"] == pytest.approx(-2, abs=0.5)
    assert row["seeds_low"] == pytest.approx(-6, abs=1)
    assert row["seeds_high"] == pytest.approx(2, abs=1)


@pytest.mark.parametrize(
    ("relation", "low", "high", "expected"),
    [
        ("better", -3, -1.2, "confirmed"),
        ("better", -3, 0.2, "not confirmed"),
        ("better", -0.5, -0.1, "not confirmed"),  # surely, but within the margin
        ("better", -0.5, 0.1, "contradicted"),  # equal within the margin
        ("worse", 0.1, 0.5, "not confirmed"),
        ("better", 0.2, 3, "contradicted"),
        ("worse", 0.2, 3, "confirmed"),
        ("worse", -3, -1.2, "contradicted"),
        ("equal", -0.9, 0.9, "confirmed"),
        ("equal", -0.9, 1.1, "not confirmed"),
        ("equal", 1.1, 2, "contradicted"),
        ("not worse", -5, 0.9, "confirmed"),
        ("not worse", -5, 1.1, "not confirmed"),
        ("not worse", 1.1, 2, "contradicted"),
        ("up", 0.001, 0.002, "confirmed"),
        ("up", -0.001, 0.002, "not confirmed"),
        ("down", 0.001, 0.002, "contradicted"),
        ("within", -0.4, 0.9, "confirmed"),
        ("better", np.nan, np.nan, "not measured"),
    ],
)
def test_verdicts_follow_from_the_interval_alone(
    relation: str, low: float, high: float, expected: str
) -> None:
    assert judge(relation, ConfidenceInterval((low + high) / 2, low, high), 1.0) == expected


def test_several_lambdas_must_agree() -> None:
    both = ["confirmed", "contradicted"]
    assert together("better", ["confirmed"] * 3) == "confirmed"
    assert together("better", both) == together("up", both) == "not confirmed"
    for of_all in ("reproduced", "same time", "equal", "not worse"):
        assert together(of_all, both) == "contradicted"
    assert together("better", []) == "not measured"


def test_claims_are_well_formed() -> None:
    frame = claims()
    assert set(frame["relation"]) <= set(RELATIONS) == set(OBSERVED_BY)
    assert (
        frame["id"].is_unique and (frame["claim"] != "").all() and (frame["claimed_in"] != "").all()
    )
    for relation in set(frame["relation"]) - {"undecidable"}:
        judge(relation, ConfidenceInterval(0.0, 0.0, 0.0), 1.0)
    limits = frame[frame["relation"].isin(["within", "reproduced"])]
    assert limits["to"].notna().all()
    fid = frame[(frame["dataset"] == "kodak") & (frame["metric"] == "fid")]
    assert set(fid["relation"]) == {"undecidable"}
