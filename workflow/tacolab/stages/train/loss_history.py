"""train.jsonl: the losses of a training, without gap or repetition across kills."""

import json
import os
from pathlib import Path
from typing import Any

from tacolab.errors import StageError
from tacolab.files import atomic


class LossHistory:
    """An append-only file of JSON lines that a checkpoint can pin by its length.

    It holds only what an uninterrupted run would write too: no times, no machine. Each generation
    of the lease has a file of its own, that begins with what its checkpoint knew; `train.jsonl`
    links to the newest.
    """

    def __init__(self, folder: Path, generation: int, before: tuple[int, int] | None) -> None:
        """before: generation and length in bytes of the history that the checkpoint knew."""
        self._folder = folder
        self._path = _path(folder, generation)
        atomic.write_bytes(self._path, _beginning(folder, *before) if before else b"")
        self._file = self._path.open("a", encoding="utf-8")
        self.publish()

    def publish(self) -> None:
        """Let `train.jsonl` name this file."""
        atomic.link(self._folder / "train.jsonl", self._path.name)

    def add(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def sync(self) -> int:
        """Make every line durable; the size to be stored in the checkpoint, in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def forget(self, generation: int) -> None:
        """Remove what is older than `generation`: no checkpoint knows it any more."""
        for path in self._folder.glob("train-*.jsonl"):
            if path.name < _path(self._folder, generation).name:
                path.unlink(missing_ok=True)


def _path(folder: Path, generation: int) -> Path:
    return folder / f"train-{generation:06d}.jsonl"


def _beginning(folder: Path, generation: int, size: int) -> bytes:
    path = _path(folder, generation)
    content = path.read_bytes() if path.exists() else b""
    if len(content) < size:
        raise StageError(
            f"{path}: shorter than when its checkpoint was taken ({size} bytes); it was edited "
            "or damaged: restore it, or delete the state folder to train from the start"
        )
    return content[:size]
