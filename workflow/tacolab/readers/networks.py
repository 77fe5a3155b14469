"""The codec and the text encoder of an arm, from the config."""

from tacolab.codec.attention import AttentionKind
from tacolab.codec.elic import Elic
from tacolab.codec.taco import Taco
from tacolab.config import Study
from tacolab.text.encoders import FrozenText, build


def build_codec(study: Study, arm: str) -> Elic:
    """The arm's network with fresh weights from torch's global random numbers."""
    size, how = study.codec, study.arms[arm]
    if how.text is None:
        return Elic(size.N, size.M, size.groups, size.contexts)
    encoder = study.encoders[how.text]
    tokens = 1 if how.token_weighting == "pooled" else encoder.positions
    kind = AttentionKind(**how.attention.model_dump())
    return Taco(size.N, size.M, size.groups, encoder.width, tokens, kind, size.contexts)


def build_text(study: Study, arm: str) -> FrozenText | None:
    """The arm's text encoder; None for a codec that reads no text."""
    how = study.arms[arm]
    return build(study.encoders[how.text], how.token_weighting) if how.text else None
