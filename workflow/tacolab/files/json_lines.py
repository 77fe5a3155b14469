"""Files with a JSON object in each line, which are appended to, and may end in half a line."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tacolab.files.texts import loads


class Line(NamedTuple):
    """Bytes `start` to `end` of what is read, the newline included.

    content: None where it is no JSON object. torn: no newline ends it: a kill has cut it, or it is
    still being written; its content is None too.
    """

    content: dict[str, Any] | None
    start: int
    end: int
    torn: bool = False


def read(chunks: Iterable[bytes], start: int = 0) -> Iterator[Line]:
    """Every line but the blank ones.

    chunks: of any size, such as a file opened in binary mode. start: number of the first byte.
    """
    rest = b""
    for chunk in chunks:
        # Only a newline ends a line: JSON may hold what else splits text.
        *lines, rest = (rest + chunk).split(b"\n")
        for raw in lines:
            end = start + len(raw) + 1
            if raw.strip():
                yield Line(_object(raw), start, end)
            start = end
    if rest.strip():
        yield Line(None, start, start + len(rest), torn=True)


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
