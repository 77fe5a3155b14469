"""Write verified images as an Arrow data set of Hugging Face `datasets`, whole or not at all."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import datasets
from datasets.arrow_writer import ArrowWriter

from tacolab.errors import UserError
from tacolab.files import disk
from tacolab.files.atomic import sync, workspace, write_json
from tacolab.files.progress import progress
from tacolab.plan import Artefact
from tacolab.plan.provenance import describe
from tacolab.stages.data.sources import Listing
from tacolab.stages.data.verify import Photo

# `tacolab.readers.packed` reads these columns.
FEATURES = datasets.Features(
    {
        "image_id": datasets.Value("string"),
        "image": datasets.Value("binary"),  # the file's bytes as they are
        "width": datasets.Value("int32"),  # as the image is seen
        "height": datasets.Value("int32"),
        "sha256": datasets.Value("string"),
        "conversion": datasets.Value("string"),
        "captions": datasets.List(datasets.Value("string")),
    }
)
BATCH = 16  # images held in memory at a time; CLIC has files of several MB
NAMED = 20  # more excluded images than this are only counted


def pack(
    photos: Sequence[Photo],
    excluded: Sequence[Photo],
    listing: Listing,
    artefact: Artefact,
) -> None:
    """Replace `artefact.folder` by the packed images and their manifest, at one stroke.

    excluded: images left out for their size. listing: as the source gave them.
    """
    datasets.disable_progress_bars()  # ours counts images instead of shards
    needed = 2 * sum(photo.n_bytes for photo in photos)
    with disk.writing(artefact.folder, needed), workspace(artefact.folder) as folder:
        # Written twice, since only save_to_disk makes a data set that `load_from_disk` opens and
        # only ArrowWriter streams into a place of our choice.
        stream = folder / "stream.arrow"
        with ArrowWriter(features=FEATURES, path=str(stream), writer_batch_size=BATCH) as writer:
            for photo in progress(photos, len(photos), f"packing {artefact.names['dataset']}"):
                writer.write(_row(photo))
            writer.finalize()
        packed = folder / "packed"
        datasets.Dataset.from_file(str(stream)).save_to_disk(str(packed))
        for path in [*packed.iterdir(), packed]:
            sync(path)
        write_json(packed / artefact.path.name, _manifest(photos, excluded, listing, artefact))
        if artefact.folder.exists():  # made before, or left without manifest by a killed run
            artefact.folder.rename(folder / "old")
        packed.rename(artefact.folder)
        sync(artefact.folder.parent)


def _row(photo: Photo) -> dict[str, Any]:
    content = photo.record.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != photo.sha256:
        raise UserError(f"{photo.record.path}: changed while the data set was packed; start again")
    return {
        "image_id": photo.record.name,
        "image": content,
        "width": photo.width,
        "height": photo.height,
        "sha256": photo.sha256,
        "conversion": photo.conversion,
        "captions": list(photo.record.captions),
    }


def _manifest(
    photos: Sequence[Photo],
    excluded: Sequence[Photo],
    listing: Listing,
    artefact: Artefact,
) -> dict[str, Any]:
    lines = "".join(f"{photo.record.name} {photo.sha256}\n" for photo in photos)
    names = [photo.record.name for photo in excluded]
    return describe(
        artefact,
        count=len(photos),
        list_sha256=hashlib.sha256(lines.encode()).hexdigest(),
        captions=sum(len(photo.record.captions) for photo in photos),
        bytes=sum(photo.n_bytes for photo in photos),
        min_side=min(photo.short_side for photo in photos),
        max_side=max(max(photo.width, photo.height) for photo in photos),
        converted=dict(Counter(photo.conversion for photo in photos if photo.conversion)),
        excluded={"count": len(names), "names": names if len(names) <= NAMED else None},
        annotations_of_unlisted_images=listing.strays,
        sources=listing.files,
    )
