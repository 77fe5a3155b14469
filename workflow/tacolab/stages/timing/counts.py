"""Multiply-adds, counted from the operations that torch would run (no data, no time)."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from tacolab.codec import Taco
from tacolab.codec.adapter import IMAGE_GRID
from tacolab.config import Attention, Timing
from tacolab.config.models import CodecSize
from tacolab.stages.timing.points import Point
from tacolab.stages.timing.workloads import inputs, network, rate_distortion, step


def multiply_adds(point: Point, attention: Attention, timing: Timing, size: CodecSize) -> int:
    """Of one measurement: convolutions and matrix products (a training step: backward, too)."""
    meta = torch.device("meta")
    with meta:
        codec = network(point, attention, timing, size)
    codec.to(meta)  # not all of CompressAI's tensors are made there
    with FlopCounterMode(display=False) as counter:
        if point.part in ("attention", "encoder", "forward"):
            step(codec, point, timing.text_dim, meta)()
        else:
            with torch.set_grad_enabled(point.part == "training"):
                loss = rate_distortion(codec, *inputs(point, timing.text_dim, meta))
            if point.part == "training":
                loss.backward()
    # Entropy coding multiplies nothing: what a coder lacks of the whole is the other transform.
    lacking = {"compress": ("g_s",), "decompress": ("g_a", "h_a")}.get(point.part, ())
    by_module = counter.get_flop_counts()
    unused = sum(sum(by_module[f"{Taco.__name__}.{name}"].values()) for name in lacking)
    return int(counter.get_total_flops() - unused) // 2


def attention_products(point: Point, attention: Attention, timing: Timing, size: CodecSize) -> int:
    """Of them, what one pass through the adapter spends along the sequences.

    Q K^T and the weights times V in all three attentions, and Linformer's mixtures: the part in
    which the kinds differ by design. Projections along the channels are not in it.
    """
    quarter, eighth = (point.side // 4) ** 2, (point.side // 8) ** 2
    N = size.N * point.width_factor
    grid = IMAGE_GRID[0] * IMAGE_GRID[1]

    def of(dim: int, queries: int, tokens: int, reference: int) -> int:
        if attention.kind != "linformer":
            return 2 * queries * tokens * dim
        mixtures = 1 if attention.shared else 2
        return mixtures * attention.rank * reference * dim + 2 * queries * attention.rank * dim

    tokens = point.tokens
    return point.batch * (
        of(N, quarter, tokens, tokens)
        + of(timing.text_dim, tokens, eighth, grid)
        + of(N, eighth, tokens, tokens)
    )
