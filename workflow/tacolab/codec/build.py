"""The codec and the text encoder of an arm, from the config."""

from tacolab.codec.elic import Elic
from tacolab.codec.taco import Taco
from tacolab.codec.text import FrozenText, build
from tacolab.config import Study


def build_codec(study: Study, arm: str) -> Elic:
    """The arm's network with fresh weights from torch's global random numbers."""
    size = study.codec
    text = study.arms[arm].text
    if text is None:
        return Elic(size.N, size.M, size.groups)
    return Taco(size.N, size.M, size.groups, study.encoders[text].width)


def build_text(study: Study, arm: str) -> FrozenText | None:
    """The arm's text encoder; None for a codec that reads no text."""
    text = study.arms[arm].text
    return build(study.encoders[text]) if text else None
