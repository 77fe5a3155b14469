"""How a server may be asked: requests in flight, pauses that it wants, and when it is given up."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tacolab.errors import Interrupted

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds, where the server names none
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Patience:
    """How long a server may leave us without an answer."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self.heard()

    def heard(self) -> None:
        self._since = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds."""
        return self._since + 60 * self.minutes - time.monotonic()

    def end(self, server: str, why: str) -> Interrupted:
        return Interrupted(
            f"{server}: no answer for {self.minutes:g} minutes, execution.api.patience_minutes "
            f"({why or 'requests wait'}); every answer is kept, and the same command goes on"
        )


class Pace:
    """At most `most` requests in flight, fewer after the server has refused some.

    Additive increase, multiplicative decrease: a refusal (429, 503) takes away 30 %, at most once
    per pause; every answer brings back a little, in one round of answers one more.
    """

    def __init__(self, most: int) -> None:
        self.most, self.limit = most, float(most)
        self.in_flight = 0
        self._resume = 0.0  # monotonic
        self.refusals = 0  # without an answer in between
        self._freed = asyncio.Event()

    async def enter(self) -> None:
        """Wait for a turn; `leave` must follow."""
        while True:
            if (delay := self._resume - time.monotonic()) > 0:
                # Not all at the same instant.
                await asyncio.sleep(delay + random.uniform(0, min(1.0, 0.1 * delay + 0.01)))
            elif self.in_flight >= max(1, int(self.limit)):
                self._freed.clear()
                await self._freed.wait()
            else:
                self.in_flight += 1
                return

    def leave(self) -> None:
        self.in_flight -= 1
        self._freed.set()

    def answered(self, headers: Mapping[str, str]) -> None:
        """An answer came; its headers may say that the next ones must wait."""
        self.refusals = 0
        self.limit = min(self.most, self.limit + 1 / self.limit)
        for kind in ("requests", "tokens"):
            left = headers.get(f"x-ratelimit-remaining-{kind}")
            if left == "0" and (seconds := duration(headers.get(f"x-ratelimit-reset-{kind}", ""))):
                self._pause(seconds)

    def refused(self, headers: Mapping[str, str]) -> float:
        """The server wants fewer requests. Returns the pause [s]."""
        now = time.monotonic()
        if now >= self._resume:  # those that were in flight together count as one
            self.limit = max(1.0, 0.7 * self.limit)
            self.refusals += 1
        wanted = retry_after(headers)
        if wanted is None:
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.refusals, 20))
            wanted = random.uniform(0.5, 1) * longest
        self._pause(wanted)
        return max(0.0, self._resume - now)

    def __str__(self) -> str:
        return f"{self.in_flight} of {int(self.limit)} in flight"

    def _pause(self, seconds: float) -> None:
        self._resume = max(self._resume, time.monotonic() + seconds)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; None where the server says nothing that can be read."""
    milliseconds = headers.get("retry-after-ms", "")
    value = headers.get("retry-after", "")
    try:
        if milliseconds:
            return max(0.0, float(milliseconds) / 1000)
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def duration(text: str) -> float:
    """Seconds of `6m0s`, `20ms`, `1h2m3.5s` or a plain number; 0 for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else 0.0
