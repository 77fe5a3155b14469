"""Captions by a network on this machine that describes images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from tacolab.cluster.device import pick_device
from tacolab.config import HuggingFace, Ofa, Study
from tacolab.errors import UserError
from tacolab.files.ledger import Ledger
from tacolab.files.progress import progress
from tacolab.plan import Artefact
from tacolab.readers.packed import Packed
from tacolab.stages.captions.sources import refuse_gaps
from tacolab.stages.captions.table import table
from tacolab.text import pretrained

# Images at once, counted from the data set's first. Not of the config: another batch may round
# otherwise, and a caption change with it.
BATCH = 4


class Captioner(Protocol):
    """A network that describes images, one caption each."""

    prompt: str

    def __call__(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[str]:
        """images: uint8, height x width x 3 each, any size."""
        ...


def captions(
    study: Study, artefact: Artefact, data: Packed, threads: int | None = None
) -> tuple[pa.Table, Mapping[str, Any]]:
    """The rows of the table, and facts for its summary.

    Killed at any moment, a second call goes on with the batch where the first was, to the same
    captions. Raises UserError for a model that is not there or cannot be read, and where it has
    nothing to say about an image.
    """
    device = pick_device(study.execution.device, threads)
    source = study.captions[artefact.names["source"]]
    assert isinstance(source, Ofa | HuggingFace)
    folder = pretrained.folder(source.model)
    captioner = build(source, folder, device)
    weights = _sha256(pretrained.weight_files(folder))
    begun = Ledger(partial(artefact))
    if not begun.rows:
        begun.add({"weights": weights})
    elif begun.rows[0] != {"weights": weights}:
        raise UserError(
            f"{begun.path}: begun with other weights of {source.model} than there are now; put "
            "them back, or remove this file to describe all images again"
        )
    texts = describe(captioner, data, begun, str(artefact))
    begun.close()
    remedy = f"name another model or prompt in captions.{artefact.names['source']}"
    refuse_gaps(data.ids, [[text] for text in texts], f"captions by {source.model}", remedy)
    prompt = hashlib.sha256(captioner.prompt.encode()).hexdigest()
    rows = table(data.ids, [[text] for text in texts], model=source.model, prompt_sha256=prompt)
    return rows, {"weights_sha256": weights}


def build(source: Ofa | HuggingFace, folder: Path, device: torch.device) -> Captioner:
    """The network of a source, with the files in `folder`."""
    if isinstance(source, Ofa):
        from tacolab.stages.captions.network.ofa import OfaCaptioner

        return OfaCaptioner(folder, source, device)
    from tacolab.stages.captions.network.huggingface import HuggingFaceCaptioner

    return HuggingFaceCaptioner(folder, source, device)


def describe(captioner: Captioner, data: Packed, begun: Ledger, label: str) -> list[str]:
    """A caption for each image, in the data set's order; `begun` holds those that are there."""
    # Two jobs may have begun the file at once, where a head died and its job lives on.
    texts = {row["image_id"]: row["caption"] for row in begun.rows if "image_id" in row}
    for first in progress(range(len(data)), len(data), label):
        # A batch that a kill tore is described again as a whole, so that it rounds as before.
        batch = data.ids[first : first + BATCH]
        if first % BATCH or all(image_id in texts for image_id in batch):
            continue
        found = captioner([data.rgb(first + i) for i in range(len(batch))])
        new = dict(zip(batch, found, strict=True))
        begun.add(*({"image_id": i, "caption": text} for i, text in new.items() if i not in texts))
        texts |= new
    return [texts[image_id] for image_id in data.ids]


def partial(artefact: Artefact) -> Path:
    """Captions that are there before the table is whole. No declared output: it outlives a kill."""
    return artefact.path.with_suffix(".partial.jsonl")


def forget(artefact: Artefact) -> None:
    """Once the table is there."""
    partial(artefact).unlink(missing_ok=True)


def _sha256(files: Sequence[Path]) -> dict[str, str]:
    digests = {}
    for path in files:
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
