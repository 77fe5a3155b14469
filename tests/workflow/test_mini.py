"""The mini study: the same pipeline on the COCO subset and Kodak."""

import json

import pandas as pd
import pytest

from conftest import ROOT, Project

SHARED = ROOT.parent / "shared" / "data"


@pytest.mark.slow
def test_mini_study_runs_on_coco_and_kodak(clone: Project) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"needs the COCO subset and Kodak in {SHARED}")
    root = f"data_root={SHARED}"
    run = clone.snakemake("--config", root, config="config/mini.yaml")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    counts = {
        path.parts[-3]: json.loads(path.read_text())["count"]
        for path in (clone.folder / "results/data").glob("*/*/manifest.json")
    }
    assert counts == {"coco-train": 281, "coco": 100, "kodak": 24}
    results = pd.read_csv(clone.folder / "results/report/latest/tables/results.csv")
    arms = results[results["source"].isin(["taco", "image-only"])]
    images = arms.groupby("dataset")["images"].unique()
    assert images["coco"].tolist() == [100] and images["kodak"].tolist() == [24]
    controls = arms[(arms["source"] == "taco") & (arms["dataset"] == "kodak")]["control"]
    assert set(controls) == {"own", "empty", "constant", "shuffled"}
    assert (arms["bpp_real"] > 0).all() and (arms["psnr"] > 10).all()
    assert clone.planned("--config", root, config="config/mini.yaml") == {}
