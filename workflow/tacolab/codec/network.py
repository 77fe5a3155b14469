"""Trained codecs from their weight files, ready to code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from tacolab.codec.elic import Elic
from tacolab.codec.taco import Taco
from tacolab.config import Attention
from tacolab.errors import UserError


def load_network(path: Path, spec: Mapping[str, Any]) -> Elic:
    """In eval mode, with coding tables. Raises UserError naming the file when it does not fit.

    spec: what the model's key covers (`text.spec` of model.json). It tells whether the codec reads
    text and how it attends, since `softmax` and `sdpa` have the same weights.
    """
    kind = Taco if spec["text"] else Elic
    try:
        attention = Attention.model_validate(spec.get("attention", "softmax"))
        known = {"attention": attention} if kind is Taco else {}
        network = kind.from_state_dict(load_file(path), **known).eval()
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: no weights of a {kind.__name__} codec ({reason})") from None
    network.update(force=True)
    return network
