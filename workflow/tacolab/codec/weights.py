"""Reads state dicts: the authors' files, old CompressAI names, and what does not fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tacolab.codec.attention import AttentionKind

CODING_TABLE = re.compile(
    r"(gaussian_conditional|entropy_bottleneck)"
    r"\.(_offset|_quantized_cdf|_cdf_length|scale_table)"
)
CODING_TABLES = 7  # three of either model, and the scales
# What wraps a network leaves its name where it wrapped: DataParallel and its kin, torch.compile.
WRAPPERS = ("module", "_orig_mod")
# CompressAI before 1.2.5 kept the entropy bottleneck's layers as _matrix0, _bias0, _factor0.
OLD_NAME = re.compile(r"entropy_bottleneck\._(matrix|bias|factor)(\d+)")
NEW_NAME = {"matrix": "matrices", "bias": "biases", "factor": "factors"}


def normalise(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict under today's names, its coding tables emptied.

    The tables (CDFs, scale table) of a file of others come from whichever CompressAI, machine and
    number of epochs called `update()` on it, before or after the weights had changed: they are
    never believed. Those of our own model files are, see `Elic.load_tables`.

    Raises:
        ValueError: this is not a state dict but a checkpoint that holds one, or two of its names
            are one without what wrapped the network.
    """
    if "state_dict" in state_dict:
        raise ValueError("this is a whole checkpoint: pass its entry 'state_dict'")
    weights = {}
    for name, value in state_dict.items():
        name = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if old := OLD_NAME.fullmatch(name):
            name = f"entropy_bottleneck.{NEW_NAME[old[1]]}.{old[2]}"
        if name in weights:
            raise ValueError(f"two of its tensors are {name}: it holds more than one network")
        weights[name] = torch.empty(0, dtype=value.dtype) if CODING_TABLE.fullmatch(name) else value
    return weights


def read_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """N, M and groups of the network, from the shapes of its tensors."""
    N = _majority(
        weights,
        ("g_a.analysis_transform.0.weight", 0, 1),
        ("h_a.reduction.0.weight", 0, 1),
        ("h_s.increase.0.weight", 0, 1),
    )
    M = _majority(
        weights,
        ("h_a.reduction.0.weight", 1, 1),
        ("h_s.increase.0.weight", 1, 1),
        ("g_s.synthesis_transform.1.weight", 0, 1),
    )
    groups: list[int] = []
    while channels := _majority(
        weights,
        (f"local_context.{len(groups)}.weight", 1, 1),
        (f"local_context.{len(groups)}.bias", 0, 2),
        (f"entropy_parameters_anchor.{len(groups)}.fusion.4.bias", 0, 2),
    ):
        groups.append(channels)
    # Where nothing is left to read a size from, the constructor's default stands.
    return {k: v for k, v in {"N": N, "M": M, "groups": tuple(groups)}.items() if v}


def read_text_dim(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """text_dim of a network with a text adapter."""
    text_dim = _majority(
        weights,
        ("g_a.analysis_transform.8.text_feature_dim_proj.weight", 1, 1),
        ("g_a.analysis_transform.14.image_norm.weight", 0, 1),
        ("g_a.analysis_transform.15.text_feature_dim_proj.weight", 1, 1),
    )
    return {"text_dim": text_dim} if text_dim else {}


def read_attention(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """attention and text_tokens of a network with linear attention.

    Nothing for the other kinds: their parameters are the same, so a file does not tell them apart.
    """
    injectors = [f"g_a.analysis_transform.{place}.cross_attn" for place in (8, 15)]
    mixtures = [f"{name}.key_mixture" for name in injectors]
    rank = _majority(weights, *((name, 0, 1) for name in mixtures))
    text_tokens = _majority(weights, *((name, 1, 1) for name in mixtures))
    if not rank:
        return {}
    shared = not any(f"{name}.value_mixture" in weights for name in injectors)
    return {
        "text_tokens": text_tokens,
        "attention": AttentionKind(kind="linformer", rank=rank, shared=shared),
    }


def _majority(weights: Mapping[str, Tensor], *places: tuple[str, int, int]) -> int:
    """A size from several places (name, dimension, divisor) that hold it; 0 if all are missing.

    The majority decides, so that one missing or damaged tensor is reported as itself and not
    taken for a network of another size.
    """
    votes = Counter(
        weights[name].shape[dimension] // divisor
        for name, dimension, divisor in places
        if name in weights and weights[name].ndim > dimension
    )
    return votes.most_common(1)[0][0] if votes else 0


def check_fit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], network: str) -> None:
    """Raises ValueError listing all tensors that are missing, extra or of the wrong shape."""
    missing = [name for name in expected if name not in weights]
    extra = [name for name in weights if name not in expected]
    wrong = [
        f"{name} is {tuple(weights[name].shape)}, must be {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    found = {"missing": missing, "extra": extra, "wrong shape": wrong}
    lines = [f"  {kind} ({len(x)}): {', '.join(x)}" for kind, x in found.items() if x]
    if lines:
        raise ValueError("\n".join([f"this state dict does not fit {network}:", *lines]))
