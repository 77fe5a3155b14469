"""Classical codecs on the images of the evaluation."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_evaluation import IDS, plan

from running import run_stage
from tacolab.quality.metrics import Metrics
from tacolab.stages.evaluate import anchors
from tacolab.stages.evaluate.images import Images

SAMPLE = Path(str(find_spec("skimage").origin)).parent / "data/chelsea.png"  # type: ignore[union-attr]

# As a critic would run them.
BEST: dict[str, list[dict[str, Any]]] = {
    "jpeg": [{"optimize": True}, {"optimize": True, "progressive": True}],
    "webp": [{"method": 6}],
    "avif": [{"speed": 4, "max_threads": 1}],
}


def saved(pixels: np.ndarray, codec: str, quality: int, **settings: Any) -> bytes:
    """The file that Pillow writes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=codec, quality=quality, **settings)
    return file.getvalue()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("codec", "qualities"), [("jpeg", [10, 90]), ("webp", [30]), ("avif", [40])]
)
def test_sizes_and_quality_are_those_of_the_files_that_pillow_writes(
    codec: str, qualities: list[int]
) -> None:
    study = plan(crop=128)
    artefact = study.find("anchors", codec=codec)
    run_stage(study, artefact)
    rows = pd.read_parquet(artefact.path)
    assert list(zip(rows["image_id"], rows["quality"], strict=True)) == [
        (image_id, quality) for image_id in IDS for quality in qualities
    ]
    images = Images(artefact.inputs["data"], 128)
    for row in rows.to_dict("records"):
        pixels = images.rgb(IDS.index(row["image_id"]))
        files = [saved(pixels, codec, row["quality"], **settings) for settings in BEST[codec]]
        smallest = min(files, key=len)
        assert row["bytes"] == len(smallest)
        assert row["bpp_real"] == 8 * len(smallest) / 128**2
        decoded = np.asarray(Image.open(io.BytesIO(smallest)).convert("RGB"))
        error = ((pixels.astype(float) - decoded) ** 2).mean()
        assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / error))
    assert rows["ms_ssim"].dtype == float
    assert json.loads(artefact.files[1].read_text())["key"] == artefact.key
    assert sorted(artefact.folder.iterdir()) == sorted(artefact.files)


def test_the_best_jpeg_is_smaller_and_no_other_picture() -> None:
    """Of Pillow's default file only the entropy coding changes, at low and at high rates."""
    pixels = np.asarray(Image.open(SAMPLE).convert("RGB").resize((160, 120)))
    for quality in (3, 10, 40, 95):
        coded = anchors.code(pixels, "jpeg", quality)
        default = saved(pixels, "jpeg", quality)
        assert coded.size < len(default)
        np.testing.assert_array_equal(coded.decoded, Image.open(io.BytesIO(default)))


def test_avif_is_the_same_whatever_number_of_threads() -> None:
    pixels = np.asarray(Image.open(SAMPLE).convert("RGB").resize((256, 256)))
    with ThreadPoolExecutor(3) as pool:
        together = [*pool.map(lambda quality: anchors.code(pixels, "avif", quality), (20, 50, 80))]
    for quality, coded in zip((20, 50, 80), together, strict=True):
        alone = anchors.code(pixels, "avif", quality)
        assert coded.size == alone.size
        np.testing.assert_array_equal(coded.decoded, alone.decoded)


@pytest.mark.usefixtures("folder")
def test_an_interrupted_measurement_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    study = plan()
    artefact = study.find("anchors", codec="jpeg")
    real, calls = Metrics.__call__, []

    def counted(self: Metrics, *images: np.ndarray) -> dict[str, float | None]:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(self, *images)

    monkeypatch.setattr(Metrics, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        run_stage(study, artefact)
    assert artefact.begun == [artefact.state]
    run_stage(study, artefact)
    assert len(calls) == 6 + 2  # four rows of the first two images were kept
    rows = pd.read_parquet(artefact.path)
    assert not rows.duplicated(["image_id", "quality"]).any()
    assert len(rows) == 6
    assert sorted(artefact.folder.iterdir()) == sorted(artefact.files)
