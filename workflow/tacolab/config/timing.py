"""The section `timing` of the study's YAML."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tacolab.config.fields import Name, Strict, wrong
from tacolab.config.models import Attention

Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=64, multiple_of=64)]
Part = Literal["attention", "encoder", "compress", "decompress", "training"]


class Timing(Strict):
    """What is timed, and where. Nothing of it depends on data or trained weights."""

    machines: dict[Name, str] = Field(
        min_length=1,
        description="`{NAME: TEXT}`: the text must be part of the device's name, like `V100`; `''` "
        "for any; in no key",
    )
    attention: tuple[Attention, ...] = Field(
        (Attention(kind="softmax"), Attention(kind="sdpa"), Attention(kind="linformer")),
        min_length=1,
        description="kinds to compare, as in `arms.NAME.attention`, one of each; first softmax, "
        "with which the others are compared",
    )
    parts: tuple[Part, ...] = Field(
        ("attention", "encoder", "compress", "decompress", "training"), description="what is timed"
    )
    text_tokens: tuple[Count, ...] = Field(
        (38, 77, 248, 512, 1024, 2048),
        min_length=1,
        description="text lengths [tokens]; the first also for all sides",
    )
    sides: tuple[Side, ...] = Field(
        (256, 512, 1024, 2048),
        min_length=1,
        description="of square images, multiples of 64 [pixels]; the first also for all lengths",
    )
    training_sides: tuple[Side, ...] = Field(
        (256, 512), min_length=1, description="the same for training, which needs far more memory"
    )
    training_batch: int = Field(8, ge=1, description="samples of a training step; all else has one")
    text_dim: int = Field(512, ge=8, multiple_of=8, description="width of the text features")
    warmup: int = Field(3, ge=1, description="rounds before the first that counts")
    repeats: int = Field(20, ge=1, description="rounds that count; each measures every kind once")
    width_factors: tuple[Count, ...] = Field(
        (),
        description="the earlier experiment: channels of the Injectors in multiples of `codec.N`; "
        "`[]`: left out",
    )
    pairs: int = Field(5000, ge=1, description="image-text pairs for each of these widths")

    @model_validator(mode="after")
    def _distinct(self) -> Timing:
        kinds = [attention.kind for attention in self.attention]
        if len(set(kinds)) < len(kinds):
            raise wrong("attention", "names a kind twice")
        if kinds[0] != "softmax":
            raise wrong("attention", "must begin with softmax, with which the others are compared")
        return self
