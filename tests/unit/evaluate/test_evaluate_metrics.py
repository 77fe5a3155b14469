"""Metrics: of what the files decode to, per image and in summary."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pytorch_msssim import ms_ssim
from small_evaluation import IDS, find, make, plan

from running import run_stage
from tacolab.codec import Elic
from tacolab.codec.pixels import to_tensor
from tacolab.errors import StageError
from tacolab.files import atomic, intact
from tacolab.plan import Artefact
from tacolab.quality.metrics import Metrics, tabulate
from tacolab.stages.evaluate.images import Images
from tacolab.stages.evaluate.score import summary

CPU = torch.device("cpu")
METRICS = ["psnr", "ms_ssim", "lpips_published", "lpips"]


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return Metrics(CPU)


def results(artefact: Artefact) -> tuple[pd.DataFrame, dict[str, object]]:
    """The rows and the summary."""
    content = json.loads(artefact.files[1].read_text())
    assert content["key"] == artefact.key
    return pd.read_parquet(artefact.path), content["summary"]


def pictures(artefact: Artefact) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(artefact.files[2]) as archive:
        return {
            name: np.asarray(Image.open(io.BytesIO(archive.read(name))))
            for name in archive.namelist()
        }


@pytest.mark.usefixtures("folder")
def test_rates_and_metrics_are_those_of_the_files() -> None:
    study = plan(examples=3, crop=192, captions=1)
    artefact = make(study, "metrics")
    rows, _ = results(artefact)
    codes = pd.read_parquet(artefact.inputs["codes"].path)
    shown = pictures(artefact)
    with zipfile.ZipFile(artefact.inputs["codes"].files[1]) as archive:
        sizes = {name: info.file_size for name, info in archive.NameToInfo.items()}
    assert list(rows["image_id"]) == IDS
    for row in rows.to_dict("records"):
        name = row["image_id"]
        assert row["bytes"] == sizes[f"{name}.0.bin"]
        assert row["bpp_real"] == 8 * row["bytes"] / 192**2
        original = shown[f"original/{name}.png"].astype(float)
        decoded = shown[f"decoded/{name}.png"].astype(float)
        assert row["psnr"] == pytest.approx(
            20 * np.log10(255 / np.sqrt(((original - decoded) ** 2).mean()))
        )
        x, x_hat = (torch.tensor(p).permute(2, 0, 1)[None] for p in (original, decoded))
        assert row["ms_ssim"] == pytest.approx(ms_ssim(x, x_hat, data_range=255).item(), abs=1e-4)
        assert 0 < row["lpips_published"] < row["lpips"]
        assert row["decode_seconds"] > 0
    estimated = (codes["bits_y"] + codes["bits_z"]) / 192**2
    assert list(rows["bpp_est"]) == list(estimated)
    images = Images(artefact.inputs["data"], 192)
    for i, name in enumerate(images.ids):
        assert np.array_equal(shown[f"original/{name}.png"], images.rgb(i))


@pytest.mark.usefixtures("folder")
def test_ms_ssim_is_empty_for_small_crops_and_nothing_else() -> None:
    rows, means = results(make(plan(crop=64), "metrics", arm="image-only"))
    assert rows["ms_ssim"].isna().all()
    assert rows["ms_ssim"].dtype == float  # a column of numbers, though there is none
    assert means["ms_ssim"] is None
    assert means["images"] == means["rows"] == len(IDS)
    assert rows[["bpp_real", "psnr", "lpips"]].notna().all(axis=None)


@pytest.mark.parametrize(("side", "empty"), [(160, True), (161, False)])
def test_ms_ssim_is_defined_from_161_pixels_on(metrics: Metrics, side: int, empty: bool) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (side, 200, 3), dtype=np.uint8)
    assert (metrics(picture, 255 - picture)["ms_ssim"] is None) == empty


def test_an_identical_image_has_no_finite_psnr(metrics: Metrics, tmp_path: Path) -> None:
    picture = np.full((64, 64, 3), 7, np.uint8)
    row = metrics(picture, picture.copy())
    assert row["psnr"] is None
    assert row["lpips"] == row["lpips_published"] == 0
    # Nor do tables or summaries stumble where all or some are identical.
    rest = {"image_id": "a", "bpp_real": 1.0, "bpp_est": 1.0}
    table = tabulate([rest | row])
    table.to_parquet(tmp_path / "rows.parquet")
    atomic.write_json(tmp_path / "summary.json", summary(table))
    assert summary(table)["psnr"] is None
    both = tabulate([rest | row, rest | row | {"image_id": "b", "psnr": 30.0}])
    assert summary(both)["psnr"] == 30.0


def test_the_two_lpips_ranges_differ_by_the_scaling_only(metrics: Metrics) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    x, y = to_tensor(a, CPU), to_tensor(b, CPU)
    assert metrics(a, b)["lpips"] == metrics.lpips(2 * x - 1, 2 * y - 1, "published").item()


@pytest.mark.usefixtures("folder")
def test_the_summary_is_the_mean_over_captions_then_images(undisturbed: Path) -> None:
    artefact = find(plan(), "metrics")
    rows = pd.read_parquet(undisturbed / artefact.path)
    means = json.loads((undisturbed / artefact.files[1]).read_text())["summary"]
    assert (means["images"], means["rows"]) == (len(IDS), 2 * len(IDS))
    for name in ("bpp_real", "bpp_est", "psnr", "lpips_published", "lpips"):
        per_image = [rows.loc[rows["image_id"] == i, name].to_numpy().mean() for i in IDS]
        assert means[name] == pytest.approx(np.mean(per_image), rel=1e-12)
    # Where images have captions in different numbers, an image still counts once.
    fewer = rows.drop(index=[0])
    per_image = [fewer.loc[fewer["image_id"] == i, "psnr"].to_numpy().mean() for i in IDS]
    assert summary(fewer)["psnr"] == pytest.approx(np.mean(per_image))
    assert summary(fewer)["psnr"] != pytest.approx(fewer["psnr"].mean())


@pytest.mark.usefixtures("folder")
def test_the_oracle_keeps_the_best_caption_of_each_image(undisturbed: Path) -> None:
    artefact = find(plan(), "metrics")
    rows = pd.read_parquet(undisturbed / artefact.path)
    means = json.loads((undisturbed / artefact.files[1]).read_text())["summary"]
    assert means["best_of"] == 2
    kept = []
    for image_id in IDS:
        one = rows[rows["image_id"] == image_id].reset_index(drop=True)
        kept.append(one.loc[int(np.argmin(one["lpips_published"]))])
    for name in ("bpp_real", "psnr", "lpips_published", "lpips"):
        assert means[f"{name}_best"] == pytest.approx(np.mean([row[name] for row in kept]))
    assert means["lpips_published_best"] < means["lpips_published"]
    # With one caption there is nothing to choose, without LPIPS nobody who could.
    assert not [name for name in summary(rows[rows["index"] == 0]) if "best" in name]
    assert summary(rows.assign(lpips_published=np.nan))["psnr_best"] is None


@pytest.mark.usefixtures("folder")
def test_controls_have_no_examples_and_own_has_those_asked_for() -> None:
    study = plan(captions=1, examples=2)
    assert sorted(pictures(make(study, "metrics"))) == [
        f"{role}/{name}.png" for role in ("decoded", "original") for name in sorted(IDS[:2])
    ]
    assert pictures(make(study, "metrics", control="empty")) == {}


@pytest.mark.usefixtures("folder")
def test_files_that_decode_to_other_symbols_are_refused() -> None:
    study = plan(captions=1)
    codes = make(study, "code")
    rows = pd.read_parquet(codes.path)
    rows.loc[1, "checksum"] ^= 1
    rows.to_parquet(codes.path)
    description = json.loads(codes.files[2].read_text()) | {"sha256": intact.sha256(codes.path)}
    atomic.write_json(codes.files[2], description)
    artefact = find(study, "metrics")
    with pytest.raises(StageError, match=r"coffee\.png decodes to other symbols than were encoded"):
        run_stage(study, artefact)
    assert not any(path.exists() for path in artefact.files)
    # Coded again, as the message says: rows of the old files are not continued.
    for path in codes.files:
        path.unlink()
    make(study, "metrics")
    times = pd.read_parquet(codes.path)["encode_seconds"]
    assert list(pd.read_parquet(artefact.path)["encode_seconds"]) == list(times)
    assert not list(artefact.folder.glob("*.state"))


def test_measuring_again_codes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = plan(captions=1)
    artefact = make(study, "metrics")
    first = pd.read_parquet(artefact.path)
    times = {path: path.stat().st_mtime_ns for path in artefact.inputs["codes"].files}

    def encode(*_: object) -> None:
        raise AssertionError("coded again")

    monkeypatch.setattr(Elic, "encode_latents", encode)
    for path in artefact.files:
        path.unlink()
    run_stage(study, artefact)
    seconds = ["encode_seconds", "decode_seconds"]
    again = pd.read_parquet(artefact.path)
    pd.testing.assert_frame_equal(first.drop(columns=seconds), again.drop(columns=seconds))
    assert {path: path.stat().st_mtime_ns for path in times} == times


@pytest.mark.usefixtures("folder")
def test_rows_of_an_edited_metric_are_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    study = plan(captions=1)
    make(study, "code")
    artefact = find(study, "metrics")
    real = Metrics.__call__
    done: list[str] = []

    def interrupted(self: Metrics, *images: np.ndarray) -> dict[str, float | None]:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append("row")
        return real(self, *images) | {"psnr": -1.0}

    monkeypatch.setattr(Metrics, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_stage(study, artefact)
    monkeypatch.setattr(Metrics, "__call__", real)
    monkeypatch.setattr("tacolab.plan.stage.fingerprint", lambda *modules: "another0")
    study = plan(captions=1)
    edited = find(study, "metrics")
    assert edited.inputs["codes"].done and edited.path != artefact.path
    run_stage(study, edited)
    assert (pd.read_parquet(edited.path)["psnr"] > 0).all()
    assert json.loads(edited.files[1].read_text())["text"]["code"] == "another0"
    assert not list(edited.folder.glob("*.state"))
