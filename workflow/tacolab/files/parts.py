"""Unfinished work, kept in parts: a killed run goes on at the next one, to the same result.

Work on a list of items is cut into the same ranges every time, for what is computed together (a
batch) must not depend on where a run was killed. Each finished range is one file.
"""

import json
import logging
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tacolab.errors import StageError
from tacolab.files import archives, atomic, intact
from tacolab.files.texts import loads

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """What one part of the work leaves: rows of a table and files, by name."""

    rows: list[dict[str, Any]]
    files: Mapping[str, bytes] = field(default_factory=dict)


class Parts:
    """The finished parts, a file each, which appears whole or not at all.

    Two jobs may work on them at once, where a head died and its job lives on.
    """

    def __init__(self, state: Path, ranges: Sequence[range], made_from: str = "parts") -> None:
        """state: a folder for the parts of one artefact, of no use once that is there. made_from:
        names what they depend on besides its key (inputs, a device); parts made from something else
        are left alone.
        """
        self.folder = state / made_from
        self.folder.mkdir(parents=True, exist_ok=True)
        self._state = state
        self._ranges = ranges
        done = len(ranges) - len(self.missing)
        if done:
            log.info("%s: %d of %d parts are already there", self.folder, done, len(ranges))

    @property
    def missing(self) -> list[range]:
        return [part for part in self._ranges if not self._path(part).exists()]

    def save(self, which: range, part: Part) -> None:
        """Keep a part. Raises StageError when the folder is gone, ValueError for NaN in a row."""
        # Not made again: who has finished the same work meanwhile, in another job, has removed it.
        if not self.folder.is_dir():
            raise self._gone()

        def write(path: Path) -> None:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
                for name, content in part.files.items():
                    archive.writestr(name, content)
                # Last: damage of the archive's list would lose it first.
                archive.writestr("rows.json", json.dumps(part.rows, allow_nan=False))

        atomic.write(self._path(which), write)

    def __iter__(self) -> Iterator[Part]:
        """All parts in their order; read one by one, for the files of all may not fit in memory."""
        for which in self._ranges:
            path = self._path(which)
            if not path.exists():
                raise self._gone()
            remedy = "delete it, and the same command makes it again"
            with intact.reading(path, remedy), zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name != "rows.json"]
                rows = loads(archives.read(archive, "rows.json"))
                part = Part(rows, {name: archives.read(archive, name) for name in names})
            yield part

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of all parts, in their order."""
        return [row for part in self for row in part.rows]

    def remove(self) -> None:
        """Once the artefact is there: also parts made from something else, and what killed runs
        left. Nothing that fails here is a reason to fail, and make it all again."""
        shutil.rmtree(self._state, ignore_errors=True)

    def _gone(self) -> StageError:
        return StageError(f"{self.folder}: was removed while its parts were made; start again")

    def _path(self, part: range) -> Path:
        # With its last item: parts of another length must not be taken for these.
        return self.folder / f"{part.start:06}-{part.stop - 1:06}.zip"
