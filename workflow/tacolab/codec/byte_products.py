"""Exact products of large integers by a processor's units for 8 bits, which it has many of.

A number of 24 bits is three digits between -128 and 127 of base 256. Products of digits are summed
in 32 bits without rounding, and the digits' sums are put together in float64: the same integers as
a product in float64, two to three times as fast where there is VNNI.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

BASE = 256
DIGITS = 3  # of an activation
# That three digits can write; with the sign turned they can, too.
LARGEST = 127 * (1 + BASE + BASE**2)
MOST = 2**15  # products of two digits that a sum may have: three such sums fit into 31 bits


def available(device: torch.device) -> bool:
    """Whether the device multiplies bytes quickly, and exactly: older units saturate."""
    return (
        device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        and bool(torch.backends.mkldnn.enabled)
        and _has_vnni()
        and _is_exact()
    )


def digits(x: Tensor, count: int = DIGITS) -> Tensor:
    """(count, *x.shape) int8: the digits of integers (float64), the lowest first."""
    # 128 in each place carries a digit above 127 into the next; of what is left, the bytes are the
    # digits plus 128, which is their highest bit.
    half = sum(BASE // 2 * BASE**place for place in range(DIGITS))
    split = x.int().contiguous().add_(half).bitwise_xor_(half).view(torch.int8).view(*x.shape, 4)
    return split.movedim(-1, 0)[:count].contiguous()


def weight_digits(weight: Tensor) -> Tensor | None:
    """(K, count N) int8 of integers (K, N), as few digits as they have; None if there are none."""
    largest = weight.abs().max().item()
    if len(weight) > MOST or largest > LARGEST:
        return None
    count = next(n for n in (1, 2, 3) if largest <= 127 * sum(BASE**i for i in range(n)))
    return digits(weight, count).transpose(0, 1).flatten(1).contiguous()


def product(x: Tensor, weight: Tensor, out: Tensor) -> None:
    """Write to out (n, N) float64: of digits x (DIGITS n, K) and `weight_digits`."""
    sums = torch._int_mm(x, weight).view(DIGITS, len(out), -1, out.shape[1])
    count = sums.shape[2]
    for place in range(DIGITS + count - 2, -1, -1):
        same = [sums[i, :, place - i] for i in range(DIGITS) if 0 <= place - i < count]
        part = sum(same[1:], same[0])
        if place == DIGITS + count - 2:
            out.copy_(part)
        else:
            out.mul_(BASE).add_(part)


@cache
def _has_vnni() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return "avx512_vnni" in flags and hasattr(torch, "_int_mm")


@cache
def _is_exact() -> bool:
    """Of the digits that make the largest sums, and of some between."""
    K, N = 512, 64
    x = torch.arange(96 * K).remainder(255).sub(127).to(torch.int8).view(96, K)
    weight = torch.arange(K * N).remainder(251).sub(125).to(torch.int8).view(K, N)
    x[:3], x[3:6], weight[:, 0], weight[:, 1] = -128, 127, -128, 127
    return torch.equal(torch._int_mm(x, weight).double(), x.double() @ weight.double())
