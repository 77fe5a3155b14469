"""Coding: every image (and caption) to a real file in the published layout."""

import shutil
import time
import zipfile
from pathlib import Path

import pandas as pd
import torch

from tacolab import atomic
from tacolab.captiontable import CaptionTable
from tacolab.codec import Elic, Taco
from tacolab.codec.bitstream import pack
from tacolab.codec.build import build_text
from tacolab.codec.network import load_network
from tacolab.codec.pixels import to_tensor
from tacolab.device import pick_device
from tacolab.errors import UserError
from tacolab.evaluate.images import Images
from tacolab.evaluate.ledger import Ledger
from tacolab.keys import Artefact, Plan
from tacolab.progress import progress
from tacolab.provenance import provenance


def load_model(code: Artefact, device: torch.device) -> Elic:
    """The codec that a coding is made with. Raises UserError where an exported epoch is gone."""
    model, path = code.inputs["model"], code.inputs["model"].path
    if epoch := code.spec.get("epoch"):
        path = model.folder / f"epoch-{epoch}.safetensors"
        if not path.exists():
            raise UserError(
                f"{path} is missing: the training leaves it after epoch {epoch}, and only once; "
                f"restore it, or take arm '{code.names['arm']}' out of the config"
            )
    return load_network(path, Taco if model.spec["text"] else Elic).to(device)


@torch.no_grad()
def run(plan: Plan, artefact: Artefact) -> None:
    """Write `streams.zip` and `codes.parquet`, a row per image and caption."""
    device = pick_device(plan.study.execution.device)
    images = Images(artefact.inputs["data"], artefact.spec["crop"])
    table = (
        CaptionTable(artefact.inputs["captions"].path) if "captions" in artefact.inputs else None
    )
    model = load_model(artefact, device)
    encoder = build_text(plan.study, artefact.names["arm"])
    if encoder:
        encoder.to(device)

    state = artefact.folder / "state"
    ledger = Ledger(state / "rows.jsonl")
    done = {(row["image_id"], row["index"]) for row in ledger.rows}
    for position, image_id in enumerate(progress(images.ids, len(images.ids), str(artefact))):
        captions: list[str | None] = [None]
        if table:
            captions = list(table.for_image(image_id)[: artefact.spec["captions"]])
        if all((image_id, index) in done for index in range(len(captions))):
            continue
        x = to_tensor(images.rgb(position), device)
        for index, caption in enumerate(captions):
            if (image_id, index) in done:
                continue
            started = time.perf_counter()
            hidden = encoder([caption])[0] if encoder and caption is not None else None
            encoded = model.encode(x, hidden)
            seconds = time.perf_counter() - started
            content = pack(encoded.strings, encoded.shape)
            path = state / stream_name(image_id, index)
            atomic.write_bytes(path, content)
            ledger.add(
                {
                    "image_id": image_id,
                    "index": index,
                    "caption": caption,
                    "height": x.shape[2],
                    "width": x.shape[3],
                    "bytes": path.stat().st_size,
                    "bits_y": encoded.bits_y,
                    "bits_z": encoded.bits_z,
                    "checksum": encoded.checksum,
                    "encode_seconds": seconds,
                }
            )
    finish(artefact, ledger, state)


def stream_name(image_id: str, index: int) -> str:
    """Name of a bitstream's file."""
    return f"{image_id}.{index}.bin"


def finish(artefact: Artefact, ledger: Ledger, state: Path) -> None:
    """Pack the files: a study has far more of them than a cluster's quota of inodes."""
    names = [stream_name(row["image_id"], row["index"]) for row in ledger.rows]

    def save(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name in names:
                archive.write(state / name, name)

    codes, streams, description = artefact.files
    atomic.write(streams, save)
    atomic.write(codes, lambda path: pd.DataFrame(ledger.rows).to_parquet(path, index=False))
    content = {"key": artefact.key, "text": artefact.text, "provenance": provenance()}
    atomic.write_json(description, content)
    ledger.remove()
    shutil.rmtree(state)  # with the temporary files of killed runs
