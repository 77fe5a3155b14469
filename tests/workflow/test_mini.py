"""The mini study, every arm of it, on a few images of the COCO subset."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

import authors_file
import mock_openai
from conftest import ROOT, Project

SHARED = ROOT.parent / "shared" / "data"


TRAINED, TESTED = 6, 3  # images


@pytest.fixture
def answers() -> Iterator[str]:
    """A stand-in for the API, at a free port; its base_url."""
    with mock_openai.serving() as (_, base_url):
        yield base_url


def shorten(config: Path, data_root: Path, api: str) -> dict[str, int]:
    """The mini study with a few images of COCO and one lambda; the images of each data set."""
    study = yaml.safe_load(config.read_text())
    coco = data_root / "coco"
    coco.mkdir(parents=True)
    for name in ("train2014", "val2014", "annotations"):
        (coco / name).symlink_to(SHARED / "coco" / name)
    names = sorted(path.name for path in (SHARED / "coco/train2014").iterdir())
    (coco / "train.json").write_text(json.dumps(names[:TRAINED]))
    names = json.loads((SHARED / "coco/restval.json").read_text())
    (coco / "restval.json").write_text(json.dumps(names[:TESTED]))
    study |= {"data_root": str(data_root), "lambdas": ["0.0004"]}
    study["datasets"]["coco-train"] |= {"list": "coco/train.json", "min_side": 192}
    study["training"] |= {"validation_images": 2, "crop": 64}
    study["captions"]["mock"]["per_image"] = {"coco-train": 2}
    study["timing"] |= {"parts": ["attention"], "sides": [64], "text_tokens": [38]}
    study["timing"] |= {"width_factors": [], "repeats": 3}
    study["protocol"] |= {"datasets": {"coco": {"crop": 192}}, "anchors": {"jpeg": [10, 40]}}
    study["execution"]["api"]["base_url"] = api
    file = data_root / study["arms"]["published"]["checkpoints"]["0.004"]
    authors_file.write(file, text_dim=384, **study["codec"])
    config.write_text(yaml.safe_dump(study, sort_keys=False))
    return {"coco-train": TRAINED, "coco": TESTED}


@pytest.mark.slow
def test_every_arm_of_the_mini_study_runs(
    clone: Project, answers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"needs the COCO subset in {SHARED}")
    monkeypatch.setenv("OPENAI_API_KEY", "mock")
    sizes = shorten(clone.folder / "config/mini.yaml", tmp_path / "data", answers)
    arms = yaml.safe_load((clone.folder / "config/mini.yaml").read_text())["arms"]
    run = clone.snakemake(config="config/mini.yaml")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    counts = {
        path.parts[-3]: json.loads(path.read_text())["count"]
        for path in (clone.folder / "results/data").glob("*/*/manifest.json")
    }
    assert counts == sizes
    results = pd.read_csv(clone.folder / "results/report/latest/tables/results.csv")
    measured = results[results["source"].isin(list(arms))]
    assert list(measured["source"]) == list(arms) and set(measured["images"]) == {TESTED}
    assert (measured["bpp_real"] > 0).all() and (measured["psnr"] > 5).all()
    assert clone.planned(config="config/mini.yaml") == {}
    # What was paid for lies beside the data, and is asked for once by whoever wants it.
    stored = (tmp_path / "data/answers").glob("*/*.jsonl")
    paid = [json.loads(line) for path in stored for line in path.read_text().splitlines()]
    assert len(paid) == 2 * TRAINED + TESTED
    assert os.environ["OPENAI_API_KEY"] not in [
        str(value) for row in paid for value in row.values()
    ]
