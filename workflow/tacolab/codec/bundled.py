"""The trained models that come with tacolab: small ones, for single pictures and as starts.

`low`, `middle` and `high` are rates, without text; `text` is steered by a caption, at the middle
rate. `workflow/small_models/` tells how they were trained, `docs/codec.md` how good they are.
"""

import hashlib
import json
from pathlib import Path

from tacolab.errors import UserError

MODELS = Path(__file__).with_name("models")
RATES = ("low", "middle", "high")
TEXT = "text"
NAMES = (*RATES, TEXT)


def path(name: str) -> Path:
    """The model file; `model.json` lies beside it. Raises UserError for what is none of NAMES, and
    where the file is missing."""
    if name not in NAMES:
        raise UserError(
            f"{name}: is neither a bundled model ({', '.join(NAMES)}) nor a model.safetensors"
        )
    file = MODELS / name / "model.safetensors"
    if not file.is_file():
        raise UserError(f"{file}: this bundled model is missing; install tacolab again")
    return file


def sha256(name: str) -> str:
    """Of the model file."""
    return hashlib.sha256(path(name).read_bytes()).hexdigest()


def name_of(model_id: bytes) -> str | None:
    """The bundled model whose file's sha256 begins so, by what the model.json beside it says."""
    for name in NAMES:
        try:
            described = json.loads((MODELS / name / "model.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        if bytes.fromhex(described["sha256"]["model.safetensors"]).startswith(model_id):
            return name
    return None
