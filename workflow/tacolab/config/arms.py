"""The section `arms` of the study's YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from tacolab.config.fields import FileRef, InKey, Lmbda, Name, Seed, Strict, nearest, wrong
from tacolab.config.models import Attention, TrainingChange

# A tagged union, since the errors of a plain one name its members instead of the user's keys.
Sources = Annotated[
    Annotated[Name, Tag("one")] | Annotated[dict[Name, Name], Tag("per data set")],
    Discriminator(lambda value: "per data set" if isinstance(value, Mapping) else "one"),
]


class Export(Strict):
    """A model as it was after one epoch of a longer training."""

    arm: Name = Field(description="an arm that is trained here")
    epoch: int = Field(ge=1, description="one of that arm's `export_epochs`")


def _needs_of_or_more(schema: dict[str, Any]) -> None:
    """For editors: an arm `of` another needs no more than that."""
    for key in Arm.needed:
        del schema["properties"][key]["default"]
    schema["anyOf"] = [{"required": [*Arm.needed]}, {"required": ["of"]}]


class Arm(Strict):
    """One variant of the codec, trained for every lambda; with `checkpoints` trained by others."""

    model_config = ConfigDict(json_schema_extra=_needs_of_or_more)

    renamed: ClassVar[Mapping[str, str]] = {"weights": "checkpoints"}
    # The defaults of these are for an arm `of` another alone.
    needed: ClassVar[tuple[str, ...]] = ("text", "captions")

    description: Annotated[str, InKey("report")] = Field("", description="for the report")
    of: Annotated[Export | None, InKey("code")] = Field(
        None,
        description="`{arm: ARM, epoch: N}`: that arm as it was after epoch N, one of its "
        "`export_epochs`. Nothing is trained, and all but `description`, `baseline` and `lambdas` "
        "is that arm's",
    )
    baseline: Annotated[Name | None, InKey("report")] = Field(
        None, description="the arm that this one is compared with; `null`: `protocol.baseline`"
    )
    text: Annotated[Name | None, InKey("train (the encoder's entries)")] = Field(
        None, description="a text encoder, or `null` for a codec without text adapter"
    )
    captions: Annotated[Sources, InKey("train, code (the tables' keys)")] = Field(
        {}, description="a caption source for all data sets, or `{DATASET: SOURCE}`"
    )
    token_weighting: Annotated[
        Literal["none", "pooled", "tokens"], InKey("train, with `token_weights`")
    ] = Field(
        "none",
        description="`none`; `pooled`: the weighted mean of the tokens, one vector; `tokens`: each "
        "token times its weight. docs/text.md says what the latter can do",
    )
    attention: Annotated[Attention, InKey("train")] = Field(
        Attention(),
        description="of the text adapter: `softmax`, `sdpa` or `linformer`, alone or as `kind` of "
        "a mapping",
    )
    training: Annotated[TrainingChange, InKey("train")] = Field(
        default_factory=lambda: TrainingChange(),
        description="what this arm does differently from `training`",
    )
    stand_in: Annotated[str, InKey("report")] = Field(
        "",
        description="what the arm has in place of the real thing (random weights, made-up "
        "captions): claims about it then get no verdict",
    )
    lambdas: Annotated[
        list[Lmbda] | None, Field(min_length=1), InKey("none: each has its path")
    ] = Field(None, description="instead of the study's; `null`: the study's")
    extra_seeds: Annotated[dict[Lmbda, list[Seed]], InKey("none: each has its path")] = Field(
        {}, description="`{LAMBDA: [SEED, ...]}`: further models, to see training noise"
    )
    checkpoints: Annotated[
        dict[Lmbda, FileRef], InKey("the imported model (its sha256; without one its path)")
    ] = Field(
        {},
        description="`{LAMBDA: FILE}`: weight files of others, as TACO's authors write theirs. "
        "Nothing is trained; such an arm has no `training`, `lambdas` (they are these) and "
        "`extra_seeds`",
    )

    @model_validator(mode="after")
    def _whole(self) -> Arm:
        """An arm says what it reads, or which other arm it is."""
        if self.of is None:
            for key in self.needed:
                if key not in self.model_fields_set:
                    raise wrong(key, "is missing")
        elif taken := self.model_fields_set - {"description", "of", "baseline", "lambdas"}:
            first = next(key for key in type(self).model_fields if key in taken)
            raise wrong(first, f"is that of arm '{self.of.arm}'; take it out")
        return self

    def source(self, dataset: str) -> str:
        """Name of the caption source on `dataset`; KeyError where the arm names none."""
        return self.captions if isinstance(self.captions, str) else self.captions[dataset]


def resolved(arms: dict[str, Arm]) -> dict[str, Arm]:
    """With what an arm `of` another takes from that one: all but `description` and `baseline`.

    `lambdas` are its own where it has some; it then has the other's extra seeds at these alone.
    """
    trained = [name for name, arm in arms.items() if not (arm.of or arm.checkpoints)]
    whole = dict(arms)
    for name, arm in arms.items():
        if arm.of is None:
            continue
        if (of := arm.of.arm) not in trained:
            raise wrong(f"{name}.of.arm", f"no trained arm '{of}'{nearest(of, trained)}")
        own = {"description": arm.description, "of": arm.of, "baseline": arm.baseline}
        if "lambdas" in arm.model_fields_set:
            own["lambdas"] = arm.lambdas
        if arm.lambdas:
            seeds = arms[of].extra_seeds
            own["extra_seeds"] = {lm: seeds[lm] for lm in seeds if lm in arm.lambdas}
        whole[name] = arms[of].model_copy(update=own)
    return whole
