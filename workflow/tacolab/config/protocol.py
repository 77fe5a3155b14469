"""The section `protocol` of the study's YAML: how models are evaluated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tacolab.config.fields import InKey, Name, Strict
from tacolab.config.models import Model


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
