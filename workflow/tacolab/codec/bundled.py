"""The trained models that come with tacolab: small ones, for single pictures and as starts.

`low`, `middle` and `high` are rates, without text; `text` is steered by a caption, at the middle
rate. `workflow/small_models/` tells how they were trained, `docs/codec.md` how good they are.
"""

import hashlib
from pathlib import Path

RATES = ("low", "middle", "high")
TEXT = "text"


def path(name: str) -> Path:
    """The model file; `model.json` lies beside it."""
    return Path(__file__).parent / "models" / name / "model.safetensors"


def sha256(name: str) -> str:
    """Of the model file."""
    return hashlib.sha256(path(name).read_bytes()).hexdigest()
