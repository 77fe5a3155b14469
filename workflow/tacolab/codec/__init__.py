"""The codec: ELIC (arm `image-only`) and TACO, the same network with a text adapter."""

from tacolab.codec.elic import Elic
from tacolab.codec.taco import Taco

__all__ = ["Elic", "Taco"]
