"""CMMD from CLIP embeddings (Jayasumana et al., CVPR 2024): a kernel distance between two sets."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SIGMA = 10.0  # of the Gaussian kernel
SCALE = 1000.0
ROWS = 4096  # of a block of the kernel matrix: 128 MiB in float64


def cmmd(
    a: npt.NDArray[np.float32],
    b: npt.NDArray[np.float32],
    groups: npt.NDArray[np.int64],
    device: torch.device,
) -> tuple[float, list[float]]:
    """CMMD of two sets of embeddings, n x d each, and CMMD without each group of rows.

    Row i of both is of the same image and in group `groups[i]`. The biased estimator: every pair
    counts, also an image with itself. Leaving a group out only drops blocks of sums, so that all
    values come from one pass over the three n x n kernel matrices, of which no more than a block
    is ever in memory.
    """
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    x, y = (_parts(values[order], sizes, device) for values in (a, b))
    # Signed as in the squared distance: k(x, x) + k(y, y) - 2 k(x, y)
    pairs = _sums(x, x, symmetric=True) + _sums(y, y, symmetric=True)
    crossed = _sums(x, y)
    pairs -= crossed + crossed.T
    n = int(sizes.sum())
    left_out = [
        SCALE * (pairs.sum() - pairs[g].sum() - pairs[:, g].sum() + pairs[g, g]) / (n - m) ** 2
        for g, m in enumerate(sizes)
        if m < n
    ]
    return float(SCALE * pairs.sum() / n**2), [float(value) for value in left_out]


def _parts(
    values: npt.NDArray[np.float32], sizes: npt.NDArray[np.int64], device: torch.device
) -> list[Tensor]:
    """Unit vectors of each group, in float64."""
    rows = torch.from_numpy(values).to(device, torch.float64)
    unit = rows / rows.norm(dim=1, keepdim=True)
    return list(unit.split(sizes.tolist()))


def _sums(x: list[Tensor], y: list[Tensor], symmetric: bool = False) -> npt.NDArray[np.float64]:
    """Sum of kernel values minus 1 over every pair of groups: the ones cancel in the distance, and
    left in they would take most of the digits.

    Of unit vectors |x - y|^2 = 2 - 2 x.y, so the kernel is exp((x.y - 1) / sigma^2).
    """
    sums = np.zeros((len(x), len(y)))
    for i, rows in enumerate(x):
        for j, columns in enumerate(y):
            if symmetric and j < i:
                sums[i, j] = sums[j, i]
                continue
            blocks = [
                torch.expm1((part @ other.T - 1) / SIGMA**2).sum()
                for part in rows.split(ROWS)
                for other in columns.split(ROWS)
            ]
            sums[i, j] = torch.stack(blocks).sum().item()
    return sums
