"""Coding: every image (and caption) to a real file in the published layout."""

import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tacolab.cluster.device import pick_device
from tacolab.codec import Elic
from tacolab.codec.bitstream import pack
from tacolab.codec.network import load_network
from tacolab.codec.pixels import to_tensor
from tacolab.errors import UserError
from tacolab.files import atomic, intact
from tacolab.files.parts import Part, Parts
from tacolab.files.progress import progress
from tacolab.plan import Artefact, Options, Plan
from tacolab.plan.provenance import describe
from tacolab.readers.caption_table import CaptionTable
from tacolab.readers.networks import build_text
from tacolab.readers.packed import Packed
from tacolab.readers.token_weight_table import WeightTable
from tacolab.stages.evaluate.batches import ahead, batches, parts
from tacolab.stages.evaluate.images import Images, spread
from tacolab.text import counts as tokencounts
from tacolab.text.encoders import FrozenText


class Job(NamedTuple):
    """An image to be coded, and its captions; [None] for a codec that reads none.

    weights: captions x positions, where the arm weighs tokens.
    """

    image_id: str
    position: int
    captions: Sequence[str | None]
    weights: np.ndarray | None


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
    else:
        remedy = f"restore it, or delete {path} and it is made again"
        intact.check(path, model.files[1], remedy)
    return load_network(path, model.spec, device, code.spec.get("precision", "fp32"))


def run(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """Write `streams.zip` and `codes.parquet`, a row per image and caption.

    Images are loaded, and finished parts written, while others are encoded.
    """
    device = pick_device(plan.study.execution.device, options.threads)
    images = Images(artefact.inputs["data"], artefact.spec["crop"])
    jobs = listed(artefact, images)
    text = build_text(plan.study, artefact.names["arm"])
    encode = Encode(load_model(artefact, device), text, device)
    ranges = parts([images.size(job.position) for job in jobs])
    kept = Parts(artefact.state, ranges)
    todo = kept.missing

    def load(which: range) -> tuple[range, list[np.ndarray]]:
        return which, [images.rgb(jobs[i].position) for i in which]

    def save(coded: tuple[range, Part]) -> None:
        kept.save(*coded)

    loaded = ahead(load, todo)
    coded = ((which, encode([jobs[i] for i in which], pictures)) for which, pictures in loaded)
    for _ in progress(ahead(save, coded), len(todo), f"{artefact}: parts"):
        pass
    tokens = None
    if text:
        captions = [caption or "" for job in jobs for caption in job.captions]
        tokens = tokencounts.count(captions, text.tokenizer)
    finish(artefact, kept, tokens)


def listed(artefact: Artefact, images: Images) -> list[Job]:
    """The images of a coding, in the data set's order, with their captions."""
    chosen = set(spread(images.ids, artefact.spec.get("images", len(images.ids))))
    inputs, count = artefact.inputs, artefact.spec["captions"]
    table = CaptionTable(inputs["captions"].path) if "captions" in inputs else None
    weights = WeightTable(inputs["token_weights"].path) if "token_weights" in inputs else None
    if table:
        _require_captions([image_id for image_id in images.ids if image_id in chosen], table)
    return [
        Job(
            image_id,
            position,
            table.for_image(image_id)[:count] if table else [None],
            weights.for_image(image_id)[:count] if weights else None,
        )
        for position, image_id in enumerate(images.ids)
        if image_id in chosen
    ]


class Encode:
    """Codes images of one part, equal sizes together: g_a up to the text once per image, the rest
    once per caption."""

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
                (at, index) for at, job in enumerate(together) for index in range(len(job.captions))
            ]
            height, width = pictures[batch.start].shape[:2]
            for start in range(0, len(codings), len(together)):
                some = codings[start : start + len(together)]
                started = time.perf_counter()
                hidden = self._read([(together[at], index) for at, index in some])
                y, z = self.model.latents(features[[at for at, _ in some]], hidden)
                encoded = self.model.encode_latents(y, z, height, width)
                # Of one coding alone: its share of what was computed together.
                seconds = shared + (time.perf_counter() - started) / len(some)
                for (at, index), one in zip(some, encoded, strict=True):
                    job, content = together[at], pack(one.strings, one.shape)
                    files[stream_name(job.image_id, index)] = content
                    rows.append(
                        {
                            "image_id": job.image_id,
                            "index": index,
                            "caption": job.captions[index],
                            "height": height,
                            "width": width,
                            "bytes": len(content),
                            "bits_y": one.bits_y,
                            "bits_z": one.bits_z,
                            "checksum": one.checksum,
                            "encode_seconds": seconds,
                        }
                    )
        return Part(rows, files)

    def _read(self, codings: Sequence[tuple[Job, int]]) -> Tensor | None:
        """Hidden states, a row per caption; None for a codec that reads no text."""
        if self.text is None:
            return None
        captions = [job.captions[index] or "" for job, index in codings]
        rows = [job.weights[index] for job, index in codings if job.weights is not None]
        weights = torch.from_numpy(np.stack(rows)).to(self.device) if rows else None
        hidden: Tensor = self.text(captions, weights)[0]
        return hidden

    def _wait(self) -> None:
        """A GPU works on after the call: times would be wrong."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _require_captions(ids: Sequence[str], table: CaptionTable) -> None:
    """An evaluation without some images could not be compared with others."""
    without = [image_id for image_id in ids if image_id not in table]
    if without:
        raise UserError(
            f"{table.path}: no caption for {len(without)} of {len(ids)} images ({without[0]} ...), "
            "and every image is evaluated; captions.NAME.attempts asks for them again, "
            "allowed_failures is for training sets"
        )


def stream_name(image_id: str, index: int) -> str:
    """Name of a bitstream's file."""
    return f"{image_id}.{index}.bin"


def finish(artefact: Artefact, kept: Parts, tokens: dict[str, float] | None) -> None:
    """Pack the files: a study has far more of them than a cluster's quota of inodes."""
    codes, streams, description = artefact.files
    rows = []

    def save(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for part in kept:
                rows.extend(part.rows)
                for name, content in part.files.items():
                    archive.writestr(name, content)

    atomic.write(streams, save)
    atomic.write(codes, lambda path: pd.DataFrame(rows).to_parquet(path, index=False))
    content = describe(
        artefact,
        tokens=tokens,
        sha256=intact.sha256(codes),
        converts=Packed(artefact.inputs["data"].folder).converts,
    )
    atomic.write_json(description, content)
    kept.remove()
