"""How far each training is, and when it will be done: from its files and one look at SLURM."""

import dataclasses
import math
import re
import statistics
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from tacolab.cluster import slurm
from tacolab.cluster.lease import Holder, Watch
from tacolab.cluster.slurm import QueuedJob
from tacolab.errors import StageError, UserError
from tacolab.plan import Artefact, Plan
from tacolab.plan.stages import TRAIN
from tacolab.readers import training_folder
from tacolab.readers.training_folder import Segment, SegmentLine, TrainingFolder

ANSWER = 20.0  # seconds to wait for SLURM; without its configuration squeue is silent for 60
SILENT = 5  # times `lease_seconds` after a sign of life, by a clock that may differ
WORDS = 60  # characters of an error's text

# Reasons of SLURM that no waiting ends.
_FOR_EVER = re.compile(r"[Hh]eld|Never|BadConstraints|InvalidAccount|InvalidQOS|PartitionTimeLimit")

State = Literal["done", "running", "unknown", "waiting", "stopped", "missing"]


@dataclass(frozen=True)
class TrainingStatus:
    """One model's training; None is what is not known.

    state: `unknown` is held by a process on another machine, and nothing tells whether it lives.
    job: of SLURM. place: node or host. reason: why the job waits. saved: step of the newest
    checkpoint; epoch: the same in epochs. logged: last step in train.jsonl; loss: its mean loss.
    why: how the last segment ended, in full.
    """

    arm: str
    lmbda: str
    seed: int
    key: str
    state: State
    job: int | None
    place: str | None
    reason: str | None
    saved: int | None
    logged: int | None
    steps: int | None
    epoch: float | None
    epochs: int
    samples_per_second: float | None
    seconds_left: float | None
    loss: float | None
    segments: int
    why: str | None
    problems: list[str]


@dataclass(frozen=True)
class Look:
    """All trainings at one instant.

    gap: median seconds between two segments of a training in SLURM: queue and loading. silence: why
    SLURM's queue is not in it; "" if it is, or if there is no SLURM.
    """

    trainings: list[TrainingStatus]
    gap: float | None
    silence: str


def jobs(model: Artefact) -> list[QueuedJob]:
    """Jobs in SLURM's queue that train `model`, also such that have not begun.

    Raises UserError without SLURM, StageError when it does not answer.
    """
    queued = slurm.queue(ANSWER)
    if queued is None:
        raise UserError("squeue is not there: no SLURM on this machine")
    return _Queue(queued).of(model, training_folder.read(model))


class Observer:
    """Looks at the trainings of a plan, again and again; from look to look it sees who lives."""

    def __init__(self, plan: Plan) -> None:
        self._models = plan.every(TRAIN)
        self._lease_seconds = plan.study.execution.lease_seconds
        self._watches: dict[Path, Watch] = {}

    def look(self) -> Look:
        jobs, silence = None, ""
        try:
            jobs = slurm.queue(ANSWER)
        except StageError as error:
            silence = str(error)
        queue = _Queue(jobs)
        found = [(model, training_folder.read(model)) for model in self._models]
        gaps = [gap for _, traced in found for gap in _gaps(traced.segments)]
        gap = statistics.median(gaps) if gaps else None
        return Look([self._training(*pair, queue, gap or 0.0) for pair in found], gap, silence)

    def _training(
        self, model: Artefact, traced: TrainingFolder, queue: "_Queue", gap: float
    ) -> TrainingStatus:
        jobs = [] if traced.done else queue.of(model, traced)
        job = max(jobs, key=lambda job: (job.running, job.id), default=None)
        state = self._state(model, traced, job, queue)
        holder = traced.holder
        place = job.nodes if job else holder.host if holder else None
        recipe, steps = model.spec["training"], traced.steps

        seconds_left = None
        if steps and traced.rate and state != "done":
            at = traced.saved or 0
            if state in ("running", "unknown"):  # what is not saved yet is not lost
                at = max(at, traced.logged or 0)
            computing = (steps - at) / traced.rate
            seconds_left = _seconds_left(computing, job, traced.segments, gap)

        problems = [*self._problems(model, traced, state, job), *traced.problems]
        running = [str(job.id) for job in jobs if job.running]
        if len(running) > 1:
            problems.append(f"several jobs run: {', '.join(running)}")
        return TrainingStatus(
            arm=model.names["arm"],
            lmbda=model.names["lmbda"],
            seed=int(model.names["seed"]),
            key=model.key,
            state=state,
            job=job.id if job else None,
            place=place if state in ("running", "unknown") else None,
            reason=job.reason if job and state == "waiting" else None,
            saved=traced.saved,
            logged=traced.logged,
            steps=steps,
            epoch=traced.saved * recipe["epochs"] / steps if steps and traced.saved else None,
            epochs=recipe["epochs"],
            samples_per_second=traced.rate * recipe["batch"] if traced.rate else None,
            seconds_left=seconds_left,
            loss=traced.loss,
            segments=traced.count,
            why=traced.end.why if traced.end else None,
            problems=problems,
        )

    def _state(
        self, model: Artefact, traced: TrainingFolder, job: QueuedJob | None, queue: "_Queue"
    ) -> State:
        if traced.done:
            return "done"
        if job:
            return "running" if job.running else "waiting"
        if not traced.begun:
            return "missing"
        holder = traced.holder
        if holder is None or (holder.job and queue.known):
            return "stopped"  # its job would be in the queue
        return self._life(model.folder / "state", holder)

    def _life(self, folder: Path, holder: Holder) -> State:
        """Of a holder that SLURM does not tell of: by its process, or its signs of life."""
        watch = self._watches.setdefault(folder, Watch(self._lease_seconds))
        me = Holder.me(holder.generation)
        life = watch.life(folder, dataclasses.replace(holder, job=None), me)
        if life == "gone":
            return "stopped"
        return "running" if life == "seen" or holder.boot == me.boot else "unknown"

    def _problems(
        self, model: Artefact, traced: TrainingFolder, state: State, job: QueuedJob | None
    ) -> list[str]:
        found, end = [], traced.end
        if job and state == "waiting" and _FOR_EVER.search(job.reason):
            found.append("will not start by itself")
        if state in ("running", "unknown") and traced.holder and traced.sign:
            silent = time.time() - traced.sign
            # A job that has just begun does not hold the lease yet.
            if silent > SILENT * self._lease_seconds and (not job or job.id == traced.holder.job):
                found.append(f"no sign of life for {duration(silent)}")
        if state in ("waiting", "stopped") and end and end.failed:
            found.append(_failure(end, model))
        elif state == "stopped":
            found += _stop(traced)
        return found


