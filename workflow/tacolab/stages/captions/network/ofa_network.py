"""OFA, a network that reads an image and a question and writes text, in plain torch.

Wang et al., "OFA: Unifying Architectures, Tasks, and Modalities Through a Simple
Sequence-to-Sequence Learning Framework", ICML 2022. Parameters have the authors' names.

    image Bx3xHxW -> ResNet, stride 16 -> patches Bx(HW/256)xd \\
                                                                cat -> encoder -> BxSxd
    ids BxL ------> embedding -----------> text BxLxd ---------/          |
    caption so far BxT -> embedding -> decoder (causal, attends to it) <--'  -> logits BxTxV

Positions are not added to the embeddings: they enter every attention as a bias on its logits. An
absolute term, shared by all layers of a stack, comes from position embeddings with queries and
keys of their own; a relative one, from each layer's tables, is added within the text and within
the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck, ResNet

from tacolab.stages.captions.network.ofa_layers import DecoderLayer, EncoderLayer, KeyValue, split
from tacolab.stages.captions.network.ofa_positions import (
    IMAGE_SIDE,
    TEXT_BUCKETS,
    TEXT_POSITIONS,
    grid,
    image_offsets,
    relative_bias,
    text_offsets,
)

BLOCKS = {"resnet50": (3, 4, 6), "resnet101": (3, 4, 23), "resnet152": (3, 8, 36)}
BOS, PAD, EOS = 0, 1, 2
# Index tables that the authors store with the weights; here they are computed.
REBUILT = frozenset(
    ["decoder.image_position_idx"]
    + [f"{part}.{kind}_rp_bucket" for part in ("encoder", "decoder") for kind in ("image", "token")]
)


@dataclass(frozen=True)
class Shape:
    """The size of an OFA network."""

    vocabulary: int
    width: int
    layers: tuple[int, int]  # encoder, decoder
    heads: tuple[int, int]
    inner: tuple[int, int]
    resnet: str

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Shape:
        """From the authors' config.json. Raises KeyError where an entry is missing.

        Raises ValueError for a variant of the network that this module does not compute.
        """
        parts = ("encoder", "decoder")
        fixed = {
            "attn_scale_factor": 2.0,
            "normformer": True,
            "entangle_position_embedding": False,
            "scale_embedding": False,
            "token_bucket_size": TEXT_BUCKETS,
            "image_bucket_size": IMAGE_SIDE,
            "max_position_embeddings": TEXT_POSITIONS,
        }
        for key, value in fixed.items():
            if config.get(key, value) != value:
                raise ValueError(f"{key} is {config[key]}, and only {value} can be computed")
        if config["resnet_type"] not in BLOCKS:
            raise ValueError(f"resnet_type is {config['resnet_type']}, not one of {list(BLOCKS)}")
        return cls(
            vocabulary=config["vocab_size"],
            width=config["d_model"],
            layers=(config["encoder_layers"], config["decoder_layers"]),
            heads=tuple(config[f"{part}_attention_heads"] for part in parts),
            inner=tuple(config[f"{part}_ffn_dim"] for part in parts),
            resnet=config["resnet_type"],
        )


class Trunk(ResNet):  # type: ignore[misc]  # torchvision is not typed
    """ResNet V1.5 up to its third stage: B x 3 x H x W -> B x 1024 x H/16 x W/16."""

    def __init__(self, blocks: tuple[int, int, int]) -> None:
        super().__init__(Bottleneck, [*blocks, 1])
        del self.layer4, self.avgpool, self.fc

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return features


class Stack(nn.Module):
    """What encoder and decoder share: embeddings and tables of positions."""

    def __init__(self, shape: Shape, part: int, embed_tokens: nn.Embedding) -> None:
        super().__init__()
        width, self.heads = shape.width, shape.heads[part]
        self.embed_tokens = embed_tokens
        self.layernorm_embedding = nn.LayerNorm(width)
        self.embed_positions = nn.Embedding(TEXT_POSITIONS + 2, width)
        self.embed_image_positions = nn.Embedding(IMAGE_SIDE**2 + 1, width)
        self.pos_ln = nn.LayerNorm(width)
        self.image_pos_ln = nn.LayerNorm(width)
        self.layer_norm = nn.LayerNorm(width)
        self.pos_scale = (2 * width / self.heads) ** -0.5
        layers = range(shape.layers[part])
        self.token_rel_pos_table_list = nn.ModuleList(
            nn.Embedding(2 * TEXT_BUCKETS - 1, self.heads) for _ in layers
        )
        # Of the decoder, these write images and are not used for captions.
        self.image_rel_pos_table_list = nn.ModuleList(
            nn.Embedding((2 * IMAGE_SIDE - 1) ** 2 + 3, self.heads) for _ in layers
        )

    def text_positions(self, start: int, stop: int) -> Tensor:
        """1 x (stop - start) x d."""
        positions: Tensor = self.pos_ln(self.embed_positions.weight[None, start:stop])
        return positions

    def absolute_bias(self, q: Tensor, k: Tensor) -> Tensor:
        """Projected positions 1 x T x d, 1 x S x d -> 1 x heads x T x S."""
        bias: Tensor = (split(q, self.heads) * self.pos_scale) @ split(k, self.heads).mT
        return bias


class Encoder(Stack):
    def __init__(self, shape: Shape, embed_tokens: nn.Embedding) -> None:
        super().__init__(shape, 0, embed_tokens)
        width = shape.width
        self.type_embedding = nn.Embedding(2, width)
        self.embed_images = Trunk(BLOCKS[shape.resnet])
        self.image_proj = nn.Linear(1024, width)
        self.patch_layernorm_embedding = nn.LayerNorm(width)
        self.pos_q_linear = nn.Linear(width, width)
        self.pos_k_linear = nn.Linear(width, width)
        self.layers = nn.ModuleList(
            EncoderLayer(width, shape.heads[0], shape.inner[0]) for _ in range(shape.layers[0])
        )

    def forward(self, image: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States B x S x d, padding B x S (true: none there), positions 1 x S x d.

        image: B x 3 x H x W. ids: B x L, filled up with PAD. S: patches, then text.
        """
        features = self.embed_images(image)
        rows, columns = features.shape[2:]
        patches = (
            self.image_proj(features.flatten(2).transpose(1, 2)) + self.type_embedding.weight[1]
        )
        words = self.embed_tokens(ids) + self.type_embedding.weight[0]
        x = torch.cat([self.patch_layernorm_embedding(patches), self.layernorm_embedding(words)], 1)
        padding = F.pad(ids == PAD, (rows * columns, 0))
        x = x.masked_fill(padding[..., None], 0)

        y, x_ = grid(rows, columns, x.device)
        places = self.image_pos_ln(self.embed_image_positions(y * IMAGE_SIDE + x_ + 1))
        positions = torch.cat([places[None], self.text_positions(0, ids.shape[1])], 1)
        absolute = self.absolute_bias(self.pos_q_linear(positions), self.pos_k_linear(positions))
        if padding.any():
            absolute = absolute.masked_fill(padding[:, None, None], -torch.inf)
        within_image = image_offsets(y, x_)
        within_text = text_offsets(0, ids.shape[1], x.device)
        n = rows * columns
        tables = (self.token_rel_pos_table_list, self.image_rel_pos_table_list)
        for layer, text_table, image_table in zip(self.layers, *tables, strict=True):
            bias = absolute.clone()
            bias[..., :n, :n] += relative_bias(image_table, within_image)
            bias[..., n:, n:] += relative_bias(text_table, within_text)
            x = layer(x, bias)
        return self.layer_norm(x), padding, positions


