"""The trained models that come with the package: three rates, and one that captions steer."""

import json
from pathlib import Path

from tacolab.errors import UserError

MODELS = Path(__file__).with_name("models")
RATES = ("low", "middle", "high")
TEXT = "text"  # at the middle rate
NAMES = (*RATES, TEXT)


def bundled(name: str) -> Path:
    """The model file of one of NAMES. Raises UserError for another name, or where it is missing."""
    if name not in NAMES:
        raise UserError(
            f"{name}: is neither a bundled model ({', '.join(NAMES)}) nor a model.safetensors"
        )
    path = MODELS / name / "model.safetensors"
    if not path.is_file():
        raise UserError(f"{path}: this bundled model is missing; install tacolab again")
    return path


def name_of(model_id: bytes) -> str | None:
    """The bundled model whose file's sha256 begins so, by what the model.json beside it says."""
    for name in NAMES:
        try:
            described = json.loads((MODELS / name / "model.json").read_text(encoding="utf-8"))
            found = bytes.fromhex(described["sha256"]["model.safetensors"])
        except FileNotFoundError:
            continue
        if found.startswith(model_id):
            return name
    return None
