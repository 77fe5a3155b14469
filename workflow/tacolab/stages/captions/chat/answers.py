"""Every answer that was paid for, for ever: append-only files below `{data_root}/answers/`.

A folder per question, shared by all keys and clones of the study. In it every run has a file of
its own, so that no two processes write one, and every collected batch has one. A line is an answer
to (image, index), good or bad; an image is known by the sha256 of its file. What a killed run left
torn is the end of its own file.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa

from tacolab.errors import UserError
from tacolab.files import atomic, disk, json_lines
from tacolab.stages.captions.chat.question import (
    GOOD,
    LATEST,
    LOST,
    MOST_TOKENS,
    REJECTED,
    Answer,
    Question,
    natural,
)

log = logging.getLogger(__name__)

ROWS = 20_000  # of a table, held as Python objects at a time


@dataclass
class Usage:
    """What answers of one mode took together.

    metered: those whose tokens are in the sums. unmetered: those of a server that does not say what
    they took, and lost ones. The others cost nothing.
    """

    answers: int = 0
    metered: int = 0
    unmetered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, line: Mapping[str, Any]) -> None:
        self.answers += line["outcome"] != LOST
        prompt, completion = line["prompt_tokens"], line["completion_tokens"]
        if prompt is None or completion is None:
            self.unmetered += 1
        elif prompt or completion:
            self.metered += 1
            self.prompt_tokens += prompt
            self.completion_tokens += completion


class Answers:
    """What is known about the images of a table. Text stays on the disk: an answer takes 2 bytes.

    A place is (image, index of the caption); images with the same content are one. good, tries:
    whether there is a caption, and how many answers were none, uint8 arrays images x captions.
    done: places with a caption.
    """

    def __init__(
        self, root: Path, question: Question, images: Sequence[str], per_image: int
    ) -> None:
        """images: sha256 of each. Reads what is there; writes nothing."""
        self.folder = root / "answers" / question.name
        self.question, self.per_image = question, per_image
        self.images = list(dict.fromkeys(images))
        self.number = {sha256: n for n, sha256 in enumerate(self.images)}
        self.good = np.zeros((len(self.images), per_image), np.uint8)
        self.tries = np.zeros_like(self.good)
        self.done = 0
        self.usage = {"sync": Usage(), "batch": Usage()}
        self.outcomes: Counter[str] = Counter()
        self.last: dict[tuple[int, int], str] = {}  # outcome of the last answer that was none
        self.longest = 0  # input tokens of one request, as the server counted
        self._read: dict[Path, int] = {}  # bytes
        self._damaged: set[tuple[Path, int]] = set()
        self._file: Any = None
        self.refresh()

    def refresh(self) -> None:
        """Take note of what other runs, or a collected batch, have added."""
        for path in self._paths():
            for line in self._lines(path):
                self._note(line)

    def _paths(self) -> list[Path]:
        """Files of answers; not what a process that was killed left half-written."""
        return sorted(self.folder.glob("[!.]*.jsonl"))

    def _lines(self, path: Path) -> Iterator[dict[str, Any]]:
        """The answers in a file that were not read before."""
        before = self._read.get(path, 0)
        with path.open("rb") as file:
            file.seek(before)
            for line in json_lines.read(file, before):
                if line.torn:
                    return  # perhaps still being written
                self._read[path] = line.end
                if _is_answer(line.content):
                    yield line.content
                elif (path, line.start) not in self._damaged:
                    self._damaged.add((path, line.start))
                    log.warning("%s: the line at byte %d is no answer; left out", path, line.start)

    def _place(self, line: Mapping[str, Any]) -> tuple[int, int] | None:
        image, index = self.number.get(line["image"]), line["index"]
        return None if image is None or not 0 <= index < self.per_image else (image, index)

    def _note(self, line: Mapping[str, Any]) -> None:
        place = self._place(line)
        if place is None:
            return
        outcome = line["outcome"]
        self.usage[line["mode"]].add(line)
        self.outcomes[outcome] += 1
        self.longest = max(self.longest, line["prompt_tokens"] or 0)
        if outcome == GOOD:
            self.done += not self.good[place]
            self.good[place] = 1
            self.last.pop(place, None)
        elif outcome == LOST:
            pass  # asked again until there is an answer
        elif outcome == REJECTED and not line.get("proven"):
            pass  # of a version that held a wrong key against the images
        elif outcome == "length" and line["max_tokens"] < self.question.max_tokens:
            pass  # there is more room now
        else:
            self.tries[place] = min(255, self.tries[place] + 1)
            self.last[place] = outcome

    def was_rejected(self, image: str, index: int) -> bool:
        """Whether the image was at fault the last time."""
        return self.last.get((self.number.get(image, -1), index)) == REJECTED

    def missing(self, attempts: int) -> Iterator[tuple[int, int]]:
        """Places without a caption that may be asked for again, image by image."""
        for image, index in np.argwhere((self.good == 0) & (self.tries < attempts)):
            yield int(image), int(index)

    def count_missing(self, attempts: int) -> int:
        return int(((self.good == 0) & (self.tries < attempts)).sum())

    # -- writing ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folder, and say in it what the question is. Raises UserError if it cannot."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (path := self.folder / "question.json").exists():
                atomic.write_json(path, self.question.text)
                atomic.sync(self.folder.parent)
        except OSError as error:
            if error.errno in disk.FULL:
                raise
            raise UserError(
                f"{self.folder}: {error.strerror}; paid answers are kept there: name a data_root "
                "that you may write to"
            ) from None

    def line(
        self, place: tuple[int, int], answer: Answer, mode: str, server: str
    ) -> dict[str, Any]:
        """An answer as it is stored."""
        image, index = place
        return record((self.images[image], index), answer, mode, server, self.question.max_tokens)

    def append(self, line: Mapping[str, Any]) -> None:
        """Hand an answer to the system: it survives the end of this process, whatever ends it."""
        if self._file is None:
            name = f"{time.time_ns()}-{socket.gethostname()}-{os.getpid()}.jsonl"
            self._file = (self.folder / name).open("xb", buffering=0)
            atomic.sync(self.folder)
        raw = _raw(line)
        with disk.writing(Path(self._file.name), len(raw)):
            if self._file.write(raw) != len(raw):
                raise OSError(errno.ENOSPC, "an answer could not be written whole")
        path = Path(self._file.name)
        self._read[path] = self._read.get(path, 0) + len(raw)
        self._note(line)

    def sync(self) -> None:
        """What was appended also survives the end of this machine."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None

    def add_batch(self, name: str, lines: Iterable[Mapping[str, Any]]) -> int:
        """Answers of a batch, all of them or none; one that is there is not added again. Returns
        how many are new."""
        path = self.folder / f"batch-{name}.jsonl"
        before = sum(usage.answers for usage in self.usage.values())
        there = path.read_bytes() if path.exists() else b""
        stored = (line.content for line in json_lines.read([there]))
        known = {(line["image"], line["index"]) for line in stored if _is_answer(line)}
        new = [_raw(line) for line in lines if (line["image"], line["index"]) not in known]
        if new:
            with atomic.replacing(path) as temporary, temporary.open("wb") as file:
                file.writelines([there, *new])
        self.refresh()
        return sum(usage.answers for usage in self.usage.values()) - before

    # -- the table -------------------------------------------------------------------------------

    def captions(self) -> tuple[pa.Table, np.ndarray]:
        """Every caption with its place: columns of the answers, and where each lies.

        Returns rows in the order of the files and, for images x captions, their row or -1. Of two
        captions for one place (copied from another folder) the first counts.
        """
        rows = np.full(self.good.shape, -1, np.int64)
        batches, chunk, count = [], [], 0
        for path in self._paths():
            self._read.pop(path, None)
            for line in self._lines(path):
                place = self._place(line)
                if place is None or line["outcome"] != GOOD or rows[place] >= 0:
                    continue
                rows[place], count = count, count + 1
                chunk.append({name: line[name] for name in _STORED.names})
                if len(chunk) == ROWS:
                    batches.append(pa.RecordBatch.from_pylist(chunk, _STORED))
                    chunk = []
        batches.append(pa.RecordBatch.from_pylist(chunk, _STORED))
        return pa.Table.from_batches(batches), rows


