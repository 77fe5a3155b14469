"""Classical codecs on the images of the evaluation."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_evaluation import IDS, plan

from tacolab import evaluate
from tacolab.evaluate.images import Images
from tacolab.evaluate.metrics import Metrics


@pytest.mark.parametrize(
    ("codec", "qualities"), [("jpeg", [10, 90]), ("webp", [30]), ("avif", [40])]
)
def test_sizes_and_quality_are_those_of_the_files_that_pillow_writes(
    folder: Path, codec: str, qualities: list[int]
) -> None:
    study = plan(crop=128)
    artefact = study.find("anchors", codec=codec)
    evaluate.run(study, artefact)
    rows = pd.read_parquet(artefact.path)
    assert list(zip(rows["image_id"], rows["quality"], strict=True)) == [
        (image_id, quality) for image_id in IDS for quality in qualities
    ]
    images = Images(artefact.inputs["data"], 128)
    for row in rows.to_dict("records"):
        pixels = images.rgb(IDS.index(row["image_id"]))
        file = folder / f"picture.{codec}"
        Image.fromarray(pixels).save(file, quality=row["quality"])
        assert row["bytes"] == file.stat().st_size
        assert row["bpp_real"] == 8 * file.stat().st_size / 128**2
        decoded = np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("RGB"))
        error = ((pixels.astype(float) - decoded) ** 2).mean()
        assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / error))
    assert rows["ms_ssim"].dtype == float
    assert json.loads(artefact.files[1].read_text())["key"] == artefact.key
    assert sorted(artefact.folder.iterdir()) == sorted(artefact.files)


@pytest.mark.usefixtures("folder")
def test_an_interrupted_measurement_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    study = plan()
    artefact = study.find("anchors", codec="jpeg")
    real, calls = Metrics.__call__, []

    def counted(self: Metrics, *images: np.ndarray) -> dict[str, float | None]:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *images)

    monkeypatch.setattr(Metrics, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(study, artefact)
    (ledger,) = artefact.folder.glob("*.rows.jsonl")
    ledger.write_text(ledger.read_text() * 2)  # by two jobs at once
    (artefact.folder / f"{artefact.key}.01234567.rows.jsonl").touch()  # of an edited metric
    evaluate.run(study, artefact)
    assert len(calls) == 6 + 1
    rows = pd.read_parquet(artefact.path)
    assert not rows.duplicated(["image_id", "quality"]).any()
    assert len(rows) == 6
    assert sorted(artefact.folder.iterdir()) == sorted(artefact.files)
