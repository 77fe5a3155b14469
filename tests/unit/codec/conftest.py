"""Small codecs with weights that make every layer matter, and pictures for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from authors_file import golden as fill
from tacolab.codec import Elic, Taco

SMALL: dict[str, Any] = {"N": 16, "M": 24, "groups": (4, 8, 12)}


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
