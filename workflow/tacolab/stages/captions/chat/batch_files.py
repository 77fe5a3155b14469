"""A batch on its way: its file, and what a line of its result says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacolab.errors import UserError
from tacolab.files.texts import loads
from tacolab.stages.captions.chat import client
from tacolab.stages.captions.chat.question import Answer

REFUSED = (400, 413, 422)  # of a single request: not this image, or none at all


Request = tuple[str, int]  # sha256 of the image, index of the caption


@dataclass(frozen=True)
class Part:
    """A batch on its way. tokens: of its input. max_tokens: of an answer."""

    name: str
    server: str
    tokens: int
    max_tokens: int
    requests: list[Request]
    file: str | None = None
    batch: str | None = None
    creating: bool = False  # the server may have it without our knowing its id


def read(path: Path) -> Part:
    """Raises UserError for a file that is no part."""
    try:
        content = loads(path.read_text(encoding="utf-8"))
        content["requests"] = [(image, index) for image, index in content["requests"]]
        return Part(**content)
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path}: damaged; the server may hold answers to a batch of this name. Remove the "
            "file to ask (and pay) again"
        ) from None


def answer(result: dict[str, Any]) -> Answer | None:
    """None for a request that brought nothing (an error of the server, the end of the day)."""
    response = result.get("response")
    if not isinstance(response, dict):
        return None
    status, body = response.get("status_code"), response.get("body")
    if status == 200:
        return Answer.of(body) or Answer.lost("the answer is no chat completion")
    if status in REFUSED:
        error = body.get("error") if isinstance(body, dict) else None
        message = error.get("message") if isinstance(error, dict) else None
        return Answer.rejected(client.line(f"HTTP {status}: {message}"))
    return None
