"""What a training leaves in its folder, read by others while it may run; without torch.

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

TAIL = 1 << 14  # bytes at the end of a history: some 60 lines
_CHECKPOINT = re.compile(r"checkpoint-\d{6}-(\d{9})-[0-9a-f]{16}\.pt")

M = TypeVar("M", bound=BaseModel)


class Line(BaseModel):
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

    start: Line
    end: Line | None = None


class _Means(BaseModel):
    """A line of train.jsonl that is no validation."""

    step: int
    loss: float | None = None


class _Description(BaseModel):
    """model.json."""

    steps: int
    seconds: FiniteFloat
    segments: int


@dataclass
class Traces:
    """What the files of one training say; None where they are silent.

    end: of the last segment, or of an attempt that failed before it. sign: when the lease was last
    touched, on the file system's clock. saved: step of the newest checkpoint. logged: last step in
    train.jsonl; loss: its. steps: of the whole. count: segments. rate: steps per second.
    """

    done: bool = False
    begun: bool = False
    segments: list[Segment] = field(default_factory=list)
    end: Line | None = None
    holder: Holder | None = None
    sign: float | None = None
    saved: int | None = None
    logged: int | None = None
    loss: float | None = None
    steps: int | None = None
    count: int = 0
    rate: float | None = None
    problems: list[str] = field(default_factory=list)


def read(model: Artefact) -> Traces:
    """Read the traces of a training; only the end of long files."""
    traces = Traces()
    parts: list[tuple[str, Callable[[Traces, Artefact], None]]] = [
        ("segments.jsonl", _segments),
        ("train.jsonl", _history),
        ("state", _checkpoints),
        ("lease", _lease),
        ("model.json", _description),
    ]
    for name, part in parts:
        try:
            part(traces, model)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError):
            traces.problems.append(f"{name} is unreadable")
    return traces


def steps_done(model: Artefact) -> int:
    """The last step that `train.jsonl` of a training tells of; 0 where there is none."""
    try:
        last, _ = _last_means(model)
    except FileNotFoundError:
        return 0
    return last.step if last else 0


def _segments(traces: Traces, model: Artefact) -> None:
    with (model.folder / "state" / "segments.jsonl").open("rb") as file:
        found = [*json_lines.read(file)]
    lines = _parsed(Line, found)
    if len(lines) < len(found):
        traces.problems.append("segments.jsonl is damaged")
    if not lines:
        return
    by_generation: dict[int, Segment] = {}
    for line in lines:
        if line.event == "start":
            by_generation[line.generation] = Segment(line)
        elif line.generation in by_generation:
            by_generation[line.generation].end = line
    # By generation, not by line: one that was taken for dead may write its end late.
    traces.segments = [segment for _, segment in sorted(by_generation.items())]
    traces.begun = True
    traces.count = len(traces.segments)
    if traces.segments:
        newest_one = traces.segments[-1]
        traces.end, traces.steps = newest_one.end, newest_one.start.steps or None
        traces.rate = rate(traces.segments)
    if lines[-1].event == "end" and lines[-1].generation not in by_generation:
        traces.end = lines[-1]


def _history(traces: Traces, model: Artefact) -> None:
    last, written = _last_means(model)
    if last is None:
        return
    traces.logged, traces.loss = last.step, last.loss
    traces.rate = rate(traces.segments, (last.step, written))
    if last.loss is not None and not math.isfinite(last.loss):
        traces.loss = None
        traces.problems.append("loss not finite")


def _checkpoints(traces: Traces, model: Artefact) -> None:
    folder = model.folder / "state"
    # The names sort by generation, then step.
    found = sorted(path.name for path in folder.iterdir() if _CHECKPOINT.fullmatch(path.name))
    if not found:
        return
    traces.begun = True
    traces.saved = int(found[-1].split("-")[2])
    if shutil.disk_usage(folder).free < (folder / found[-1]).stat().st_size:
        traces.problems.append("disk full: no room for a checkpoint")


def _lease(traces: Traces, model: Artefact) -> None:
    folder = model.folder / "state"
    traces.holder = newest(folder)
    if traces.holder:
        traces.begun = True
        lease = folder / f"lease-{traces.holder.generation:06d}.json"
        traces.sign = lease.stat().st_mtime


def _description(traces: Traces, model: Artefact) -> None:
    traces.done = model.done
    if traces.done:
        # What once went wrong is of no interest any more.
        traces.problems, traces.end = [], None
        known = _Description.model_validate_json(model.files[1].read_bytes())
        traces.saved = traces.logged = traces.steps = known.steps
        traces.count = known.segments
        traces.rate = known.steps / known.seconds if known.seconds > 0 else None


def rate(segments: Sequence[Segment], logged: tuple[int, float] | None = None) -> float | None:
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


def _last_means(model: Artefact) -> tuple[_Means | None, float]:
    """The last whole line of train.jsonl that has a step, and when the file was written."""
    with (model.folder / "state" / "train.jsonl").open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        lines = _parsed(_Means, json_lines.read(file))
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
