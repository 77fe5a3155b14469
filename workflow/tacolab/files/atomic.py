"""Files appear whole or not at all: written under a temporary name, synced, moved into place.

A killed process leaves what it was writing. The temporary name says whose it is, so that whoever
writes the same file next can remove it, and never takes it from a process that lives, or may live.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from tacolab.files import disk
from tacolab.files.process import PATTERN, Process

TEMPORARY = ".*.tmp.*"  # a glob
# Seconds without a change, after which a temporary file counts as left by a process of which nobody
# here knows whether it lives. A writer that works writes every few minutes; one that is suspended
# as long fails, and nothing else is lost. Clocks of two machines differ by less.
SILENT = 24 * 3600
_OWNED = re.compile(rf"\.({PATTERN})\.tmp\..+")


def temporary(path: Path) -> Path:
    """A hidden name beside `path`, of a file or folder, that only this process uses.

    It ends as `path` does, since writers choose their format by it. What killed processes have left
    of `path` is removed.
    """
    clear(path)
    return path.with_name(f".{Process.me()}.tmp.{path.name}")


def clear(path: Path) -> None:
    """Remove what killed processes have left of `path`: those of this machine at once, others after
    a day of silence."""
    for temporary in temporaries(path):
        if left(temporary):
            remove(temporary)


def temporaries(path: Path) -> Iterator[Path]:
    """What is being written, or was left half-written, of `path`."""
    return path.parent.glob(f".*.tmp.{escape(path.name)}")


def left(temporary: Path) -> bool:
    """Whether no process writes it any more."""
    process = owner(temporary)
    if process and process.lives is not None:
        return not process.lives
    return _silent(temporary)


def _silent(path: Path) -> bool:
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    try:
        newest = max(file.lstat().st_mtime for file in files)
    except FileNotFoundError:
        return False  # it is being written, or removed
    return time.time() - newest > SILENT


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


@contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """Yields a hidden, empty folder beside `path`, for more than one file; removed at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = temporary(path)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def link(path: Path, target: str) -> None:
    """Let `path` be a symbolic link to `target`, whatever it led to before."""
    new = temporary(path)
    new.symlink_to(target)
    new.replace(path)
    sync(path.parent)


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
