"""The tables agree with an independent computation from the per-image files."""

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recomputed
import report_study
from conftest import tables_of
from tacolab.plan import RESULTS, Plan
from tacolab.stages.report import tables
from tacolab.stages.report.inputs import read

Make = Callable[..., Plan]
WHERE = ["dataset", "arm", "lmbda", "seed", "control"]


@pytest.fixture
def numbers(make_plan: Make, tmp_path: Path) -> tuple[pd.DataFrame, Path]:
    """Images of every coding, recomputed, and the report's tables as CSV files."""
    datasets = report_study.study()["datasets"]
    datasets["kodak"]["photos"] = [f"kodim{n:02d}" for n in range(14)]
    arms = report_study.study()["arms"]
    arms["taco"] |= {"training": {"export_epochs": [2]}}
    arms["taco@2"] = {"of": {"arm": "taco", "epoch": 2}}
    plan = make_plan(datasets=datasets, arms=arms)
    random = np.random.default_rng(4)
    for artefact in plan:
        if artefact.stage.name == "metrics":  # images that differ, a caption that is missing
            rows = pd.read_parquet(artefact.path)
            rows["bpp_real"] *= np.exp(0.03 * random.normal(size=len(rows)))
            rows["psnr"] += 0.2 * random.normal(size=len(rows))
            rows["lpips_published"] *= np.exp(0.05 * random.normal(size=len(rows)))
            lost = (rows["image_id"] == "kodim13") & (rows["index"] == 1)
            report_study.measured_as(artefact, rows[~lost])
    inputs = read(plan.study, plan.find("report"))
    tables.write(tmp_path, tables.make(plan.study, inputs), inputs)
    return recomputed.evaluations(RESULTS), tmp_path / "tables"


def test_the_recomputation_uses_nothing_of_the_package() -> None:
    tree = ast.parse(Path(recomputed.__file__).read_text(encoding="utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert names == {"pathlib", "typing", "numpy", "pandas"}


def test_numbers_of_the_report_follow_from_the_files(numbers: tuple[pd.DataFrame, Path]) -> None:
    images, folder = numbers
    as_text = {"lmbda": str, "seed": str}

    # Headline means.
    table = pd.read_csv(folder / "results.csv", dtype=as_text)
    table = table[table["lmbda"].notna()].rename(columns={"source": "arm"})
    table["control"] = table["control"].fillna("own")
    expected = images.groupby(WHERE)[recomputed.COLUMNS].mean()
    found = table.set_index(WHERE)[recomputed.COLUMNS].loc[expected.index]
    assert len(found) == len(table) == len(expected)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12)

    # Other captions: paired over images, mean over seeds.
    kodak = images[images["dataset"] == "kodak"]
    controls = pd.read_csv(folder / "controls.csv", dtype=as_text)
    for arm, lmbda in (("taco", "0.0016"), ("taco@2", "0.009")):
        at = kodak[(kodak["arm"] == arm) & (kodak["lmbda"] == lmbda)]
        own, empty = (
            at[at["control"] == name].groupby("seed")[recomputed.COLUMNS].mean().mean()
            for name in ("own", "empty")
        )
        row = controls[(controls["source"] == arm) & (controls["lmbda"] == lmbda)].iloc[0]
        assert row["bpp_change"] == pytest.approx(100 * (empty.bpp_real / own.bpp_real - 1))
        assert row["lpips_change"] == pytest.approx(empty.lpips - own.lpips)

    # Whole curves against the baseline, and their intervals by other resamples.
    bd = pd.read_csv(folder / "bd.csv").set_index(["dataset", "arm", "reference", "metric"])
    own = kodak[kodak["control"] == "own"]
    taco, other = own[own["arm"] == "taco"], own[own["arm"] == "image-only"]
    for metric in ("psnr", "ms_ssim", "lpips_published"):
        row = bd.loc[("kodak", "image-only", "taco", metric)]
        assert row["bd_rate"] == pytest.approx(recomputed.bd_rate(taco, other, metric), abs=2e-3)
    row = bd.loc[("kodak", "image-only", "taco", "psnr")]
    main = taco[taco["seed"] == "100"]
    assert row["seeds_low"] <= recomputed.bd_rate(main, other, "psnr") <= row["seeds_high"]
    low, high = recomputed.bd_interval(taco, other, "psnr", 400)
    near = 0.15 * (high - low)
    assert row["bd_rate_low"] == pytest.approx(low, abs=near)
    assert row["bd_rate_high"] == pytest.approx(high, abs=near)

    # A single lambda against the baseline's curve.
    points = pd.read_csv(folder / "points.csv", dtype=as_text)
    points = points[(points["dataset"] == "kodak") & (points["arm"] == "image-only")]
    rate, quality = recomputed.curve(taco, "psnr")
    for row in points[points["metric"] == "psnr"].to_dict("records"):
        here = other[other["lmbda"] == row["lmbda"]][recomputed.COLUMNS].mean()
        base = taco[taco["lmbda"] == row["lmbda"]].groupby("seed")[recomputed.COLUMNS].mean().mean()
        log_rate = np.log(here.bpp_real)
        above = here.psnr - recomputed.monotone(rate, quality, log_rate)[0]
        more = np.exp(log_rate - recomputed.monotone(quality, rate, here.psnr)[0]) - 1
        assert row["rate_change"] == pytest.approx(100 * (here.bpp_real / base.bpp_real - 1))
        assert row["change"] == pytest.approx(here.psnr - base.psnr)
        assert row["at_equal_rate"] == pytest.approx(above)
        assert row["at_equal_quality"] == pytest.approx(100 * more)


def test_a_partial_report_shows_what_is_there_and_invents_nothing(make_plan: Make) -> None:
    """The arm that still trains has no number anywhere; the other's are the same as ever."""
    plan = make_plan()
    before = tables_of(plan)["results"]
    for artefact in plan.find("report").inputs.values():
        if artefact.names.get("arm") == "image-only":
            for path in artefact.files:
                path.unlink(missing_ok=True)
    found = tables_of(plan, partial=True)
    kept = before[before["source"] != "image-only"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found["results"], kept)
    for name in ("bd", "points"):
        numbers = found[name][found[name].get("arm") == "image-only"].select_dtypes("number")
        assert numbers.drop(columns=["images"], errors="ignore").isna().all().all(), name
