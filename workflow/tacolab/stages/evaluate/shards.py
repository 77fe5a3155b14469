"""An evaluation in parts that are kept: a killed run goes on at the next part, the same result.

What is computed together (a batch) must not depend on where a run was killed, so the parts of a
list of images are always the same ones.
"""

import json
import logging
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tacolab.errors import StageError
from tacolab.files import atomic, intact

log = logging.getLogger(__name__)

# 64 crops of 256 x 256 pixels, ten images of Kodak: seconds on a GPU, a minute or two without.
PART = 64 * 256 * 256
# Pixels that pass a network at once: more gain nothing on a CPU, which loses its cache.
BATCH = 4 * 256 * 256

K = TypeVar("K")
T = TypeVar("T")


def parts(sizes: Sequence[tuple[int, int]]) -> list[range]:
    """Consecutive items of some (height, width), of at most PART pixels or one alone."""
    found: list[range] = []
    start = total = 0
    for i, (height, width) in enumerate(sizes):
        if i > start and total + height * width > PART:
            found.append(range(start, i))
            start, total = i, 0
        total += height * width
    return [*found, range(start, len(sizes))] if sizes else []


def batches(sizes: Sequence[tuple[int, int]]) -> list[range]:
    """Consecutive items of one size that pass a network together."""
    found: list[range] = []
    start = 0
    for i in range(1, len(sizes) + 1):
        if i == len(sizes) or sizes[i] != sizes[start]:
            step = max(1, BATCH // (sizes[start][0] * sizes[start][1]))
            found += [range(at, min(at + step, i)) for at in range(start, i, step)]
            start = i
    return found


def ahead(make: Callable[[K], T], items: Iterable[K], depth: int = 2) -> Iterator[T]:
    """`make(item)` in the items' order, computed in one thread while the caller does other work.

    No more than `depth` results wait: pictures take memory.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[T]] = deque()
        for item in items:
            waiting.append(thread.submit(make, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@dataclass(frozen=True)
class Part:
    """What one part of an evaluation leaves: rows of its table and files, by name."""

    rows: list[dict[str, Any]]
    files: Mapping[str, bytes]


class Shards:
    """The finished parts below `folder`, a file each, which appears whole or not at all."""

    def __init__(self, folder: Path, ranges: Sequence[range]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ranges = ranges
        done = len(ranges) - len(self.missing)
        if done:
            log.info("%s: %d of %d parts are already there", folder, done, len(ranges))

    @property
    def missing(self) -> list[range]:
        return [part for part in self._ranges if not self._path(part).exists()]

    def save(self, which: range, part: Part) -> None:
        """Keep a part. Raises StageError when the folder is gone."""
        # Not made again: who has finished the same work meanwhile, in another job, has removed it.
        if not self._folder.is_dir():
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
                rows = json.loads(archive.read("rows.json"))
                part = Part(rows, {name: archive.read(name) for name in names})
            yield part

    def _gone(self) -> StageError:
        return StageError(f"{self._folder}: was removed while its parts were made; start again")

    def _path(self, part: range) -> Path:
        # With its last image: parts of another length must not be taken for these.
        return self._folder / f"{part.start:06}-{part.stop - 1:06}.zip"
