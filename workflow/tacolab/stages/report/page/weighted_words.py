"""The words of a caption with the weights that an arm's encoder gave them."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tacolab.plan import Artefact

Spans = list[tuple[int, int, float]]


@dataclass(frozen=True)
class Word:
    """A piece of a caption; weight None where the arm weighs nothing there."""

    text: str
    weight: float | None = None


def of(evaluation: Artefact) -> dict[str, Spans]:
    """Image -> (start, end, weight) of each token of its first caption, in characters.

    Empty for arms without token weights, and where the table is gone or tells no spans: the caption
    is then shown without them.
    """
    artefact = evaluation.inputs.get("token_weights")
    if artefact is None:
        return {}
    try:
        columns = ["image_id", "index", "weights", "spans"]
        if not set(columns) <= set(pq.read_schema(artefact.path).names):
            return {}
        table = pq.read_table(artefact.path, columns=columns, filters=[("index", "=", 0)])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return {}
    found: dict[str, Spans] = {}
    for row in table.to_pylist():
        ends: list[Any] = row["spans"]
        pairs = zip(ends[::2], ends[1::2], row["weights"], strict=False)
        found[row["image_id"]] = [(a, b, float(weight)) for a, b, weight in pairs if b > a >= 0]
    return found


def split(caption: str, spans: Spans | None) -> list[Word]:
    """The caption in pieces; neighbours of one weight are one piece."""
    pieces: list[Word] = []
    at = 0
    for start, end, weight in spans or []:
        if start < at:  # pieces of one character share its span
            continue
        between = caption[at:start]
        if pieces and pieces[-1].weight == weight:
            pieces[-1] = Word(pieces[-1].text + between + caption[start:end], weight)
        else:
            pieces += [Word(between)] if between else []
            pieces.append(Word(caption[start:end], weight))
        at = end
    return [*pieces, Word(caption[at:])] if at < len(caption) else pieces
