"""Reads what the other stages wrote: everything that the report shows."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from tacolab.config import Study
from tacolab.errors import UserError
from tacolab.plan import Artefact
from tacolab.stages.report import by_stage, frames, training
from tacolab.stages.report.by_stage import ByStage
from tacolab.stages.report.input_files import description, rows
from tacolab.stages.report.training import TrainingHistory


@dataclass(frozen=True)
class Model:
    """A model, trained or imported: its artefact and its model.json."""

    artefact: Artefact
    info: dict[str, Any]

    @property
    def arm(self) -> str:
        return self.artefact.names["arm"]

    @property
    def lmbda(self) -> str:
        return self.artefact.names["lmbda"]

    @property
    def seed(self) -> str:
        return self.artefact.names["seed"]

    @property
    def trained(self) -> bool:
        return by_stage.is_training(self.artefact)


@dataclass(frozen=True)
class Inputs:
    """Everything the report shows. Names of columns stand in `frames`.

    images: a row per image of every coding, averaged over its captions (IDENTITY, image_id,
        captions, height, width, VALUES, UNROUNDED). points: a row per coding of a data set
        (IDENTITY, images, captions, VALUES, UNROUNDED, BEST, DISTANCES, SAMPLES). Rates in bit per
        pixel, PSNR in dB, times in seconds. BEST: of each image the caption that an oracle would
        keep, by LPIPS. groups: a row per group of images of every coding with FID or CMMD
        (ARM_CODING, group, size, WITHOUT). timing: rows of stage `timing`. trainings: what they
        left, also unfinished ones. missing: what the config means and is not there. excluded:
        data set -> images that are too small for it, where that is known.
    """

    images: pd.DataFrame
    points: pd.DataFrame
    groups: pd.DataFrame
    timing: pd.DataFrame
    models: list[Model]
    trainings: list[TrainingHistory]
    evaluations: list[Artefact]
    missing: list[Artefact]
    provenance: list[dict[str, Any]]
    excluded: dict[str, int]


def read(study: Study, report: Artefact, partial: bool = False) -> Inputs:
    """Reads all inputs of a report. Raises UserError naming the first missing or damaged file.

    partial: what is missing is left out, and listed.
    """
    wanted = by_stage.in_order(study, report.inputs.values())
    missing = [artefact for artefact in wanted if _gone(artefact, partial)]
    found = [artefact for artefact in wanted if artefact not in missing]
    there = ByStage.of(found)
    if not there.codings and not partial:
        raise UserError(
            "protocol.datasets is empty: nothing was evaluated that a report could show"
        )
    infos = {artefact.path: description(artefact.description) for artefact in found}
    codings = [images for artefact in there.codings for images in _images(artefact)]
    timings = [rows(artefact) for artefact in there.timings]

    def summaries(artefacts: list[Artefact]) -> list[frames.Summary]:
        return [(one.names, infos[one.path].get("summary", {})) for one in artefacts]

    return Inputs(
        images=frames.images(codings),
        points=frames.points(codings, summaries(there.evaluations), summaries(there.distances)),
        groups=frames.groups(summaries(there.distances)),
        timing=pd.concat(timings, ignore_index=True) if timings else pd.DataFrame(),
        models=[Model(artefact, infos[artefact.path]) for artefact in there.models],
        trainings=[training.read(artefact) for artefact in ByStage.of(wanted).trainings],
        evaluations=there.evaluations,
        missing=missing,
        provenance=[info.get("provenance", {}) for info in infos.values()],
        excluded=_excluded(there.evaluations),
    )


def _gone(artefact: Artefact, partial: bool) -> bool:
    """Whether a file that is read is missing. Raises UserError unless `partial`."""
    gone = [path for path in by_stage.read_files(artefact) if not path.exists()]
    if gone and not partial:
        raise UserError(
            f"{gone[0]} is missing and the report shows it; `snakemake --profile ...` makes "
            "what is missing, and with `report_now` a report without it"
        )
    return bool(gone)


def _images(artefact: Artefact) -> list[pd.DataFrame]:
    """A frame for each coding: one of an arm, one for each quality of a classical codec."""
    if by_stage.is_anchor(artefact):
        return list(frames.anchor_images(artefact.names, rows(artefact)))
    return [frames.arm_images(artefact.names, rows(artefact))]


def _excluded(evaluations: list[Artefact]) -> dict[str, int]:
    """As the packed data says; a copy of results/ may be without it."""
    data = {a.names["dataset"]: a.inputs["data"] for a in evaluations}
    known = {name: one.path for name, one in data.items() if one.path.exists()}
    infos = {name: description(path) for name, path in known.items()}
    return {name: info.get("excluded", {}).get("count", 0) for name, info in infos.items()}
