"""What a study costs before it runs, by phase: jobs, GPU hours, calendar days, disk, API dollars.

Arithmetic on the plan and on what is there already; no torch. What is finished costs nothing, what
is begun what is left of it. What nobody can know yet is None; what is assumed is said in a note.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tacolab.config import Coco, Constant, Empty, Gpt4o, Human, Samples, Study
from tacolab.errors import UserError
from tacolab.files.texts import loads
from tacolab.overview.artefacts import size
from tacolab.plan import fingerprint
from tacolab.plan.keys import RESULTS, Artefact, Plan
from tacolab.readers.training_folder import steps_done
from tacolab.stages.data.sources import read, required

if TYPE_CHECKING:
    from tacolab.stages.captions.chat.prices import Estimate

T = TypeVar("T")

# The published network (N = 192) on crops of 256 pixels: two V100 trained 69 samples/s together.
PUBLISHED_N, PUBLISHED_CROP, PUBLISHED_SPEED = 192, 256, 34.5
PARAMETERS = 38.6e6  # with text adapter; 4 % fewer without

START = 5 / 60  # hours: a requeued job waits 2 minutes, then loads code and data
SAVING = 5 / 60  # hours before its limit at which a job is warned

CODED_BPP = 0.5  # about the published rate on Kodak at lambda 0.009
FEATURES = 2048 + 768  # numbers per image that FID and CMMD compare
PNG_BPP = 12.0  # of photos: tells the pixels of whole images from the size of their files

# Images, captions and bytes of published sets, for a plan before anything is downloaded: by the
# sha256 of the pinned list of images (config/study.yaml), or by COCO's annotation file.
PUBLISHED_SETS = {
    "4b2fab0e1f4702bd0587386e21ddfc79ba8503aec2660c783b64c7ff8df2e709": (30_504, 152_620, 4.8e9),
    "e629a6f74a6b85c0850fb6f6dd956f0e32b076ebf18aed4394e2b2b625cee9a5": (428, 0, 1.5e9),
    "3eaa5bd52eb8c894d351cf607028f5d3d80e778fd0267eeff8c73d66539a25d5": (24, 0, 15.4e6),
    "captions_train2014.json": (82_783, 414_113, 13e9),
    "captions_val2014.json": (40_504, 202_654, 6e9),
}


@dataclass(frozen=True)
class Pictures:
    """A data set: images, human captions, bytes of the image files, and who says so."""

    images: int
    captions: int
    n_bytes: float
    origin: str


@dataclass(frozen=True)
class Speed:
    """Training samples per second of one GPU; None where nothing tells."""

    rate: float | None
    origin: str


@dataclass(frozen=True)
class Work:
    """What is left of a training: samples, hours on one GPU, and jobs that share them."""

    samples: int | None
    hours: float | None
    segments: int | None


@dataclass(frozen=True)
class Row:
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

    phases: list[Row]
    total: Row
    notes: list[str]


def estimate(plan: Plan, rate: float | None, gpus_at_once: int, hours_per_job: float) -> Costs:
    """The costs of a plan, up to the config's `phase`.

    rate: samples/s of one GPU; None: as finished models of this size measured it, else as
    published. gpus_at_once: the allowance; one model on each. hours_per_job: the wall limit of a
    job, at least 1. Raises UserError for files below `data_root` that are damaged or changed.
    """
    study = plan.study
    todo = _todo(plan)
    data = {a.inputs["data"].names["dataset"]: a.inputs["data"] for a in todo if "data" in a.inputs}
    sets = {name: _pictures(study, artefact) for name, artefact in data.items()}
    trainings = [artefact for artefact in todo if artefact.stage == "train"]
    crops = sorted({study.recipe(artefact.names["arm"]).crop for artefact in trainings})
    speeds = {crop: _speed(study, crop, rate) for crop in crops}
    work = {str(a): _work(study, a, sets, speeds, hours_per_job) for a in trainings}
    mode, answers = study.execution.api.mode, _answers(study, todo, sets)

    def row(phase: str, artefacts: Sequence[Artefact]) -> Row:
        names = {str(artefact) for artefact in artefacts}
        jobs = [artefact for artefact in todo if str(artefact) in names]
        planned = [artefact for artefact in artefacts if artefact.stage == "train"]
        models = [work[str(artefact)] for artefact in planned if str(artefact) in work]
        evaluations = sum(
            artefact.stage in ("code", "metrics", "distribution") for artefact in jobs
        )
        samples = _all(model.samples for model in models)
        hours = _all(model.hours for model in models)
        segments = _all(model.segments for model in models)
        dollars = _all(answers[name].usd(mode) for name in names & answers.keys())
        return Row(
            phase=phase,
            lambdas=list(dict.fromkeys(artefact.names["lmbda"] for artefact in planned)),
            models_done=len(planned) - len(models),
            models=len(models),
            evaluations=evaluations,
            other_jobs=len(jobs) - len(models) - evaluations,
            samples=None if samples is None else sum(samples),
            gpu_hours=None if hours is None else sum(hours),
            days=None if hours is None else schedule(hours, gpus_at_once) / 24,
            segments=None if segments is None else max(segments, default=0),
            disk=sum(_disk(study, artefact, sets) for artefact in jobs),
            dollars=None if dollars is None else sum(dollars),
        )

    phases = [row(str(n), artefacts) for n, artefacts in _by_phase(plan).items()]
    notes = [*_speed_notes(speeds), *_set_notes(sets)]
    if any(model.samples is None for model in work.values()):
        notes.append(
            "Unknown (?) until the captions are made: `snakemake --profile profiles/local --until "
            "captions describe` (and --configfile, if it is not the study's), then again."
        )
    notes += [
        f"GPU hours: of training alone, with {START * 60:.0f} minutes to start each job of at most "
        f"{hours_per_job:g} h. Days: {gpus_at_once} models at once, the longest first; how long "
        "jobs wait in the queue is unknown and not in it.",
        "Disk, an estimate: packed images, weights with exports and two checkpoints each, files "
        f"coded at {CODED_BPP} bit per pixel.",
        *_api_notes(answers, mode),
    ]
    return Costs(phases, row("all", list(plan)), notes)


def schedule(hours: Iterable[float], gpus: int) -> float:
    """Hours until all models are trained, one on each GPU, the longest first."""
    busy = [0.0] * gpus
    for model in sorted(hours, reverse=True):
        heapq.heapreplace(busy, busy[0] + model)
    return max(busy)


def _todo(plan: Plan) -> list[Artefact]:
    """What the workflow would make."""
    measured = fingerprint.measured()
    anew = [a for a in plan if a.done and fingerprint.outdated(a, measured)]
    todo = [*plan.needed(), *anew]
    report = plan.report()
    return [*todo, report] if anew and report.done else todo


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


def _work(
    study: Study,
    model: Artefact,
    sets: Mapping[str, Pictures | None],
    speeds: Mapping[int, Speed],
    hours_per_job: float,
) -> Work:
    recipe = study.recipe(model.names["arm"])
    pairs = _pairs(study, model, sets[recipe.dataset])
    if pairs is None:
        return Work(None, None, None)
    steps = recipe.epochs * (pairs // recipe.batch)
    samples = max(0, steps - steps_done(model)) * recipe.batch
    rate = speeds[recipe.crop].rate
    if rate is None:
        return Work(samples, None, None)
    hours = samples / rate / 3600
    segments = max(1, math.ceil(hours / (hours_per_job - START - SAVING)))
    return Work(samples, hours + segments * START, segments)


def _answers(
    study: Study, todo: Iterable[Artefact], sets: Mapping[str, Pictures | None]
) -> dict[str, Estimate]:
    """What is still to be asked of a paid API, by caption table."""
    from tacolab.stages.captions.chat import prices  # only now: it reads answers with pyarrow

    asked = [
        artefact
        for artefact in todo
        if artefact.stage == "captions"
        and isinstance(study.captions[artefact.names["source"]], Gpt4o)
    ]
    found = {}
    for artefact in asked:
        pictures = sets[artefact.names["dataset"]]
        found[str(artefact)] = prices.outstanding(
            study, artefact, pictures.images if pictures else None
        )
    return found


def _api_notes(answers: Mapping[str, Estimate], mode: str) -> list[str]:
    if not answers:
        return ["API: nothing is left to be asked of a paid one."]
    notes = [f"API, by execution.api.mode = {mode}. What is answered is never paid again."]
    return notes + [f"API, {name}: {estimate}." for name, estimate in answers.items()]


def _pairs(study: Study, model: Artefact, pictures: Pictures | None) -> int | None:
    """(image, caption) pairs of an epoch: all but those of the images held out for validation."""
    table = model.inputs["captions"]
    source = study.captions[table.names["source"]]
    if table.done:
        images, captions = _numbers(table.files[1], "images", "captions")
    elif pictures and isinstance(source, Human):
        images, captions = pictures.images, pictures.captions
    elif pictures and isinstance(source, Gpt4o):
        images, captions = pictures.images, pictures.images * table.spec["per_image"]
    elif pictures and isinstance(source, Empty | Constant):
        images = captions = pictures.images
    else:
        return None
    held_out = study.recipe(model.names["arm"]).validation_images
    return int(max(0, captions * (images - held_out) // images))


def _pictures(study: Study, data: Artefact) -> Pictures | None:
    """From the packed set, else from the files below `data_root`, else as published."""
    if data.done:
        images, captions, n_bytes = _numbers(data.path, "count", "captions", "bytes")
        return Pictures(images, captions, n_bytes, "packed")
    dataset = data.names["dataset"]
    source = study.datasets[dataset]
    if all(path.exists() for path in required(study, dataset)):
        records = [
            record
            for record in read(study, dataset).records
            if record.size is None or min(record.size) >= source.min_side
        ]
        return Pictures(
            len(records),
            sum(len(record.captions) for record in records),
            sum(record.path.stat().st_size for record in records if record.path.exists()),
            "as listed, not packed yet",
        )
    known = None
    if not isinstance(source, Samples) and source.list:
        known = PUBLISHED_SETS.get(source.list.sha256 or "")
    elif isinstance(source, Coco):
        known = PUBLISHED_SETS.get(source.annotations.path.name)
    if known is None:
        return None
    origin = f"as published, since data_root '{study.data_root}' lacks some of its files"
    return Pictures(*known, origin)


def _numbers(path: Path, *names: str) -> list[int]:
    """Entries of a JSON file that a stage wrote. Raises UserError when it is damaged."""
    try:
        content = loads(path.read_text(encoding="utf-8"))
        return [int(content[name]) for name in names]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: damaged; remove it and make it again with `snakemake`") from None


def _speed(study: Study, crop: int, given: float | None) -> Speed:
    """Given, else measured by finished models of the same codec and crop, else as published."""
    if given is not None:
        return Speed(given, "as given")
    samples = seconds = models = 0
    for path in RESULTS.glob("models/*/*/*/*/model.json"):
        try:
            info = loads(path.read_text(encoding="utf-8"))
            spec = info["text"]["spec"]
            alike = spec["codec"] == study.codec.model_dump(mode="json")
            if not (alike and spec["training"]["crop"] == crop):
                continue
            of_model = info["steps"] * spec["training"]["batch"], info["seconds"] * info["gpus"]
        except (ValueError, KeyError, TypeError):
            continue  # damaged: tells nothing, and `tacolab status` says so
        samples, seconds, models = samples + of_model[0], seconds + of_model[1], models + 1
    if seconds:
        return Speed(samples / seconds, f"measured: mean of {models} finished in {RESULTS}/models")
    if (study.codec.N, crop) == (PUBLISHED_N, PUBLISHED_CROP):
        return Speed(PUBLISHED_SPEED, "assumed: half of what two V100 did together")
    return Speed(
        None,
        "unknown for this codec and crop until a model is finished; give --samples-per-second "
        "(train.log of a begun training shows it)",
    )


def _disk(study: Study, artefact: Artefact, sets: Mapping[str, Pictures | None]) -> float:
    """Bytes that an artefact is still going to take."""
    weights = 4 * PARAMETERS * (study.codec.N / PUBLISHED_N) ** 2
    if artefact.stage == "import":
        return weights
    if artefact.stage == "train":
        exports = 1 + len(study.recipe(artefact.names["arm"]).export_epochs)
        # Two checkpoints are kept, each with the weights and both of Adam's moments.
        there = size(artefact.folder) if artefact.folder.exists() else 0
        return max(0.0, weights * (exports + 2 * 3) - there)
    pictures = sets.get(artefact.names.get("dataset", ""))
    if pictures is None:
        return 0.0
    if artefact.stage == "data":
        return pictures.n_bytes
    if artefact.stage == "code":
        crop = artefact.spec["crop"]
        images = min(pictures.images, artefact.spec.get("images", pictures.images))
        whole = 8 * pictures.n_bytes / PNG_BPP / max(1, pictures.images)
        return float(
            artefact.spec["captions"] * images * (crop**2 if crop else whole) * CODED_BPP / 8
        )
    if artefact.stage == "originals":
        return 4.0 * pictures.images * FEATURES
    return 0.0  # tables, figures, a few examples


def _speed_notes(speeds: Mapping[int, Speed]) -> list[str]:
    return [
        f"Speed on crops of {crop} pixels: "
        + (f"{speed.rate:.4g} samples/s on one GPU, " if speed.rate else "")
        + f"{speed.origin}."
        for crop, speed in speeds.items()
    ]


def _set_notes(sets: Mapping[str, Pictures | None]) -> list[str]:
    return [
        f"Data set {name}: {known.images:,} images, {known.captions:,} human captions, "
        f"{known.origin}."
        if known
        else f"Data set {name}: its size is unknown, and left out of the disk, until its files lie "
        "below data_root."
        for name, known in sets.items()
    ]


def _all(values: Iterable[T | None]) -> list[T] | None:
    """The values, or None where one of them is unknown."""
    found = list(values)
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) else None
