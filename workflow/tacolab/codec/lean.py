"""CompressAI's entropy models, coder and layers, without the rest of its package.

CompressAI imports all of itself at once: point clouds with torch-geometric, data sets, a zoo. That
is half of the seconds in which a job only starts, and a study has thousands of jobs. From here it
comes without; whoever imports the rest later gets it.
"""

import importlib
import importlib.util
import sys
from types import ModuleType

USED = ("ans", "entropy_models", "layers", "models.utils")
PACKAGES = (
    *("datasets", "latent_codecs", "losses", "models", "optimizers", "registry", "transforms"),
    "zoo",
)


def load() -> None:
    """Import what is used; of the other packages only the places, and these for the moment."""
    spec = importlib.util.find_spec("compressai")
    if "compressai" in sys.modules or spec is None:
        return
    places = {f"compressai.{name}": ModuleType(f"compressai.{name}") for name in PACKAGES}
    for name, place in places.items():
        folder = name.removeprefix("compressai.")
        place.__path__ = [f"{path}/{folder}" for path in spec.submodule_search_locations or ()]
    if "scipy.stats" not in sys.modules:  # scipy loads it when coding tables are made
        places["scipy.stats"] = ModuleType("scipy.stats")
    sys.modules.update(places)
    try:
        for name in USED:
            importlib.import_module(f"compressai.{name}")
    finally:
        for name in places:
            del sys.modules[name]
    for name in PACKAGES:
        delattr(sys.modules["compressai"], name)


load()

from compressai.entropy_models import EntropyBottleneck, GaussianConditional  # noqa: E402
from compressai.layers import AttentionBlock  # noqa: E402
from compressai.models.utils import conv, deconv  # noqa: E402

__all__ = ["AttentionBlock", "EntropyBottleneck", "GaussianConditional", "conv", "deconv"]
