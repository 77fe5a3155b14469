"""How the text adapter attends: as published, the same function fused, or linear (Linformer).

Every kind is torch's MultiheadAttention under its parameter names, called as
`attended = attention(queries, tokens)`: the tokens are keys and values at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = 8


@dataclass(frozen=True)
class AttentionKind:
    """softmax: as published; sdpa: the same function, fused; linformer: linear, of this rank."""

    kind: Literal["softmax", "sdpa", "linformer"] = "softmax"
    rank: int = 16
    shared: bool = False


SOFTMAX = AttentionKind()


class FullAttention(nn.MultiheadAttention):
    """softmax(Q K^T / sqrt(d)) V.

    Without `fused` it computes as the published code: torch makes the matrix of attention weights
    (and their mean over the heads, which nobody reads). With it torch goes through
    scaled_dot_product_attention, which never holds that matrix. The parameters are the same and
    so is the function; sums in another order differ in the last bits.
    """

    def __init__(self, dim: int, fused: bool = False) -> None:
        super().__init__(dim, HEADS, batch_first=True)
        self.fused = fused

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:  # type: ignore[override]
        """queries (B, Q, dim), tokens (B, *positions, dim) -> (B, Q, dim)."""
        tokens = tokens.flatten(1, -2)
        attended, _ = super().forward(queries, tokens, tokens, need_weights=not self.fused)
        return attended


class Linformer(nn.MultiheadAttention):
    """softmax(Q (E K)^T / sqrt(d)) F V: `rank` mixtures of the tokens in place of the tokens.

    Wang et al. 2020 (arXiv 2006.04768): E and F are learnt, `rank` x n, the same for all heads,
    and with `shared` one and the same. They act on the tokens before the heads' projections
    rather than after, which is the same product in the cheaper order (only the biases differ).

    n is the number of positions in `reference`, a text length or an image grid. Tokens at any
    other size are pooled to it by averages (or repeated, where there are fewer), so that a model
    trained on crops codes pictures of any size.
    """

    def __init__(self, dim: int, reference: Sequence[int], rank: int, shared: bool) -> None:
        super().__init__(dim, HEADS, batch_first=True)
        self.reference = tuple(reference)
        n = torch.Size(reference).numel()
        # Of this size, a mixture of n independent tokens is as large as a token.
        self.key_mixture = nn.Parameter(torch.randn(rank, n) * n**-0.5)
        self.value_mixture = None if shared else nn.Parameter(torch.randn(rank, n) * n**-0.5)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:  # type: ignore[override]
        """queries (B, Q, dim), tokens (B, *positions, dim) -> (B, Q, dim)."""
        pool: Any = F.adaptive_avg_pool1d if len(self.reference) == 1 else F.adaptive_avg_pool2d
        tokens = pool(tokens.movedim(-1, 1), self.reference).flatten(2).transpose(1, 2)
        keys = self.key_mixture @ tokens
        values = keys if self.value_mixture is None else self.value_mixture @ tokens
        attended, _ = super().forward(queries, keys, values, need_weights=False)
        return attended


def attend(dim: int, reference: Sequence[int], how: AttentionKind) -> FullAttention | Linformer:
    """The attention of that kind to tokens that usually come in the shape `reference`."""
    if how.kind == "linformer":
        return Linformer(dim, reference, how.rank, how.shared)
    return FullAttention(dim, fused=how.kind == "sdpa")
