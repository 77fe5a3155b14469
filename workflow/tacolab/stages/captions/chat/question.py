"""What is asked about every image of a table, and what an answer to it is worth."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from PIL import Image

JPEG_QUALITY = 90
GOOD = "stop"  # the outcome of an answer that is a caption
REJECTED = "rejected"  # of a request that the server will not take; costs nothing
LOST = "lost"  # of a request whose answer never came, or cannot be read: perhaps paid for
FINISHED = (
    "stop",
    "eos",
    "eos_token",
    "end_turn",
    "stop_sequence",
)  # as servers say it, or nothing
MOST_TOKENS, LATEST = 2**31, 2**40  # above stands nothing true; the table could not hold it
# A model may refuse in plain words. Longer texts that begin so describe the image all the same.
_REFUSAL = re.compile(
    r"(unfortunately,? )?((i['\u2019]?m|i am) )?(very |so )?(sorry|unable to|not able to)\b"
    r"|(unfortunately,? )?i (can['\u2019]?t|cannot|can not|won['\u2019]?t|will not)\b"
    r"|i apologi[sz]e\b|as an ai\b",
    re.IGNORECASE,
)
_REFUSAL_WORDS = 40

Request = tuple[str, int]  # sha256 of the image, index of the caption


@dataclass(frozen=True)
class Question:
    """All of a request but the image. Two that differ in anything but `max_tokens` share no answer:
    one that has come to its end does not depend on it."""

    model: str
    prompt: str
    temperature: float
    detail: str
    image_side: int
    max_tokens: int

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Question:
        """From the resolved config of a caption source."""
        return cls(**{name: spec[name] for name in cls.__dataclass_fields__})

    @property
    def text(self) -> dict[str, Any]:
        """For people, and for the digest."""
        text = {**asdict(self), "jpeg_quality": JPEG_QUALITY}
        del text["max_tokens"]
        return text

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that stand for all of it."""
        return hashlib.sha256(json.dumps(self.text, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """Of the folder with its answers."""
        return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', self.model)}-{self.digest}"

    def custom_id(self, sha256: str, index: int) -> str:
        """Names caption `index` of an image in a batch; the API allows 64 characters."""
        return f"{self.digest}-{sha256[:40]}-{index}"

    def body(self, url: str) -> dict[str, Any]:
        """A request of the chat completions API; url: of the image, see `data_url`."""
        image = {"type": "image_url", "image_url": {"url": url, "detail": self.detail}}
        content = [{"type": "text", "text": self.prompt}, image]
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }


def data_url(image: Image.Image, side: int) -> str:
    """RGB as a JPEG whose longer side is at most `side` [pixels], in a data URL."""
    scale = side / max(image.size)
    if scale < 1:
        width, height = (max(1, round(scale * length)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class Answer:
    """What came back, good or bad. outcome: `stop` for a caption; length, content_filter,
    unfinished, refusal, empty, rejected, lost: none."""

    outcome: str
    text: str
    model: str | None
    created: int | None  # seconds since 1970, as the server says
    prompt_tokens: int | None
    completion_tokens: int | None
    id: str | None

    @classmethod
    def of(cls, completion: Any) -> Answer | None:
        """From the JSON of a chat completion; None for JSON that is none."""
        if not isinstance(completion, dict) or not isinstance(completion.get("choices"), list):
            return None
        usage = _mapping(completion.get("usage"))
        choice = _mapping(next(iter(completion["choices"]), None))
        message = _mapping(choice.get("message"))
        text = message.get("content")
        text = _clean(text) if isinstance(text, str) else ""
        refusal = message.get("refusal")
        reason = choice.get("finish_reason")
        if reason in ("length", "content_filter"):
            outcome = str(reason)
        elif reason is not None and str(reason).lower() not in FINISHED:
            outcome = "unfinished"
        elif isinstance(refusal, str) and refusal:
            outcome, text = "refusal", _clean(refusal)
        elif not text:
            outcome = "empty"
        elif _REFUSAL.match(text) and len(text.split()) <= _REFUSAL_WORDS:
            outcome = "refusal"
        else:
            outcome = GOOD
        return cls(
            outcome,
            text,
            _text(completion.get("model")),
            natural(completion.get("created"), LATEST),
            natural(usage.get("prompt_tokens")),
            natural(usage.get("completion_tokens")),
            _text(completion.get("id")),
        )

    @classmethod
    def rejected(cls, reason: str) -> Answer:
        """The server will not take this image; costs nothing, and asking again may not help."""
        return cls(REJECTED, _clean(reason), None, None, 0, 0, None)

    @classmethod
    def lost(cls, reason: str) -> Answer:
        """The server may have answered, and charged for it; what it took nobody knows."""
        return cls(LOST, _clean(reason), None, None, None, None, None)


def natural(value: Any, limit: int = MOST_TOKENS) -> int | None:
    """A whole number from 0 up to `limit`; None for anything else."""
    return value if type(value) is int and 0 <= value < limit else None


def _clean(text: str) -> str:
    """Half of a surrogate pair, which JSON may hold, can be written to no file."""
    return text.encode("utf-8", "replace").decode().strip()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return _clean(value) if isinstance(value, str) else None
