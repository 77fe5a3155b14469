"""TACO's text adapter: cross-attention between picture and text (ICML 2024, arXiv 2403.02944)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacolab.codec.attention import SOFTMAX, AttentionKind, attend

IMAGE_GRID = (32, 32)  # image tokens of the Extractor in a published crop, 256 x 256 pixels


class Injector(nn.Module):
    """Text into picture: image := LN(image) + gamma * MHA(query=LN(image), key=value=text).

    The residual carries the *normalised* image, so gamma = 0 (its initial value) is not the
    identity. The published network puts no padding mask on the text.
    """

    def __init__(
        self, image_dim: int, text_dim: int, text_tokens: int, attention: AttentionKind = SOFTMAX
    ) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(image_dim))
        self.text_feature_dim_proj = nn.Linear(text_dim, image_dim)
        self.image_norm = nn.LayerNorm(image_dim)
        self.text_norm = nn.LayerNorm(image_dim)
        self.cross_attn = attend(image_dim, [text_tokens], attention)
        nn.init.kaiming_normal_(self.text_feature_dim_proj.weight)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """image (B, image_dim, H, W), text (B, tokens, text_dim) -> image, same shape."""
        queries = self.image_norm(image.flatten(2).transpose(1, 2))
        text = self.text_norm(self.text_feature_dim_proj(text))
        out: Tensor = queries + self.gamma * self.cross_attn(queries, text)
        return out.transpose(1, 2).reshape(image.shape)


class Extractor(nn.Module):
    """Picture into text: text := LN(text) + MHA(query=LN(text), key=value=image)."""

    def __init__(self, image_dim: int, text_dim: int, attention: AttentionKind = SOFTMAX) -> None:
        super().__init__()
        self.image_feature_dim_proj = nn.Linear(image_dim, text_dim)
        self.image_norm = nn.LayerNorm(text_dim)
        self.text_norm = nn.LayerNorm(text_dim)
        self.cross_attn = attend(text_dim, IMAGE_GRID, attention)
        nn.init.kaiming_normal_(self.image_feature_dim_proj.weight)

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """text (B, tokens, text_dim), image (B, image_dim, H, W) -> text, same shape."""
        queries = self.text_norm(text)
        image = self.image_norm(self.image_feature_dim_proj(image.movedim(1, -1)))  # B, H, W, dim
        out: Tensor = queries + self.cross_attn(queries, image)
        return out
