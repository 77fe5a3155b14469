"""A weight file as TACO's authors write theirs, around RANDOM weights: it compresses nothing well.

    python tests/authors_file.py data/weights/RANDOM-0.004.pth.tar --n 32 --m 16 \
        --groups 4 12 --text-dim 384

The layout: a state dict under old CompressAI's names and DataParallel's prefix, with coding tables
that were made on another machine; optimisers and schedulers; the best numbers so far; paths.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tacolab.codec import Elic, Taco

OLD = {"matrices.": "_matrix", "biases.": "_bias", "factors.": "_factor"}


def golden(model: Elic) -> Elic:
    """Weights made from their names, so that every layer matters; the same on every machine."""
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


def state_dict(model: Elic) -> dict[str, Tensor]:
    """`module.` before every name, the entropy bottleneck's old names, coding tables filled."""
    model.update(force=True)
    weights = {}
    for name, value in model.state_dict().items():
        if name.startswith("entropy_bottleneck."):
            for new, old in OLD.items():
                name = name.replace(new, old)
        weights[f"module.{name}"] = value
    return weights


def checkpoint(model: Elic) -> dict[str, Any]:
    """Everything that a file of theirs holds, after one step of both optimisers."""
    named = dict(model.named_parameters())
    quantiles = [named.pop("entropy_bottleneck.quantiles")]
    optimizer = torch.optim.Adam(named.values(), lr=1e-4)
    aux_optimizer = torch.optim.Adam(quantiles, lr=1e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[45, 48], gamma=0.1)
    weights = {name: value.clone() for name, value in state_dict(model).items()}
    for parameter in (*named.values(), *quantiles):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    aux_optimizer.step()
    scheduler.step()
    return {
        "epoch": 49,
        "state_dict": weights,
        "optimizer": optimizer.state_dict(),
        "aux_optimizer": aux_optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "best_psnr": 30.1,
        "best_ms_ssim": 0.9,
        "best_bpp": float("inf"),
        "best_lpips": 0.024,
        "recent_saved_model_path": "./RANDOM WEIGHTS, no model/recent_model_epoch_50.pth.tar",
        "best_psnr_model_path": "",
        "best_ms_ssim_model_path": "",
        "best_bpp_model_path": "",
        "best_lpips_model_path": "",
    }


def write(path: Path, **sizes: Any) -> Path:
    """The file of a Taco of these sizes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint(golden(Taco(**sizes))), path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--n", type=int, default=192)
    parser.add_argument("--m", type=int, default=320)
    parser.add_argument("--groups", type=int, nargs="+", default=[16, 16, 32, 64, 192])
    parser.add_argument("--text-dim", type=int, default=512)
    options = parser.parse_args()
    print(
        write(
            options.path, N=options.n, M=options.m, groups=options.groups, text_dim=options.text_dim
        )
    )