class _Queue:
    """Which of the jobs in SLURM's queue train a model."""

    def __init__(self, jobs: Sequence[QueuedJob] | None) -> None:
        self.known = jobs is not None
        self._by_id = {job.id: job for job in jobs or ()}
        self._by_label: dict[str, list[QueuedJob]] = {}
        for job in jobs or ():
            for label in {job.comment, job.name}:
                self._by_label.setdefault(label, []).append(job)

    def of(self, model: Artefact, traced: TrainingFolder) -> list[QueuedJob]:
        # As Snakemake's executor comments a job, and as `train --submit` names it.
        comment = "_".join(["rule_train_wildcards", *model.names.values(), model.key])
        labelled = [
            job
            for label in (comment, f"tacolab {model}")
            for job in self._by_label.get(label, ())
            if job.here
        ]
        numbers = [
            traced.holder and traced.holder.job,
            *(s.start.job for s in traced.segments[-1:]),
        ]
        named = [self._by_id[number] for number in numbers if number in self._by_id]
        return list({job.id: job for job in (*labelled, *named)}.values())


def _gaps(segments: Sequence[Segment]) -> list[float]:
    return [
        after.start.time - before.end.time
        for before, after in pairwise(segments)
        if before.end and before.start.job and after.start.job and not before.end.cancelled
    ]


def _seconds_left(
    computing: float, job: QueuedJob | None, segments: Sequence[Segment], gap: float
) -> float:
    """`computing` seconds, and a gap before each further segment that a time limit makes of them.

    Without a job, segments are as long as the longest that SLURM ran to its end.
    """
    waiting = 0.0
    if job:
        limit, first = job.limit, job.left
        if not job.running:
            waiting = gap if job.starts is None else max(0.0, job.starts - time.time())
    else:
        lengths = [s.end.time - s.start.time for s in segments if s.end and s.start.job]
        limit = first = max(lengths, default=None)
    if not limit or first is None:
        return waiting + computing
    return waiting + computing + max(0, math.ceil((computing - first) / limit)) * gap


def _failure(end: SegmentLine, model: Artefact) -> str:
    """The beginning of an error's text, without the path or name that stands before it."""
    why = end.why.removeprefix(f"{model.folder / 'state'}: ").removeprefix(f"{model}: ")
    return "failed: " + textwrap.shorten(re.split(r"[;.]\s", why)[0], WORDS, placeholder=" ...")


def _stop(traced: TrainingFolder) -> list[str]:
    """What is wrong with a training that stopped without an error."""
    if not traced.segments:
        return []
    end, first = traced.end, traced.segments[-1].start.step
    how = "killed" if end is None else "cancelled" if end.cancelled else ""
    vain = "no step gained" if (traced.saved or 0) <= first else ""
    return [word for word in (how, vain) if word]


def duration(seconds: float) -> str:
    """In the two largest units: `2 d 4 h`, `3 h 20 min`, `12 min`, `40 s`."""
    minutes, hours, days = (int(seconds // unit) for unit in (60, 3600, 86400))
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{int(seconds)} s"
