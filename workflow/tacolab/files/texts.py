"""Text that people give us, as characters and as JSON: read, or refused in one line."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from tacolab.errors import UserError

_TOO_DEEP = "brackets within brackets, hundreds deep"


def decode(content: bytes) -> str:
    """UTF-8, UTF-16 or UTF-32, with or without a byte order mark. Raises ValueError."""
    return content.decode(json.detect_encoding(content))


def loads(text: str | bytes) -> Any:
    """`json.loads`, which also raises ValueError where it would give up with RecursionError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def given_json(content: bytes, path: Path) -> Any:
    """JSON of a file that a person wrote.

    Raises UserError, also for a name that stands twice in one object: `json` would keep the last.
    """
    try:
        return json.loads(decode(content), object_pairs_hook=partial(_distinct, path=path))
    except RecursionError:
        problem = _TOO_DEEP
    except ValueError as error:
        problem = str(error)
    raise UserError(f"{path}: not JSON ({problem}); mend the file, or name another")


def _distinct(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) < len(pairs):
        twice = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
        raise UserError(f"{path}: {twice!a} stands there twice in one object; leave one of them")
    return known


def refuse_half_characters(text: str, where: str) -> None:
    """Raises UserError for a lone surrogate: what Python makes of bytes that are no UTF-8, and of
    half an emoji in JSON. Neither tokenizers nor tables can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = ascii(text[max(0, error.start - 20) : error.start + 20])
        raise UserError(
            f"{where}: {around} has half a character, which is no text; write it in UTF-8"
        ) from None
