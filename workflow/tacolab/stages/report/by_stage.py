"""What a report shows, sorted by the stage that made it: the only place here that knows stages."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from tacolab.config import Study
from tacolab.plan import Artefact
from tacolab.plan.stages import ANCHORS, DISTRIBUTION, IMPORTED, METRICS, TIMING, TRAIN

_MODELS = (TRAIN, IMPORTED)
# What a reader calls them, where their stage has another name.
_TITLES = {METRICS: "evaluations", DISTRIBUTION: "FID and CMMD", ANCHORS: "classical codec"}


@dataclass(frozen=True)
class ByStage:
    """Artefacts in the order of tables. codings: evaluations of arms and of classical codecs."""

    models: list[Artefact]
    trainings: list[Artefact]
    codings: list[Artefact]
    evaluations: list[Artefact]
    distances: list[Artefact]
    timings: list[Artefact]

    @classmethod
    def of(cls, artefacts: Iterable[Artefact]) -> Self:
        ordered = list(artefacts)

        def made_by(*stages: object) -> list[Artefact]:
            return [one for one in ordered if one.stage in stages]

        return cls(
            models=made_by(*_MODELS),
            trainings=made_by(TRAIN),
            codings=made_by(METRICS, ANCHORS),
            evaluations=made_by(METRICS),
            distances=made_by(DISTRIBUTION),
            timings=made_by(TIMING),
        )


def is_training(artefact: Artefact) -> bool:
    """Whether it is a model that was trained here."""
    return artefact.stage is TRAIN


def is_anchor(artefact: Artefact) -> bool:
    """Whether it is the evaluation of a classical codec."""
    return artefact.stage is ANCHORS


def title(artefact: Artefact) -> str:
    """What a reader calls its stage."""
    return _TITLES.get(artefact.stage, artefact.stage.name)


def read_files(artefact: Artefact) -> list[Path]:
    """The files that are read: a copy of results/ without the weights makes a report too."""
    return [artefact.description] if artefact.stage in _MODELS else artefact.files


def in_order(study: Study, artefacts: Iterable[Artefact]) -> list[Artefact]:
    """Models, then codings by data set, arms before classical codecs, then times.

    Arms and controls stand in the order of the config, then rising lambda.
    """
    datasets, arms = list(study.protocol.datasets), list(study.arms)

    def place(artefact: Artefact) -> tuple[Any, ...]:
        names = artefact.names
        if artefact.stage is TIMING:
            return (2, names["machine"])
        if artefact.stage is ANCHORS:
            return (1, datasets.index(names["dataset"]), len(arms), names["codec"])
        arm, model = arms.index(names["arm"]), (Decimal(names["lmbda"]), int(names["seed"]))
        if artefact.stage in _MODELS:
            return (0, arm, *model)
        control = study.controls(names["arm"], names["dataset"]).index(names["control"])
        return (1, datasets.index(names["dataset"]), arm, control, *model)

    return sorted(artefacts, key=place)
