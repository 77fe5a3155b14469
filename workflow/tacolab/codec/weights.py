"""Reads state dicts: the authors' files, old CompressAI names, and what does not fit."""

from __future__ import annotations

import re
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
# The tensors whose shapes define a network's sizes: a wrong one makes all others seem wrong.
DEFINES_N = "g_a.analysis_transform.0.weight"
DEFINES_M = "g_s.synthesis_transform.1.weight"
DEFINES_GROUP = "local_context.{}.weight"
DEFINES_CONTEXTS = ("channel_context.1.fushion.0.weight", "channel_context.1.fushion.2.weight")
DEFINES_TEXT_DIM = "g_a.analysis_transform.8.text_feature_dim_proj.weight"
DEFINES_ATTENTION = "g_a.analysis_transform.8.cross_attn.key_mixture"
READ_FROM = (
    f"N was read from {DEFINES_N}, M from {DEFINES_M}, the groups from "
    f"{DEFINES_GROUP.format('*')}, the widths of contexts from {DEFINES_CONTEXTS[0]}"
)


# Networks up to twice as wide as the published ones are built without further questions.
USUAL = {"N": 384, "M": 640, "text_dim": 4096, "text_tokens": 4096}
USUAL_GROUPS, USUAL_CONTEXT = 16, 512


class MisfitError(ValueError):
    """Tensors that are not those of the network whose sizes they tell; a line for each kind."""


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
    """N, M, groups and contexts of the network, each from the tensor that defines it.

    Raises:
        ValueError: such a tensor is missing, or has not its number of dimensions.
    """
    N, *_ = _shape(weights, DEFINES_N, 4, "N")
    M, *_ = _shape(weights, DEFINES_M, 4, "M")
    # Every group has a context; by any of its tensors it is counted, by its weight measured.
    contexts = {name.split(".")[1] for name in weights if name.startswith("local_context.")}
    groups = [
        _shape(weights, DEFINES_GROUP.format(i), 4, "the size of a channel group")[1]
        for i in range(max(len(contexts), 1))
    ]
    sizes = {"N": N, "M": M, "groups": tuple(groups)}
    if len(groups) > 1:  # the first group has no channel context
        sizes["contexts"] = tuple(
            _shape(weights, name, 4, "the width of channel contexts")[0]
            for name in DEFINES_CONTEXTS
        )
    return sizes


def is_usual(sizes: Mapping[str, Any]) -> bool:
    """Whether a network of these sizes is no larger than one expects."""
    return (
        len(sizes["groups"]) <= USUAL_GROUPS
        and max(sizes.get("contexts", (0,))) <= USUAL_CONTEXT
        and all(sizes.get(name, 0) <= most for name, most in USUAL.items())
    )


def read_text_dim(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """text_dim of a network with a text adapter; nothing of one without.

    Raises:
        ValueError: as `read_sizes`.
    """
    if not any("text_" in name for name in weights):
        return {}
    return {"text_dim": _shape(weights, DEFINES_TEXT_DIM, 2, "text_dim")[1]}


def read_attention(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """attention and text_tokens of a network with linear attention.

    Nothing for the other kinds: their parameters are the same, so a file does not tell them apart.

    Raises:
        ValueError: as `read_sizes`.
    """
    if not any(name.endswith(".key_mixture") for name in weights):
        return {}
    what = "the attention's rank and text_tokens"
    rank, text_tokens = _shape(weights, DEFINES_ATTENTION, 2, what)
    shared = DEFINES_ATTENTION.replace("key_mixture", "value_mixture") not in weights
    return {
        "text_tokens": text_tokens,
        "attention": AttentionKind(kind="linformer", rank=rank, shared=shared),
    }


def _shape(weights: Mapping[str, Tensor], name: str, dimensions: int, what: str) -> torch.Size:
    """The shape of a tensor that defines a size of the network."""
    if name not in weights:
        raise ValueError(f"this state dict has no {name}, whose shape tells {what}")
    shape = weights[name].shape
    if len(shape) != dimensions:
        raise ValueError(
            f"{name} is {tuple(shape)}, must have {dimensions} dimensions: its shape tells {what}"
        )
    return shape


def check_fit(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], network: str, sizes: str = ""
) -> None:
    """Raises MisfitError listing all tensors that are missing, extra or of the wrong shape.

    sizes: where those of the network come from, said with wrong shapes.
    """
    missing = [name for name in expected if name not in weights]
    extra = [name for name in weights if name not in expected]
    wrong = [
        f"{name} is {tuple(weights[name].shape)}, must be {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    found = {"missing": missing, "extra": extra, "wrong shape": wrong}
    lines = [f"  {kind} ({len(x)}): {', '.join(x)}" for kind, x in found.items() if x]
    if wrong and sizes:
        lines.append(f"  {sizes}")
    if lines:
        raise MisfitError("\n".join([f"this state dict does not fit {network}:", *lines]))


def in_one_line(misfit: ValueError) -> str:
    """What `check_fit` says, cut to the length of a message."""
    head, *lists = str(misfit).splitlines()
    found = " ".join([head, "; ".join(line.strip() for line in lists)]).strip()
    return f"{found[:240]} ..." if len(found) > 240 else found
