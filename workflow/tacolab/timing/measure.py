"""Times and peak memory of a step, and intervals that assume nothing about their distribution."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch


class Measured(NamedTuple):
    """milliseconds; MiB at the peak beyond what was there before (weights, inputs)."""

    milliseconds: float
    memory: float | None


class Interval(NamedTuple):
    """The median and its 95 % interval."""

    median: float
    low: float
    high: float


def once(step: Callable[[], object], device: torch.device) -> Measured:
    """CUDA events on a GPU (host work in between counts), wall time on a CPU."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        start.record()
        step()
        end.record()
        torch.cuda.synchronize(device)
        used = torch.cuda.max_memory_allocated(device) - before
        return Measured(start.elapsed_time(end), used / 2**20)
    resident = _forget_peak()
    begun = time.perf_counter()
    step()
    seconds = time.perf_counter() - begun
    peak = _resident("VmHWM")
    memory = None if resident is None or peak is None else (peak - resident) / 1024
    return Measured(1000 * seconds, memory)


def rounds(
    steps: Mapping[str, Callable[[], object]],
    device: torch.device,
    warmup: int,
    repeats: int,
) -> dict[str, list[Measured]]:
    """Every step once per round, so that what disturbs the machine disturbs all of them.

    The order turns from round to round. A step that runs out of memory has no measurements.
    """
    found: dict[str, list[Measured]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(warmup + repeats):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            try:
                measured = once(steps[name], device)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                names.remove(name)
                found[name] = []
                if device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            if number >= warmup:
                found[name].append(measured)
    return found


def interval(values: Sequence[float]) -> Interval:
    """Between two order statistics; of fewer than 6 values, between the smallest and largest.

    The number of values below the median is binomial with p = 1/2, whatever they are.
    """
    ordered = sorted(values)
    n = len(ordered)
    outside, k = 0.0, 0  # P(fewer than k values below the median)
    while k < n // 2 and (outside := outside + math.comb(n, k) / 2**n) <= 0.025:
        k += 1
    cut = max(0, k - 1)
    return Interval(median(ordered), ordered[cut], ordered[n - 1 - cut])


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _forget_peak() -> int | None:
    """Make Linux forget the peak of this process; what is resident now [KiB]."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _resident("VmRSS")


def _resident(name: str) -> int | None:
    """A line of /proc/self/status [KiB]."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
