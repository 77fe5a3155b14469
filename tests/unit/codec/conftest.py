"""Small codecs with weights that make every layer matter, and pictures for them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tacolab.codec import Elic, Taco

SMALL: dict[str, Any] = {"N": 16, "M": 24, "groups": (4, 8, 12)}


def fill(model: Elic) -> Elic:
    """Weights made from their names, as for the golden files: the same on every machine."""
    skipped = (
        "gaussian_conditional",
        "entropy_bottleneck.quantiles",
        "entropy_bottleneck.target",
        "entropy_bottleneck.likelihood_lower_bound",
        "entropy_bottleneck._",
    )
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.startswith(skipped):
                continue
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            r = torch.randn(value.shape, generator=generator)
            if name.startswith("entropy_bottleneck."):
                r = 0.1 * r
            elif name.endswith("norm.weight"):
                r = 1 + 0.1 * r
            elif name.endswith("gamma"):
                r = 0.3 * r
            elif value.ndim >= 2:
                r = r / value[0].numel() ** 0.5
            else:
                r = 0.05 * r
            value.copy_(r)
    return model


@pytest.fixture(scope="session")
def filled() -> Callable[[Elic], Elic]:
    return fill


@pytest.fixture
def taco() -> Taco:
    """A small Taco in eval mode, not updated."""
    model = Taco(**SMALL, text_dim=32)
    fill(model)
    return model.eval()


@pytest.fixture
def elic() -> Elic:
    """A small Elic in eval mode, not updated."""
    return fill(Elic(**SMALL)).eval()


@pytest.fixture
def sample() -> Callable[..., tuple[Tensor, Tensor]]:
    """(batch of pictures in 0..1, text features of width 32) of a seed."""

    def make(height: int, width: int, batch: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        x = torch.rand(batch, 3, height, width, generator=generator)
        return x, torch.randn(batch, 7, 32, generator=generator)

    return make
