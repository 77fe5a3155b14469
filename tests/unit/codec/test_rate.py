"""The estimated rate is the real one, for symbols that follow the model's own distributions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tacolab.codec import Elic
from tacolab.codec.checkerboard import Colour, anchor_mask


@pytest.mark.parametrize("scale", [0.5, 1.0, 8.0])
def test_y(elic: Elic, scale: float) -> None:
    elic.update(force=True)
    for nets in (elic.entropy_parameters_anchor, elic.entropy_parameters_nonanchor):
        for net in nets:
            last = net.fusion[-1]
            with torch.no_grad():
                scales_weight, _ = last.weight.chunk(2)
                scales_bias, _ = last.bias.chunk(2)
                scales_weight *= 0.3 * scale
                scales_bias.fill_(scale)
    generator = torch.Generator().manual_seed(0)
    hyper = torch.randn(1, 2 * elic.M, 64, 64, generator=generator)
    drawn = []

    def draw(group: int, colour: Colour, scales: Tensor, means: Tensor) -> Tensor:
        spread = scales.clamp(min=0.11) * torch.randn(scales.shape, generator=generator)
        drawn.append(means + spread)
        return means + spread.round()

    with torch.no_grad():
        _, scales, _ = elic._passes(hyper, draw)
        anchor = anchor_mask(hyper)
        y = torch.cat(
            [torch.where(anchor, a, n) for a, n in zip(drawn[::2], drawn[1::2], strict=True)], dim=1
        )
        string, _, estimated = elic._encode_y(y, hyper)
    assert scales.std() > 0.02 * scale  # several tables of the coder are in use
    print(f"scale {scale}: real / estimated = {8 * len(string) / estimated:.4f}")
    assert 8 * len(string) == pytest.approx(estimated, rel=0.01)


def test_z() -> None:
    elic = Elic(N=16, M=24, groups=(24,))  # CompressAI's initial distribution of z is a wide one
    # The tables end at the quantiles, which the auxiliary loss has not put into their places yet.
    elic.entropy_bottleneck.update(force=True, update_quantiles=True)
    elic.update()
    with torch.no_grad():
        candidates = (elic._medians() + torch.arange(-200, 201)).unsqueeze(0)
        probability = elic._z_likelihood(candidates).view(elic.N, -1)
        generator = torch.Generator().manual_seed(0)
        drawn = torch.multinomial(probability, 4096, replacement=True, generator=generator)
        z = candidates.view(elic.N, -1).gather(1, drawn).view(1, elic.N, 64, 64)
        string, z_hat, _ = elic._encode_z(z)
        estimated = -elic._z_likelihood(z_hat).double().log2().sum().item()
    print(f"z: real / estimated = {8 * len(string) / estimated:.4f}")
    assert 8 * len(string) == pytest.approx(estimated, rel=0.01)
