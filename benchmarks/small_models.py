"""The small models that come with tacolab against JPEG, WebP and AVIF on the Kodak images.

    python benchmarks/small_models.py KODAK --plot docs/figures/kodak.png

KODAK holds kodim01.png ... kodim24.png, which no model has seen, and captions.json. Each picture is
coded by each model to a whole file. The classical codecs, at their best settings, get the quality
whose file is the smallest that is not smaller than ours, so that they never have fewer bytes.
Decoded files are measured. A quarter of an hour on two cores; `--images 4` for a quick look.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import tacolab
from tacolab.codec import bundled
from tacolab.files.progress import progress
from tacolab.quality.metrics import Metrics
from tacolab.readers.pictures import read
from tacolab.stages.evaluate.anchors import CodedAnchor, code

CODECS = ("jpeg", "webp", "avif")
SHOWN = {"psnr": "PSNR [dB]", "ms_ssim": "MS-SSIM [dB]", "lpips": "LPIPS (lower is better)"}
COLOURS = {"tacolab": "#0072b2", "jpeg": "#999999", "webp": "#e69f00", "avif": "#009e73"}
PART = slice(40, 280), slice(180, 420)  # of the photo
NAMES = {"tacolab": "tacolab, small models", "jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}


def at_bytes(pixels: np.ndarray, codec: str, size: int) -> CodedAnchor:
    """The smallest file of a classical codec that has `size` bytes or more."""
    low, high = 0, 100  # the quality lies above `low`, and `high` is enough or the last
    best = code(pixels, codec, high)
    while high - low > 1:
        middle = (low + high) // 2
        coded = code(pixels, codec, middle)
        if coded.size >= size:
            high, best = middle, coded
        else:
            low = middle
    return best


def measured(
    image: Path, model: Any, name: str, caption: str | None, metrics: Metrics
) -> Iterator[dict[str, Any]]:
    """A row of ours, and of each classical codec at equal bytes."""
    pixels = read(image.read_bytes()).pixels
    content = model.compress(image, caption)
    sizes = {"tacolab": len(content)}
    decoded = {"tacolab": np.asarray(model.decompress(content))}
    with ThreadPoolExecutor(len(CODECS)) as pool:
        found = pool.map(lambda codec: at_bytes(pixels, codec, len(content)), CODECS)
        for codec, one in zip(CODECS, found, strict=True):
            sizes[codec], decoded[codec] = one.size, one.decoded
    for codec, shown in decoded.items():
        bpp = 8 * sizes[codec] / (pixels.shape[0] * pixels.shape[1])
        yield {"model": name, "codec": codec, "bpp": bpp, **metrics(pixels, shown)}


def plot(means: pd.DataFrame, path: Path) -> None:
    """Curves over the three rates; below them a part of a photo, by each codec in equal bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=[3.2, 2.8])
    above, below = halves
    for axes, (metric, label) in zip(above.subplots(1, 3), SHOWN.items(), strict=True):
        for codec, colour in COLOURS.items():
            rows = means[(means["codec"] == codec) & (means["model"] != bundled.TEXT)]
            ours = codec == "tacolab"
            style = {"linewidth": 2.2 if ours else 1.2, "marker": "o" if ours else "."}
            axes.plot(rows["bpp"], rows[metric], color=colour, label=NAMES[codec], **style)
        axes.set(xlabel="bits per pixel, 24 Kodak images", title=label)
        axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    pixels = photo()
    model = tacolab.load("low")
    content = model.compress(pixels)
    shown = {"original": (pixels.nbytes, pixels)}
    for codec in ("jpeg", "webp"):
        coded = at_bytes(pixels, codec, len(content))
        shown[NAMES[codec]] = coded.size, coded.decoded
    shown["tacolab, low"] = len(content), np.asarray(model.decompress(content))
    for axes, (name, (size, picture)) in zip(below.subplots(1, 4), shown.items(), strict=True):
        axes.imshow(picture[PART], interpolation="nearest")
        axes.set(title=f"{name}, {size / 1000:.1f} kB", xticks=[], yticks=[])
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


def photo() -> np.ndarray:
    """`coffee` of scikit-image (CC0, Rachel Michetti), which no model has seen."""
    from skimage import data

    return np.asarray(data.coffee())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kodak", type=Path)
    parser.add_argument("--models", nargs="+", default=[*bundled.RATES, bundled.TEXT])
    parser.add_argument("--images", type=int, default=24, help="so many of them")
    parser.add_argument("--plot", type=Path, help="an SVG or PNG file")
    given = parser.parse_args()
    images = sorted(given.kodak.glob("kodim*.png"))[: given.images]
    captions = json.loads((given.kodak / "captions.json").read_text())
    metrics = Metrics(torch.device("cpu"))
    rows: list[dict[str, Any]] = []
    for name in given.models:
        model = tacolab.load(name)
        for image in progress(images, len(images), name):
            caption = captions[image.name] if name == bundled.TEXT else None
            rows += measured(image, model, name, caption, metrics)
    table = pd.DataFrame(rows)
    table["ms_ssim"] = -10 * np.log10(1 - table["ms_ssim"])
    means = table.groupby(["model", "codec"], sort=False).mean().reset_index()
    print("| model | codec | bpp | PSNR [dB] | MS-SSIM [dB] | LPIPS |")
    print("| --- | --- | --- | --- | --- | --- |")
    for _, row in means.iterrows():
        numbers = (
            f"{row['bpp']:.3f} | {row['psnr']:.2f} | {row['ms_ssim']:.2f} | {row['lpips']:.3f}"
        )
        print(f"| {row['model']} | {NAMES[row['codec']]} | {numbers} |")
    if given.plot:
        plot(means.sort_values("bpp"), given.plot)


if __name__ == "__main__":
    main()
