"""The connection to the API: its key, its address, and what its errors mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2
import openai

from tacolab.config import Api
from tacolab.errors import StageError, UserError

OPENAI = "https://api.openai.com/v1"
KEY = "OPENAI_API_KEY"
# Codes of errors, or (the last) their type.
NO_MONEY = {
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "budget_exceeded",
}
# Seconds until a connection stands, and between two bytes. A caption takes a few.
TIMEOUT = httpx2.Timeout(120.0, connect=15.0)


def server(api: Api) -> str:
    """Its address, shown and kept with the answers. Raises UserError for a secret in it."""
    if urlsplit(url := (api.base_url or OPENAI).rstrip("/")).username is not None:
        raise UserError(
            f"execution.api.base_url holds a name or password; take it out, {KEY} is for the key"
        )
    return url


def key() -> str:
    """From the environment, and from nowhere else. Raises UserError."""
    found = os.environ.get(KEY, "").strip()
    if not found:
        raise UserError(
            f"{KEY} is not set; export it (for a server of your own that needs none: "
            f"export {KEY}=none)"
        )
    if not found.isascii() or not found.isprintable() or " " in found:
        raise UserError(f"{KEY} holds characters that no key has; export it again")
    return found


def options(api: Api) -> dict[str, Any]:
    """Arguments of the client. Retries are ours: they must be seen, counted and paced."""
    return {"api_key": key(), "base_url": server(api), "max_retries": 0, "timeout": TIMEOUT}


@dataclass(frozen=True)
class Trouble:
    """What an error asks for.

    slow: fewer requests, later (also of a server that is silent). again: the same once more.
    refused: not this request. paid: whether the server may have answered all the same.
    """

    kind: Literal["slow", "again", "refused"]
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)
    paid: bool = False


def trouble(error: openai.OpenAIError | httpx2.HTTPError, model: str) -> Trouble:
    """What to do about an error. Raises what ends a run: wrong key, unknown model, no money."""
    if not isinstance(error, openai.APIStatusError):
        # No connection: nothing was asked. Cut or timed out: perhaps answered, and paid.
        cause = error.__cause__ or error
        text = line(f"{type(cause).__name__}: {cause}")
        never = isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout)
        silent = isinstance(error, openai.APITimeoutError | httpx2.TimeoutException) and not never
        return Trouble("slow" if silent else "again", text, paid=not never)
    status, code = error.status_code, error.code or ""
    text = line(f"HTTP {status}: {error.message}")
    if status == 401:
        raise UserError(f"the server refused the key (HTTP 401); check {KEY}")
    if money := {code, error.type} & NO_MONEY:
        raise StageError(f"the account has no money left ({money.pop()}); answers so far are kept")
    if status in (402, 403):
        raise UserError(f"the server will not serve this account; {text}")
    if status == 404 or code == "model_not_found":
        raise UserError(f"the server does not know model '{model}', or its address; {text}")
    if status in (429, 503):
        return Trouble("slow", text, error.response.headers)
    if status in (408, 409) or status >= 500:
        return Trouble("again", text, error.response.headers)
    return Trouble("refused", text)


def line(text: str) -> str:
    """A server's words on one line, not too long, and never with the key in them."""
    secret = os.environ.get(KEY, "").strip()
    if len(secret) > 6:  # not `none`
        text = text.replace(secret, "***")
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "..."
