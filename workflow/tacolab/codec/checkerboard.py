"""The two colours of ELIC's checkerboard: anchors are coded first, their neighbours after."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor
from torch.nn import functional as F


class Colour(IntEnum):
    """The parity of (row + column)."""

    ANCHOR = 1
    NON_ANCHOR = 0


def anchor_mask(like: Tensor) -> Tensor:
    """(H, W) boolean, true at the anchors of `like` (..., H, W)."""
    rows = torch.arange(like.shape[-2], device=like.device)
    columns = torch.arange(like.shape[-1], device=like.device)
    return (rows[:, None] + columns) % 2 == Colour.ANCHOR


def take(x: Tensor, colour: Colour) -> Tensor:
    """One colour of (B, H, W, C) as (B H W/2, C), row by row; H and W are even."""
    even_rows = x[:, 0::2, colour::2]
    odd_rows = x[:, 1::2, 1 - colour :: 2]
    return torch.stack((even_rows, odd_rows), dim=2).view(-1, x.shape[-1])


def put(rows: Tensor, x: Tensor, colour: Colour) -> None:
    """Write (B H W/2, C) to their places in x (B, H, W, C)."""
    B, H, W, C = x.shape
    split = rows.view(B, H // 2, 2, W // 2, C)
    x[:, 0::2, colour::2] = split[:, :, 0]
    x[:, 1::2, 1 - colour :: 2] = split[:, :, 1]


def neighbours(B: int, H: int, W: int, taps: tuple[tuple[int, int], ...], like: Tensor) -> Tensor:
    """(B H W/2, taps): which rows of `take(x, ANCHOR)` lie in the windows of the others.

    taps: (row, column) in a window of 5 x 5. The number behind the last row stands for outside.
    """
    half = B * H * W // 2
    places = torch.full((B, H, W, 1), half, device=like.device)
    put(torch.arange(half, device=like.device)[:, None], places, Colour.ANCHOR)
    padded = F.pad(places, (0, 0, 2, 2, 2, 2), value=half)
    windows = [padded[:, row : row + H, column : column + W] for row, column in taps]
    return take(torch.cat(windows, dim=3), Colour.NON_ANCHOR)
