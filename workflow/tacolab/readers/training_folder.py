"""What a training has left in its folder, read by others while it may run; without torch.

| file | tells |
| --- | --- |
| `state/segments.jsonl` | segments: when, in which job, how they ended; steps of the whole; speed |
| `state/train.jsonl` | the step and loss that were logged last; speed of the segment that runs |
| `state/checkpoint-*.pt` | the step that was saved last, by its name; whether one more would fit |
| `state/lease-*.json` | who holds the folder, and when it last gave a sign of life |
| `model.json` | that it is done; its numbers then take the place of the others |

Any file may be torn, empty or damaged at this instant: that is a problem in words, never an error.
"""

import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from pydantic import BaseModel, FiniteFloat

from tacolab.cluster.lease import Holder, newest
from tacolab.files import json_lines
from tacolab.plan import Artefact

_TAIL = 1 << 14  # bytes at the end of train.jsonl: some 60 lines
_CHECKPOINT = re.compile(r"checkpoint-\d{6}-(\d{9})-[0-9a-f]{16}\.pt")

M = TypeVar("M", bound=BaseModel)


class SegmentLine(BaseModel):
    """A line of segments.jsonl."""

    event: Literal["start", "end"]
    generation: int
    code: str = ""  # of plan/snapshots.py
    job: int | None = None
    step: int
    time: FiniteFloat
    steps: int = 0
    gained: int = 0
    why: str = ""
    cancelled: bool = False
    failed: bool = False


@dataclass
class Segment:
    """From one start to the next; without an end it runs or was killed."""

    start: SegmentLine
    end: SegmentLine | None = None


class _LossLine(BaseModel):
    """A line of train.jsonl that is no validation."""

    step: int
    loss: float | None = None


class _ModelJson(BaseModel):
    """What is read of model.json."""

    steps: int
    seconds: FiniteFloat
    segments: int


@dataclass
class TrainingFolder:
    """What the files of one training say; None where they are silent."""

    done: bool = False  # all outputs are there
    begun: bool = False
    segments: list[Segment] = field(default_factory=list)
    count: int = 0  # of segments
    end: SegmentLine | None = None  # of the last segment, or of an attempt that failed before it
    holder: Holder | None = None  # of the lease
    sign: float | None = None  # when the lease was last touched, on the file system's clock
    saved: int | None = None  # step of the newest checkpoint
    logged: int | None = None  # last step in train.jsonl
    loss: float | None = None  # of that step
    steps: int | None = None  # of the whole training
    rate: float | None = None  # steps per second
    problems: list[str] = field(default_factory=list)


def read(model: Artefact) -> TrainingFolder:
    """What the folder of a training tells; only the end of long files is read."""
    found = TrainingFolder()
    parts: list[tuple[str, Callable[[TrainingFolder, Artefact], None]]] = [
        ("segments.jsonl", _read_segments),
        ("train.jsonl", _read_losses),  # needs the segments
        ("state", _read_checkpoints),
        ("lease", _read_lease),
        ("model.json", _read_description),  # last: what it says replaces the others
    ]
    for name, read_part in parts:
        try:
            read_part(found, model)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError):
            found.problems.append(f"{name} is unreadable")
    return found


def steps_done(model: Artefact) -> int:
    """The last step that `train.jsonl` of a training tells of; 0 where there is none."""
    try:
        last, _ = _last_loss(model)
    except FileNotFoundError:
        return 0
    return last.step if last else 0


def _read_segments(found: TrainingFolder, model: Artefact) -> None:
    with (model.folder / "state" / "segments.jsonl").open("rb") as file:
        told = [*json_lines.read(file)]
    lines = _parsed(SegmentLine, told)
    if len(lines) < len(told):
        found.problems.append("segments.jsonl is damaged")
    if not lines:
        return
    by_generation: dict[int, Segment] = {}
    for line in lines:
        if line.event == "start":
            by_generation[line.generation] = Segment(line)
        elif line.generation in by_generation:
            by_generation[line.generation].end = line
    # By generation, not by line: one that was taken for dead may write its end late.
    found.segments = [segment for _, segment in sorted(by_generation.items())]
    found.begun = True
    found.count = len(found.segments)
    if found.segments:
        last = found.segments[-1]
        found.end, found.steps = last.end, last.start.steps or None
        found.rate = _rate(found.segments)
    # An attempt that failed, or was told to stop, before it had the folder.
    if lines[-1].event == "end" and lines[-1].generation not in by_generation:
        found.end = lines[-1]


def _read_losses(found: TrainingFolder, model: Artefact) -> None:
    last, written = _last_loss(model)
    if last is None:
        return
    found.logged, found.loss = last.step, last.loss
    found.rate = _rate(found.segments, (last.step, written))
    if last.loss is not None and not math.isfinite(last.loss):
        found.loss = None
        found.problems.append("loss not finite")


def _read_checkpoints(found: TrainingFolder, model: Artefact) -> None:
    folder = model.folder / "state"
    # The names sort by generation, then step.
    names = sorted(path.name for path in folder.iterdir() if _CHECKPOINT.fullmatch(path.name))
    if not names:
        return
    found.begun = True
    found.saved = int(names[-1].split("-")[2])
    if shutil.disk_usage(folder).free < (folder / names[-1]).stat().st_size:
        found.problems.append("disk full: no room for a checkpoint")


def _read_lease(found: TrainingFolder, model: Artefact) -> None:
    folder = model.folder / "state"
    found.holder = newest(folder)
    if found.holder:
        found.begun = True
        lease = folder / f"lease-{found.holder.generation:06d}.json"
        found.sign = lease.stat().st_mtime


def _read_description(found: TrainingFolder, model: Artefact) -> None:
    found.done = model.done
    if found.done:
        # What once went wrong is of no interest any more.
        found.problems, found.end = [], None
        known = _ModelJson.model_validate_json(model.files[1].read_bytes())
        found.saved = found.logged = found.steps = known.steps
        found.count = known.segments
        found.rate = known.steps / known.seconds if known.seconds > 0 else None


def _rate(segments: Sequence[Segment], logged: tuple[int, float] | None = None) -> float | None:
    """Steps per second of the newest segment that can tell.

    logged: a step of the last segment, and when it was logged. No restart is counted in.
    """
    for segment in reversed(segments):
        start, end = segment.start, segment.end
        if end and not end.failed:  # a failure loses steps that took their time
            steps, seconds = end.step - start.step, end.time - start.time
        elif segment is segments[-1] and logged:
            steps, seconds = logged[0] - start.step, logged[1] - start.time
        else:
            continue
        if steps > 0 and seconds > 0:
            return steps / seconds
    return None


def _last_loss(model: Artefact) -> tuple[_LossLine | None, float]:
    """The last whole line of train.jsonl that has a step, and when the file was written."""
    with (model.folder / "state" / "train.jsonl").open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        lines = _parsed(_LossLine, json_lines.read(file))
        return lines[-1] if lines else None, os.fstat(file.fileno()).st_mtime


def _parsed(model: type[M], lines: Iterable[json_lines.Line]) -> list[M]:
    """The lines that are of this kind."""
    found = []
    for line in lines:
        try:
            found.append(model.model_validate(line.content))
        except ValueError:
            continue
    return found