@dataclass(frozen=True)
class Memory:
    """An encoded batch, prepared for every step of the decoder."""

    layers: list[KeyValue]
    position_keys: Tensor  # 1 x S x d
    padding: Tensor  # B x S


class OfaDecoder(Stack):
    def __init__(self, shape: Shape, embed_tokens: nn.Embedding) -> None:
        super().__init__(shape, 1, embed_tokens)
        width = shape.width
        self.self_pos_q_linear = nn.Linear(width, width)
        self.self_pos_k_linear = nn.Linear(width, width)
        self.cross_pos_q_linear = nn.Linear(width, width)
        self.cross_pos_k_linear = nn.Linear(width, width)
        self.code_layernorm_embedding = nn.LayerNorm(width)  # for writing images
        self.output_projection = nn.Linear(width, shape.vocabulary, bias=False)
        self.layers = nn.ModuleList(
            DecoderLayer(width, shape.heads[1], shape.inner[1]) for _ in range(shape.layers[1])
        )

    def remember(self, states: Tensor, padding: Tensor, positions: Tensor) -> Memory:
        """What the encoder gives, as the layers read it."""
        layers = cast(Iterable[DecoderLayer], self.layers)
        read = [layer.cross_attn.keys_and_values(states) for layer in layers]
        return Memory(read, self.cross_pos_k_linear(positions), padding)

    def forward(
        self, ids: Tensor, memory: Memory, past: list[KeyValue] | None = None
    ) -> tuple[Tensor, list[KeyValue]]:
        """Logits (B K) x T x V of what follows each position, and the next call's `past`.

        ids: (B K) x T, K captions of each of the B images in `memory`, from the position on where
        `past` ends.
        """
        start = past[0][0].shape[2] if past else 0
        stop = start + ids.shape[1]
        x = self.layernorm_embedding(self.embed_tokens(ids))
        here, all_ = self.text_positions(start, stop), self.text_positions(0, stop)
        bias = self.absolute_bias(self.self_pos_q_linear(here), self.self_pos_k_linear(all_))
        offsets = text_offsets(start, stop, x.device)
        future = torch.ones_like(offsets, dtype=torch.bool).triu(start + 1)
        bias = bias.masked_fill(future, -torch.inf)
        cross_bias = self.absolute_bias(self.cross_pos_q_linear(here), memory.position_keys)
        cross_bias = cross_bias.repeat(1, 1, len(ids) // len(memory.padding), 1)
        if memory.padding.any():
            cross_bias = cross_bias.masked_fill(memory.padding[:, None, None], -torch.inf)
        seen = []
        for i, (layer, table) in enumerate(
            zip(self.layers, self.token_rel_pos_table_list, strict=True)
        ):
            own = bias + relative_bias(table, offsets)
            x, keys_and_values = layer(
                x, past[i] if past else None, own, memory.layers[i], cross_bias
            )
            seen.append(keys_and_values)
        return self.output_projection(self.layer_norm(x)), seen


class OfaNetwork(nn.Module):
    """The whole network; parameters have the authors' names, but for the tables of REBUILT."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.encoder = Encoder(shape, embed_tokens)
        self.decoder = OfaDecoder(shape, embed_tokens)
        self.tie()

    def tie(self) -> None:
        """Make the three matrices of words one again, after loading has given each its own."""
        self.decoder.embed_tokens = self.encoder.embed_tokens
        self.decoder.output_projection.weight = self.encoder.embed_tokens.weight

    def encode(self, image: Tensor, ids: Tensor) -> Memory:
        """image: B x 3 x H x W in -1 ... 1, sides at most 672 pixels. ids: B x L."""
        return self.decoder.remember(*self.encoder(image, ids))
