"""Commands for everybody, on the models and the report of a demo."""

import numpy as np
import pytest
from PIL import Image

from conftest import Project

pytestmark = pytest.mark.slow


def test_snakemake_report_has_the_figures_with_captions(demo: Project) -> None:
    made = demo.snakemake("--report", "report.html")
    assert made.returncode == 0, made.stderr
    html = (demo.folder / "report.html").read_text()
    assert "photos-psnr.svg" in html
    assert "Rate-distortion curves, one figure per data set" in html


def test_compress_and_decompress_by_hand(demo: Project) -> None:
    """The commands for everybody, with a trained model, on a picture of odd size."""
    model = str(next((demo.folder / "results/models/taco").glob("*/*/*/model.safetensors")))
    pixels = np.random.default_rng(0).integers(0, 255, (37, 91, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(demo.folder / "picture.png")
    packed = demo.run(
        *("tacolab", "compress", "picture.png", "--model", model, "-o", "picture.taco"),
        *("--caption", "coloured noise"),
    )
    assert packed.returncode == 0, packed.stderr
    unpacked = demo.run(
        "tacolab", "decompress", "picture.taco", "--model", model, "-o", "decoded.png"
    )
    assert unpacked.returncode == 0, unpacked.stderr
    assert Image.open(demo.folder / "decoded.png").size == (91, 37)
    other = str(next((demo.folder / "results/models/image-only").glob("*/*/*/model.safetensors")))
    refused = demo.run("tacolab", "decompress", "picture.taco", "--model", other, "-o", "no.png")
    assert refused.returncode == 2 and not (demo.folder / "no.png").exists()
    assert len(refused.stderr.splitlines()) == 1
