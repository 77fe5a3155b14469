"""Anchors: JPEG, WebP and AVIF by Pillow on the images of the evaluation, measured the same way."""

import io
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from tacolab.cluster.device import pick_device
from tacolab.files import atomic, intact
from tacolab.files.parts import Part, Parts
from tacolab.files.progress import progress
from tacolab.plan import Artefact, Options, Plan
from tacolab.plan.provenance import describe
from tacolab.quality.metrics import Metrics, tabulate
from tacolab.stages.evaluate.batches import parts
from tacolab.stages.evaluate.images import Images

# Each codec at its best: of several ways to write the same picture the smallest file counts.
# JPEG: Huffman tables of the picture's own, which a progressive file has anyway. WebP: the slowest
# search. AVIF: speed 4 of 0 (slowest) to 10; Pillow's 6 needs 4.8 % more bytes, and 2 saves 3.5 %
# at three times the time (docs/report.md). With one thread: its bytes depend on their number.
SETTINGS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "jpeg": ({"optimize": True}, {"progressive": True}),
    "webp": ({"method": 6},),
    "avif": ({"speed": 4, "max_threads": 1},),
}


class CodedAnchor(NamedTuple):
    """A file's size, what it decodes to (H x W x 3 uint8), and seconds of a core."""

    size: int
    decoded: np.ndarray
    encode_seconds: float
    decode_seconds: float


def run(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """A row per image and quality."""
    metrics = Metrics(pick_device(plan.study.execution.device, options.threads))
    codec = artefact.names["codec"]
    images = Images(artefact.inputs["data"], artefact.spec["crop"])
    qualities = artefact.spec["qualities"]
    path, description = artefact.files
    ranges = parts([images.size(position) for position in range(len(images.ids))])
    kept = Parts(artefact.state, ranges)
    todo = kept.missing
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for which in progress(todo, len(todo), f"{artefact}: parts"):
            rows = []
            for position in which:
                pixels = images.rgb(position)
                coded = pool.map(partial(code, pixels, codec), qualities)
                for quality, one in zip(qualities, coded, strict=True):
                    row = {"codec": codec, "quality": quality, "image_id": images.ids[position]}
                    rows.append(row | measure(pixels, one, metrics))
            kept.save(which, Part(rows))
    table = tabulate(kept.rows)
    atomic.write(path, lambda temporary: table.to_parquet(temporary, index=False))
    atomic.write_json(description, describe(artefact, sha256=intact.sha256(path)))
    kept.remove()


def code(pixels: np.ndarray, codec: str, quality: int) -> CodedAnchor:
    """Encode H x W x 3 uint8 with Pillow at the codec's best, and decode it."""
    picture = Image.fromarray(pixels)
    started = time.thread_time()
    files = []
    for settings in SETTINGS[codec]:
        files.append(io.BytesIO())
        picture.save(files[-1], format=codec, quality=quality, **settings)
    encoded = time.thread_time()
    smallest = min(files, key=lambda file: file.getbuffer().nbytes)
    with Image.open(smallest) as image:
        decoded = np.asarray(image.convert("RGB"))
    finished = time.thread_time()
    return CodedAnchor(smallest.getbuffer().nbytes, decoded, encoded - started, finished - encoded)


def measure(
    pixels: np.ndarray, coded: CodedAnchor, metrics: Metrics
) -> dict[str, float | int | None]:
    """The numbers of a row; pixels: the original."""
    height, width = pixels.shape[:2]
    return {
        "height": height,
        "width": width,
        "bytes": coded.size,
        "bpp_real": 8 * coded.size / (height * width),
        **metrics(pixels, coded.decoded),
        "encode_seconds": coded.encode_seconds,
        "decode_seconds": coded.decode_seconds,
    }
