"""Every image is decoded once, in full, before anything is written."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from tacolab.data.sources import Record, first_few
from tacolab.errors import UserError
from tacolab.progress import progress


@dataclass(frozen=True)
class Photo:
    """A verified image: its record, sides in pixels as in the file's header, size in bytes."""

    record: Record
    width: int
    height: int
    sha256: str
    n_bytes: int

    @property
    def short_side(self) -> int:
        return min(self.width, self.height)


def verify(records: Sequence[Record], dataset: str) -> list[Photo]:
    """The images in the order of `records`.

    Raises one UserError that counts the images that are missing, damaged or changed and names the
    first few.
    """
    # Pillow decodes without the GIL. A thread holds one image at a time, so memory stays bounded.
    with ThreadPoolExecutor() as pool:
        results = list(progress(pool.map(_inspect, records), len(records), f"verifying {dataset}"))
    problems = [result for result in results if isinstance(result, str)]
    if problems:
        raise UserError(
            f"data set '{dataset}': {len(problems)} of {len(records)} images are missing, damaged "
            f"or changed: {first_few(problems)}; nothing was written; put the original files back"
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
        Image.open(io.BytesIO(content)).verify()  # a PNG's checksums up to its last chunk
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            width, height = image.size
    except UnidentifiedImageError:
        return f"{record.path} is not an image ({len(content)} bytes)"
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error ...
        return f"{record.path} is damaged ({error})"
    if record.size not in (None, (width, height)):
        expected = "x".join(map(str, record.size))
        return f"{record.path} changed ({width}x{height} pixels, its annotation says {expected})"
    return Photo(record, width, height, actual, len(content))
