"""Anchors: JPEG, WebP and AVIF by Pillow on the images of the evaluation, measured the same way."""

import io
import time

import numpy as np
from PIL import Image

from tacolab import atomic, fingerprint, intact
from tacolab.device import pick_device
from tacolab.evaluate.images import Images
from tacolab.evaluate.metrics import Metrics, tabulate
from tacolab.keys import Artefact, Plan
from tacolab.ledger import Ledger
from tacolab.progress import progress
from tacolab.provenance import provenance


def run(plan: Plan, artefact: Artefact) -> None:
    """A row per image and quality."""
    by = fingerprint.anchors()  # what is loaded, whatever an edit brings meanwhile
    metrics = Metrics(pick_device(plan.study.execution.device))
    codec = artefact.names["codec"]
    images = Images(artefact.inputs["data"], artefact.spec["crop"])
    path, description = artefact.files
    state = artefact.folder / f"{artefact.key}.{by}.rows.jsonl"
    ledger = Ledger(state)
    # Each once: two jobs may write one ledger, where a head died and its job lives on.
    found = {(row["image_id"], row["quality"]): row for row in ledger.rows}
    for position, image_id in enumerate(progress(images.ids, len(images.ids), str(artefact))):
        pixels = images.rgb(position)
        for quality in artefact.spec["qualities"]:
            if (image_id, quality) not in found:
                row = {"codec": codec, "quality": quality, "image_id": image_id}
                ledger.add(row | measure(pixels, codec, quality, metrics))
                found[image_id, quality] = ledger.rows[-1]
    atomic.write(path, lambda p: tabulate([*found.values()]).to_parquet(p, index=False))
    content = {"key": artefact.key, "text": artefact.text, "fingerprint": by}
    content |= {"sha256": intact.sha256(path), "provenance": provenance()}
    atomic.write_json(description, content)
    ledger.remove()
    for leftover in artefact.folder.glob(f"{artefact.key}.*.rows.jsonl"):  # of edited metrics
        leftover.unlink(missing_ok=True)


def measure(
    pixels: np.ndarray, codec: str, quality: int, metrics: Metrics
) -> dict[str, float | int | None]:
    """Encode H x W x 3 uint8 with Pillow at its default settings, decode, compare."""
    file = io.BytesIO()
    started = time.perf_counter()
    Image.fromarray(pixels).save(file, format=codec, quality=quality)
    encoded = time.perf_counter()
    with Image.open(file) as image:
        decoded = np.asarray(image.convert("RGB"))
    finished = time.perf_counter()
    height, width = pixels.shape[:2]
    size = file.getbuffer().nbytes
    return {
        "height": height,
        "width": width,
        "bytes": size,
        "bpp_real": 8 * size / (height * width),
        **metrics(pixels, decoded),
        "encode_seconds": encoded - started,
        "decode_seconds": finished - encoded,
    }
