"""Large pictures in tiles, so that memory does not grow with what a camera takes.

Convolutions see a neighbourhood only: computed with a margin of that size and cut again, tiles fit
together without a seam. At the picture's own edges there is no margin, and the zeros that
convolutions add there are the same as without tiles.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TILE = 1536  # side [pixels]; a picture of twice the area is not cut yet


def tiled(layers: Callable[[Tensor], Tensor], x: Tensor, stride: int, margin: int) -> Tensor:
    """layers(x) for x (B, C, H, W), where an output depends on `margin` places of x to each side.

    stride: pixels that a place of x stands for. margin: even, as the sides of x are, for layers
    that halve them.
    """
    side = TILE // stride
    H, W = x.shape[-2:]
    if 2 * side**2 >= H * W:
        return layers(x)
    out = x[:0]
    for top in range(0, H, side):
        for left in range(0, W, side):
            bottom, right = min(top + side, H), min(left + side, W)
            above, before = max(0, top - margin), max(0, left - margin)
            below, behind = min(H, bottom + margin), min(W, right + margin)
            part = layers(x[..., above:below, before:behind])
            up, down = part.shape[-1], behind - before  # how the layers scale

            def cut(start: int, stop: int, up: int = up, down: int = down) -> slice:
                return slice(start * up // down, stop * up // down)

            if not out.numel():
                size = (x.shape[0], part.shape[1], H * up // down, W * up // down)
                out = torch.empty(
                    size, dtype=part.dtype, device=x.device, memory_format=torch.channels_last
                )
            inside = part[..., cut(top - above, bottom - above), cut(left - before, right - before)]
            out[..., cut(top, bottom), cut(left, right)] = inside
    return out
