"""The table of token weights: one row per caption, and a summary of what the encoder reads."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from joblib import Parallel, cpu_count, delayed

from tacolab.config import TextEncoder, TokenWeights
from tacolab.files import process
from tacolab.files.atomic import replacing, write_json
from tacolab.files.process import Process
from tacolab.files.progress import progress
from tacolab.plan import Artefact
from tacolab.plan.provenance import describe
from tacolab.readers.caption_table import CaptionTable
from tacolab.stages.token_weights import vocabulary
from tacolab.stages.token_weights.salience import Weigher

# Captions that are parsed together. Fixed, so that the number of processes changes no bit.
CHUNK = 1024

Row = tuple[str, int, str]


def save(
    artefact: Artefact,
    captions: CaptionTable,
    config: TokenWeights,
    encoder: TextEncoder,
    threads: int | None,
) -> None:
    """Weigh all captions and write the artefact: table, then summary.

    threads: processes; None: as many as there are cores. The captions go through in chunks, so
    memory does not grow with their number.
    """
    parquet, summary = artefact.files
    known = artefact.inputs.get("vocabulary")
    how = (config, encoder, known.path if known else None)
    n_chunks = -(-len(captions) // CHUNK)
    # Not Pool: it would wait for ever for a process that ran out of memory.
    parallel = Parallel(
        min(threads or cpu_count(), n_chunks),
        return_as="generator",
        # Killed, this process could not end them, and they would wait for ever.
        initializer=process.end_with,
        initargs=(Process.me(), signal.SIGKILL),
    )
    weighed = parallel(delayed(_weigh)(*how, rows) for rows in _chunks(captions))
    schema = _schema(encoder.positions)
    counts = np.zeros(4, np.int64)
    with replacing(parquet) as path, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch, counted in progress(weighed, n_chunks, f"token weights, {CHUNK} captions each"):
            writer.write_batch(batch)
            counts += counted
    tokens, read, salient, cut = counts.tolist()
    content = describe(
        artefact,
        captions=len(captions),
        positions=encoder.positions,
        # Begin, end and padding are not among them.
        mean_tokens=round(tokens / len(captions), 3),
        captions_cut=round(cut / len(captions), 6),
        tokens_cut=round((tokens - read) / max(1, tokens), 6),
        salient=round(salient / max(1, read), 6),  # of the tokens that are read
    )
    write_json(summary, content)


def _schema(width: int) -> pa.Schema:
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("index", pa.int32(), nullable=False),  # of the caption, from 0 for each image
            pa.field("weights", pa.list_(pa.float16(), width), nullable=False),
            # First character of each token and the one after its last, for the report; -1 for none.
            pa.field("spans", pa.list_(pa.int32(), 2 * width), nullable=False),
        ]
    )


def _chunks(captions: CaptionTable) -> Iterator[list[Row]]:
    rows = iter(captions)
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _weigh(
    config: TokenWeights, encoder: TextEncoder, vocabulary: Path | None, rows: list[Row]
) -> tuple[pa.RecordBatch, np.ndarray]:
    """The chunk's part of the table; and its tokens, those read, those salient, captions cut."""
    ids, indices, captions = zip(*rows, strict=True)
    weighed = _weigher(config, encoder, vocabulary)(captions)
    read = (weighed.tokens.spans[:, :, 0] >= 0).sum(1)
    lengths = weighed.tokens.lengths
    salient = sum(bool(why) for row in weighed.reasons for why in row)
    width = encoder.positions
    weights = pa.FixedSizeListArray.from_arrays(pa.array(weighed.weights.ravel()), width)
    spans = pa.FixedSizeListArray.from_arrays(pa.array(weighed.tokens.spans.ravel()), 2 * width)
    batch = pa.record_batch([ids, indices, weights, spans], schema=_schema(width))
    return batch, np.array([lengths.sum(), read.sum(), salient, (read < lengths).sum()])


@cache
def _weigher(config: TokenWeights, encoder: TextEncoder, path: Path | None) -> Weigher:
    """Loaded once in each process."""
    return Weigher(config, encoder, vocabulary.load(path) if path else None)
