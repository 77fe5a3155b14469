"""Metrics: every bitstream is decoded from its file and compared with the original."""

import hashlib
import math
import shutil
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from tacolab import atomic, fingerprint
from tacolab.codec.bitstream import unpack
from tacolab.codec.pixels import to_pixels
from tacolab.device import pick_device
from tacolab.errors import StageError, UserError
from tacolab.evaluate.code import load_model, stream_name
from tacolab.evaluate.images import Images, example_ids
from tacolab.evaluate.ledger import Ledger
from tacolab.evaluate.metrics import UNROUNDED, Metrics, tabulate
from tacolab.keys import Artefact, Plan
from tacolab.progress import progress
from tacolab.provenance import provenance

SUMMARY = ("bpp_real", "bpp_est", "psnr", "ms_ssim", "lpips_published", "lpips")


@torch.no_grad()
def run(plan: Plan, artefact: Artefact) -> None:
    """Write the per-image table, its summary and the examples for the report."""
    device = pick_device(plan.study.execution.device)
    code = artefact.inputs["codes"]
    images = Images(artefact.inputs["data"], code.spec["crop"])
    positions = {image_id: i for i, image_id in enumerate(images.ids)}
    model = load_model(code, device)
    metrics = Metrics(device)
    unrounded = artefact.spec.get("float_metrics", False)
    codes, streams = read_codes(code)
    examples = example_ids(images.ids, artefact.spec["examples"])

    # Rows of an edited metric, or of images that were coded again, must not be continued.
    made_from = f"{fingerprint.metrics()}-{hashlib.sha256(code.path.read_bytes()).hexdigest()[:8]}"
    state = artefact.folder / f"{artefact.names['control']}.state" / made_from
    ledger = Ledger(state / "rows.jsonl")
    done = {(row["image_id"], row["index"]) for row in ledger.rows}
    with streams:
        for coded in progress(codes.to_dict("records"), len(codes), str(artefact)):
            if (coded["image_id"], coded["index"]) in done:
                continue
            content = streams.read(stream_name(coded["image_id"], coded["index"]))
            started = time.perf_counter()
            strings, shape = unpack(content)
            x_hat, checksum = model.decode(strings, shape)
            seconds = time.perf_counter() - started
            if checksum != coded["checksum"]:
                raise StageError(
                    f"{code.files[1]}: {coded['image_id']} decodes to other symbols here than were "
                    "encoded (another kind of device, thread count or library version); run coding "
                    "and metrics on the same kind of machine, or delete the codes to code again"
                )
            decoded = to_pixels(x_hat)
            original = images.rgb(positions[coded["image_id"]])
            if coded["image_id"] in examples and coded["index"] == 0:
                keep(state, "original", coded["image_id"], original)
                keep(state, "decoded", coded["image_id"], decoded)
            area = coded["height"] * coded["width"]
            ledger.add(
                {
                    **{k: coded[k] for k in ("image_id", "index", "caption", "height", "width")},
                    "bytes": len(content),
                    "bpp_real": 8 * len(content) / area,
                    "bpp_est": (coded["bits_y"] + coded["bits_z"]) / area,
                    **metrics(original, decoded),
                    **(metrics.unrounded(original, x_hat) if unrounded else {}),
                    "encode_seconds": coded["encode_seconds"],
                    "decode_seconds": seconds,
                }
            )
    finish(artefact, ledger, state, examples)


def read_codes(code: Artefact) -> tuple[pd.DataFrame, zipfile.ZipFile]:
    """Rows and bitstreams of a coding. Raises UserError naming a damaged file."""
    path, archive, _ = code.files
    try:
        rows = pd.read_parquet(path)
        path = archive
        return rows, zipfile.ZipFile(archive)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: damaged ({error}); delete {path.parent} and its images are coded again"
        ) from None


def keep(state: Path, role: str, image_id: str, pixels: np.ndarray) -> None:
    """Store an example's picture until all are there."""
    atomic.write(state / role / f"{image_id}.png", lambda path: Image.fromarray(pixels).save(path))


def finish(artefact: Artefact, ledger: Ledger, state: Path, examples: Sequence[str]) -> None:
    """Write the declared files, then drop the state."""
    table = tabulate(ledger.rows)
    rows_path, description, pictures = artefact.files

    def save(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for role in ("decoded", "original"):
                for image_id in sorted(examples):
                    archive.write(state / role / f"{image_id}.png", f"{role}/{image_id}.png")

    atomic.write(pictures, save)
    atomic.write(rows_path, lambda path: table.to_parquet(path, index=False))
    atomic.write_json(
        description,
        {
            "key": artefact.key,
            "text": artefact.text,
            "fingerprint": fingerprint.metrics(),
            "summary": summary(table),
            "provenance": provenance(),
        },
    )
    ledger.remove()
    shutil.rmtree(state.parent)


def summary(rows: pd.DataFrame) -> dict[str, float | int | None]:
    """Means over images, each image being the mean over its captions; None where undefined."""
    names = [*SUMMARY, *(name for name in UNROUNDED if name in rows)]
    means = rows.groupby("image_id")[names].mean(numeric_only=True).mean()
    return {
        "images": int(rows["image_id"].nunique()),
        "rows": len(rows),
        **{name: None if math.isnan(means[name]) else float(means[name]) for name in names},
    }
