"""A small OFA with random weights, in the files of OFA's authors. It describes nothing."""

import json
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel

from tacolab.stages.captions.network.ofa import BINS, CODES
from tacolab.stages.captions.network.ofa_network import REBUILT, OfaNetwork, Shape

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
MERGES = ["h e", "Ġ t", "Ġt he", "Ġ a"]


def config(vocabulary: int) -> dict[str, object]:
    """What config.json says, as far as it is read."""
    sizes = {"attention_heads": 2, "ffn_dim": 32, "layers": 1}
    parts = {f"{part}_{k}": v for part in ("encoder", "decoder") for k, v in sizes.items()}
    return parts | {"vocab_size": vocabulary, "d_model": 32, "resnet_type": "resnet50"}


def random_weights(shape: Shape) -> dict[str, torch.Tensor]:
    """Larger than at the start of a training: captions depend on the image, on a few patches."""
    torch.manual_seed(0)
    weights = OfaNetwork(shape).state_dict()
    for name, value in weights.items():
        if "embed_images" not in name and value.ndim == 2:
            value.normal_(std=5 if "cross_attn.k_proj" in name else 0.5)
    # The authors store tables of indices, too.
    return weights | {name: torch.zeros(2, 2, dtype=torch.long) for name in REBUILT}


def save(folder: Path) -> Path:
    """Write the folder; its name should say that the weights are random."""
    words = [*SPECIAL, *sorted(ByteLevel.alphabet()), *(pair.replace(" ", "") for pair in MERGES)]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    settings = config(len(words) + CODES + BINS)
    (folder / "config.json").write_text(json.dumps(settings))
    torch.save(random_weights(Shape.read(settings)), folder / "pytorch_model.bin")
    return folder
