"""The images of an evaluation, cropped as the protocol says."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tacolab.keys import Artefact
from tacolab.packed import Packed


class Images:
    """A packed data set as the evaluation sees it."""

    def __init__(self, data: Artefact, crop: int | None) -> None:
        self._packed = Packed(data.folder)
        self._crop = crop

    @property
    def ids(self) -> Sequence[str]:
        return self._packed.ids

    def rgb(self, index: int) -> np.ndarray:
        """H x W x 3, uint8; the centre where a crop is configured."""
        pixels = self._packed.rgb(index)
        if self._crop is None:
            return pixels
        top = (pixels.shape[0] - self._crop) // 2
        left = (pixels.shape[1] - self._crop) // 2
        return pixels[top : top + self._crop, left : left + self._crop]


def to_tensor(pixels: np.ndarray, device: torch.device) -> Tensor:
    """H x W x 3 uint8 -> 1 x 3 x H x W in [0, 1]."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].to(device).float() / 255


def to_pixels(x: Tensor) -> np.ndarray:
    """1 x 3 x H x W -> H x W x 3 uint8, clamped and rounded as a viewer would store it."""
    rounded = (x[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return rounded.permute(1, 2, 0).cpu().numpy()


def example_ids(ids: Sequence[str], count: int) -> list[str]:
    """`count` images spread evenly over the list, or all where there are fewer."""
    count = min(count, len(ids))
    return [ids[i * len(ids) // count] for i in range(count)]
