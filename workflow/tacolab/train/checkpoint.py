"""Checkpoints that survive a kill at any instant.

A checkpoint is written under a temporary name, synced and moved into place; its name carries the
first digits of its own sha256, so that any damage shows. The last two are kept: the newest may
sit on a disk that lies about having synced it.
"""

import hashlib
import logging
import pickle
import re
from pathlib import Path
from typing import IO, Any, cast

import torch

from tacolab import atomic
from tacolab.errors import StageError

log = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(?P<step>\d{9})-(?P<sha>[0-9a-f]{16})\.pt")


class _Hashing:
    """Passes bytes on to a file and remembers their sha256."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def save(folder: Path, step: int, content: dict[str, Any]) -> None:
    """Write the checkpoint of `step`; only tensors, numbers, strings and containers of them."""
    temporary = folder / ".checkpoint.tmp"
    with temporary.open("wb") as file:
        hashing = _Hashing(file)
        torch.save(content, cast(IO[bytes], hashing))
    atomic.sync(temporary)
    temporary.replace(folder / f"checkpoint-{step:09d}-{hashing.sha.hexdigest()[:16]}.pt")
    atomic.sync(folder)
    for old in _files(folder)[:-2]:
        old.unlink()


def latest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that reads back whole, or None in a folder without any.

    Says which ones were rejected and why; refuses to start from nothing when all are damaged.
    """
    files = _files(folder)
    for path in reversed(files):
        try:
            return _read(path)
        except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            log.warning("%s is damaged and skipped: %s", path, error)
    if files:
        raise StageError(
            f"{folder}: no checkpoint reads back whole ({', '.join(p.name for p in files)}); "
            "restore one from a backup, or delete the folder to train from the start"
        )
    return None


def _files(folder: Path) -> list[Path]:
    """Checkpoints by step, the newest last."""
    return sorted(path for path in folder.glob("checkpoint-*.pt") if _NAME.fullmatch(path.name))


def _read(path: Path) -> dict[str, Any]:
    match = _NAME.fullmatch(path.name)
    assert match is not None  # _files lists nothing else
    with path.open("rb") as file:
        sha = hashlib.file_digest(file, "sha256").hexdigest()
    if not sha.startswith(match["sha"]):
        raise ValueError(f"its content's sha256 begins with {sha[:16]}")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content
