"""The codec: ELIC (arm `image-only`) and TACO, the same network with a text adapter."""

import tacolab.codec.lean  # noqa: F401  # before anything imports CompressAI

# isort: split
from tacolab.codec.elic import Elic
from tacolab.codec.taco import Taco

__all__ = ["Elic", "Taco"]
