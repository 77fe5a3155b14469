"""Captions by a network on this machine that describes images."""

from __future__ import annotations

import hashlib
import json
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
from tacolab.files.parts import Part, Parts
from tacolab.files.progress import progress
from tacolab.plan import Artefact
from tacolab.readers.packed import Packed
from tacolab.stages.captions.sources import refuse_gaps
from tacolab.stages.captions.table import table
from tacolab.text import pretrained

# Images at once, counted from the data set's first. Not of the config: another batch may round
# otherwise, and a caption change with it.
BATCH = 4
# Images whose captions are kept as one file: little to lose by a kill, few files for a quota.
PART = 4 * BATCH


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

    Killed at any moment, a second call goes on with the part where the first was, to the same
    captions. Raises UserError for a model that is not there or cannot be read, and where it has
    nothing to say about an image.
    """
    device = pick_device(study.execution.device, threads)
    source = study.captions[artefact.names["source"]]
    assert isinstance(source, Ofa | HuggingFace)
    folder = pretrained.folder(source.model)
    captioner = build(source, folder, device)
    weights = _sha256(pretrained.weight_files(folder))
    made_from = hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()[:8]
    for other in artefact.state.glob("*"):
        if other.name != made_from and any(other.iterdir()):
            raise UserError(
                f"{other}: begun with other weights of {source.model} than there are now; put "
                "them back, or remove this folder to describe all images again"
            )
    ranges = [range(n, min(n + PART, len(data))) for n in range(0, len(data), PART)]
    kept = Parts(artefact.state, ranges, made_from)
    describe(captioner, data, kept, str(artefact))
    texts = [row["caption"] for row in kept.rows]
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


def describe(captioner: Captioner, data: Packed, kept: Parts, label: str) -> None:
    """A caption for each image that `kept` has none of."""
    todo = kept.missing
    for which in progress(todo, len(todo), f"{label}: parts of {PART} images"):
        rows = []
        for first in which[::BATCH]:
            batch = range(first, min(first + BATCH, which.stop))
            texts = captioner([data.rgb(i) for i in batch])
            rows += [{"caption": text} for _, text in zip(batch, texts, strict=True)]
        kept.save(which, Part(rows))


def _sha256(files: Sequence[Path]) -> dict[str, str]:
    digests = {}
    for path in files:
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
