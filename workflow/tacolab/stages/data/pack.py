"""Write verified images as an Arrow data set of Hugging Face `datasets`, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
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

log = logging.getLogger(__name__)

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
DATA = "data-00000-of-00001.arrow"  # as `save_to_disk` of Hugging Face calls a single part
BATCH = 2**26  # bytes of images in memory at a time; opening a set reads a page of each batch
OVERHEAD = 2**10  # bytes of an image beside its file and its captions, generously
NAMED = 20  # more excluded images than this are only counted


def pack(
    photos: Sequence[Photo],
    excluded: Sequence[Photo],
    listing: Listing,
    artefact: Artefact,
) -> None:
    """Replace `artefact.folder` by the packed images and their manifest, at one stroke.

    excluded: images left out for their size. listing: as the source gave them. Raises
    disk.RefusedError before the first byte if there is no room.
    """
    needed = sum(_size(photo) for photo in photos)
    with disk.writing(artefact.folder, needed), workspace(artefact.folder) as folder:
        # Now that nothing is left of killed runs
        free = disk.free(folder)
        log.info(
            "data set '%s': packing %d images in %s takes %.1f MiB; %.1f MiB are free",
            artefact.names["dataset"], len(photos), artefact.folder, needed / 2**20, free / 2**20,
        )  # fmt: skip
        if free < needed:
            raise disk.RefusedError(errno.ENOSPC, artefact.folder, needed)
        packed = folder / "packed"
        packed.mkdir()
        _write(photos, packed, artefact)
        for path in [*packed.iterdir(), packed]:
            sync(path)
        write_json(packed / artefact.path.name, _manifest(photos, excluded, listing, artefact))
        if artefact.folder.exists():  # made before, or left without manifest by a killed run
            artefact.folder.rename(folder / "old")
        packed.rename(artefact.folder)
        sync(artefact.folder.parent)


def _write(photos: Sequence[Photo], folder: Path, artefact: Artefact) -> None:
    """What `load_from_disk` opens. `save_to_disk` would copy all images from a first file."""
    held = 0
    with ArrowWriter(features=FEATURES, path=str(folder / DATA)) as writer:
        for photo in progress(photos, len(photos), f"packing {artefact.names['dataset']}"):
            writer.write(_row(photo))
            held += photo.n_bytes
            if held >= BATCH:
                writer.write_examples_on_file()
                held = 0
        writer.finalize()
    datasets.DatasetInfo(features=FEATURES).write_to_directory(str(folder), pretty_print=True)
    state: dict[str, Any] = {
        "_data_files": [{"filename": DATA}],
        "_fingerprint": _list_sha256(photos)[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    write_json(folder / "state.json", state)


def _size(photo: Photo) -> int:
    """Bytes in the packed set."""
    captions = sum(len(caption.encode()) + 4 for caption in photo.record.captions)
    return photo.n_bytes + captions + OVERHEAD


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
    names = [photo.record.name for photo in excluded]
    return describe(
        artefact,
        count=len(photos),
        list_sha256=_list_sha256(photos),
        captions=sum(len(photo.record.captions) for photo in photos),
        bytes=sum(photo.n_bytes for photo in photos),
        min_side=min(photo.short_side for photo in photos),
        max_side=max(max(photo.width, photo.height) for photo in photos),
        converted=dict(Counter(photo.conversion for photo in photos if photo.conversion)),
        excluded={"count": len(names), "names": names if len(names) <= NAMED else None},
        annotations_of_unlisted_images=listing.strays,
        sources=listing.files,
    )


def _list_sha256(photos: Sequence[Photo]) -> str:
    lines = "".join(f"{photo.record.name} {photo.sha256}\n" for photo in photos)
    return hashlib.sha256(lines.encode()).hexdigest()
