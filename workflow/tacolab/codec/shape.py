"""How sizes of pictures and latents relate: the padding to 64 and the shape that is sent."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

STRIDE = 64  # one element of z stands for 64 x 64 pixels


class LatentShape(tuple[int, ...]):
    """(zH, zW) as CompressAI has it, which may also remember the picture's own (H, W)."""

    picture: tuple[int, int] | None = None

    @classmethod
    def of(cls, height: int, width: int) -> LatentShape:
        """The shape of z for a picture of `height` x `width` pixels."""
        shape = cls((-(-height // STRIDE), -(-width // STRIDE)))
        shape.picture = (height, width)
        return shape


def pad(x: Tensor) -> Tensor:
    """(B, C, H, W) with zeros at the right and bottom up to multiples of 64."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE))


def crop(x: Tensor, height: int, width: int) -> Tensor:
    """The top left `height` x `width` of (B, C, H, W): undoes `pad`."""
    return x[..., :height, :width]
