"""Times and peak memory of a step, and intervals that assume nothing about their distribution."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch


class Measured(NamedTuple):
    """A time per round [ms], and the largest need beyond weights and inputs [MiB]."""

    milliseconds: list[float]
    memory: float | None


class Interval(NamedTuple):
    """The median and its 95 % interval."""

    median: float
    low: float
    high: float


def milliseconds(step: Callable[[], object], device: torch.device) -> float:
    """CUDA events on a GPU (host work in between counts), wall time on a CPU."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        start.record()
        step()
        end.record()
        torch.cuda.synchronize(device)
        return float(start.elapsed_time(end))
    begun = time.perf_counter()
    step()
    return 1000 * (time.perf_counter() - begun)


def memory(step: Callable[[], object], device: torch.device) -> float | None:
    """MiB at the peak beyond what was there before; None where the system does not tell."""
    if device.type == "cuda":
        allocated = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return (torch.cuda.max_memory_allocated(device) - allocated) / 2**20
    resident = _forget_peak()
    step()
    peak = _resident("VmHWM")
    return None if resident is None or peak is None else (peak - resident) / 1024


def rounds(
    steps: Mapping[str, Callable[[], object]],
    device: torch.device,
    warmup: int,
    repeats: int,
) -> dict[str, Measured]:
    """Every step once per round, so that what disturbs the machine disturbs all of them.

    The order turns from round to round. Memory is looked at in a round of its own after the
    `warmup`: a first call needs some for itself. A step that runs out of memory has no times.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    needs: dict[str, float | None] = dict.fromkeys(steps)
    names = list(steps)
    for number in range(warmup + 1 + repeats):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            try:
                if number < warmup:
                    steps[name]()
                elif number == warmup:
                    needs[name] = memory(steps[name], device)
                else:
                    times[name].append(milliseconds(steps[name], device))
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                names.remove(name)
                times[name], needs[name] = [], None
                if device.type == "cuda":
                    torch.cuda.empty_cache()
    return {name: Measured(times[name], needs[name]) for name in steps}


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
    """Make Linux forget the peak of this process; what is resident now [KiB].

    Freed memory goes back to Linux first: what the C library keeps would hide the next need.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):  # not Linux, another C library
        return None
    return _resident("VmRSS")


def _resident(name: str) -> int | None:
    """A line of /proc/self/status [KiB]."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
