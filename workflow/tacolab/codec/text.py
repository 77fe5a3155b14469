"""Text encoders: captions -> (hidden states, mask). The codec does not know which one it hears."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, CLIPTextModel

from tacolab.config import ClipText, TextEncoder, TransformersText
from tacolab.errors import UserError
from tacolab.pretrained import locate, pretrained


class FrozenText(nn.Module):
    """A pretrained text encoder that is never trained.

    Padded positions keep their hidden states, since TACO's adapter attends to them; the mask
    goes into the encoder itself.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, max_tokens: int) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens

    @torch.no_grad()
    def forward(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """B captions -> hidden states B x max_tokens x width, mask B x max_tokens (1 = a token)."""
        device = next(self.model.parameters()).device
        tokens = tokenise(self.tokenizer, captions, self.max_tokens).to(device)
        hidden: Tensor = self.model(**tokens).last_hidden_state
        return hidden, tokens["attention_mask"]

    def train(self, mode: bool = True) -> "FrozenText":
        """Stays in eval mode: dropout in a frozen encoder would be noise."""
        return super().train(False)


def tokenise(tokenizer: Any, captions: Sequence[str], max_tokens: int) -> Any:
    """Token ids and attention mask, padded and cut to `max_tokens`.

    CLIP's tokenizer pads with its end token (49407), as TACO does, and cleans text by itself.
    """
    return tokenizer(
        list(captions),
        padding="max_length",
        truncation=True,
        max_length=max_tokens,
        return_tensors="pt",
    )


def build(config: TextEncoder) -> FrozenText:
    """The encoder that the config describes. Raises UserError when its weights are not there."""
    kind = {ClipText: CLIPTextModel, TransformersText: AutoModel}[type(config)]
    source = locate(config.model)
    model = pretrained(kind, source)
    width = model.config.hidden_size
    if width != config.width:
        raise UserError(
            f"text encoder {config.model}: its width is {width}, the config says {config.width}"
        )
    positions = model.config.max_position_embeddings
    if config.max_tokens > positions:
        raise UserError(
            f"text encoder {config.model}: max_tokens is {config.max_tokens}, it reads {positions}"
        )
    return FrozenText(model, pretrained(AutoTokenizer, source), config.max_tokens)
