"""Trained codecs from their weight files, ready to code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from tacolab.codec.attention import AttentionKind, FullAttention
from tacolab.codec.elic import Elic
from tacolab.codec.precision import Precision, lower
from tacolab.codec.taco import Taco
from tacolab.codec.weights import CODING_TABLE, CODING_TABLES
from tacolab.errors import UserError
from tacolab.files import atomic, intact
from tacolab.files.texts import loads


def load_network(
    path: Path,
    spec: Mapping[str, Any],
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
) -> Elic:
    """In eval mode, ready to code. Raises UserError naming the file when it does not fit.

    spec: what the model's key covers (`text.spec` of model.json). It tells whether the codec reads
    text and how it attends. `softmax` codes as `sdpa` does, which is the same function.
    """
    kind = Taco if spec["text"] else Elic
    try:
        attention = AttentionKind(**spec.get("attention", {}))
        known = {"attention": attention} if kind is Taco else {}
        weights = load_file(path)
        network = kind.from_state_dict(weights, **known).eval()
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{path}: no weights of a {kind.__name__} codec ({_reason(error)})"
        ) from None
    quicken(network.to(device), precision)
    try:
        if not has_tables(weights):
            raise ValueError(
                "has no coding tables: an earlier version exported it; add them once, with "
                f"tacolab upgrade {path}"
            )
        network.load_tables(weights)
        network.latent_codec()
    except (ValueError, RuntimeError, KeyError) as error:
        raise UserError(f"{path}: {_reason(error)}") from None
    return network


def quicken(network: Elic, precision: Precision = "fp32") -> None:
    """The same network in the form in which it codes fastest."""
    for layer in network.modules():
        if isinstance(layer, FullAttention):  # the same function, without the matrix of weights
            layer.fused = True
    # The convolutions of a CPU, and of a GPU's tensor cores, want the channels last.
    network.to(memory_format=torch.channels_last)
    lower(network, precision)


def has_tables(weights: Mapping[str, Tensor]) -> bool:
    """Whether all coding tables stand in a state dict."""
    tables = [tensor for name, tensor in weights.items() if CODING_TABLE.fullmatch(name)]
    return len(tables) == CODING_TABLES and all(tensor.numel() for tensor in tables)


def upgrade(path: Path) -> bool:
    """Add coding tables to a model file of an earlier version; whether there were none.

    A training's model.json beside it learns the new sha256. Raises UserError.
    """
    description = path.with_name("model.json")
    try:
        told = loads(description.read_text(encoding="utf-8"))
        kind = Taco if told["text"]["spec"]["text"] else Elic
        weights = load_file(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: no model file with its model.json beside it ({_reason(error)})"
        ) from None
    added = not has_tables(weights)
    if added:
        try:
            weights = kind.from_state_dict(weights).exported()
        except ValueError as error:
            raise UserError(f"{path}: {_reason(error)}") from None
        atomic.write_bytes(path, save(weights, metadata))
    if isinstance(told.get("sha256"), dict) and path.name in told["sha256"]:
        atomic.write_json(description, told | {"sha256": intact.sha256(path)})
    return added


def _reason(error: Exception) -> str:
    shown = " ".join(str(error).split()) or type(error).__name__
    return f"{shown[:240]} ..." if len(shown) > 240 else shown
