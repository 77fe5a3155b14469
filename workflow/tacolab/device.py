"""Where a stage computes."""

from typing import Literal

import torch

from tacolab.errors import UserError


def pick_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """`auto` is a GPU where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("execution.device = cuda, but torch sees no GPU; set it to auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
