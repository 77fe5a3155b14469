"""The whole study, and what follows from it: recipes, lambdas, controls, phases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from tacolab.config.arms import Arm, resolved
from tacolab.config.consistent import check
from tacolab.config.execution import Execution
from tacolab.config.fields import OWN, InKey, Lmbda, Name, Place, Seed, Strict
from tacolab.config.models import (
    Captions,
    CodecSize,
    Dataset,
    Start,
    TextEncoder,
    TokenWeights,
    Training,
)
from tacolab.config.protocol import Protocol
from tacolab.config.timing import Timing


class Study(Strict):
    """The whole study."""

    renamed: ClassVar[Mapping[str, str]] = {"weights": "token_weights"}

    title: Annotated[str, InKey("report")] = Field(description="head of the report")
    note: Annotated[str, InKey("report")] = Field("", description="printed below the title")
    data_root: Annotated[Place, InKey("none")] = Field(
        Path("data"), description="folder of the downloaded data, say `$SCRATCH/data`"
    )
    lambdas: Annotated[list[Lmbda], InKey("train, each its own")] = Field(
        min_length=1,
        description="rate-distortion weights, in quotes: plain decimals, as they appear in paths",
    )
    phases: Annotated[list[Annotated[list[Lmbda], Field(min_length=1)]], InKey("none")] = Field(
        [],
        description="lists of lambdas, each lambda of an arm in one: what is trained first, "
        "second, ... Extra seeds come in the last; `[]`: one phase",
    )
    phase: Annotated[int | None, InKey("none")] = Field(
        None,
        ge=1,
        description="limits everything (workflow, status, report) to phases 1 to this one; "
        "`null`: all",
    )
    seed: Annotated[Seed, InKey("train")] = Field(
        100, description="of initial weights, order, crops and noise"
    )
    datasets: dict[Name, Dataset] = Field(description="data sets, by name")
    captions: dict[Name, Captions] = Field(description="caption sources, by name")
    encoders: dict[Name, TextEncoder] = Field({}, description="text encoders, by name")
    token_weights: TokenWeights = Field(
        TokenWeights(), description="which words count more, for arms with `token_weighting`"
    )
    codec: CodecSize = Field(CodecSize(), description="size of the network")
    training: Training = Field(description="the recipe")
    # Validated as they are written; one `of` another then gets what it takes from that one.
    arms: Annotated[dict[Name, Arm], Field(min_length=1), AfterValidator(resolved)] = Field(
        description="variants of the codec, by name"
    )
    protocol: Protocol = Field(description="the evaluation")
    timing: Timing | None = Field(
        None, description="what is timed, on which machines; `null`: nothing"
    )
    execution: Execution = Field(Execution(), description="what changes no result")

    def recipe(self, arm: str) -> Training:
        """The arm's recipe: `training` with the arm's changes."""
        change = self.arms[arm].training
        given = {name: getattr(change, name) for name in change.model_fields_set}
        return self.training.model_copy(update={k: v for k, v in given.items() if v is not None})

    def recipe_at(self, arm: str, lmbda: str) -> Training:
        """How the arm's model at this lambda is trained.

        Its `start` is `fresh`, or names the arm that gives the weights (or the file); epochs,
        milestones and exports are then those of the warm start.
        """
        of = self.arms[arm].of
        arm = of.arm if of else arm
        recipe = self.recipe(arm)
        start = recipe.start
        if not isinstance(start, Start):
            return recipe
        if start.lmbda:
            start = start.model_copy(update={"arm": start.arm or arm})
        if (start.arm, start.lmbda) == (arm, lmbda):  # the others start from this one
            return recipe.model_copy(update={"start": "fresh"})
        epochs = start.epochs or recipe.epochs
        milestones = recipe.milestones if start.milestones is None else start.milestones
        exported = tuple(epoch for epoch in recipe.export_epochs if epoch <= epochs)
        change = {"epochs": epochs, "milestones": milestones, "export_epochs": exported}
        return recipe.model_copy(update={"start": start, **change})

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
        """The last phase that is run, counted from 1."""
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

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        check(self)
        return self
