"""The whole study, and what must hold between its sections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from tacolab.config.fields import OWN, Lmbda, Name, Place, Seed, Strict, nearest, wrong
from tacolab.config.models import (
    Arm,
    Captions,
    CodecSize,
    Cut,
    Dataset,
    EvaluationSet,
    Execution,
    File,
    Folder,
    Gpt4o,
    Human,
    Protocol,
    Published,
    Shuffled,
    TextEncoder,
    TokenWeights,
    Training,
)
from tacolab.config.timing import Timing


class Study(Strict):
    """The whole study."""

    renamed: ClassVar[Mapping[str, str]] = {"weights": "token_weights"}

    title: str
    note: str = Field("", description="printed at the head of the report")
    data_root: Place = Field(Path("data"), description="where the downloaded data lies")
    lambdas: list[Lmbda] = Field(min_length=1)
    phases: list[Annotated[list[Lmbda], Field(min_length=1)]] = Field(
        [], description="every lambda in one of them; further seeds come in the last; []: one phase"
    )
    phase: int | None = Field(None, ge=1, description="run phases 1 to this one; null: all")
    seed: Seed = 100
    datasets: dict[Name, Dataset]
    captions: dict[Name, Captions]
    encoders: dict[Name, TextEncoder] = Field({})
    token_weights: TokenWeights = TokenWeights()
    codec: CodecSize = CodecSize()
    training: Training
    arms: dict[Name, Arm] = Field(min_length=1)
    protocol: Protocol
    timing: Timing | None = Field(None, description="what is timed, on which machines")
    execution: Execution = Execution()

    def recipe(self, arm: str) -> Training:
        """The arm's recipe: `training` with the arm's changes."""
        change = self.arms[arm].training.model_dump(exclude_none=True)
        return Training.model_validate(self.training.model_dump() | change)

    def lambdas_of(self, arm: str) -> list[str]:
        """Lambdas of an arm, as they are spelled in paths."""
        return list(self.arms[arm].checkpoints) or self.arms[arm].lambdas or self.lambdas

    def controls(self, arm: str, dataset: str) -> list[str]:
        """What an arm is evaluated with; a codec that reads no text has nothing to control."""
        how = self.protocol.datasets[dataset]
        more = [*how.controls, *how.controls_by_arm.get(arm, [])]
        return [OWN, *more] if self.arms[arm].text else [OWN]

    @property
    def last_phase(self) -> int:
        """The last phase that `phase` lets in, from 1."""
        return self.phase or max(1, len(self.phases))

    def phase_of(self, lmbda: str, seed: int) -> int:
        """The phase of a training run, from 1."""
        if seed != self.seed:
            return max(1, len(self.phases))
        return next((n for n, lambdas in enumerate(self.phases, 1) if lmbda in lambdas), 1)

    def runs(self) -> list[tuple[str, str, int]]:
        """Every (lambda-major) training run up to the last phase: arm, lambda, seed."""
        ordered = list(dict.fromkeys(lm for arm in self.arms for lm in self.lambdas_of(arm)))
        return [
            (name, lmbda, seed)
            for lmbda in ordered
            for name, arm in self.arms.items()
            if lmbda in self.lambdas_of(name)
            for seed in [self.seed, *arm.extra_seeds.get(lmbda, [])]
            if self.phase_of(lmbda, seed) <= self.last_phase
        ]

    def arms_with_runs(self) -> list[str]:
        """Arms with a model up to the last phase, in their order."""
        return [name for name in self.arms if any(name == arm for arm, _, _ in self.runs())]

    def trained_arms(self) -> list[str]:
        """Those of them that are trained here: no weight files of others, no exported epochs."""
        arms = self.arms
        return [n for n in self.arms_with_runs() if not (arms[n].checkpoints or arms[n].of)]

    def baseline_of(self, arm: str) -> str:
        """The arm that this one is compared with; itself for the baseline."""
        return self.arms[arm].baseline or self.protocol.baseline

    @model_validator(mode="before")
    @classmethod
    def _exports(cls, data: Any) -> Any:
        """An arm `of` another is that arm in all but name, lambdas and what it is compared with."""
        arms = data.get("arms") if isinstance(data, Mapping) else None
        if not isinstance(arms, Mapping):
            return data
        return {**data, "arms": {name: _export(name, arms) for name in arms}}

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        self._check_lambdas()
        self._check_phases()
        self._check_sources()
        for name, arm in self.arms.items():
            self._check_arm(name, arm)
        self._check_protocol()
        return self

    def _known(self, path: str, name: str, valid: Mapping[str, Any], what: str) -> None:
        if name not in valid:
            raise wrong(path, f"unknown {what} '{name}'{nearest(name, valid)}")

    def _check_lambdas(self) -> None:
        spellings: dict[Decimal, str] = {}
        places = [("lambdas", lmbda) for lmbda in self.lambdas]
        places += [("phases", lmbda) for lambdas in self.phases for lmbda in lambdas]
        for name, arm in self.arms.items():
            places += [(f"arms.{name}.lambdas", lmbda) for lmbda in arm.lambdas or []]
            places += [(f"arms.{name}.extra_seeds", lmbda) for lmbda in arm.extra_seeds]
            places += [(f"arms.{name}.checkpoints", lmbda) for lmbda in arm.checkpoints]
        for path, lmbda in places:
            first = spellings.setdefault(Decimal(lmbda), lmbda)
            if first != lmbda:
                raise wrong(path, f"'{lmbda}' and '{first}' are two spellings of one lambda")
        _check_distinct("lambdas", self.lambdas)
        for name, arm in self.arms.items():
            _check_distinct(f"arms.{name}.lambdas", arm.lambdas or [])

    def _check_phases(self) -> None:
        phased = [lmbda for lambdas in self.phases for lmbda in lambdas]
        _check_distinct("phases", phased)
        # The other way round is no slip: a lambda that is taken out may come back.
        for lmbda in (lm for arm in self.arms for lm in self.lambdas_of(arm)):
            if phased and lmbda not in phased:
                raise wrong("phases", f"'{lmbda}' is in none of them")
        count = max(1, len(self.phases))
        if self.last_phase > count:
            raise wrong("phase", f"there is no phase {self.phase}: `phases` has {count}")
        if not self.runs():
            raise wrong("phase", f"no arm has a lambda of phases 1 to {self.phase}")

    def _check_arm(self, name: str, arm: Arm) -> None:
        path = f"arms.{name}"
        if arm.text is not None:
            self._known(f"{path}.text", arm.text, self.encoders, "text encoder")
        for key in ("token_weighting", "attention") if arm.text is None else ():
            if key in arm.model_fields_set:
                raise wrong(f"{path}.{key}", "this arm reads no text; take it out, or name `text`")
        how = self.token_weights
        if arm.token_weighting != "none" and not (how.tfidf or how.noun_heads or how.entities):
            raise wrong(
                "token_weights",
                f"with tfidf, noun_heads and entities off no token of arm '{name}' counts more; "
                "turn one on, or take token_weighting from the arm",
            )
        if arm.checkpoints:
            for key in ("training", "lambdas", "extra_seeds"):
                if key in arm.model_fields_set:
                    raise wrong(
                        f"{path}.{key}", "this arm has `checkpoints`, so no training; remove it"
                    )
        else:
            self._check_training(name, arm)
        self._check_of(name, arm)
        self._check_captions(name, arm)

    def _check_training(self, name: str, arm: Arm) -> None:
        path = f"arms.{name}"
        recipe = self.recipe(name)

        def place(key: str) -> str:
            own = getattr(arm.training, key) is not None
            return f"{path}.training.{key}" if own else f"training.{key}"

        self._known(place("dataset"), recipe.dataset, self.datasets, "data set")
        smallest = self.datasets[recipe.dataset].min_side
        if recipe.crop > smallest:
            raise wrong(
                place("crop"),
                f"{recipe.crop} is larger than the smallest image that "
                f"datasets.{recipe.dataset}.min_side = {smallest} lets in",
            )
        if recipe.batch % self.execution.gpus:
            raise wrong(
                place("batch"),
                f"{recipe.batch} samples cannot be shared equally by execution.gpus = "
                f"{self.execution.gpus}; change one of them",
            )
        for epoch in recipe.export_epochs:
            if not 1 <= epoch <= recipe.epochs:
                raise wrong(
                    place("export_epochs"), f"{epoch} is not in 1 ... {recipe.epochs} epochs"
                )
        for lmbda, seeds in arm.extra_seeds.items():
            if lmbda not in self.lambdas_of(name):
                raise wrong(f"{path}.extra_seeds", f"'{lmbda}' is not among the arm's lambdas")
            if len({self.seed, *seeds}) != len(seeds) + 1:
                raise wrong(f"{path}.extra_seeds.{lmbda}", "names a seed twice")

    def _check_captions(self, name: str, arm: Arm) -> None:
        path = f"arms.{name}"
        if isinstance(arm.captions, str):
            self._known(f"{path}.captions", arm.captions, self.captions, "caption source")
        else:
            for dataset, source in arm.captions.items():
                self._known(f"{path}.captions.{dataset}", dataset, self.datasets, "data set")
                self._known(f"{path}.captions.{dataset}", source, self.captions, "caption source")
        # A vocabulary is of training captions, also for a model that others trained.
        unused = arm.checkpoints and arm.token_weighting == "none"
        datasets = [] if unused else [self.recipe(name).dataset]
        for dataset in [*datasets, *(self.protocol.datasets if arm.text else ())]:
            self._check_source(name, arm, dataset)

    def _check_of(self, name: str, arm: Arm) -> None:
        path = f"arms.{name}"
        if arm.baseline is not None:
            self._known(f"{path}.baseline", arm.baseline, self.arms, "arm")
        if arm.of is None:
            return
        for lmbda in self.lambdas_of(name):
            if lmbda not in self.lambdas_of(arm.of.arm):
                raise wrong(f"{path}.lambdas", f"arm '{arm.of.arm}' has no model at '{lmbda}'")
        exported = self.recipe(arm.of.arm).export_epochs
        if arm.of.epoch not in exported:
            raise wrong(
                f"{path}.of.epoch",
                f"{arm.of.epoch} is not among the export_epochs of arm '{arm.of.arm}': "
                f"{', '.join(map(str, exported)) or 'it has none'}",
            )

    def _check_source(self, name: str, arm: Arm, dataset: str) -> None:
        """The arm must have captions on `dataset`, from a source that can give them."""
        path = f"arms.{name}.captions"
        try:
            source = arm.source(dataset)
        except KeyError:
            raise wrong(path, f"names no caption source for data set '{dataset}'") from None
        if isinstance(self.captions[source], Shuffled | Cut):
            raise wrong(path, f"'{source}' is a control (it is made from an arm's own captions)")
        self._check_can_caption(path, source, dataset)

    def _check_can_caption(self, path: str, source: str, dataset: str) -> None:
        kind = self.captions[source]
        if isinstance(kind, Published | File) and dataset not in kind.files:
            raise wrong(path, f"captions.{source}.files has no file for data set '{dataset}'")
        if isinstance(kind, Human) and isinstance(self.datasets.get(dataset), Folder):
            raise wrong(path, f"data set '{dataset}' has no human captions; name another source")

    def _check_sources(self) -> None:
        for name, source in self.captions.items():
            for dataset in source.files if isinstance(source, Published | File) else ():
                self._known(f"captions.{name}.files.{dataset}", dataset, self.datasets, "data set")
            for dataset in source.per_image if isinstance(source, Gpt4o) else ():
                path = f"captions.{name}.per_image.{dataset}"
                self._known(path, dataset, self.datasets, "data set")
        if OWN in self.captions:
            raise wrong(f"captions.{OWN}", "the name is taken: it stands for an arm's own captions")

    def _check_protocol(self) -> None:
        for codec, qualities in self.protocol.anchors.items():
            _check_distinct(f"protocol.anchors.{codec}", qualities)
        self._known("protocol.baseline", self.protocol.baseline, self.arms, "arm")
        for dataset, how in self.protocol.datasets.items():
            path = f"protocol.datasets.{dataset}"
            self._known(path, dataset, self.datasets, "data set")
            if how.crop and how.crop > self.datasets[dataset].min_side:
                raise wrong(
                    f"{path}.crop",
                    f"{how.crop} is larger than datasets.{dataset}.min_side = "
                    f"{self.datasets[dataset].min_side}; raise it to leave smaller ones out",
                )
            self._check_controls(f"{path}.controls", how.controls, dataset)
            for arm, controls in how.controls_by_arm.items():
                self._check_reads(f"{path}.controls_by_arm.{arm}", arm)
                self._check_controls(f"{path}.controls_by_arm.{arm}", controls, dataset)
                _check_distinct(f"{path}.controls_by_arm.{arm}", [*how.controls, *controls])
            for arm in how.captions_by_arm:
                self._check_reads(f"{path}.captions_by_arm.{arm}", arm)
            self._check_distribution(path, how)

    def _check_controls(self, path: str, controls: Iterable[str], dataset: str) -> None:
        for control in controls:
            if control == OWN:
                raise wrong(path, f"'{OWN}' is always evaluated; leave it out")
            self._known(path, control, self.captions, "caption source")
            self._check_can_caption(path, control, dataset)
        _check_distinct(path, controls)

    def _check_reads(self, path: str, arm: str) -> None:
        self._known(path, arm, self.arms, "arm")
        if self.arms[arm].text is None:
            raise wrong(path, "this arm reads no text; take it out")

    def _check_distribution(self, path: str, how: EvaluationSet) -> None:
        controls = how.distribution.controls
        path = f"{path}.distribution.controls"
        known = [*how.controls, *(c for more in how.controls_by_arm.values() for c in more)]
        for control in controls:
            if control not in known:
                message = f"'{control}' is not evaluated on this data set{nearest(control, known)}"
                raise wrong(path, message)
        _check_distinct(path, controls)


def _export(name: str, arms: Mapping[str, Any]) -> Any:
    """The entry of an arm, with what an arm `of` another takes from that one."""
    entry = arms[name]
    of = entry.get("of") if isinstance(entry, Mapping) else None
    if not isinstance(of, Mapping) or not isinstance(of.get("arm"), str):
        return entry
    parent = arms.get(of["arm"])
    path = f"arms.{name}"
    trained = [
        n for n, a in arms.items() if isinstance(a, Mapping) and not {"of", "checkpoints"} & {*a}
    ]
    if not isinstance(parent, Mapping) or of["arm"] not in trained:
        raise wrong(f"{path}.of.arm", f"no trained arm '{of['arm']}'{nearest(of['arm'], trained)}")
    for key in entry:
        if key in Arm.model_fields and key not in ("description", "of", "baseline", "lambdas"):
            raise wrong(f"{path}.{key}", f"is that of arm '{of['arm']}'; take it out")
    taken = {k: v for k, v in parent.items() if k not in ("description", "baseline")}
    lambdas, seeds = entry.get("lambdas"), parent.get("extra_seeds")
    if isinstance(lambdas, list) and isinstance(seeds, Mapping):
        taken["extra_seeds"] = {lmbda: seeds[lmbda] for lmbda in seeds if lmbda in lambdas}
    return {**taken, **entry}


def _check_distinct(path: str, values: Iterable[Any]) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise wrong(path, f"'{value}' stands there twice")
        seen.add(value)
