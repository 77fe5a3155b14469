"""The published loss: rate + distortion + LPIPS + L_joint (spec: TACO, ICML 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacolab.codec.precision import DTYPES
from tacolab.config import ClipText, TextEncoder, Training
from tacolab.quality.perceptual import Lpips
from tacolab.text.pretrained import locate, pretrained
from tacolab.text.tokens import Tokenizer

if TYPE_CHECKING:
    from transformers import CLIPModel

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
LOGIT_SCALE = math.exp(2.6592)

# Embeddings of a rank's slice of the batch -> those of the whole batch, with gradient.
Gather = Callable[[Tensor], Tensor]


def alone(part: Tensor) -> Tensor:
    """The slice of a single process is the batch."""
    return part


class Joint(nn.Module):
    """L_joint: captions and reconstructions close in CLIP's space, and so are both images.

    Contrastive loss between captions and reconstructions, plus `distance_weight` times the
    Frobenius norm, over the batch, of the difference between normalised image embeddings.
    """

    def __init__(
        self, clip: CLIPModel, distance_weight: float, dtype: torch.dtype = torch.float32
    ) -> None:
        """dtype: of the image tower, which takes a tenth of a step. Embeddings are float32."""
        super().__init__()
        self.clip = clip.requires_grad_(False).eval()
        self.distance_weight = distance_weight
        self.dtype = dtype

    def forward(
        self,
        x: Tensor,
        x_hat: Tensor,
        tokens: Tensor,
        mask: Tensor,
        gather: Gather = alone,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """B x 3 x H x W images (x_hat is not clamped), B x T tokens and mask -> scalar.

        With `gather` these are slices of a batch, and the scalar is the loss of the whole batch.
        hidden: the text tower's last hidden states of these tokens, where they are known.
        """
        with torch.no_grad():
            text = _unit(self._text(tokens, mask, hidden))
            original = self._image(x)
        image = self._image(x_hat)
        text, original, image = gather(text), gather(original), gather(image)
        logits = LOGIT_SCALE * text @ image.T
        pairs = torch.arange(len(logits), device=logits.device)
        contrastive: Tensor = (
            F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)
        ) / 2
        distance: Tensor = torch.linalg.matrix_norm(image - original)
        return contrastive + self.distance_weight * distance

    def _text(self, tokens: Tensor, mask: Tensor, hidden: Tensor | None) -> Any:
        if hidden is None:
            return self.clip.get_text_features(input_ids=tokens, attention_mask=mask)
        # CLIP's text embedding is that of the first end token, as get_text_features takes it. Old
        # configs (that of ViT-B/32) give 2 for its id: there it is the highest of the vocabulary.
        end = self.clip.config.text_config.eos_token_id
        ends = (tokens if end == 2 else (tokens == end).int()).argmax(1)
        return self.clip.text_projection(hidden[torch.arange(len(ends)), ends])

    def _image(self, x: Tensor) -> Tensor:
        """B x 3 x H x W -> B embeddings of length 1."""
        with torch.autocast(x.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return _unit(self.clip.get_image_features(pixel_values=self._pixels(x)))

    def _pixels(self, x: Tensor) -> Tensor:
        """Any size in [0, 1] -> CLIP's input, resized as tensors are: bilinear, antialiased."""
        side = self.clip.config.vision_config.image_size
        x = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
        mean, std = (x.new_tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
        return (x - mean) / std

    def train(self, mode: bool = True) -> Joint:
        """Stays in eval mode: the towers are frozen."""
        return super().train(False)


def _unit(features: Any) -> Tensor:
    """Embeddings of length 1; transformers 5 wraps them in an output object."""
    embeddings: Tensor = getattr(features, "pooler_output", features)
    return F.normalize(embeddings.float(), dim=-1)


class Losses(NamedTuple):
    """Scalars of one batch; `total` is what is minimised."""

    total: Tensor
    bpp: Tensor
    mse: Tensor
    lpips: Tensor
    joint: Tensor


def joint_text(recipe: Training) -> ClipText:
    """How L_joint reads captions, whatever encoder feeds the codec."""
    return ClipText(kind="clip", model=recipe.joint_model, max_tokens=recipe.joint_tokens)


def one_tower(recipe: Training, encoder: TextEncoder | None) -> bool:
    """Whether the codec's encoder gives what L_joint needs, so that captions are encoded once."""
    return (
        recipe.joint_weight > 0
        and isinstance(encoder, ClipText)
        and encoder == joint_text(recipe).model_copy(update={"width": encoder.width})
    )


class RateDistortion(nn.Module):
    """bpp + lmbda * 255^2 * MSE + 3.5 * LPIPS + 0.0025 * L_joint, images in [0, 1]."""

    def __init__(self, recipe: Training, lmbda: float) -> None:
        super().__init__()
        self.recipe = recipe
        self.lmbda = lmbda
        self.dtype = DTYPES[recipe.precision]
        self.lpips = Lpips()
        self.joint: Joint | None = None
        if recipe.joint_weight > 0:
            from transformers import CLIPModel  # seconds, for this alone

            clip = pretrained(CLIPModel, locate(recipe.joint_model))
            self.joint = Joint(clip, recipe.joint_distance_weight, self.dtype)
            self.tokenizer = Tokenizer(joint_text(recipe))

    def forward(
        self,
        out: Mapping[str, Any],
        x: Tensor,
        captions: Sequence[str],
        gather: Gather = alone,
        hidden: Tensor | None = None,
    ) -> Losses:
        """`out` is what the codec's forward returned for `x`, B x 3 x H x W in [0, 1].

        With `gather` these are slices of a batch: `joint` is that of the whole batch, the other
        terms are means over the slice. hidden: of the captions, by the tower that L_joint has.
        """
        x_hat = out["x_hat"]
        pixels = x.shape[0] * x.shape[2] * x.shape[3]
        bits = torch.stack([-torch.log2(p).sum() for p in out["likelihoods"].values()]).sum()
        bpp = bits / pixels
        mse = F.mse_loss(x_hat, x)
        lpips = self.lpips(x, x_hat, self.recipe.lpips_range, self.dtype).mean()
        joint = torch.zeros((), device=x.device)
        if self.joint is not None:
            tokens = self.tokenizer(captions)
            ids, mask = (torch.from_numpy(part).to(x.device) for part in (tokens.ids, tokens.mask))
            joint = self.joint(x, x_hat, ids, mask, gather, hidden)
        total = (
            bpp
            + self.lmbda * 255**2 * mse
            + self.recipe.lpips_weight * lpips
            + self.recipe.joint_weight * joint
        )
        return Losses(total, bpp, mse, lpips, joint)
