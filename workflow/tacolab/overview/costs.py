"""What a study costs before it runs, by phase: jobs, GPU hours, calendar days, disk, API dollars.

Arithmetic on the plan and on what is there already; no torch. What is finished costs nothing, what
is begun what is left of it. What nobody can know yet is None; what is assumed is said in a note.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tacolab.overview.artefacts import size
from tacolab.overview.known import Speed, pairs, pictures_of, speed
from tacolab.plan import Artefact, Pictures, Plan
from tacolab.plan.stages import CAPTIONS, CODED_BPP, TRAIN
from tacolab.readers.training_folder import steps_done

if TYPE_CHECKING:
    from tacolab.stages.captions.chat.prices import Estimate

START = 5 / 60  # hours: a requeued job waits 2 minutes, then loads code and data
SAVING = 5 / 60  # hours before its limit at which a job is warned


@dataclass(frozen=True)
class Work:
    """What is left of a training: samples, hours on one GPU, and jobs that share them.

    start: of a warm one, the model that must be there before.
    """

    model: str
    start: str | None
    samples: int | None = None
    hours: float | None = None
    segments: int | None = None


@dataclass(frozen=True)
class Cost:
    """What is left of some artefacts; the sum of two is that of both.

    trainings: of the models that are not done. disk: bytes. dollars: None where unknown.
    """

    models_done: int = 0
    trainings: tuple[Work, ...] = ()
    evaluations: int = 0
    other_jobs: int = 0
    disk: float = 0.0
    dollars: float | None = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.models_done + other.models_done,
            self.trainings + other.trainings,
            self.evaluations + other.evaluations,
            self.other_jobs + other.other_jobs,
            self.disk + other.disk,
            None if self.dollars is None or other.dollars is None else self.dollars + other.dollars,
        )


@dataclass(frozen=True)
class PhaseCosts:
    """What a phase, or the whole, still costs.

    samples, gpu_hours: of training. days: with all GPUs of the allowance at work. segments: jobs
    of limited length that the longest model needs, one after the other. disk: bytes.
    """

    phase: str
    lambdas: list[str]
    models_done: int
    models: int
    evaluations: int
    other_jobs: int
    samples: int | None
    gpu_hours: float | None
    days: float | None
    segments: int | None
    disk: float
    dollars: float | None


@dataclass(frozen=True)
class Costs:
    """A row per phase, one for all at once, and what the numbers rest on."""

    phases: list[PhaseCosts]
    total: PhaseCosts
    notes: list[str]


@dataclass(frozen=True)
class Pricing:
    """What each artefact of a plan still costs.

    rate: samples/s of one GPU; None: as finished models of this size measured it, else as
    published. hours_per_job: the wall limit of a job, at least 1.
    """

    plan: Plan
    rate: float | None
    hours_per_job: float
    _sets: dict[str, Pictures | None] = field(default_factory=dict)
    _speeds: dict[tuple[int, str], Speed] = field(default_factory=dict)
    _answers: dict[str, Estimate] = field(default_factory=dict)

    def cost(self, artefact: Artefact) -> Cost:
        """Raises UserError for files below `data_root` that are damaged or changed."""
        training = artefact.stage.work == "training"
        if str(artefact) not in self._todo:
            return Cost(models_done=int(training))
        there = size(artefact.folder) if training and artefact.folder.exists() else 0
        pictures = self._pictures(artefact)
        return Cost(
            trainings=(self._work(artefact),) if training else (),
            evaluations=int(artefact.stage.work == "evaluation"),
            other_jobs=int(artefact.stage.work == "other"),
            disk=max(0.0, artefact.stage.size(artefact, pictures) - there),
            dollars=self._dollars(artefact, pictures),
        )

    @cached_property
    def _todo(self) -> set[str]:
        return {str(artefact) for artefact in self.plan.needed()}

    def _pictures(self, artefact: Artefact) -> Pictures | None:
        """The data set that an artefact is, or is made from; None where there is none, or where
        nobody knows its size."""
        data = artefact.inputs.get("data", artefact)
        dataset = data.names.get("dataset")
        if dataset is None or data.inputs:
            return None
        if dataset not in self._sets:
            self._sets[dataset] = pictures_of(self.plan.study, data)
        return self._sets[dataset]

    def _work(self, model: Artefact) -> Work:
        study = self.plan.study
        recipe = study.recipe_at(model.names["arm"], model.names["lmbda"])
        start = str(model.inputs["start"]) if "start" in model.inputs else None
        how = recipe.crop, recipe.precision
        if how not in self._speeds:
            self._speeds[how] = speed(study, *how, self.rate)
        per_epoch = pairs(study, model, self._pictures(model))
        if per_epoch is None:
            return Work(str(model), start)
        steps = recipe.epochs * (per_epoch // recipe.batch)
        samples = max(0, steps - steps_done(model)) * recipe.batch
        rate = self._speeds[how].rate
        if rate is None:
            return Work(str(model), start, samples)
        hours = samples / rate / 3600
        segments = max(1, math.ceil(hours / (self.hours_per_job - START - SAVING)))
        return Work(str(model), start, samples, hours + segments * START, segments)

    def _dollars(self, artefact: Artefact, pictures: Pictures | None) -> float | None:
        """What is still to be asked of a paid API."""
        if artefact.stage is not CAPTIONS or artefact.spec["kind"] != "gpt4o":
            return 0.0
        from tacolab.stages.captions.chat import prices  # only now: it reads answers with pyarrow

        asked = prices.outstanding(self.plan.study, artefact, pictures.images if pictures else None)
        self._answers[str(artefact)] = asked
        return asked.usd(self.plan.study.execution.api.mode)

    def notes(self) -> list[str]:
        """What the costs that were asked for rest on."""
        return [*self._speed_notes(), *self._set_notes()]

    def api_notes(self) -> list[str]:
        if not self._answers:
            return ["API: nothing is left to be asked of a paid one."]
        mode = self.plan.study.execution.api.mode
        notes = [f"API, by execution.api.mode = {mode}. What is answered is never paid again."]
        return notes + [f"API, {name}: {estimate}." for name, estimate in self._answers.items()]

    def _speed_notes(self) -> Iterator[str]:
        for (crop, precision), found in sorted(self._speeds.items()):
            rate = f"{found.rate:.4g} samples/s on one GPU, " if found.rate else ""
            yield f"Speed on crops of {crop} pixels in {precision}: {rate}{found.origin}."

    def _set_notes(self) -> Iterator[str]:
        for name, known in self._sets.items():
            if known:
                size = f"{known.images:,} images, {known.captions:,} human captions"
                yield f"Data set {name}: {size}, {known.origin}."
            else:
                yield (
                    f"Data set {name}: its size is unknown, and left out of the disk, until its "
                    "files lie below data_root."
                )


def estimate(plan: Plan, rate: float | None, gpus_at_once: int, hours_per_job: float) -> Costs:
    """The costs of a plan, up to the config's `phase`.

    gpus_at_once: the allowance; one model on each. The others: as of Pricing. Raises UserError for
    files below `data_root` that are damaged or changed.
    """
    pricing = Pricing(plan, rate, hours_per_job)
    each = {str(artefact): pricing.cost(artefact) for artefact in plan}

    def row(phase: str, artefacts: Iterable[Artefact]) -> PhaseCosts:
        artefacts = list(artefacts)
        cost = sum((each[str(artefact)] for artefact in artefacts), Cost())
        lambdas = dict.fromkeys(
            artefact.names["lmbda"] for artefact in artefacts if artefact.stage.work == "training"
        )
        return _row(phase, list(lambdas), cost, gpus_at_once)

    phases = [row(str(n), artefacts) for n, artefacts in _by_phase(plan).items()]
    total = row("all", plan)
    unknown = [
        "Unknown (?) until the captions are made: `snakemake --profile profiles/local --until "
        "captions describe` (and --configfile, if it is not the study's), then again."
    ]
    notes = [
        *pricing.notes(),
        *(unknown if total.samples is None else []),
        f"GPU hours: of training alone, with {START * 60:.0f} minutes to start each job of at most "
        f"{hours_per_job:g} h. Days: {gpus_at_once} models at once, the longest first; how long "
        "jobs wait in the queue is unknown and not in it.",
        *_warm_notes(plan),
        "Disk, an estimate: packed images, weights with exports and two checkpoints each, files "
        f"coded at {CODED_BPP} bit per pixel.",
        *pricing.api_notes(),
    ]
    return Costs(phases, total, notes)


def _warm_notes(plan: Plan) -> Iterator[str]:
    models = plan.every(TRAIN)
    warm = [model for model in models if "start" in model.inputs or "start" in model.spec]
    if warm:
        epochs = ", ".join(str(n) for n in sorted({m.spec["training"]["epochs"] for m in warm}))
        yield (
            f"Warm starts: {len(warm)} of {len(models)} models begin with the weights of another "
            f"and have {epochs} epochs; not the published recipe."
        )


def _row(phase: str, lambdas: list[str], cost: Cost, gpus_at_once: int) -> PhaseCosts:
    samples = [work.samples for work in cost.trainings if work.samples is not None]
    # Hours and segments are known together.
    timed = [work for work in cost.trainings if work.hours is not None]
    counted, known = len(samples) == len(cost.trainings), len(timed) == len(cost.trainings)
    return PhaseCosts(
        phase=phase,
        lambdas=lambdas,
        models_done=cost.models_done,
        models=len(cost.trainings),
        evaluations=cost.evaluations,
        other_jobs=cost.other_jobs,
        samples=sum(samples) if counted else None,
        gpu_hours=sum(map(_hours, timed)) if known else None,
        days=schedule(timed, gpus_at_once) / 24 if known else None,
        segments=max((work.segments or 0 for work in timed), default=0) if known else None,
        disk=cost.disk,
        dollars=cost.dollars,
    )


def schedule(trainings: Iterable[Work], gpus: int) -> float:
    """Hours until all models are trained, one on each GPU, the longest first.

    A warm start waits for its model. Of unknown hours none are counted.
    """
    busy, ends = [0.0] * gpus, dict[str, float]()
    waiting = {work.model: work for work in sorted(trainings, key=_hours, reverse=True)}
    while waiting:
        work = next(work for work in waiting.values() if work.start not in waiting)
        begin = max(busy[0], ends.get(work.start or "", 0.0))
        ends[work.model] = begin + _hours(work)
        heapq.heapreplace(busy, ends[work.model])
        del waiting[work.model]
    return max(busy)


def _hours(work: Work) -> float:
    return work.hours or 0.0


def _by_phase(plan: Plan) -> dict[int, list[Artefact]]:
    """Every artefact at the first phase that means it; of the reports only the last one."""
    last = plan.study.last_phase
    first: dict[str, int] = {}
    for phase in range(1, last + 1):
        for artefact in Plan(plan.study.model_copy(update={"phase": phase})):
            first.setdefault(str(artefact), phase)
    return {
        phase: [artefact for artefact in plan if first[str(artefact)] == phase]
        for phase in range(1, last + 1)
    }
