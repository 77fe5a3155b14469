"""The numbers: headline means, Bjontegaard signs, controls."""

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from conftest import tables_of
from report_study import SMALL, measured_as
from tacolab.errors import UserError
from tacolab.plan import Plan
from tacolab.stages.evaluate import score as evaluate
from tacolab.stages.report import build
from tacolab.stages.report.layout import METRICS, Metric
from tacolab.stages.report.measure.curves import Curve, difference
from tacolab.stages.report.measure.published import published
from tacolab.stages.report.page.shown_tables import latex, markdown

PSNR, _, _, LPIPS = METRICS
RATES = np.array([0.1, 0.2, 0.4, 0.8])
# Rising quality of either kind; at every quality the better curve needs 20 % less rate.
QUALITY = {"psnr": 36 + 10 * np.log10(RATES), "lpips": 0.2 - 0.15 * np.log10(10 * RATES)}

Make = Callable[..., Plan]


def test_headline_is_the_mean_over_captions_then_images(make_plan: Make) -> None:
    plan = make_plan()
    artefact = plan.find(
        "metrics", arm="taco", lmbda="0.0016", seed="101", dataset="kodak", control="own"
    )
    rows = pd.read_parquet(artefact.path)
    # One image lost a caption: a plain mean over rows would weigh it less than the others.
    rows = rows[~((rows["image_id"] == "e") & (rows["index"] == 1))]
    rows.loc[rows["image_id"] == "c", "ms_ssim"] = None
    measured_as(artefact, rows)
    table = tables_of(plan)["results"]
    chosen = table.query("source == 'taco' and lmbda == '0.0016' and seed == '101'")
    (found,) = chosen.query("dataset == 'kodak' and control == 'own'").to_dict("records")
    images = {name: rows[rows["image_id"] == name] for name in ("c", "d", "e")}
    for column in ("bpp_real", "bpp_est", "psnr", "lpips_published", "lpips"):
        means = [sum(part[column]) / len(part) for part in images.values()]
        assert found[column] == pytest.approx(sum(means) / 3, rel=1e-12), column
    seconds = [part["decode_seconds"].mean() for part in images.values()]
    assert found["decode_seconds"] == pytest.approx(sorted(seconds)[1], rel=1e-12)
    known = [sum(images[name]["ms_ssim"]) / len(images[name]) for name in ("d", "e")]
    assert found["ms_ssim"] == pytest.approx(sum(known) / 2, rel=1e-12)
    assert (found["images"], found["codings"]) == (3, 5)


def test_the_best_caption_is_an_oracle_of_its_own(make_plan: Make) -> None:
    """Beside the headline, never in it."""
    plan = make_plan()
    before = tables_of(plan)["results"]
    artefact = plan.find("metrics", arm="taco", lmbda="0.004", dataset="kodak", control="own")
    description = json.loads(artefact.files[1].read_text())
    summary = evaluate.summary(pd.read_parquet(artefact.path))
    artefact.files[1].write_text(json.dumps(description | {"summary": summary}))
    table = tables_of(plan)["results"]
    pd.testing.assert_frame_equal(table[list(before)[:15]], before[list(before)[:15]])
    (row,) = table[table["best_of"].notna()].to_dict("records")
    assert (row["source"], row["lmbda"], row["best_of"]) == ("taco", "0.004", 2)
    assert row["lpips_published_best"] < row["lpips_published"]


def test_tables_hold_every_coding_and_empty_cells_where_nothing_is_known(made: Plan) -> None:
    plan = made
    table = pd.read_csv(plan.find("report").folder / "tables/results.csv", dtype={"lmbda": str})
    inputs = plan.find("report").inputs.values()
    evaluations = [a for a in inputs if a.stage.name == "metrics"]
    assert len(table[table["lmbda"].notna()]) == len(evaluations)
    anchors = table[table["source"].isin(["jpeg", "webp"])]
    assert len(anchors) == 2 * (5 + 5)
    assert anchors[["bpp_est", "lmbda", "seed", "control"]].isna().all().all()
    assert table[table["source"] == "image-only"]["control"].isna().all()
    per_image = pd.read_parquet(plan.find("report").folder / "tables/per_image.parquet")
    assert len(per_image) == table["images"].sum()


@pytest.mark.parametrize("metric", [PSNR, LPIPS], ids=lambda metric: metric.column)
def test_a_better_curve_has_a_negative_bd_rate(metric: Metric) -> None:
    anchor = Curve("anchor", RATES, QUALITY[metric.column])
    better = Curve("better", 0.8 * RATES, QUALITY[metric.column])
    found = difference(metric, anchor, better)
    assert found["bd_rate"] == pytest.approx(-20)
    assert found["bd_rate_akima"] == pytest.approx(-20)
    # More dB are better, less LPIPS is better.
    assert (found["bd_quality"] > 0) == metric.higher_is_better  # type: ignore[operator]
    assert found["overlap"] == 1
    worse = difference(metric, better, anchor)
    assert worse["bd_rate"] == pytest.approx(25)
    assert found["bd_quality"] == pytest.approx(-worse["bd_quality"])  # type: ignore[operator]


def test_bd_rate_covers_the_common_quality_range_only() -> None:
    """Two parallel curves of which one goes on: what lies beyond must not count."""
    anchor = Curve("anchor", RATES, QUALITY["psnr"])
    rates = 0.9 * np.append(RATES, [1.6, 90.0])
    quality = np.append(QUALITY["psnr"], [36 + 10 * np.log10(1.6), 60.0])
    longer = Curve("longer", rates, quality)
    found = difference(PSNR, anchor, longer)
    assert found["bd_rate"] == pytest.approx(-10)
    assert found["overlap"] == pytest.approx(np.ptp(QUALITY["psnr"]) / np.ptp(quality))


