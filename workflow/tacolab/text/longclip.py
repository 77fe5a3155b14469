"""The text tower of Long-CLIP (ECCV 2024, arXiv 2403.15378) from its authors' file.

They publish `longclip-B.pt`, a state dict in the layout of OpenAI's CLIP with two tables of 248
positions: the first 20 positions come from `positional_embedding`, which keeps CLIP's own, the
others from `positional_embedding_res`, which was interpolated and trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from tacolab.errors import UserError
from tacolab.files import torch_files

KEPT = 20  # positions of CLIP that Long-CLIP leaves as they are
HEAD_WIDTH = 64  # of every CLIP text tower
NAMES = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def read(path: Path) -> CLIPTextModel:
    """The text tower of the authors' file. Raises UserError when it is not there or another."""
    try:
        with path.open("rb") as file:
            weights = torch_files.read(file, path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; put the authors' longclip-B.pt there") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return convert(weights)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not in the layout of longclip-B.pt ({reason})") from None


def convert(weights: Mapping[str, Tensor]) -> CLIPTextModel:
    """OpenAI's names to those of `transformers`; what belongs to the image tower is left out."""
    first, others = weights["positional_embedding"], weights["positional_embedding_res"]
    renamed = {
        "embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "embeddings.position_embedding.weight": torch.cat([first[:KEPT], others[KEPT:]]),
        "final_layer_norm.weight": weights["ln_final.weight"],
        "final_layer_norm.bias": weights["ln_final.bias"],
    }
    layers = 0
    while f"transformer.resblocks.{layers}.ln_1.weight" in weights:
        here, there = f"transformer.resblocks.{layers}", f"encoder.layers.{layers}"
        for kind in ("weight", "bias"):
            for part, new in NAMES.items():
                renamed[f"{there}.{new}.{kind}"] = weights[f"{here}.{part}.{kind}"]
            # OpenAI holds the three projections of attention in one matrix.
            parts = weights[f"{here}.attn.in_proj_{kind}"].chunk(3)
            for letter, value in zip("qkv", parts, strict=True):
                renamed[f"{there}.self_attn.{letter}_proj.{kind}"] = value
        layers += 1

    vocabulary, width = weights["token_embedding.weight"].shape
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=len(weights["transformer.resblocks.0.mlp.c_fc.weight"]),
            num_hidden_layers=layers,
            num_attention_heads=width // HEAD_WIDTH,
            max_position_embeddings=len(others),
            hidden_act="quick_gelu",
        )
    )
    model.load_state_dict(renamed)  # in float32, whatever the file has
    return model
