"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line, and for what is wrong the remedy. `-`: nothing to say here."""

    verdict: Literal["ok", "warning", "failure", "-"]
    found: str
    remedy: str = ""

    @classmethod
    def ok(cls, found: str) -> Finding:
        return cls("ok", found)

    @classmethod
    def warning(cls, found: str, remedy: str) -> Finding:
        return cls("warning", found, remedy)

    @classmethod
    def failure(cls, found: str, remedy: str) -> Finding:
        return cls("failure", found, remedy)

    @classmethod
    def left_out(cls, why: str) -> Finding:
        return cls("-", why)
