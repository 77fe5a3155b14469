"""Text encoders: captions -> (hidden states, mask). The codec does not know which one it hears."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacolab.config import LongClipText, TextEncoder, TransformersText
from tacolab.errors import UserError
from tacolab.text.pretrained import locate, pretrained
from tacolab.text.tokens import Tokenizer

Weighting = Literal["none", "pooled", "tokens"]


class FrozenText(nn.Module):
    """A pretrained text encoder that is never trained.

    Padded positions keep their hidden states, since TACO's adapter attends to them; the mask
    goes into the encoder itself. A caption in several windows is encoded one window at a time.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Tokenizer, weighting: Weighting = "none"
    ) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.weighting = weighting

    @torch.no_grad()
    def forward(
        self, captions: Sequence[str], weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """B captions -> hidden states B x T x width, mask B x T (1 = a token).

        weights: B x positions, for an encoder with `weighting`. T is the tokenizer's `positions`,
        or 1 with `pooled`. Raises ValueError where weights are missing or do not fit.
        """
        hidden, mask = self.read(captions)
        return weigh(hidden, mask, weights, self.weighting)

    @torch.no_grad()
    def read(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Hidden states and mask before any weighting."""
        device = next(self.model.parameters()).device
        tokens = self.tokenizer(captions)
        windows = np.stack([tokens.ids, tokens.mask], -1)
        windows = windows.reshape(-1, self.tokenizer.config.max_tokens, 2)
        # Those that captions do not reach are all alike, and encoded once.
        windows, places = np.unique(windows, axis=0, return_inverse=True)
        ids, mask = torch.from_numpy(windows).to(device).unbind(-1)
        hidden: Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        hidden = hidden[torch.from_numpy(places).to(device)]
        return hidden.reshape(*tokens.ids.shape, -1), torch.from_numpy(tokens.mask).to(device)

    def train(self, mode: bool = True) -> "FrozenText":
        """Stays in eval mode: dropout in a frozen encoder would be noise."""
        return super().train(False)


def weigh(
    hidden: Tensor, mask: Tensor, weights: Tensor | None, how: Weighting
) -> tuple[Tensor, Tensor]:
    """Hidden states B x T x width under token weights B x T; the mask of what comes out.

    tokens: each token times its weight. pooled: the tokens at length 1, in a mean by the weights:
    B x 1 x width.
    """
    if how == "none":
        return hidden, mask
    if weights is None or weights.shape != mask.shape:
        found = "none" if weights is None else tuple(weights.shape)
        raise ValueError(f"token weights are {found}, must be {tuple(mask.shape)}")
    weights = weights.to(hidden).unsqueeze(-1)
    if how == "tokens":
        return weights * hidden, mask
    shares = weights / weights.sum(1, keepdim=True)
    pooled = (shares * F.normalize(hidden, dim=-1)).sum(1, keepdim=True)
    return pooled, torch.ones_like(mask[:, :1])


def build(config: TextEncoder, weighting: Weighting = "none") -> FrozenText:
    """The encoder that the config describes. Raises UserError when its weights are not there."""
    model = _tower(config)
    width = model.config.hidden_size
    if width != config.width:
        raise UserError(
            f"text encoder {config.model}: its width is {width}, the config says {config.width}"
        )
    # Encoders with relative positions (T5) have no such limit.
    positions = getattr(model.config, "max_position_embeddings", config.max_tokens)
    if config.max_tokens > positions:
        raise UserError(
            f"text encoder {config.model}: max_tokens is {config.max_tokens}, it reads {positions}"
        )
    return FrozenText(model, Tokenizer(config), weighting)


def _tower(config: TextEncoder) -> Any:
    """A text model of `transformers`, which takes seconds to import: codecs alone have none."""
    from transformers import AutoModel, CLIPTextModel

    from tacolab.text import longclip

    if isinstance(config, LongClipText) and Path(config.model).suffix == ".pt":
        return longclip.read(Path(config.model))
    source = locate(config.model)
    if isinstance(config, TransformersText):
        model = pretrained(AutoModel, source)
        return model.get_encoder() if model.config.is_encoder_decoder else model
    return pretrained(CLIPTextModel, source)
