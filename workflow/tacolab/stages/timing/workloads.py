"""The codec of a point, with fresh weights, and the step that is timed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tacolab.codec import Taco
from tacolab.codec.adapter import Injector
from tacolab.codec.attention import AttentionKind
from tacolab.codec.taco import EXTRACT, INJECT_EARLY, INJECT_LATE
from tacolab.config import Attention, Timing
from tacolab.config.models import CodecSize
from tacolab.stages.timing.points import Point

Step = Callable[[], object]

LMBDA = 0.0016


class WideInjector(Injector):
    """An Injector on `factor` copies of the image's channels, cut back to the first of them."""

    def __init__(
        self, image_dim: int, factor: int, text_dim: int, tokens: int, attention: AttentionKind
    ) -> None:
        super().__init__(factor * image_dim, text_dim, tokens, attention)
        self.factor = factor

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """image (B, image_dim, H, W), text (B, tokens, text_dim) -> image, same shape."""
        wide = super().forward(image.repeat(1, self.factor, 1, 1), text)
        return wide[:, : image.shape[1]]


def network(point: Point, attention: Attention, timing: Timing, size: CodecSize) -> Taco:
    """With fresh weights, for the point's text length."""
    kind = AttentionKind(**attention.model_dump())
    made = Taco(size.N, size.M, size.groups, timing.text_dim, point.tokens, kind)
    if point.width_factor > 1:
        for place in (INJECT_EARLY, INJECT_LATE):
            _layers(made)[place] = WideInjector(
                size.N, point.width_factor, timing.text_dim, point.tokens, kind
            )
    return made.train() if point.part == "training" else made.eval()


def _layers(codec: Taco) -> Any:
    return codec.g_a.analysis_transform


def step(codec: Taco, point: Point, text_dim: int, device: torch.device) -> Step:
    """What is done once per measurement, where the codec lies; the same pictures every time.

    Text features are random: no encoder reads 2,048 tokens, and an encoder is none of the codec's
    cost. Training is rate + distortion and both optimisers, without LPIPS and L_joint, which are
    the same for every kind.
    """
    torch.manual_seed(0)
    x, text = inputs(point, text_dim, device)
    if point.part == "attention":
        return _attention(codec, point, text_dim, device)
    if point.part == "encoder":
        return _without_gradient(lambda: codec.g_a(x, text))
    if point.part == "forward":
        return _without_gradient(lambda: codec(x, text))
    if point.part == "training":
        return _training(codec, x, text)
    if point.part == "compress":
        return lambda: codec.encode(x, text)
    encoded = codec.encode(x, text)
    return lambda: codec.decode(encoded.strings, encoded.shape)


def inputs(point: Point, text_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pictures in [0, 1] (B, 3, side, side) and text features (B, tokens, text_dim)."""
    x = torch.rand(point.batch, 3, point.side, point.side, device=device)
    return x, torch.randn(point.batch, point.tokens, text_dim, device=device)


def _without_gradient(work: Step) -> Step:
    def run() -> object:
        with torch.no_grad():
            return work()

    return run


def _attention(codec: Taco, point: Point, text_dim: int, device: torch.device) -> Step:
    """The three cross-attentions one after the other, their projections included."""
    B, T, N = point.batch, point.tokens, codec.N
    quarter, eighth = point.side // 4, point.side // 8
    sizes = {
        INJECT_EARLY: ((B, quarter**2, N), (B, T, N)),
        EXTRACT: ((B, T, text_dim), (B, eighth, eighth, text_dim)),
        INJECT_LATE: ((B, eighth**2, N), (B, T, N)),
    }
    calls = [
        (
            _layers(codec)[place].cross_attn,
            torch.randn(queries, device=device),
            torch.randn(tokens, device=device),
        )
        for place, (queries, tokens) in sizes.items()
    ]
    return _without_gradient(lambda: [attend(queries, tokens) for attend, queries, tokens in calls])


def _training(codec: Taco, x: Tensor, text: Tensor) -> Step:
    quantiles = codec.entropy_bottleneck.quantiles
    main = [parameter for parameter in codec.parameters() if parameter is not quantiles]
    optimizer = torch.optim.Adam(main, lr=1e-4)
    aux_optimizer = torch.optim.Adam([quantiles], lr=1e-3)

    def run() -> None:
        optimizer.zero_grad()
        rate_distortion(codec, x, text).backward()
        torch.nn.utils.clip_grad_norm_(main, 1.0)
        optimizer.step()
        aux_optimizer.zero_grad()
        codec.aux_loss().backward()
        aux_optimizer.step()

    return run


def rate_distortion(codec: Taco, x: Tensor, text: Tensor) -> Tensor:
    """bpp + lmbda * 255^2 * MSE, what the codec itself contributes to the loss."""
    out = codec(x, text)
    bits = sum(-likelihood.log2().sum() for likelihood in out["likelihoods"].values())
    pixels = math.prod((x.shape[0], *x.shape[2:]))
    loss: Tensor = bits / pixels + LMBDA * 255**2 * F.mse_loss(out["x_hat"], x)
    return loss
