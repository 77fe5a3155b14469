"""8-bit pictures to the network's tensors and back."""

import numpy as np
import torch
from torch import Tensor


def to_tensor(pixels: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """H x W x 3 uint8 -> 1 x 3 x H x W in [0, 1]."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].to(device).float() / 255


def to_pixels(x: Tensor) -> np.ndarray:
    """1 x 3 x H x W -> H x W x 3 uint8, clamped and rounded as a viewer would store it."""
    rounded = (x[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return rounded.permute(1, 2, 0).cpu().numpy()
