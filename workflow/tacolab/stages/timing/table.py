"""The rows of a point: one per kind of attention."""

from __future__ import annotations

from typing import Any

import torch

from tacolab.config import Timing
from tacolab.config.models import CodecSize
from tacolab.stages.timing.counts import attention_products, multiply_adds
from tacolab.stages.timing.measure import interval, rounds
from tacolab.stages.timing.points import WIDTHS, Point
from tacolab.stages.timing.workloads import Step, network, step

# Column -> type; docs/timing.md says what each holds.
COLUMNS = {
    "machine": str,
    "device": str,
    "device_type": str,
    "threads": int,
    "experiment": str,
    "part": str,
    "attention": str,
    "batch": int,
    "tokens": int,
    "side": int,
    "width_factor": int,
    "channels": int,
    "repeats": int,
    "milliseconds": float,
    "low": float,
    "high": float,
    "ratio": float,
    "ratio_low": float,
    "ratio_high": float,
    "memory": float,
    "multiply_adds": int,
    "attention_products": int,
    "note": str,
}


def rows(
    point: Point, timing: Timing, size: CodecSize, device: torch.device
) -> list[dict[str, Any]]:
    """Measure a point; what ran out of memory has a note in place of times."""
    steps: dict[str, Step] = {}
    for attention in timing.attention:
        torch.manual_seed(0)
        codec = network(point, attention, timing, size)
        if point.part in ("compress", "decompress"):
            codec.update(force=True)
        codec.to(device)
        steps[attention.kind] = step(codec, point, timing.text_dim, device)
    repeats = timing.pairs if point.experiment == WIDTHS else timing.repeats
    found = rounds(steps, device, timing.warmup, repeats)
    reference = found[timing.attention[0].kind].milliseconds
    made = []
    for attention in timing.attention:
        times, memory = found[attention.kind]
        row: dict[str, Any] = {
            "attention": attention.kind,
            "channels": size.N * point.width_factor,
            "repeats": len(times),
            "multiply_adds": multiply_adds(point, attention, timing, size),
            "attention_products": attention_products(point, attention, timing, size),
            "memory": memory,
            "note": "" if times else "out of memory",
        }
        if times:
            time = interval(times)
            row |= {"milliseconds": time.median, "low": time.low, "high": time.high}
        if times and reference:
            ratio = interval([own / first for own, first in zip(times, reference, strict=True)])
            row |= {"ratio": ratio.median, "ratio_low": ratio.low, "ratio_high": ratio.high}
        made.append(row)
    return made
