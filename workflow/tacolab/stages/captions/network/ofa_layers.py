"""The layers of OFA's encoder and decoder: pre-norm, with the norms and factors of NormFormer.

Shleifer et al., "NormFormer: Improved Transformer Pretraining with Extra Normalization", 2021: a
layer norm after each attention and inside the feed-forward, a factor for each head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KeyValue = tuple[Tensor, Tensor]  # each B x heads x positions x width of a head


class OfaAttention(nn.Module):
    """Multi-head attention with a bias on its logits and a factor per head (NormFormer)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (2 * width / heads) ** -0.5
        self.c_attn = nn.Parameter(torch.ones(heads))
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def keys_and_values(self, x: Tensor) -> KeyValue:
        return split(self.k_proj(x), self.heads), split(self.v_proj(x), self.heads)

    def forward(self, x: Tensor, memory: KeyValue, bias: Tensor) -> Tensor:
        """x: B x T x d attends to memory of S positions; bias broadcasts to B x heads x T x S."""
        q = split(self.q_proj(x), self.heads)
        mixed = F.scaled_dot_product_attention(q, *memory, attn_mask=bias, scale=self.scale)
        mixed = mixed * self.c_attn[:, None, None]
        y: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return y


class FeedForward(nn.Module):
    """What encoder and decoder layers share; the names stand in the layer itself."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.ffn_layer_norm = nn.LayerNorm(inner)
        self.final_layer_norm = nn.LayerNorm(width)

    def feed_forward(self, x: Tensor) -> Tensor:
        inner = F.gelu(self.fc1(self.final_layer_norm(x)))
        y: Tensor = x + self.fc2(self.ffn_layer_norm(inner))
        return y


class EncoderLayer(FeedForward):
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__(width, inner)
        self.self_attn = OfaAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn_mid_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        y = self.self_attn_layer_norm(x)
        y = self.self_attn(y, self.self_attn.keys_and_values(y), bias)
        return self.feed_forward(x + self.self_attn_mid_layer_norm(y))


class DecoderLayer(FeedForward):
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__(width, inner)
        self.self_attn = OfaAttention(width, heads)
        self.cross_attn = OfaAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn_mid_layer_norm = nn.LayerNorm(width)
        self.cross_attn_layer_norm = nn.LayerNorm(width)
        self.cross_attn_mid_layer_norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, past: KeyValue | None, bias: Tensor, memory: KeyValue, cross_bias: Tensor
    ) -> tuple[Tensor, KeyValue]:
        """x: (B K) x T x d, K captions of each of the B images in `memory`.

        past: keys and values of earlier positions; those of all positions are returned.
        """
        y = self.self_attn_layer_norm(x)
        seen = self.self_attn.keys_and_values(y)
        if past:
            seen = (torch.cat([past[0], seen[0]], 2), torch.cat([past[1], seen[1]], 2))
        x = x + self.self_attn_mid_layer_norm(self.self_attn(y, seen, bias))
        # Captions of one image stand in one row, so that its keys need not be repeated.
        y = self.cross_attn_layer_norm(x).reshape(len(memory[0]), -1, x.shape[2])
        y = self.cross_attn(y, memory, cross_bias).reshape(x.shape)
        return self.feed_forward(x + self.cross_attn_mid_layer_norm(y)), seen


def split(x: Tensor, heads: int) -> Tensor:
    """B x T x d -> B x heads x T x d / heads."""
    parts: Tensor = x.unflatten(2, (heads, -1))
    return parts.transpose(1, 2)
