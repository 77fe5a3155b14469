"""Every image is read once, as all stages will read it, before anything is written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tacolab.errors import UserError
from tacolab.files.progress import progress
from tacolab.readers.pictures import UnreadableError, read
from tacolab.stages.data.sources import Record, first_few


@dataclass(frozen=True)
class Photo:
    """A verified image: its record, sides in pixels as it is seen, size in bytes.

    conversion: what its reader does besides decoding.
    """

    record: Record
    width: int
    height: int
    sha256: str
    n_bytes: int
    conversion: str

    @property
    def short_side(self) -> int:
        return min(self.width, self.height)


def verify(records: Sequence[Record], dataset: str) -> list[Photo]:
    """The images in the order of `records`.

    Raises one UserError that counts the images that are missing, changed or cannot be read, and
    names the first few.
    """
    # Images are decoded without the GIL. A thread holds one at a time: memory stays bounded.
    with ThreadPoolExecutor() as pool:
        results = list(progress(pool.map(_inspect, records), len(records), f"verifying {dataset}"))
    problems = [result for result in results if isinstance(result, str)]
    if problems:
        raise UserError(
            f"data set '{dataset}': {len(problems)} of {len(records)} images cannot be used: "
            f"{first_few(problems)}; nothing was written; put the original files back, or take "
            "these images out of the list"
        )
    return [result for result in results if isinstance(result, Photo)]


def split(photos: Sequence[Photo], min_side: int, dataset: str) -> tuple[list[Photo], list[Photo]]:
    """Images that are large enough, and those with a side below `min_side` [pixels]."""
    large = [photo for photo in photos if photo.short_side >= min_side]
    if not large:
        raise UserError(
            f"datasets.{dataset}.min_side: none of {len(photos)} images has both sides "
            f">= {min_side}"
        )
    return large, [photo for photo in photos if photo.short_side < min_side]


def _inspect(record: Record) -> Photo | str:
    """The verified image, or what is wrong with it."""
    try:
        content = record.path.read_bytes()
    except FileNotFoundError:
        return f"{record.path} is missing"
    except OSError as error:
        return f"{record.path} cannot be read ({error.strerror})"
    actual = hashlib.sha256(content).hexdigest()
    if record.sha256 not in (None, actual):
        return f"{record.path} changed (sha256 {actual[:12]}..., not {str(record.sha256)[:12]}...)"
    try:
        picture = read(content)
    except UnreadableError as error:
        return f"{record.path} {error}"
    height, width = picture.pixels.shape[:2]
    # An annotation may state the sides as they are stored, before the picture is turned.
    sides = {(width, height), (height, width)} if picture.turned else {(width, height)}
    if record.size and record.size not in sides:
        expected = "x".join(map(str, record.size))
        return f"{record.path} changed ({width}x{height} pixels, its annotation says {expected})"
    return Photo(record, width, height, actual, len(content), ", ".join(picture.done))
