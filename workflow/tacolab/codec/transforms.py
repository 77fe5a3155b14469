"""ELIC's four transforms g_a, g_s, h_a, h_s as plain stacks (CVPR 2022, arXiv 2203.10886)."""

from __future__ import annotations

from torch import Tensor, nn

from tacolab.codec.layers import ResidualBottleneck
from tacolab.codec.lean import AttentionBlock, conv, deconv
from tacolab.codec.tiles import tiled

# Layers of g_a down to an eighth of the sides, and what they see beside a pixel, a multiple of 8:
# 2 + 6 + 4 + 12 + 12 + 8 pixels.
FINE, FINE_MARGIN = 10, 48
# Of g_s the layers up to an eighth of the sides; and what the others see beside a place there:
# 1 + 1.5 + 1.5 + 0.5 + 0.75 + 0.25.
COARSE, COARSE_MARGIN = 5, 6


class Analysis(nn.Module):
    """g_a: picture (B, 3, H, W) -> y (B, M, H/16, W/16)."""

    def __init__(self, N: int, M: int) -> None:
        super().__init__()
        self.analysis_transform = nn.Sequential(
            conv(3, N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            conv(N, N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            AttentionBlock(N),
            conv(N, N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            conv(N, M),
            AttentionBlock(M),
        )

    def forward(self, x: Tensor, text: Tensor | None = None) -> Tensor:
        """Ignores `text`, so that one trainer and one evaluator serve every arm."""
        return self.with_text(self.before_text(x), text)

    def before_text(self, x: Tensor) -> Tensor:
        """All of g_a: no text comes."""
        fine, coarse = self.analysis_transform[:FINE], self.analysis_transform[FINE:]
        y: Tensor = coarse(tiled(fine, x, stride=1, margin=FINE_MARGIN))
        return y

    def with_text(self, features: Tensor, text: Tensor | None = None) -> Tensor:
        """The identity, for the same reason."""
        return features


class Synthesis(nn.Module):
    """g_s: y_hat (B, M, H/16, W/16) -> x_hat (B, 3, H, W); never sees the text."""

    def __init__(self, N: int, M: int) -> None:
        super().__init__()
        self.synthesis_transform = nn.Sequential(
            AttentionBlock(M),
            deconv(M, N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            deconv(N, N),
            AttentionBlock(N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            deconv(N, N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            deconv(N, 3),
        )

    def forward(self, y_hat: Tensor) -> Tensor:
        """The picture is not clamped: 0..1 is the nominal range."""
        x = self.synthesis_transform[:COARSE](y_hat)
        return tiled(self.synthesis_transform[COARSE:], x, stride=8, margin=COARSE_MARGIN)


class HyperAnalysis(nn.Module):
    """h_a: y (B, M, H/16, W/16) -> z (B, N, H/64, W/64)."""

    def __init__(self, N: int, M: int) -> None:
        super().__init__()
        self.reduction = nn.Sequential(
            conv(M, N, kernel_size=3, stride=1),
            nn.ReLU(inplace=True),
            conv(N, N),
            nn.ReLU(inplace=True),
            conv(N, N),
        )

    def forward(self, y: Tensor) -> Tensor:
        """(B, M, h, w) -> (B, N, h/4, w/4)."""
        z: Tensor = self.reduction(y)
        return z


class HyperSynthesis(nn.Module):
    """h_s: z_hat (B, N, H/64, W/64) -> hyperprior features (B, 2M, H/16, W/16)."""

    def __init__(self, N: int, M: int) -> None:
        super().__init__()
        self.increase = nn.Sequential(
            deconv(N, M),
            nn.ReLU(inplace=True),
            deconv(M, M * 3 // 2),
            nn.ReLU(inplace=True),
            deconv(M * 3 // 2, M * 2, kernel_size=3, stride=1),
        )

    def forward(self, z_hat: Tensor) -> Tensor:
        """(B, N, h/4, w/4) -> (B, 2M, h, w)."""
        hyper: Tensor = self.increase(z_hat)
        return hyper
