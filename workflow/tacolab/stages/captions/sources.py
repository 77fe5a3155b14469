"""Where captions come from. Each source gives the rows of a caption table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from tacolab.config import FileRef
from tacolab.errors import UserError
from tacolab.files.texts import given_json, refuse_half_characters
from tacolab.readers import listed_files
from tacolab.readers.packed import Packed
from tacolab.stages.captions.table import SCHEMA, read_rows, table


def human(data: Packed) -> pa.Table:
    """The captions packed with the images."""
    captions = [data.captions(i) for i in range(len(data))]
    refuse_gaps(data.ids, captions, f"human captions in {data.folder}", "name another source")
    return table(data.ids, captions)


def given(data: Packed, file: FileRef, root: Path) -> pa.Table:
    """Captions from a file, relative to `root`; it may speak of other images, too.

    JSON: an object, file name -> caption or list of captions. Parquet (by its suffix): columns
    image_id or file_name, caption, and perhaps index, by which an image's captions are ordered.
    """
    path = root / file.path
    content, _ = listed_files.read(file, root)
    read = _parquet if path.suffix.lower() == ".parquet" else _json
    known = read(content, path, data.ids)
    captions = [known.get(image_id, []) for image_id in data.ids]
    refuse_gaps(data.ids, captions, str(path), "add captions for them")
    return table(data.ids, captions)


def _json(content: bytes, path: Path, ids: Iterable[str]) -> dict[str, list[str]]:
    known = given_json(content, path)
    if not isinstance(known, dict):
        raise UserError(f"{path}: not a JSON object, file name -> caption or list of captions")
    captions = {}
    for image_id in ids:
        texts = known.get(image_id, [])
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{path}: {image_id}: neither a caption nor a list of captions")
        for text in texts:
            refuse_half_characters(text, f"{path}: {image_id}")
        captions[image_id] = texts
    return captions


def _parquet(content: bytes, path: Path, ids: Iterable[str]) -> dict[str, list[str]]:
    columns = {"image_id": pa.string(), "caption": pa.string(), "index": pa.int64()}
    try:
        rows = pq.read_table(pa.BufferReader(content))
        if "file_name" in rows.column_names and "image_id" not in rows.column_names:
            rows = rows.rename_columns({"file_name": "image_id"})
        lacking = {"image_id", "caption"} - set(rows.column_names)
        if lacking:
            raise UserError(
                f"{path}: no column {' and '.join(sorted(lacking))}; it needs image_id (or "
                "file_name), caption and perhaps index"
            )
        rows = rows.select([name for name in columns if name in rows.column_names])
        for field in rows.schema:  # a cast alone would make text of numbers, and numbers of text
            if not (_is_number(field.type) if field.name == "index" else _is_text(field.type)):
                wanted = "whole numbers" if field.name == "index" else "text"
                raise UserError(
                    f"{path}: column {field.name} holds {field.type}, not {wanted}; write it anew"
                )
        rows = rows.cast(pa.schema([(name, columns[name]) for name in rows.column_names]))
        rows.validate(full=True)  # text that is no UTF-8, too
    except (OSError, pa.ArrowException) as error:  # OSError: of damage, too
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    rows = rows.filter(pc.is_in(rows["image_id"], pa.array(ids, pa.string())))
    named = rows.group_by([name for name in ("image_id", "index") if name in rows.column_names])
    if "index" in rows.column_names:
        if rows["index"].null_count:
            raise UserError(f"{path}: column index has gaps; number the captions, or leave it out")
        twice = named.aggregate([([], "count_all")]).filter(pc.field("count_all") > 1)
        if len(twice):
            row = twice.slice(0, 1).to_pylist()[0]
            raise UserError(f"{path}: {row['image_id']}: index {row['index']} stands there twice")
        rows = rows.sort_by([("image_id", "ascending"), ("index", "ascending")])
    captions: dict[str, list[str]] = {}
    pairs = zip(rows["image_id"].to_pylist(), rows["caption"].to_pylist(), strict=True)
    for image_id, text in pairs:
        captions.setdefault(image_id, []).append(text or "")  # null: a gap, and named as such
    return captions


def _is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, or nothing at all."""
    kind = kind.value_type if pt.is_dictionary(kind) else kind
    text = (pt.is_string, pt.is_large_string, pt.is_string_view, pt.is_binary, pt.is_large_binary)
    return any(is_text(kind) for is_text in (*text, pt.is_null))


def _is_number(kind: pa.DataType) -> bool:
    # pandas makes floats of a column that has had gaps; the cast refuses fractions.
    return bool(pt.is_integer(kind) or pt.is_floating(kind))


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
    rows = read_rows(own)
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


def refuse_gaps(
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
