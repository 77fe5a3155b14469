"""TACO: ELIC whose encoder reads a caption. The decoder, and so the bitstream, is ELIC's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from tacolab.codec.adapter import Extractor, Injector
from tacolab.codec.attention import HEADS, SOFTMAX, AttentionKind
from tacolab.codec.elic import CONTEXTS, GROUPS, Elic
from tacolab.codec.layers import ResidualBottleneck
from tacolab.codec.lean import AttentionBlock, conv
from tacolab.codec.tiles import tiled
from tacolab.codec.weights import read_attention, read_text_dim

INJECT_EARLY, EXTRACT, INJECT_LATE = 8, 14, 15  # the adapter's places in the stack below
_LAYER = re.compile(r"g_a\.analysis_transform\.(\d+)\.")
_ADAPTER = re.compile(rf"g_a\.analysis_transform\.({INJECT_EARLY}|{EXTRACT}|{INJECT_LATE})\.")
MARGIN = 24  # what the layers before the text see beside a pixel: 2 + 6 + 4 + 12 pixels
# The text's first layers, down to an eighth of the sides, and what they see beside a place at a
# quarter of them: an attention block (3) and a convolution (2).
FINE, FINE_MARGIN = 11, 6


class TextGuidedAnalysis(nn.Module):
    """g_a: picture (B, 3, H, W) and text (B, tokens, text_dim) -> y (B, M, H/16, W/16)."""

    def __init__(
        self, N: int, M: int, text_dim: int, text_tokens: int, attention: AttentionKind
    ) -> None:
        super().__init__()
        self.text_dim = text_dim
        self.analysis_transform = nn.Sequential(
            conv(3, N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            conv(N, N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            Injector(N, text_dim, text_tokens, attention),
            AttentionBlock(N),
            conv(N, N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            ResidualBottleneck(N),
            Extractor(N, text_dim, attention),
            Injector(N, text_dim, text_tokens, attention),
            conv(N, M),
            AttentionBlock(M),
        )

    def forward(self, x: Tensor, text: Tensor | None = None) -> Tensor:
        """Raises ValueError where the text is missing or does not fit the pictures."""
        return self.with_text(self.before_text(x), text)

    def before_text(self, x: Tensor) -> Tensor:
        """The layers that see no text: (B, 3, H, W) -> (B, N, H/4, W/4), the larger part of g_a."""
        return tiled(self.analysis_transform[:INJECT_EARLY], x, stride=1, margin=MARGIN)

    def with_text(self, x: Tensor, text: Tensor | None = None) -> Tensor:
        """The rest, with a text for each picture."""
        if text is None:
            raise ValueError("Taco needs the text features of each picture: pass text=...")
        if text.ndim != 3 or (text.shape[0], text.shape[2]) != (x.shape[0], self.text_dim):
            raise ValueError(
                f"text is {tuple(text.shape)}, must be ({x.shape[0]}, tokens, {self.text_dim}): "
                "a row per picture, as wide as the text encoder that the model was trained with"
            )
        layers, words = self.analysis_transform, text

        def fine(x: Tensor) -> Tensor:
            halved: Tensor = layers[INJECT_EARLY + 1 : FINE](layers[INJECT_EARLY](x, words))
            return halved

        x = layers[FINE:EXTRACT](tiled(fine, x, stride=4, margin=FINE_MARGIN))
        text = layers[EXTRACT](text, x)
        x = layers[INJECT_LATE](x, text)
        y: Tensor = layers[INJECT_LATE + 1 :](x)
        return y


class Taco(Elic):
    """Text-adaptive compression on ELIC (ICML 2024); the published sizes are the defaults.

    `text_dim` is the width of the text encoder's last hidden state (CLIP ViT-B/32: 512). Any
    number of tokens is read; `text_tokens` is the usual one, where an `attention` depends on it.
    """

    def __init__(
        self,
        N: int = 192,
        M: int = 320,
        groups: Sequence[int] = GROUPS,
        text_dim: int = 512,
        text_tokens: int = 38,
        attention: AttentionKind = SOFTMAX,
        contexts: tuple[int, int] = CONTEXTS,
    ) -> None:
        if N % HEADS or text_dim % HEADS:
            raise ValueError(
                f"N={N} and text_dim={text_dim} must be multiples of {HEADS}, "
                "the number of attention heads: choose other sizes"
            )
        super().__init__(N, M, groups, contexts)
        self.g_a: nn.Module = TextGuidedAnalysis(N, M, text_dim, text_tokens, attention)

    # For a start from the weights of a network with another adapter, or none.

    def adapter(self) -> dict[str, Tensor]:
        """What reads the text, of this network's state dict."""
        return {name: value for name, value in self.state_dict().items() if _ADAPTER.match(name)}

    def without_adapter(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The others of a state dict, by the names that they have here."""
        if any(_ADAPTER.match(name) and "text" in name for name in weights):
            return {name: value for name, value in weights.items() if not _ADAPTER.match(name)}
        return {_beside_text(name): value for name, value in weights.items()}

    @classmethod
    def _sizes(cls, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        return super()._sizes(weights) | read_text_dim(weights) | read_attention(weights)


def _beside_text(name: str) -> str:
    """Where a layer of an `Elic` stands in a `Taco`, whose stack the adapter is part of."""
    layer = _LAYER.match(name)
    if not layer:
        return name
    place = int(layer[1])
    for adapter in (INJECT_EARLY, EXTRACT, INJECT_LATE):
        place += place >= adapter
    return _LAYER.sub(f"g_a.analysis_transform.{place}.", name)
