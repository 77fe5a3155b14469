"""The two colours of ELIC's checkerboard: anchors are coded first, their neighbours after."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor


class Colour(IntEnum):
    """The parity of (row + column)."""

    ANCHOR = 1
    NON_ANCHOR = 0


def anchor_mask(like: Tensor) -> Tensor:
    """(H, W) boolean, true at the anchors of `like` (..., H, W)."""
    rows = torch.arange(like.shape[-2], device=like.device)
    columns = torch.arange(like.shape[-1], device=like.device)
    return (rows[:, None] + columns) % 2 == Colour.ANCHOR


def squeeze(x: Tensor, colour: Colour) -> Tensor:
    """One colour of (B, C, H, W) as (B, C, H, W/2), row by row; H and W are even."""
    even_rows = x[..., 0::2, colour::2]
    odd_rows = x[..., 1::2, 1 - colour :: 2]
    return torch.stack((even_rows, odd_rows), dim=-2).flatten(-3, -2)


def unsqueeze(x: Tensor, colour: Colour) -> Tensor:
    """(B, C, H, W/2) back at its places in (B, C, H, W), zero at the other colour."""
    out = x.new_zeros((*x.shape[:-1], 2 * x.shape[-1]))
    out[..., 0::2, colour::2] = x[..., 0::2, :]
    out[..., 1::2, 1 - colour :: 2] = x[..., 1::2, :]
    return out