_STORED = pa.schema(
    {
        "text": pa.string(),
        "created": pa.int64(),
        "prompt_tokens": pa.int32(),
        "completion_tokens": pa.int32(),
    }
)


def record(
    place: tuple[str, int], answer: Answer, mode: str, server: str, max_tokens: int
) -> dict[str, Any]:
    """An answer as it is stored. place: sha256 of the image, index of the caption."""
    where = {"image": place[0], "index": place[1], "mode": mode, "server": server}
    line = where | {"max_tokens": max_tokens} | vars(answer)
    # Only where the image is at fault (`refusals`); older versions did not ask whether it was.
    return line | {"proven": True} if answer.outcome == REJECTED else line


def _raw(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _is_answer(line: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    """Not bytes that a crashed file system left."""
    if line is None:
        return False
    try:
        texts = (line["image"], line["outcome"], line["text"])
        counts = (
            (line["prompt_tokens"], MOST_TOKENS),
            (line["completion_tokens"], MOST_TOKENS),
            (line["created"], LATEST),
        )
        return (
            all(isinstance(text, str) for text in texts)
            and line["mode"] in ("sync", "batch")
            and all(value is None or natural(value, most) == value for value, most in counts)
            and natural(line["index"]) is not None
            and natural(line["max_tokens"]) is not None
        )
    except (KeyError, TypeError):
        return False
