"""Captions cut to what a shorter text encoder would read of them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter

from tacolab.config import TextEncoder
from tacolab.plan import Artefact
from tacolab.stages.captions.table import SCHEMA, read_rows
from tacolab.text.tokens import Tokenizer

AT_ONCE = 1_000  # captions


def captions(artefact: Artefact, tokens: int) -> tuple[pa.Table, dict[str, Any]]:
    """The rows of the arm's own table, each caption of at most `tokens` tokens, begin and end
    included; also how many captions lost something."""
    rows = read_rows(artefact.inputs["own"].path)
    tokenizer = _tokenizer(artefact.spec["encoder"], tokens)
    whole: list[str] = rows["caption"].to_pylist()
    short: list[str] = []
    for start in range(0, len(whole), AT_ONCE):
        some = whole[start : start + AT_ONCE]
        read = tokenizer(some)
        ends = read.spans.max(axis=(1, 2)).tolist()  # none: -1
        fits = ((read.spans[:, :, 0] >= 0).sum(1) == read.lengths).tolist()
        short += [
            text if fit else shortened(text, max(end, 0))
            for text, fit, end in zip(some, fits, ends, strict=True)
        ]
    cut = sum(a != b for a, b in zip(whole, short, strict=True))
    place = SCHEMA.get_field_index("caption")
    column = SCHEMA.field(place)
    return rows.set_column(place, column, pa.array(short, column.type)), {"captions_cut": cut}


def shortened(text: str, end: int) -> str:
    """The first `end` characters, but no piece of a word: alone it would be other tokens."""
    at = end
    while 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum():
        at -= 1
    return text[: at or end].rstrip()


def _tokenizer(encoder: dict[str, str], tokens: int) -> Tokenizer:
    """That of the arm's encoder, at another length."""
    config: TextEncoder = TypeAdapter(TextEncoder).validate_python(encoder | {"width": 8})
    return Tokenizer(config.model_copy(update={"max_tokens": tokens}))
