"""The estimated rate is the real one, for symbols that follow the model's own distributions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tacolab.codec import Elic
from tacolab.codec.checkerboard import Colour, anchor_mask

SIDE = 1024  # of the picture in pixels


@pytest.mark.parametrize("scale", [0.5, 1.0, 8.0])
def test_y(elic: Elic, scale: float) -> None:
    for nets in (elic.entropy_parameters_anchor, elic.entropy_parameters_nonanchor):
        for net in nets:
            last = net.fusion[-1]
            with torch.no_grad():
                scales_weight, _ = last.weight.chunk(2)
                scales_bias, _ = last.bias.chunk(2)
                scales_weight *= 0.3 * scale
                scales_bias.fill_(scale)
    elic.update(force=True)
    generator = torch.Generator().manual_seed(0)
    z = (3 * torch.randn(1, elic.N, SIDE // 64, SIDE // 64, generator=generator)).round()
    drawn = []

    def draw(group: int, colour: Colour, scales: Tensor, means: Tensor) -> Tensor:
        spread = scales.clamp(min=0.11) * torch.randn(scales.shape, generator=generator)
        drawn.append(means + spread)
        return means + spread.round()

    with torch.no_grad():
        hyper = elic.h_s(z)  # its medians are zero
        _, scales, _ = elic.passes(hyper, draw)
    anchor = anchor_mask(hyper)
    y = torch.cat(
        [torch.where(anchor, a, n) for a, n in zip(drawn[::2], drawn[1::2], strict=True)], dim=1
    )
    (encoded,) = elic.encode_latents(y, z, SIDE, SIDE)
    assert scales.std() > 0.02 * scale  # several tables of the coder are in use
    real, estimated = 8 * len(encoded.y_string), encoded.bits_y
    print(f"scale {scale}: real / estimated = {real / estimated:.4f}")
    assert real == pytest.approx(estimated, rel=0.01)


def test_z() -> None:
    elic = Elic(N=16, M=24, groups=(24,)).eval()  # CompressAI's initial distribution is a wide one
    # The tables end at the quantiles, which the auxiliary loss has not put into their places yet.
    elic.entropy_bottleneck.update(force=True, update_quantiles=True)
    elic.update(force=True)
    medians = elic.entropy_bottleneck.quantiles[:, :, 1:2].detach()
    candidates = (medians + torch.arange(-200, 201)).transpose(0, 1)  # 1 x N x 401
    with torch.no_grad():
        _, probability = elic.entropy_bottleneck(candidates)
    generator = torch.Generator().manual_seed(0)
    side = SIDE // 16
    drawn = torch.multinomial(probability[0], side**2, replacement=True, generator=generator)
    z = candidates[0].gather(1, drawn).view(1, elic.N, side, side)
    (encoded,) = elic.encode_latents(
        torch.zeros(1, elic.M, 4 * side, 4 * side), z, 64 * side, 64 * side
    )
    real, estimated = 8 * len(encoded.z_string), encoded.bits_z
    print(f"z: real / estimated = {real / estimated:.4f}")
    assert real == pytest.approx(estimated, rel=0.01)
