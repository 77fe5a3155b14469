"""Checkpoints that survive a kill at any instant.

A checkpoint is written under a temporary name, synced and moved into place. Its name carries the
generation of the lease under which it was written: what a trainer writes that was taken for dead
and woke up again counts less than its successor's. And it carries the first digits of its own
sha256, so that any damage shows. The last two are kept: the newest may sit on a disk that lies
about having synced it.
"""

import hashlib
import logging
import re
from pathlib import Path
from typing import IO, Any, cast

import torch

from tacolab.errors import StageError
from tacolab.files import atomic

log = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(?P<generation>\d{6})-(?P<step>\d{9})-(?P<sha>[0-9a-f]{16})\.pt")


class _Hashing:
    """Passes bytes on to a file and remembers their sha256."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        self.sha.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def save(folder: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; only tensors, numbers, strings and containers of them.

    `content` has `generation`, `step`. Raises OSError (a full disk) with all others intact.
    """
    generation, step = content["generation"], content["step"]
    # Not by `atomic.replacing`: the name is known when all is written. And what a predecessor has
    # left is known by its generation, on whichever machine it was killed.
    temporary = folder / f".checkpoint-{generation:06d}.tmp"
    try:
        with temporary.open("wb") as file:
            hashing = _Hashing(file)
            try:
                torch.save(content, cast(IO[bytes], hashing))
            except RuntimeError:  # torch's word for whatever went wrong below it
                if hashing.error:
                    raise hashing.error from None
                raise
        atomic.sync(temporary)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sha = hashing.sha.hexdigest()[:16]
    temporary.replace(folder / f"checkpoint-{generation:06d}-{step:09d}-{sha}.pt")
    atomic.sync(folder)
    for old in _files(folder)[:-2]:
        old.unlink(missing_ok=True)
    for half in folder.glob(".checkpoint-*.tmp"):  # of a predecessor that was killed
        if half.name < temporary.name:
            half.unlink(missing_ok=True)


def oldest_generation(folder: Path) -> int:
    """Of the checkpoints that are there."""
    return min(int(path.name.split("-")[1]) for path in _files(folder))


def latest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that reads back whole, or None in a folder without any.

    Says which ones were rejected and why; refuses to start from nothing when all are damaged.
    """
    files = _files(folder)
    for path in reversed(files):
        try:
            return _read(path)
        except (OSError, ValueError) as error:
            log.warning("%s is damaged and skipped: %s", path, error)
    if files:
        raise StageError(
            f"{folder}: no checkpoint reads back whole ({', '.join(p.name for p in files)}); "
            "restore one from a backup, or delete the folder to train from the start"
        )
    return None


def _files(folder: Path) -> list[Path]:
    """Checkpoints by generation and step, the newest last."""
    return sorted(path for path in folder.glob("checkpoint-*.pt") if _NAME.fullmatch(path.name))


def _read(path: Path) -> dict[str, Any]:
    match = _NAME.fullmatch(path.name)
    assert match is not None  # _files lists nothing else
    with path.open("rb") as file:
        sha = hashlib.file_digest(file, "sha256").hexdigest()
    if not sha.startswith(match["sha"]):
        raise ValueError(f"its content's sha256 begins with {sha[:16]}")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle leads to any, and to long explanations
        raise ValueError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from None
    return content
