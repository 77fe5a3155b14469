"""The codec: ELIC (arm `image-only`) and TACO, the same network with a text adapter.

They are imported at their first use: the entropy coding needs none of what they do, CompressAI
above all, and so runs on machines that have no more than torch and numba.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tacolab.codec.elic import Elic
    from tacolab.codec.taco import Taco

__all__ = ["Elic", "Taco"]


def __getattr__(name: str) -> Any:
    if name == "Elic":
        from tacolab.codec.elic import Elic

        return Elic
    if name == "Taco":
        from tacolab.codec.taco import Taco

        return Taco
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
