"""The study as pydantic models; the only module that knows the YAML.

`load` reads a file, `validate` takes the merged dictionary that Snakemake made. Both raise
`UserError` with one line: file, path of the key, what is wrong, and the nearest valid name.
"""

from __future__ import annotations

import difflib
import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from tacolab.errors import UserError

OWN = "own"  # the control that is none: an arm evaluated with its own captions


def nearest(name: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?` for a likely slip, else the list of valid names."""
    valid = list(valid)
    match = difflib.get_close_matches(name, valid, n=1)
    return f"; did you mean '{match[0]}'?" if match else f"; valid: {', '.join(valid) or 'none'}"


class Strict(BaseModel):
    """Unknown keys are errors that name the nearest valid key."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        for key, value in data.items() if isinstance(data, Mapping) else ():
            if key not in cls.model_fields:
                raise _wrong(str(key), f"unknown key{nearest(str(key), cls.model_fields)}")
            if isinstance(value, bool) and cls.model_fields[key].annotation is not bool:
                # pydantic would take them for 1 and 0.
                raise _wrong(
                    key, "YAML reads yes, no, on, off, true and false as a truth value; quote text"
                )
        return data


def _wrong(path: str, message: str) -> PydanticCustomError:
    """A cross-field error; `path` continues the path of the model that raises it."""
    return PydanticCustomError("wrong", "{message}", {"key": path, "message": message})


# Not \d, which is also a digit of any other script.
PLAIN_DECIMAL = r"[0-9]*\.?[0-9]+"


def _lmbda(text: Any) -> str:
    if not isinstance(text, str):
        raise ValueError(
            f'write it in quotes as a plain decimal, like "0.0016" (YAML read {text!r})'
        )
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    if not value.is_finite() or value <= 0:
        raise ValueError(f"lambda must be a number above 0, not {text}")
    if not re.fullmatch(PLAIN_DECIMAL, text):
        raise ValueError(f"write it as a plain decimal, like '{value:f}': it appears in paths so")
    return text


def _name(text: str) -> str:
    if not text or not all(c.isalnum() or c in "-_@." for c in text) or text[0] in ".-":
        raise ValueError(f"{text!r} appears in paths: use letters, digits, '-', '_', '.' and '@'")
    return text


Lmbda = Annotated[
    str, BeforeValidator(_lmbda), Field(json_schema_extra={"pattern": f"^{PLAIN_DECIMAL}$"})
]
Name = Annotated[str, AfterValidator(_name)]
Seed = Annotated[int, Field(ge=0)]


class FileRef(Strict):
    """A file below `data_root`, with its sha256 where the source has fixed bytes."""

    path: Path
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="before")
    @classmethod
    def _plain_path(cls, data: Any) -> Any:
        return {"path": data} if isinstance(data, str) else data

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Editors must let the plain path pass, too."""
        schema = handler.resolve_ref_schema(handler(core))
        return {"anyOf": [{"type": "string", "format": "path"}, schema]}


class _Dataset(Strict):
    min_side: int = Field(1, ge=1, description="images with a shorter side are left out [pixels]")


class Samples(_Dataset):
    """Colour photos that scikit-image and scikit-learn ship, with captions of our own."""

    kind: Literal["samples"]
    photos: list[Name] = Field(min_length=1, description="names, see tacolab/data/samples.json")


class Coco(_Dataset):
    """MS-COCO in the 2014 layout: a folder of images beside an annotation file of captions."""

    kind: Literal["coco"]
    images: Path = Field(description="folder of the images, below data_root")
    annotations: FileRef = Field(description="captions_*.json")
    list: FileRef | None = Field(
        None, description="JSON list of file names; without it every image of the annotations"
    )


class Folder(_Dataset):
    """A folder of images with an explicit list of files (Kodak, CLIC)."""

    kind: Literal["folder"]
    images: Path = Field(description="folder of the images, below data_root")
    list: FileRef = Field(
        description="JSON list, JSON object with file names as keys, or a SHA256SUMS file"
    )


Dataset = Annotated[Samples | Coco | Folder, Field(discriminator="kind")]


class Human(Strict):
    """The captions that come with the data set."""

    kind: Literal["human"]


class Published(Strict):
    """Captions released by others: one JSON object, file name -> caption, per data set."""

    kind: Literal["published"]
    files: dict[Name, FileRef]


class Empty(Strict):
    """Control: the empty caption."""

    kind: Literal["empty"]


class Constant(Strict):
    """Control: the same words for every image."""

    kind: Literal["constant"]
    text: str = "NA"


class Shuffled(Strict):
    """Control: the arm's own captions, permuted over the images without a fixed point."""

    kind: Literal["shuffled"]
    seed: int = 1


Captions = Annotated[Human | Published | Empty | Constant | Shuffled, Field(discriminator="kind")]


class ClipText(Strict):
    """Text tower of a CLIP model; TACO uses ViT-B/32 with 38 tokens."""

    kind: Literal["clip"]
    model: str = Field("openai/clip-vit-base-patch32", description="hub name or folder")
    max_tokens: int = Field(38, ge=3, le=77)
    width: int = Field(512, ge=8, multiple_of=8, description="width of the hidden states")


class TransformersText(Strict):
    """Any text encoder of `transformers`: hub name, folder, or `package:NAME/FOLDER`."""

    kind: Literal["transformers"]
    model: str
    max_tokens: int = Field(38, ge=3)
    width: int = Field(ge=8, multiple_of=8, description="width of the hidden states")


TextEncoder = Annotated[ClipText | TransformersText, Field(discriminator="kind")]


class CodecSize(Strict):
    """Channel counts of the codec; the defaults are the published network."""

    N: int = Field(192, ge=8, multiple_of=8, description="channels of the transforms")
    M: int = Field(320, ge=2, multiple_of=2, description="channels of the latent y")
    groups: tuple[int, ...] = Field(
        (16, 16, 32, 64, 192), min_length=1, description="channel groups of y, summing to M"
    )

    @model_validator(mode="after")
    def _sum(self) -> CodecSize:
        if min(self.groups) < 1 or sum(self.groups) != self.M:
            raise _wrong(
                "groups", f"must be positive and sum to M = {self.M}, not {sum(self.groups)}"
            )
        return self


class Training(Strict):
    """A recipe. The defaults are the published one (spec: TACO, ICML 2024)."""

    dataset: Name
    epochs: int = Field(50, ge=1)
    batch: int = Field(8, ge=1, description="samples per optimiser step, over all GPUs")
    crop: int = Field(256, ge=64, multiple_of=64, description="side of the random crop [pixels]")
    learning_rate: float = Field(1e-4, gt=0)
    aux_learning_rate: float = Field(
        1e-3, gt=0, description="for the entropy bottleneck's quantiles"
    )
    milestones: tuple[int, ...] = Field(
        (45, 48), description="learning rate x 0.1 from these epochs (counted from 0) on"
    )
    clip_norm: float = Field(1.0, gt=0, description="largest gradient norm")
    lpips_weight: float = Field(3.5, ge=0)
    lpips_range: Literal["published", "standard"] = Field(
        "published", description="published: [0, 1] unscaled, as TACO's code; standard: [-1, 1]"
    )
    joint_weight: float = Field(0.0025, ge=0, description="weight of L_joint; 0 needs no CLIP")
    joint_distance_weight: float = Field(40.0, ge=0, description="of the embeddings' distance")
    joint_model: str = Field("openai/clip-vit-base-patch32", description="hub name or folder")
    joint_tokens: int = Field(38, ge=3, le=77)
    export_epochs: tuple[int, ...] = Field(
        (), description="also export the model after these epochs"
    )
    validation_images: int = Field(500, ge=1, description="images held out of the training set")
    validate_every: int = Field(1, ge=1, description="[epochs]")


if TYPE_CHECKING:

    class TrainingChange(Strict):
        """What an arm trains differently."""

else:
    # The same keys, all optional.
    TrainingChange = create_model(
        "TrainingChange",
        __base__=Strict,
        __doc__="What an arm trains differently; keys as in `training`.",
        **{
            name: (
                Annotated[(field.annotation, *field.metadata, Field())] | None,
                Field(None, description=field.description),
            )
            for name, field in Training.model_fields.items()
        },
    )


# A tagged union, since the errors of a plain one name its members instead of the user's keys.
Sources = Annotated[
    Annotated[Name, Tag("one")] | Annotated[dict[Name, Name], Tag("per data set")],
    Discriminator(lambda value: "per data set" if isinstance(value, Mapping) else "one"),
]


class Arm(Strict):
    """One variant of the codec, trained for every lambda."""

    description: str = ""
    text: Name | None = Field(description="an encoder, or null for a codec without text adapter")
    captions: Sources = Field(description="caption source, one for all or per data set")
    training: TrainingChange = Field(default_factory=lambda: TrainingChange())
    lambdas: list[Lmbda] | None = Field(None, min_length=1, description="instead of the study's")
    extra_seeds: dict[Lmbda, list[Seed]] = Field(
        {}, description="further seeds at single lambdas, to see training noise"
    )

    def source(self, dataset: str) -> str:
        """Name of the caption source on `dataset`; KeyError where the arm names none."""
        return self.captions if isinstance(self.captions, str) else self.captions[dataset]


class EvaluationSet(Strict):
    """How one data set is evaluated."""

    crop: int | None = Field(None, ge=64, description="side of the centre crop; null: whole image")
    captions: int = Field(1, ge=1, description="captions coded per image, from the first on")
    controls: list[Name] = Field([], description="caption sources besides the arm's own")


class Protocol(Strict):
    """The evaluation."""

    datasets: dict[Name, EvaluationSet]
    baseline: Name = Field(description="the arm that others are compared with")
    anchors: dict[
        Literal["jpeg", "webp"],
        Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=1)],
    ] = Field({}, description="qualities of the classical codecs measured on the same images")
    examples: int = Field(4, ge=0, description="images per data set shown in the report")


class Execution(Strict):
    """What changes no result and so is in no key."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = Field(2, ge=0, description="processes that load training images")
    log_every: int = Field(100, ge=1, description="steps between two lines of train.jsonl")
    checkpoint_minutes: float = Field(20.0, gt=0)


class Study(Strict):
    """The whole study."""

    title: str
    note: str = Field("", description="printed at the head of the report")
    data_root: Path = Field(Path("data"), description="where the downloaded data lies")
    lambdas: list[Lmbda] = Field(min_length=1)
    seed: Seed = 100
    datasets: dict[Name, Dataset]
    captions: dict[Name, Captions]
    encoders: dict[Name, TextEncoder] = {}
    codec: CodecSize = CodecSize()
    training: Training
    arms: dict[Name, Arm] = Field(min_length=1)
    protocol: Protocol
    execution: Execution = Execution()

    def recipe(self, arm: str) -> Training:
        """The arm's recipe: `training` with the arm's changes."""
        change = self.arms[arm].training.model_dump(exclude_none=True)
        return Training.model_validate(self.training.model_dump() | change)

    def lambdas_of(self, arm: str) -> list[str]:
        """Lambdas of an arm, as they are spelled in paths."""
        return self.arms[arm].lambdas or self.lambdas

    def runs(self) -> list[tuple[str, str, int]]:
        """Every (lambda-major) training run: arm, lambda, seed."""
        ordered = list(dict.fromkeys(lm for arm in self.arms for lm in self.lambdas_of(arm)))
        return [
            (name, lmbda, seed)
            for lmbda in ordered
            for name, arm in self.arms.items()
            if lmbda in self.lambdas_of(name)
            for seed in [self.seed, *arm.extra_seeds.get(lmbda, [])]
        ]

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        self._check_lambdas()
        self._check_sources()
        for name, arm in self.arms.items():
            self._check_arm(name, arm)
        self._check_protocol()
        return self

    def _known(self, path: str, name: str, valid: Mapping[str, Any], what: str) -> None:
        if name not in valid:
            raise _wrong(path, f"unknown {what} '{name}'{nearest(name, valid)}")

    def _check_lambdas(self) -> None:
        spellings: dict[Decimal, str] = {}
        places = [("lambdas", lmbda) for lmbda in self.lambdas]
        for name, arm in self.arms.items():
            places += [(f"arms.{name}.lambdas", lmbda) for lmbda in arm.lambdas or []]
            places += [(f"arms.{name}.extra_seeds", lmbda) for lmbda in arm.extra_seeds]
        for path, lmbda in places:
            first = spellings.setdefault(Decimal(lmbda), lmbda)
            if first != lmbda:
                raise _wrong(path, f"'{lmbda}' and '{first}' are two spellings of one lambda")
        _check_distinct("lambdas", self.lambdas)
        for name, arm in self.arms.items():
            _check_distinct(f"arms.{name}.lambdas", arm.lambdas or [])

    def _check_arm(self, name: str, arm: Arm) -> None:
        path = f"arms.{name}"
        if arm.text is not None:
            self._known(f"{path}.text", arm.text, self.encoders, "text encoder")
        recipe = self.recipe(name)

        def place(key: str) -> str:
            own = getattr(arm.training, key) is not None
            return f"{path}.training.{key}" if own else f"training.{key}"

        self._known(place("dataset"), recipe.dataset, self.datasets, "data set")
        smallest = self.datasets[recipe.dataset].min_side
        if recipe.crop > smallest:
            raise _wrong(
                place("crop"),
                f"{recipe.crop} is larger than the smallest image that "
                f"datasets.{recipe.dataset}.min_side = {smallest} lets in",
            )
        for epoch in recipe.export_epochs:
            if not 1 <= epoch <= recipe.epochs:
                raise _wrong(
                    place("export_epochs"), f"{epoch} is not in 1 ... {recipe.epochs} epochs"
                )
        if isinstance(arm.captions, str):
            self._known(f"{path}.captions", arm.captions, self.captions, "caption source")
        else:
            for dataset, source in arm.captions.items():
                self._known(f"{path}.captions.{dataset}", dataset, self.datasets, "data set")
                self._known(f"{path}.captions.{dataset}", source, self.captions, "caption source")
        for dataset in [recipe.dataset, *(self.protocol.datasets if arm.text else ())]:
            self._check_source(name, arm, dataset)
        for lmbda, seeds in arm.extra_seeds.items():
            if lmbda not in self.lambdas_of(name):
                raise _wrong(f"{path}.extra_seeds", f"'{lmbda}' is not among the arm's lambdas")
            if len({self.seed, *seeds}) != len(seeds) + 1:
                raise _wrong(f"{path}.extra_seeds.{lmbda}", "names a seed twice")

    def _check_source(self, name: str, arm: Arm, dataset: str) -> None:
        """The arm must have captions on `dataset`, from a source that can give them."""
        path = f"arms.{name}.captions"
        try:
            source = arm.source(dataset)
        except KeyError:
            raise _wrong(path, f"names no caption source for data set '{dataset}'") from None
        if isinstance(self.captions[source], Shuffled):
            raise _wrong(path, f"'{source}' is a control (it permutes an arm's own captions)")
        self._check_can_caption(path, source, dataset)

    def _check_can_caption(self, path: str, source: str, dataset: str) -> None:
        kind = self.captions[source]
        if isinstance(kind, Published) and dataset not in kind.files:
            raise _wrong(path, f"captions.{source}.files has no file for data set '{dataset}'")
        if isinstance(kind, Human) and isinstance(self.datasets.get(dataset), Folder):
            raise _wrong(path, f"data set '{dataset}' has no human captions; name another source")

    def _check_sources(self) -> None:
        for name, source in self.captions.items():
            for dataset in source.files if isinstance(source, Published) else ():
                self._known(f"captions.{name}.files.{dataset}", dataset, self.datasets, "data set")
        if OWN in self.captions:
            raise _wrong(
                f"captions.{OWN}", "the name is taken: it stands for an arm's own captions"
            )

    def _check_protocol(self) -> None:
        for codec, qualities in self.protocol.anchors.items():
            _check_distinct(f"protocol.anchors.{codec}", qualities)
        self._known("protocol.baseline", self.protocol.baseline, self.arms, "arm")
        for dataset, how in self.protocol.datasets.items():
            path = f"protocol.datasets.{dataset}"
            self._known(path, dataset, self.datasets, "data set")
            if how.crop and how.crop > self.datasets[dataset].min_side:
                raise _wrong(
                    f"{path}.crop",
                    f"{how.crop} is larger than datasets.{dataset}.min_side = "
                    f"{self.datasets[dataset].min_side}; raise it to leave smaller ones out",
                )
            for control in how.controls:
                if control == OWN:
                    raise _wrong(f"{path}.controls", f"'{OWN}' is always evaluated; leave it out")
                self._known(f"{path}.controls", control, self.captions, "caption source")
                self._check_can_caption(f"{path}.controls", control, dataset)
            _check_distinct(f"{path}.controls", how.controls)


def _check_distinct(path: str, values: Iterable[Any]) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise _wrong(path, f"'{value}' stands there twice")
        seen.add(value)


# What pydantic finds, in the words of somebody who writes YAML. {input} is what stands there.
MESSAGES = {
    "missing": "is missing",
    "union_tag_not_found": "is missing; valid: {kinds}",
    "int_type": "must be a whole number, not {input}",
    "int_parsing": "must be a whole number, not {input}",
    "int_from_float": "must be a whole number, not {input}",
    "float_type": "must be a number, not {input}",
    "float_parsing": "must be a number, not {input}",
    "finite_number": "must be a finite number, not {input}",
    "string_type": "must be text, not {input} (quote it if it is meant so)",
    "path_type": "must be a path, not {input}",
    "list_type": "must be a list, like [a, b], not {input}",
    "tuple_type": "must be a list, like [1, 2], not {input}",
    "dict_type": "must be a mapping of keys, not {input}",
    "model_type": "must be a mapping of keys, not {input}",
    "model_attributes_type": "must be a mapping of keys, not {input}",
    "too_short": "must have at least {min_length} entry",
    "greater_than": "must be above {gt}, not {input}",
    "greater_than_equal": "must be at least {ge}, not {input}",
    "less_than_equal": "must be at most {le}, not {input}",
    "multiple_of": "must be a multiple of {multiple_of}, not {input}",
    "string_pattern_mismatch": "must match {pattern}, not {input}",
}


def _first_problem(error: ValidationError, data: Any) -> str:
    """`path.of.key: message` of the first problem, and how many more there are."""
    problem = error.errors(include_url=False)[0]
    kind, context = problem["type"], problem.get("ctx", {})
    path: list[str] = []
    for number, part in enumerate(problem["loc"], 1):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            # Not in the YAML: a key that is missing, or pydantic's own marks (the tag of a
            # union, `[key]` where the key itself is wrong).
            if kind != "missing" or number < len(problem["loc"]):
                continue
        path.append(str(part))
    text = {"input": "null" if problem["input"] is None else reprlib.repr(problem["input"])}
    if kind == "wrong":
        path.append(str(context["key"]))
        message = str(context["message"])
    elif kind == "union_tag_invalid":
        path.append("kind")
        message = f"unknown kind '{context['tag']}'{nearest(str(context['tag']), _kinds(path[0]))}"
    elif kind == "literal_error":
        valid = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        message = f"unknown value {text['input']}{nearest(str(problem['input']), valid)}"
    elif kind in MESSAGES:
        if kind == "union_tag_not_found":
            path.append("kind")
            text["kinds"] = ", ".join(_kinds(path[0]))
        message = MESSAGES[kind].format(**context, **text)
    else:
        message = problem["msg"].removeprefix("Value error, ")
    more = error.error_count() - 1
    where = f"{'.'.join(path)}: " if path else ""
    # One line, whatever stands in a name.
    return " ".join(f"{where}{message}".split()) + (f" (and {more} more)" if more else "")


def _kinds(section: str) -> list[str]:
    """The kinds of entry that a section of the study may hold."""
    union = {"datasets": Dataset, "captions": Captions, "encoders": TextEncoder}[section]
    models = get_args(get_args(union)[0])
    return [get_args(model.model_fields["kind"].annotation)[0] for model in models]


def validate(data: Any, origin: str) -> Study:
    """A `Study` from plain data; `origin` names the file in messages. Raises `UserError`."""
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{origin}: {_first_problem(error, data)}") from None


def load(path: Path, overrides: Iterable[str] = ()) -> Study:
    """A `Study` from a YAML file; `overrides` are `key=value` for top-level keys."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a config with --config") from None
    except (
        yaml.YAMLError,
        ValueError,
    ) as error:  # ValueError: not UTF-8, or a date like 2020-99-99
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: not a study: a mapping of keys is needed")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"--set {override}: write KEY=VALUE")
        try:
            data[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:
            raise UserError(
                f"--set {override}: not valid YAML: {' '.join(str(error).split())}"
            ) from None
    return validate(data, str(path))


def schema() -> str:
    """The JSON schema that editors use; `config/study.schema.json` holds it."""
    return json.dumps(Study.model_json_schema(), indent=2) + "\n"
