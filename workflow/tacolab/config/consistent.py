"""What must hold between the sections of a study. Each function looks at one thing."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tacolab.config.arms import Arm
from tacolab.config.fields import OWN, nearest, wrong
from tacolab.config.models import (
    Cut,
    File,
    Folder,
    Gpt4o,
    Human,
    Published,
    Shuffled,
    Training,
)
from tacolab.config.protocol import EvaluationSet
from tacolab.config.warm_starts import check_start

if TYPE_CHECKING:
    from tacolab.config.study import Study


def check(study: Study) -> None:
    """Raises the first contradiction, with the path of the key that shows it."""
    _spellings_of_lambdas(study)
    _distinct_lambdas(study)
    _phases(study)
    _caption_sources(study)
    for name, arm in study.arms.items():
        _text(study, name, arm)
        _token_weighting(study, name, arm)
        if arm.checkpoints:
            _no_training(name, arm)
        else:
            _recipe(study, name, arm, study.recipe(name))
            _extra_seeds(study, name, arm)
        _baseline(study, name, arm)
        _exported_epoch(study, name, arm)
        _captions(study, name, arm)
    for name, arm in study.arms.items():  # each looks at others
        if not arm.checkpoints:
            check_start(study, name, _place(name, arm, "start"))
    _anchors(study)
    _known("protocol.baseline", study.protocol.baseline, study.arms, "arm")
    for dataset, how in study.protocol.datasets.items():
        _evaluation(study, dataset, how)


def _known(path: str, name: str, valid: Iterable[str], what: str) -> None:
    if name not in valid:
        raise wrong(path, f"unknown {what} '{name}'{nearest(name, valid)}")


def _distinct(path: str, values: Iterable[Any]) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise wrong(path, f"'{value}' stands there twice")
        seen.add(value)


# -- lambdas and phases -----------------------------------------------------------------------


def _spellings_of_lambdas(study: Study) -> None:
    """Lambdas stand in paths, so each may be written in one way only."""
    places = [("lambdas", study.lambdas)]
    places += [("phases", lambdas) for lambdas in study.phases]
    for name, arm in study.arms.items():
        places.append((f"arms.{name}.lambdas", arm.lambdas or []))
        places.append((f"arms.{name}.extra_seeds", list(arm.extra_seeds)))
        places.append((f"arms.{name}.checkpoints", list(arm.checkpoints)))
    spellings: dict[Decimal, str] = {}
    for path, lambdas in places:
        for lmbda in lambdas:
            first = spellings.setdefault(Decimal(lmbda), lmbda)
            if first != lmbda:
                raise wrong(path, f"'{lmbda}' and '{first}' are two spellings of one lambda")


def _distinct_lambdas(study: Study) -> None:
    _distinct("lambdas", study.lambdas)
    for name, arm in study.arms.items():
        _distinct(f"arms.{name}.lambdas", arm.lambdas or [])


def _phases(study: Study) -> None:
    phased = [lmbda for lambdas in study.phases for lmbda in lambdas]
    _distinct("phases", phased)
    # The other way round is no slip: a lambda that is taken out may come back.
    for lmbda in (lm for arm in study.arms for lm in study.lambdas_of(arm)):
        if phased and lmbda not in phased:
            raise wrong("phases", f"'{lmbda}' is in none of them")
    count = max(1, len(study.phases))
    if study.last_phase > count:
        raise wrong("phase", f"there is no phase {study.phase}: `phases` has {count}")
    if not study.runs():
        raise wrong("phase", f"no arm has a lambda of phases 1 to {study.phase}")


# -- caption sources --------------------------------------------------------------------------


def _caption_sources(study: Study) -> None:
    for name, source in study.captions.items():
        for dataset in source.files if isinstance(source, Published | File) else ():
            _known(f"captions.{name}.files.{dataset}", dataset, study.datasets, "data set")
        for dataset in source.per_image if isinstance(source, Gpt4o) else ():
            _known(f"captions.{name}.per_image.{dataset}", dataset, study.datasets, "data set")
    if OWN in study.captions:
        raise wrong(f"captions.{OWN}", "the name is taken: it stands for an arm's own captions")


def _can_caption(study: Study, path: str, source: str, dataset: str) -> None:
    kind = study.captions[source]
    if isinstance(kind, Published | File) and dataset not in kind.files:
        raise wrong(path, f"captions.{source}.files has no file for data set '{dataset}'")
    if isinstance(kind, Human) and isinstance(study.datasets.get(dataset), Folder):
        raise wrong(path, f"data set '{dataset}' has no human captions; name another source")


# -- arms -------------------------------------------------------------------------------------


def _text(study: Study, name: str, arm: Arm) -> None:
    if arm.text is not None:
        _known(f"arms.{name}.text", arm.text, study.encoders, "text encoder")
        return
    for key in ("token_weighting", "attention"):
        if key in arm.model_fields_set:
            message = "this arm reads no text; take it out, or name `text`"
            raise wrong(f"arms.{name}.{key}", message)


def _token_weighting(study: Study, name: str, arm: Arm) -> None:
    how = study.token_weights
    if arm.token_weighting != "none" and not (how.tfidf or how.noun_heads or how.entities):
        raise wrong(
            "token_weights",
            f"with tfidf, noun_heads and entities off no token of arm '{name}' counts more; "
            "turn one on, or remove token_weighting from the arm",
        )


def _no_training(name: str, arm: Arm) -> None:
    for key in ("training", "lambdas", "extra_seeds"):
        if key in arm.model_fields_set:
            message = "this arm has `checkpoints`, so no training; remove it"
            raise wrong(f"arms.{name}.{key}", message)


def _place(name: str, arm: Arm, key: str) -> str:
    """Where an entry of the arm's recipe is written."""
    own = getattr(arm.training, key) is not None
    return f"arms.{name}.training.{key}" if own else f"training.{key}"


