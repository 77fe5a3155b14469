"""A small network and latents made of integers alone, and the streams that they are coded to.

    python golden_latents.py > golden_streams.json     (once: the streams never change again)

Integers from a generator that is written out here, so that nothing depends on a library's version;
needs torch, numpy and numba alone.
"""

import json
import sys
from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor

N, GROUPS = 4, (2, 4, 6)
M = sum(GROUPS)
SCALES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def _stream(seed: int) -> Callable[[int], list[int]]:
    """Integers in -500..500 (MINSTD, Park and Miller 1988)."""
    state = seed

    def draw(count: int) -> list[int]:
        nonlocal state
        found = []
        for _ in range(count):
            state = state * 48271 % (2**31 - 1)
            found.append(state % 1001 - 500)
        return found

    return draw


def network() -> dict[str, Tensor]:
    """The entries of an Elic's state dict that code latents."""
    draw = _stream(1)
    weights: dict[str, Tensor] = {}

    def layer(name: str, outputs: int, *shape: int) -> None:
        """Weights of some hundredths, so that scales and means are of the size of SCALES."""
        count = torch.Size(shape).numel()
        fine = 2.0 ** -(9 + max(0, (count // outputs).bit_length() // 2))
        weights[f"{name}.weight"] = torch.tensor(draw(count)).view(shape) * fine
        weights[f"{name}.bias"] = torch.tensor(draw(outputs)) * 2.0**-10

    for place, (inputs, outputs) in {0: (N, M), 2: (M, 2 * M), 4: (2 * M, 2 * M)}.items():
        side = 3 if place == 4 else 5
        layer(f"h_s.increase.{place}", outputs, inputs, outputs, side, side)
    for i, c in enumerate(GROUPS):
        before = sum(GROUPS[:i])
        layer(f"local_context.{i}", 2 * c, 2 * c, c, 5, 5)
        for place, inputs, outputs in ((0, before, 8), (2, 8, 8), (4, 8, 2 * c)) if i else ():
            layer(f"channel_context.{i}.fushion.{place}", outputs, outputs, inputs, 5, 5)
        known = 2 * M + (2 * c if i else 0)
        for name, inputs in (("anchor", known), ("nonanchor", known + 2 * c)):
            for place, (a, b) in {0: (inputs, 8), 2: (8, 8), 4: (8, 2 * c)}.items():
                layer(f"entropy_parameters_{name}.{i}.fusion.{place}", b, b, a, 1, 1)
    weights["entropy_bottleneck.quantiles"] = torch.tensor(draw(3 * N)).view(N, 1, 3) / 512
    weights["gaussian_conditional.scale_table"] = torch.tensor(SCALES)
    for model, widths in (
        ("entropy_bottleneck", [2 + i for i in range(N)]),
        ("gaussian_conditional", [1 + round(3 * scale) for scale in SCALES]),
    ):
        weights |= _tables(model, widths)
    return weights


def _tables(model: str, widths: list[int]) -> dict[str, Tensor]:
    """Of triangles that reach from -width to width, and a little for all that lies outside."""
    rows = []
    for width in widths:
        heights = [width + 1 - abs(i) for i in range(-width, width + 1)]
        parts = [height * 65000 // sum(heights) for height in heights]
        parts.append(2**16 - sum(parts))
        rows.append([0, *accumulate(parts)])
    longest = max(map(len, rows))
    return {
        f"{model}._quantized_cdf": torch.tensor([r + [0] * (longest - len(r)) for r in rows]).int(),
        f"{model}._cdf_length": torch.tensor([len(row) for row in rows]).int(),
        f"{model}._offset": torch.tensor([-width for width in widths]).int(),
    }


def latents() -> tuple[Tensor, Tensor]:
    """y (2, M, 16, 24) and z (2, N, 4, 6), up to some and a few far ones."""
    draw = _stream(2)
    y = torch.tensor(draw(2 * M * 16 * 24)).view(2, M, 16, 24) / 256
    z = torch.tensor(draw(2 * N * 4 * 6)).view(2, N, 4, 6) / 128
    y[:, :, 3, 5] *= 4096
    return y, z


def main() -> None:
    from tacolab.codec.latent_codec import LatentCodec

    codec = LatentCodec(network())
    y, z = latents()
    coded = codec.encode(y, z)
    pairs = list(zip(coded.y_strings, coded.z_strings, strict=True))
    y_hat, _ = codec.decode([[[a], [b]] for a, b in pairs], z.shape[-2:])
    content = {
        "shape": list(z.shape[-2:]),
        "checksums": coded.checksums,
        "sums": [int(one.sum()) for one in (y_hat.double() * 2**12).round().long()],
        "strings": [{"y": a.hex(), "z": b.hex()} for a, b in pairs],
    }
    json.dump(content, sys.stdout, indent=1)
    scales = coded.y_scales
    print(f"scales {scales.min():.3f} to {scales.max():.3f}", file=sys.stderr)


if __name__ == "__main__":
    main()
