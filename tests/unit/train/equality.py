"""Two trainings are equal when weights, optimisers and history are, to the bit."""

from pathlib import Path
from typing import Any

import torch

from tacolab.stages.train import checkpoint


def assert_equal(model: Path, other: Path) -> None:
    """`model` and `other` are folders of finished models."""
    for name in ("state/train.jsonl", "model.safetensors", "epoch-3.safetensors"):
        assert (model / name).read_bytes() == (other / name).read_bytes(), name
    ours, theirs = (checkpoint.latest(folder / "state") for folder in (model, other))
    assert ours is not None and theirs is not None
    for name in ours.keys() - {"seconds", "generation"}:
        assert_same(ours[name], theirs[name], name)


def assert_same(a: Any, b: Any, where: str = "") -> None:
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}.{i}")
    else:
        assert a == b, where