def _recipe(study: Study, name: str, arm: Arm, recipe: Training) -> None:
    _known(_place(name, arm, "dataset"), recipe.dataset, study.datasets, "data set")
    smallest = study.datasets[recipe.dataset].min_side
    if recipe.crop > smallest:
        raise wrong(
            _place(name, arm, "crop"),
            f"{recipe.crop} is larger than the smallest image that "
            f"datasets.{recipe.dataset}.min_side = {smallest} allows",
        )
    if recipe.batch % study.execution.gpus:
        raise wrong(
            _place(name, arm, "batch"),
            f"{recipe.batch} samples cannot be shared equally by execution.gpus = "
            f"{study.execution.gpus}; change one of them",
        )
    # A warm start may be shorter, and then exports what it reaches.
    epochs = max(study.recipe_at(name, lmbda).epochs for lmbda in study.lambdas_of(name))
    for epoch in recipe.export_epochs:
        if not 1 <= epoch <= epochs:
            raise wrong(
                _place(name, arm, "export_epochs"), f"{epoch} is not in 1 ... {epochs} epochs"
            )


def _extra_seeds(study: Study, name: str, arm: Arm) -> None:
    path = f"arms.{name}.extra_seeds"
    for lmbda, seeds in arm.extra_seeds.items():
        if lmbda not in study.lambdas_of(name):
            raise wrong(path, f"'{lmbda}' is not among the arm's lambdas")
        if len({study.seed, *seeds}) != len(seeds) + 1:
            raise wrong(f"{path}.{lmbda}", "names a seed twice")


def _baseline(study: Study, name: str, arm: Arm) -> None:
    if arm.baseline is not None:
        _known(f"arms.{name}.baseline", arm.baseline, study.arms, "arm")


