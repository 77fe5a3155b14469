"""Files appear whole or not at all: written under a temporary name, synced, moved into place.

A killed process leaves what it was writing. The temporary name says whose it is, so that whoever
writes the same file next can remove it, and never takes it from a process that lives.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from tacolab.files import disk
from tacolab.files.process import PATTERN, Process

TEMPORARY = ".*.tmp.*"  # a glob
_OWNED = re.compile(rf"\.({PATTERN})\.tmp\..+")


def temporary(path: Path) -> Path:
    """A hidden name beside `path`, of a file or folder, that only this process uses.

    It ends as `path` does, since writers choose their format by it. What killed processes of this
    machine have left of `path` is removed.
    """
    clear(path)
    return path.with_name(f".{Process.me()}.tmp.{path.name}")


def clear(path: Path) -> None:
    """Remove what killed processes of this machine have left of `path`."""
    for left in path.parent.glob(f".*.tmp.{escape(path.name)}"):
        if (process := owner(left)) and process.lives is False:
            remove(left)


def owner(path: Path) -> Process | None:
    """Whose temporary file this is; None where the name does not say."""
    match = _OWNED.fullmatch(path.name)
    return Process.parse(match[1]) if match else None


def remove(path: Path) -> None:
    """A file, or a folder with all that is in it, if it can be: for what nobody needs."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Yields a temporary path beside `path`; moved onto it on success, removed on failure.

    needed: bytes, where that is known. Raises disk.RefusedError on a full disk, whatever the writer
    made of it.
    """
    with disk.writing(path, needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = temporary(path)
        try:
            yield new
            sync(new)
            new.replace(path)
            sync(path.parent)
        finally:
            new.unlink(missing_ok=True)


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
