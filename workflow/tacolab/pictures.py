"""Decoded pictures as 8-bit RGB, and their middle."""

import numpy as np
from PIL import Image

# Modes with more than 8 bits: Pillow would clip them to white without a word.
_DEEP = ("I", "F")


def rgb(image: Image.Image) -> np.ndarray:
    """H x W x 3 uint8. Grey, palette and CMYK become RGB, 16-bit grey is scaled, alpha dropped.

    Raises ValueError for pixels of an unknown range.
    """
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.float64)
        grey = np.round(deep / 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in _DEEP:
        raise ValueError(f"pixels of mode {image.mode} have no known range; save it with 8 bits")
    return np.asarray(image.convert("RGB"))


def centre_crop(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle `side` x `side` of H x W x 3; neither H nor W may be less."""
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]
