"""Relative positions in OFA: which row of a layer's tables a pair of positions reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TEXT_POSITIONS = 1024
TEXT_BUCKETS = 256  # relative positions up to half of it have a row each, farther ones share
IMAGE_SIDE = 42  # patches; the tables know images up to this


def grid(rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column of each patch, in reading order."""
    places = torch.arange(rows * columns, device=device)
    return places // columns, places % columns


def image_offsets(y: Tensor, x: Tensor) -> Tensor:
    """Row of the image table for each pair of patches, n x n."""
    dy, dx = (place[:, None] - place[None] + IMAGE_SIDE - 1 for place in (y, x))
    return dy * (2 * IMAGE_SIDE - 1) + dx


def text_offsets(start: int, stop: int, device: torch.device) -> Tensor:
    """Row of the text table for positions start ... stop - 1 against 0 ... stop - 1.

    Near positions have a row per distance; beyond `half` rows grow logarithmically apart.
    """
    positions = torch.arange(stop, device=device)
    distance = positions[start:, None] - positions[None]
    half = TEXT_BUCKETS // 2
    far = distance.abs().clamp(min=half)
    growth = torch.log(far / half) / torch.log(torch.tensor((TEXT_POSITIONS - 1) / half))
    rank = torch.ceil(growth * (half - 1)).long() + half
    row = torch.where(distance.abs() <= half, distance, rank * distance.sign())
    return row + TEXT_BUCKETS - 1


def relative_bias(table: nn.Module, offsets: Tensor) -> Tensor:
    """T x S rows of a table -> 1 x heads x T x S."""
    bias: Tensor = table(offsets).permute(2, 0, 1)[None]
    return bias
