"""Files appear whole or not at all: written under a temporary name, synced, moved into place."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tacolab import disk


@contextmanager
def replacing(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Yields a temporary path beside `path`; moved onto it on success, removed on failure.

    The temporary name ends as `path` does, since writers choose their format by it. needed: bytes,
    where that is known. Raises disk.RefusedError on a full disk, whatever the writer made of it.
    """
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    with disk.writing(path, needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Ask the disk to hold `path` (a file, or a folder's entries) before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, save: Callable[[Path], Any]) -> None:
    """Let `save` write a file that appears at `path` only when it is whole."""
    with replacing(path) as temporary:
        save(temporary)


def write_bytes(path: Path, content: bytes) -> None:
    """`content` appears at `path` whole."""
    with replacing(path, len(content)) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Indented JSON, for people; non-finite numbers are refused."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode())
