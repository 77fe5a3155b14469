"""Codes latents in a process that plays another machine; prints what it made of them as JSON.

    python elsewhere.py FOLDER [--threads 2] [--batch 1] [--without-onednn]

FOLDER: `network.safetensors`, `latents.safetensors` (y, z of pictures of one size) and, once a
first process has written them (`--write`), the streams `y.0`, `z.0`, ... Needs torch, numpy, numba
and safetensors alone.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from tacolab.codec.latent_codec import LatentCodec


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--without-onednn", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with torch.backends.mkldnn.flags(enabled=not options.without_onednn):
        print(json.dumps(coded(options.folder, options.batch, options.write)))


def coded(folder: Path, batch: int, write: bool) -> dict[str, Any]:
    """sha256 of the strings, checksums after encoding and after decoding, sha256 of y_hat; and of
    what the network's first layer computes in floats, which tells machines apart."""
    weights = load_file(folder / "network.safetensors")
    latents = load_file(folder / "latents.safetensors")
    codec = LatentCodec(weights)
    found: dict[str, Any] = {"strings": [], "encoded": [], "decoded": [], "y_hat": []}
    for start in range(0, len(latents["y"]), batch):
        y, z = latents["y"][start : start + batch], latents["z"][start : start + batch]
        made = codec.encode(y, z)
        found["encoded"] += made.checksums
        strings = list(zip(made.y_strings, made.z_strings, strict=True))
        found["strings"] += [hashlib.sha256(b"".join(pair)).hexdigest() for pair in strings]
        names = [(folder / f"y.{i}", folder / f"z.{i}") for i in range(start, start + len(y))]
        if write:
            for pair, paths in zip(strings, names, strict=True):
                for content, path in zip(pair, paths, strict=True):
                    path.write_bytes(content)
        files = [[[a.read_bytes()], [b.read_bytes()]] for a, b in names]
        y_hat, checksums = codec.decode(files, z.shape[-2:])
        found["decoded"] += checksums
        found["y_hat"] += [hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in y_hat]
    name = "channel_context.1.fushion.0"
    floats = F.conv2d(y_hat[:, : weights[f"{name}.weight"].shape[1]], weights[f"{name}.weight"])
    found["floats"] = hashlib.sha256(floats.numpy().tobytes()).hexdigest()
    return found


if __name__ == "__main__":
    main()