@pytest.mark.parametrize(
    ("test", "note"),
    [
        (Curve("a", RATES[:3], QUALITY["psnr"][:3]), "needs 4 points, a has 3"),
        (Curve("a", RATES, QUALITY["psnr"] + 50), "the quality ranges do not overlap"),
        (Curve("a", RATES, QUALITY["psnr"][[0, 2, 1, 3]]), "quality does not rise with rate"),
    ],
)
def test_bd_is_empty_with_a_reason(test: Curve, note: str) -> None:
    found = difference(PSNR, Curve("anchor", RATES, QUALITY["psnr"]), test)
    assert np.isnan(found["bd_rate"]) and np.isnan(found["bd_quality"])  # type: ignore[arg-type]
    assert str(found["note"]).startswith(note)


def test_bd_table_of_the_study(made: Plan) -> None:
    """In the synthetic study image-only codes the same pictures with 10 % more bits."""
    table = pd.read_csv(made.find("report").folder / "tables/bd.csv")
    against = table[(table["arm"] == "image-only") & (table["reference"] == "taco")]
    assert set(against["metric"]) == {metric.column for metric in METRICS}
    assert against["bd_rate"].to_numpy() == pytest.approx(10, abs=0.2)
    assert not ((table["arm"] == "taco") & (table["reference"] == "taco")).any()


def test_controls_compare_the_images_that_both_coded(make_plan: Make) -> None:
    plan = make_plan()
    where = {"arm": "taco", "lmbda": "0.004", "seed": "100", "dataset": "kodak"}
    empty = plan.find("metrics", **where, control="empty")
    rows = pd.read_parquet(empty.path)
    measured_as(empty, rows[rows["image_id"] != "e"])
    own = pd.read_parquet(plan.find("metrics", **where, control="own").path)
    table = tables_of(plan)["controls"]
    (found,) = table[table["lmbda"] == "0.004"].to_dict("records")
    assert found["images"] == 2
    expected = own[own["image_id"] != "e"].groupby("image_id")["bpp_real"].mean().mean()
    assert found["bpp_real_own"] == pytest.approx(expected)
    assert found["bpp_change"] == pytest.approx(0, abs=1e-9)
    assert found["lpips_change"] == pytest.approx(0.0002)


@pytest.mark.parametrize("number", [0, 1, 2], ids=["rows", "summary", "examples"])
@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_missing_or_damaged_input_is_named(make_plan: Make, damage: str, number: int) -> None:
    plan = make_plan(**SMALL)
    broken = plan.find("metrics", arm="image-only", control="own").files[number]
    content = broken.read_bytes()
    if damage == "gone":
        broken.unlink()
    elif damage == "cut":
        broken.write_bytes(content[:100])
    else:
        place = 10 if broken.suffix == ".json" else len(content) // 2
        broken.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
    with pytest.raises(UserError, match="snakemake") as raised:
        build.run(plan, plan.find("report"))
    assert str(broken) in str(raised.value)
    assert not plan.find("report").folder.exists()


def test_tables_for_people_say_the_same_in_markdown_and_latex() -> None:
    """Rounded, with the interval in its cell, and no character that either would take for its own;
    a column without values is left out."""
    frame = pd.DataFrame(
        {
            "lmbda": ["0.0016", "0.004"],
            "note": ["[a|b] at 5 % & λ_1", ""],
            "bd_rate": [-1.2345, np.nan],
            "bd_rate_low": [-1.9, np.nan],
            "bd_rate_high": [-0.4, np.nan],
            "seed": [np.nan, np.nan],
        }
    )
    assert markdown(frame).splitlines() == [
        "| λ      | note                |          BD-rate [%] |",
        "|:-------|:--------------------|---------------------:|",
        r"| 0.0016 | [a\|b] at 5 % & λ_1 | -1.23 [-1.90, -0.40] |",
        "| 0.004  |                     |                      |",
    ]
    assert latex(frame).splitlines() == [
        r"\begin{tabular}{llr}",
        r"\toprule",
        r"$\lambda$ & note & BD-rate {[}\%] \\",
        r"\midrule",
        r"0.0016 & {[}a|b] at 5 \% \& $\lambda$\_1 & -1.23 {[}-1.90, -0.40] \\",
        r"0.004 &  &  \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert markdown(frame[["seed"]]) == "(empty)\n" and latex(frame[["seed"]]) == "% empty\n"


def test_published_points_are_those_of_the_specification() -> None:
    frame = published()
    assert frame.groupby("source").size().to_dict() == {
        "TACO (released)": 10,
        "ELIC (paper)": 6,
        "MS-ILLM": 5,
    }
    assert (frame["dataset"] == "kodak").all() and frame["citation"].notna().all()
    row = frame[(frame["lmbda"] == "0.009") & (frame["caption"] == "empty")].iloc[0]
    assert (row["bpp"], row["psnr"], row["lpips_published"]) == (0.44741, 33.630, 0.01780)
    # Better pictures cost more: a slip of the pen would break the order.
    for _, part in frame.groupby(["source", frame["caption"].fillna("")]):
        assert part["bpp"].is_monotonic_increasing and part["psnr"].is_monotonic_increasing


def test_captions_table_says_what_is_cut(made: Plan) -> None:
    table = pd.read_csv(made.find("report").folder / "tables/captions.csv").set_index("dataset")
    assert set(table["arm"]) == {"taco"}  # the other reads none
    training = table.loc["train-set (training)"]
    assert (training["mean_tokens"], training["tokens_cut"], training["captions_cut"]) == (
        40,
        25,
        50,
    )
    # The evaluations' own files are not there: only what stands in their tables is known.
    assert table.loc["kodak", "captions"] == 6 and pd.isna(table.loc["kodak", "mean_tokens"])
