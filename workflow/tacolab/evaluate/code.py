"""Coding: every image (and caption) to a real file in the published layout."""

import shutil
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tacolab import atomic
from tacolab.captiontable import CaptionTable
from tacolab.codec import Elic, Taco
from tacolab.codec.bitstream import pack
from tacolab.codec.build import build_text
from tacolab.codec.network import load_network
from tacolab.codec.pixels import to_tensor
from tacolab.codec.text import FrozenText
from tacolab.device import pick_device
from tacolab.evaluate.images import Images, spread
from tacolab.evaluate.shards import Part, Shards, ahead, batches, parts
from tacolab.keys import Artefact, Plan
from tacolab.progress import progress
from tacolab.provenance import provenance


class Job(NamedTuple):
    """An image to be coded, and its captions; [None] for a codec that reads none."""

    image_id: str
    position: int
    captions: Sequence[str | None]


def load_model(code: Artefact, device: torch.device) -> Elic:
    """The codec that a coding is made with."""
    model = code.inputs["model"]
    return load_network(model.path, Taco if model.spec["text"] else Elic).to(device)


def run(plan: Plan, artefact: Artefact) -> None:
    """Write `streams.zip` and `codes.parquet`, a row per image and caption.

    Images are loaded, and finished parts written, while others are encoded.
    """
    device = pick_device(plan.study.execution.device)
    images = Images(artefact.inputs["data"], artefact.spec["crop"])
    jobs = listed(artefact, images)
    encode = Encode(
        load_model(artefact, device), build_text(plan.study, artefact.names["arm"]), device
    )
    ranges = parts([images.size(job.position) for job in jobs])
    state = artefact.folder / "state"
    shards = Shards(state / "parts", ranges)
    todo = shards.missing

    def load(which: range) -> tuple[range, list[np.ndarray]]:
        return which, [images.rgb(jobs[i].position) for i in which]

    def save(coded: tuple[range, Part]) -> None:
        shards.save(*coded)

    loaded = ahead(load, todo)
    coded = ((which, encode([jobs[i] for i in which], pictures)) for which, pictures in loaded)
    for _ in progress(ahead(save, coded), len(todo), f"{artefact}: parts"):
        pass
    finish(artefact, shards, state)


def listed(artefact: Artefact, images: Images) -> list[Job]:
    """The images of a coding, in the data set's order, with their captions."""
    chosen = set(spread(images.ids, artefact.spec.get("images", len(images.ids))))
    table = (
        CaptionTable(artefact.inputs["captions"].path) if "captions" in artefact.inputs else None
    )
    return [
        Job(
            image_id,
            position,
            table.for_image(image_id)[: artefact.spec["captions"]] if table else [None],
        )
        for position, image_id in enumerate(images.ids)
        if image_id in chosen
    ]


class Encode:
    """Codes images of one part: g_a up to the text once per image, the rest once per caption.

    Only what the decoder does not repeat is computed in batches. Scales and means are computed for
    one picture at a time, as they are in the decoder: in another shape they might differ in a last
    bit, and the file would decode to another picture.
    """

    def __init__(self, model: Elic, text: FrozenText | None, device: torch.device) -> None:
        self.model = model
        self.text = text.to(device) if text else None
        self.device = device

    @torch.no_grad()
    def __call__(self, jobs: Sequence[Job], pictures: Sequence[np.ndarray]) -> Part:
        rows, files = [], {}
        for batch in batches([(len(picture), len(picture[0])) for picture in pictures]):
            together = [jobs[i] for i in batch]
            started = time.perf_counter()
            features = self.model.features(
                torch.cat([to_tensor(pictures[i], self.device) for i in batch])
            )
            self._wait()
            shared = (time.perf_counter() - started) / len(together)
            codings = [
                (at, index, caption)
                for at, job in enumerate(together)
                for index, caption in enumerate(job.captions)
            ]
            height, width = pictures[batch.start].shape[:2]
            for start in range(0, len(codings), len(together)):
                some = codings[start : start + len(together)]
                started = time.perf_counter()
                hidden = self._read([caption for _, _, caption in some])
                ys, zs = self.model.latents(features[[at for at, _, _ in some]], hidden)
                self._wait()
                steered = (time.perf_counter() - started) / len(some)
                for (at, index, caption), y, z in zip(some, ys.split(1), zs.split(1), strict=True):
                    started = time.perf_counter()
                    encoded = self.model.encode_latents(y, z, height, width)
                    content = pack(encoded.strings, encoded.shape)
                    files[stream_name(together[at].image_id, index)] = content
                    rows.append(
                        {
                            "image_id": together[at].image_id,
                            "index": index,
                            "caption": caption,
                            "height": height,
                            "width": width,
                            "bytes": len(content),
                            "bits_y": encoded.bits_y,
                            "bits_z": encoded.bits_z,
                            "checksum": encoded.checksum,
                            # Of one coding alone: its share of what was computed together.
                            "encode_seconds": shared + steered + time.perf_counter() - started,
                        }
                    )
        return Part(rows, files)

    def _read(self, captions: Sequence[str | None]) -> Tensor | None:
        """Hidden states, a row per caption; None for a codec that reads no text."""
        if self.text is None:
            return None
        hidden: Tensor = self.text([caption or "" for caption in captions])[0]
        return hidden

    def _wait(self) -> None:
        """A GPU works on after the call: times would be wrong."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def stream_name(image_id: str, index: int) -> str:
    """Name of a bitstream's file."""
    return f"{image_id}.{index}.bin"


def finish(artefact: Artefact, shards: Shards, state: Path) -> None:
    """Pack the files: a study has far more of them than a cluster's quota of inodes."""
    codes, streams, description = artefact.files
    rows = []

    def save(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for part in shards:
                rows.extend(part.rows)
                for name, content in part.files.items():
                    archive.writestr(name, content)

    atomic.write(streams, save)
    atomic.write(codes, lambda path: pd.DataFrame(rows).to_parquet(path, index=False))
    content = {"key": artefact.key, "text": artefact.text, "provenance": provenance()}
    atomic.write_json(description, content)
    shutil.rmtree(state)  # with what killed runs left
