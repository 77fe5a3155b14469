"""Quality of a decoded 8-bit image against its original."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_msssim import ms_ssim
from torch import Tensor

from tacolab.codec.pixels import to_tensor
from tacolab.quality.names import METRIC_NAMES
from tacolab.quality.perceptual import Lpips, Range

# MS-SSIM halves the image four times and then needs an 11-pixel window.
MS_SSIM_MIN_SIDE = 161
# AlexNet's strides and pools leave nothing of less.
LPIPS_MIN_SIDE = 31

UNROUNDED = tuple(f"{name}_float" for name in METRIC_NAMES)  # see Metrics.unrounded


class Metrics:
    """PSNR [dB], MS-SSIM and LPIPS in both ranges; what a small image leaves undefined is empty."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.lpips = Lpips().to(device)

    def __call__(self, original: np.ndarray, decoded: np.ndarray) -> dict[str, float | None]:
        """Two H x W x 3 uint8 images; a lossless one has no finite PSNR and leaves it empty."""
        error = np.mean((original.astype(np.float64) - decoded.astype(np.float64)) ** 2)
        x, x_hat = to_tensor(original, self.device), to_tensor(decoded, self.device)
        return self._measure(x, x_hat, float(error) / 255**2)

    def unrounded(self, original: np.ndarray, x_hat: Tensor) -> dict[str, float | None]:
        """The same of a network's own output, 1 x 3 x H x W, as TACO's authors measure it:
        neither rounded to 8 bit nor clamped to [0, 1]. Names end in `_float`."""
        x = to_tensor(original, self.device)
        error = (x - x_hat).double().square().mean().item()
        measured = self._measure(x, x_hat, error)
        return {f"{name}_float": value for name, value in measured.items()}

    @torch.no_grad()
    def _measure(self, x: Tensor, x_hat: Tensor, error: float) -> dict[str, float | None]:
        """Of 1 x 3 x H x W, nominally in [0, 1], with their mean squared error."""
        side = min(x.shape[2:])
        ranges: tuple[tuple[str, Range], ...] = (
            ("lpips_published", "published"),
            ("lpips", "standard"),
        )
        return {
            "psnr": -10 * math.log10(error) if error > 0 else None,
            "ms_ssim": ms_ssim(x, x_hat, data_range=1.0).item()
            if side >= MS_SSIM_MIN_SIDE
            else None,
            **{
                name: self.lpips(x, x_hat, range_).item() if side >= LPIPS_MIN_SIDE else None
                for name, range_ in ranges
            },
        }


def tabulate(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A table of rows; a metric that is empty in all of them is still a column of numbers."""
    table = pd.DataFrame(rows)
    return table.astype({name: float for name in (*METRIC_NAMES, *UNROUNDED) if name in table})
