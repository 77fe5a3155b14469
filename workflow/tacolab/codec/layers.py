"""Building blocks of ELIC that CompressAI does not have."""

from __future__ import annotations

from torch import Tensor, nn


class ResidualBottleneck(nn.Module):
    """x + 1x1(ReLU(3x3(ReLU(1x1(x))))), half the channels inside (ELIC, figure 3)."""

    def __init__(self, N: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(N, N // 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(N // 2, N // 2, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(N // 2, N, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, H, W) -> (B, N, H, W)."""
        out: Tensor = x + self.branch(x)
        return out


class ChannelContext(nn.Module):
    """g_ch: what the groups decoded so far say about the next one."""

    def __init__(self, decoded: int, out: int, widths: tuple[int, int]) -> None:
        super().__init__()
        first, second = widths
        # The attribute is spelt as in the published weight files.
        self.fushion = nn.Sequential(
            nn.Conv2d(decoded, first, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(second, out, 5, padding=2),
        )

    def forward(self, y_hat: Tensor) -> Tensor:
        """(B, decoded, h, w) -> (B, out, h, w)."""
        context: Tensor = self.fushion(y_hat)
        return context


class EntropyParameters(nn.Module):
    """Scales and means of one colour of one group from all that is known before it."""

    def __init__(self, known: int, out: int) -> None:
        super().__init__()
        self.fusion = nn.Sequential(
            nn.Conv2d(known, out * 5 // 3, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(out * 5 // 3, out * 4 // 3, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(out * 4 // 3, out, 1),
        )

    def forward(self, known: Tensor) -> Tensor:
        """(B, known, h, w) -> (B, out, h, w): scales, then means, half of the channels each."""
        parameters: Tensor = self.fusion(known)
        return parameters
