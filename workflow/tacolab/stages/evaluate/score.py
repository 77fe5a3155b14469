"""Metrics: every bitstream is decoded from its file and compared with the original."""

import hashlib
import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from tacolab.cluster.device import pick_device
from tacolab.codec.pixels import to_pixels
from tacolab.files import atomic, intact
from tacolab.files.parts import Part, Parts
from tacolab.files.progress import progress
from tacolab.plan import Artefact, Options, Plan
from tacolab.plan.provenance import describe
from tacolab.quality.metrics import UNROUNDED, Metrics, tabulate
from tacolab.quality.names import METRIC_NAMES
from tacolab.stages.evaluate.batches import ahead, parts
from tacolab.stages.evaluate.decode import Decoded, StreamDecoder
from tacolab.stages.evaluate.images import Images, spread

SUMMARY = ("bpp_real", "bpp_est", *METRIC_NAMES)
# What is best of an image's captions: LPIPS in the range of the study's numbers.
ORACLE = "lpips_published"


def run(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """Write the per-image table, its summary and the examples for the report.

    Decoding, on the one hand, and metrics and files, on the other, run in threads of their own.
    """
    device = pick_device(plan.study.execution.device, options.threads)
    code = artefact.inputs["codes"]
    images = Images(artefact.inputs["data"], code.spec["crop"])
    positions = {image_id: i for i, image_id in enumerate(images.ids)}
    decoder = StreamDecoder(code, device)
    rows = decoder.rows
    metrics = Metrics(device)
    unrounded = artefact.spec.get("float_metrics", False)
    examples = set(spread(images.ids, artefact.spec["examples"]))

    # Rows of images that were coded again must not be continued.
    made_from = hashlib.sha256(code.path.read_bytes()).hexdigest()[:8]
    ranges = parts([(row["height"], row["width"]) for row in rows])
    kept = Parts(artefact.state, ranges, made_from)
    todo = kept.missing

    def measure(work: tuple[range, list[Decoded]]) -> None:
        which, decoded = work
        measured: list[dict[str, Any]] = []
        files: dict[str, bytes] = {}
        for one in decoded:
            image_id = one.row["image_id"]
            original, pixels = images.rgb(positions[image_id]), to_pixels(one.x_hat)
            if image_id in examples and one.row["index"] == 0:
                files[f"original/{image_id}.png"] = _png(original)
                files[f"decoded/{image_id}.png"] = _png(pixels)
            more = metrics.unrounded(original, one.x_hat) if unrounded else {}
            measured.append(_row(one, metrics(original, pixels) | more))
        kept.save(which, Part(measured, files))

    decoded = ((which, list(decoder([rows[i] for i in which]))) for which in todo)
    for _ in progress(ahead(measure, decoded), len(todo), f"{artefact}: parts"):
        pass
    finish(artefact, kept)


def _row(one: Decoded, values: dict[str, float | None]) -> dict[str, Any]:
    area = one.row["height"] * one.row["width"]
    return {
        **{k: one.row[k] for k in ("image_id", "index", "caption", "height", "width")},
        "bytes": one.n_bytes,
        "bpp_real": 8 * one.n_bytes / area,
        "bpp_est": (one.row["bits_y"] + one.row["bits_z"]) / area,
        **values,
        "encode_seconds": one.row["encode_seconds"],
        "decode_seconds": one.seconds,
    }


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return file.getvalue()


def finish(artefact: Artefact, kept: Parts) -> None:
    """Write the declared files, then drop the state."""
    rows: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for part in kept:
        rows += part.rows
        files |= part.files
    table = tabulate(rows)
    rows_path, description, pictures = artefact.files

    def save(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(files):
                archive.writestr(name, files[name])

    atomic.write(pictures, save)
    atomic.write(rows_path, lambda path: table.to_parquet(path, index=False))
    content = describe(artefact, sha256=intact.sha256(rows_path), summary=summary(table))
    atomic.write_json(description, content)
    kept.remove()


def summary(rows: pd.DataFrame) -> dict[str, float | int | None]:
    """Means over images, each image being the mean over its captions; None where undefined.

    Where images were coded with several captions, also the means of the codings that an oracle
    would keep, the best by LPIPS of each image: `NAME_best`, of `best_of` captions at most.
    """
    names = [*SUMMARY, *(name for name in UNROUNDED if name in rows)]
    by_image = rows.groupby("image_id")
    found: dict[str, float | int | None] = {
        "images": by_image.ngroups,
        "rows": len(rows),
        **_means(by_image[names].mean(numeric_only=True), names),
    }
    if len(rows) > by_image.ngroups:
        ordered = rows.sort_values(["image_id", ORACLE], kind="stable")  # without a value: last
        best = ordered.drop_duplicates("image_id")
        found["best_of"] = int(by_image.size().max())
        found |= {f"{name}_best": value for name, value in _means(best, SUMMARY).items()}
        if rows[ORACLE].isna().any():  # too small for LPIPS: nobody can choose
            found |= {f"{name}_best": None for name in SUMMARY}
    return found


def _means(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, float | None]:
    means = rows[list(names)].mean()
    return {name: None if math.isnan(means[name]) else float(means[name]) for name in names}
