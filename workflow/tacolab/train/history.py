"""train.jsonl: what the training did, without gap or repetition across kills."""

import json
import os
from pathlib import Path
from typing import Any

from tacolab.errors import StageError


class History:
    """An append-only file of JSON lines that a checkpoint can pin by its length.

    It holds only what an uninterrupted run would write too: no times, no machine.
    """

    def __init__(self, path: Path, size: int) -> None:
        """Open `path` and cut it to the first `size` bytes, those that the checkpoint knew."""
        path.touch()
        if path.stat().st_size < size:
            raise StageError(
                f"{path}: shorter than when its checkpoint was taken ({size} bytes); it was edited "
                "or damaged: restore it, or delete the state folder to train from the start"
            )
        os.truncate(path, size)
        self.path = path
        self._file = path.open("a", encoding="utf-8")

    def add(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def sync(self) -> int:
        """Make every line durable; the size to be stored in the checkpoint, in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.path.stat().st_size