def _exported_epoch(study: Study, name: str, arm: Arm) -> None:
    """That the other arm has a model at these lambdas, and exports this epoch."""
    if arm.of is None:
        return
    for lmbda in study.lambdas_of(name):
        if lmbda not in study.lambdas_of(arm.of.arm):
            raise wrong(f"arms.{name}.lambdas", f"arm '{arm.of.arm}' has no model at '{lmbda}'")
    exported = study.recipe(arm.of.arm).export_epochs
    if arm.of.epoch not in exported:
        raise wrong(
            f"arms.{name}.of.epoch",
            f"{arm.of.epoch} is not among the export_epochs of arm '{arm.of.arm}': "
            f"{', '.join(map(str, exported)) or 'it has none'}",
        )
    for lmbda in study.lambdas_of(name):
        reached = study.recipe_at(name, lmbda)
        if arm.of.epoch not in reached.export_epochs:
            raise wrong(
                f"arms.{name}.of.epoch",
                f"arm '{arm.of.arm}' starts warm at '{lmbda}' and has {reached.epochs} epochs "
                "there; leave that lambda out",
            )


def _captions(study: Study, name: str, arm: Arm) -> None:
    path = f"arms.{name}.captions"
    if isinstance(arm.captions, str):
        _known(path, arm.captions, study.captions, "caption source")
    else:
        for dataset, source in arm.captions.items():
            _known(f"{path}.{dataset}", dataset, study.datasets, "data set")
            _known(f"{path}.{dataset}", source, study.captions, "caption source")
    # A vocabulary is of training captions, also for a model that others trained.
    unused = arm.checkpoints and arm.token_weighting == "none"
    if not unused:
        _own_captions(study, path, arm, study.recipe(name).dataset)
    for dataset in study.protocol.datasets if arm.text else ():
        _own_captions(study, path, arm, dataset)


def _own_captions(study: Study, path: str, arm: Arm, dataset: str) -> None:
    """The arm must have captions on `dataset`, from a source that can give them."""
    try:
        source = arm.source(dataset)
    except KeyError:
        raise wrong(path, f"names no caption source for data set '{dataset}'") from None
    if isinstance(study.captions[source], Shuffled | Cut):
        raise wrong(path, f"'{source}' is a control (it is made from an arm's own captions)")
    _can_caption(study, path, source, dataset)


# -- protocol ---------------------------------------------------------------------------------


def _anchors(study: Study) -> None:
    for codec, qualities in study.protocol.anchors.items():
        _distinct(f"protocol.anchors.{codec}", qualities)


def _evaluation(study: Study, dataset: str, how: EvaluationSet) -> None:
    path = f"protocol.datasets.{dataset}"
    _known(path, dataset, study.datasets, "data set")
    smallest = study.datasets[dataset].min_side
    if how.crop and how.crop > smallest:
        raise wrong(
            f"{path}.crop",
            f"{how.crop} is larger than datasets.{dataset}.min_side = {smallest}; "
            "raise it to leave smaller ones out",
        )
    _controls(study, f"{path}.controls", how.controls, dataset)
    for arm, controls in how.controls_by_arm.items():
        _reads_text(study, f"{path}.controls_by_arm.{arm}", arm)
        _controls(study, f"{path}.controls_by_arm.{arm}", controls, dataset)
        _distinct(f"{path}.controls_by_arm.{arm}", [*how.controls, *controls])
    for arm in how.captions_by_arm:
        _reads_text(study, f"{path}.captions_by_arm.{arm}", arm)
    _distribution(f"{path}.distribution.controls", how)


def _controls(study: Study, path: str, controls: Iterable[str], dataset: str) -> None:
    for control in controls:
        if control == OWN:
            raise wrong(path, f"'{OWN}' is always evaluated; leave it out")
        _known(path, control, study.captions, "caption source")
        _can_caption(study, path, control, dataset)
    _distinct(path, controls)


def _reads_text(study: Study, path: str, arm: str) -> None:
    _known(path, arm, study.arms, "arm")
    if study.arms[arm].text is None:
        raise wrong(path, "this arm reads no text; take it out")


def _distribution(path: str, how: EvaluationSet) -> None:
    known = [*how.controls, *(c for more in how.controls_by_arm.values() for c in more)]
    for control in how.distribution.controls:
        if control not in known:
            message = f"'{control}' is not evaluated on this data set{nearest(control, known)}"
            raise wrong(path, message)
    _distinct(path, how.distribution.controls)
