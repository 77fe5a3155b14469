"""Where captions come from. Each source gives the rows of a caption table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tacolab import fileref
from tacolab.captions.table import SCHEMA, table
from tacolab.config import FileRef
from tacolab.errors import UserError
from tacolab.packed import Packed


def human(data: Packed) -> pa.Table:
    """The captions packed with the images."""
    captions = [data.captions(i) for i in range(len(data))]
    _refuse_gaps(data.ids, captions, f"human captions in {data.folder}", "name another source")
    return table(data.ids, captions)


def published(data: Packed, file: FileRef, root: Path) -> pa.Table:
    """Captions from a JSON object: file name -> caption, or list of captions.

    file: relative to `root`. Entries for images that the data set does not have are ignored.
    """
    path = root / file.path
    content, _ = fileref.read(file, root)
    try:
        known = json.loads(content)
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(known, dict):
        raise UserError(f"{path}: not a JSON object, file name -> caption or list of captions")
    captions = []
    for image_id in data.ids:
        texts = known.get(image_id, [])
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{path}: {image_id}: neither a caption nor a list of captions")
        captions.append(texts)
    _refuse_gaps(data.ids, captions, str(path), "add captions for them")
    return table(data.ids, captions)


def same(data: Packed, text: str) -> pa.Table:
    """The same single caption for every image."""
    return table(data.ids, [[text]] * len(data))


def shuffled(data: Packed, own: Path, seed: int) -> tuple[pa.Table, int]:
    """The rows of table `own` with every image given all captions of another image.

    Also returns how many images got a caption list that reads like their own all the same.
    """
    if len(data) < 2:
        raise UserError(
            f"{data.folder}: one image has no other to take captions from; "
            "leave the shuffled control out for this data set"
        )
    rows = pq.read_table(own, schema=SCHEMA)
    places: dict[str, list[int]] = {image_id: [] for image_id in data.ids}
    for place, image_id in enumerate(rows["image_id"].to_pylist()):
        places[image_id].append(place)
    donors = [data.ids[i] for i in derangement(len(data), seed)]
    taken = rows.take([place for donor in donors for place in places[donor]])
    receivers = [
        image_id for image_id, donor in zip(data.ids, donors, strict=True) for _ in places[donor]
    ]
    texts = rows["caption"].to_pylist()
    equal = sum(
        [texts[place] for place in places[image_id]] == [texts[place] for place in places[donor]]
        for image_id, donor in zip(data.ids, donors, strict=True)
    )
    column = SCHEMA.field("image_id")
    return taken.set_column(0, column, pa.array(receivers, column.type)), equal


def derangement(n: int, seed: int) -> npt.NDArray[np.int64]:
    """A permutation of 0 ... n - 1 without fixed point, n >= 2: one random cycle through all."""
    cycle = np.random.default_rng(seed).permutation(n)
    donors = np.empty_like(cycle)
    donors[cycle] = np.roll(cycle, -1)
    return donors


def _refuse_gaps(
    ids: Sequence[str], captions: Sequence[Sequence[str]], where: str, remedy: str
) -> None:
    """Every image needs a caption, and none may be blank."""
    images = list(zip(ids, captions, strict=True))
    gaps = {
        "have no caption": [name for name, texts in images if not texts],
        "have an empty caption": [
            name for name, texts in images if not all(text.strip() for text in texts)
        ],
    }
    for what, names in gaps.items():
        if names:
            more = f" (and {len(names) - 3} more)" if len(names) > 3 else ""
            raise UserError(
                f"{where}: {len(names)} of {len(ids)} images {what}: "
                f"{', '.join(names[:3])}{more}; {remedy}"
            )
