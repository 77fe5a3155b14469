"""The caption table: one row per image and caption, and its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tacolab.files import intact
from tacolab.files.atomic import write, write_json
from tacolab.plan import Artefact
from tacolab.plan.provenance import describe

# What a source does not know is null; `created` too, so that equal inputs give equal files.
SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),  # of the caption, from 0 for each image
        pa.field("caption", pa.string(), nullable=False),
        pa.field("model", pa.string()),
        pa.field("prompt_sha256", pa.string()),
        pa.field("temperature", pa.float64()),
        pa.field("created", pa.timestamp("ms", tz="UTC")),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("completion_tokens", pa.int32()),
        pa.field("finish_reason", pa.string()),
    ]
)


ROWS = 50_000  # that a writer holds at a time


def table(ids: Sequence[str], captions: Sequence[Sequence[str]], **same: Any) -> pa.Table:
    """Rows in the order of the images `ids` and of each image's captions.

    same: values of further columns, the same in every row.
    """
    rows = [
        (image_id, index, caption)
        for image_id, texts in zip(ids, captions, strict=True)
        for index, caption in enumerate(texts)
    ]
    known = dict(zip(("image_id", "index", "caption"), zip(*rows, strict=True), strict=True))
    columns = {name: known.get(name, [same.get(name)] * len(rows)) for name in SCHEMA.names}
    return pa.table(columns, schema=SCHEMA)


def read_rows(path: Path) -> pa.Table:
    """All columns of a table that `save` has written. Raises UserError where it is damaged."""
    with intact.reading(path, "remove it and make it with `snakemake`"):
        rows = pq.read_table(path, schema=SCHEMA)
        rows.validate(full=True)
        return rows


def save(rows: pa.Table, artefact: Artefact, facts: Mapping[str, Any]) -> None:
    """Write the artefact: table, then summary. facts: more entries for the summary."""
    parquet, summary = artefact.files
    write(
        parquet,
        lambda path: pq.write_table(rows, path, compression="zstd", row_group_size=ROWS),
    )
    words = 0
    for some in rows.select(["caption"]).to_batches(max_chunksize=20_000):
        words += sum(len(caption.split()) for caption in some["caption"].to_pylist())
    content = describe(
        artefact,
        images=len(rows["image_id"].unique()),
        captions=len(rows),
        mean_words=round(words / len(rows), 3),
        **facts,
    )
    write_json(summary, content)
