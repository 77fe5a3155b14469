"""ELIC with five uneven channel groups and a checkerboard: the codec of every arm."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

from tacolab.codec.checkerboard import Colour, anchor_mask
from tacolab.codec.fixed_point import LIMIT, UNIT, OutOfRangeError
from tacolab.codec.latent_codec import LatentCodec
from tacolab.codec.layers import ChannelContext, EntropyParameters
from tacolab.codec.lean import EntropyBottleneck, GaussianConditional
from tacolab.codec.shape import STRIDE, LatentShape, crop, pad
from tacolab.codec.transforms import Analysis, HyperAnalysis, HyperSynthesis, Synthesis
from tacolab.codec.weights import (
    CODING_TABLE,
    READ_FROM,
    MisfitError,
    check_fit,
    is_usual,
    normalise,
    read_sizes,
)

GROUPS = (16, 16, 32, 64, 192)
CONTEXTS = (224, 128)

# Of the Gaussians that symbols are coded with: CompressAI's table.
SCALES = torch.exp(torch.linspace(math.log(0.11), math.log(256), 64))

Noise = Callable[[Tensor], Tensor]
# A step takes (group, colour, scales, means), both (B, c, h, w), and returns y_hat of that
# shape; what it returns at the other colour's places is not looked at.
Step = Callable[[int, Colour, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Encoded:
    """One picture as the coder wrote it, with what an evaluator wants to know beside it."""

    y_string: bytes
    z_string: bytes
    shape: LatentShape
    checksum: int
    """crc32 of all coded symbols (int32, little-endian) in coding order: z, then y."""
    bits_y: float
    """Estimated rate: the sum of -log2 likelihood that forward gives in eval mode."""
    bits_z: float
    y_hat: Tensor = field(compare=False, repr=False)
    """(1, M, H/16, W/16), as the decoder finds it."""

    @property
    def strings(self) -> list[list[bytes]]:
        """In CompressAI's order."""
        return [[self.y_string], [self.z_string]]


def uniform_noise(like: Tensor) -> Tensor:
    """U(-1/2, 1/2) from torch's global generator."""
    return torch.rand_like(like) - 0.5


def ste_round(x: Tensor) -> Tensor:
    """Rounds; the gradient passes straight through. The value is the rounded one to the bit."""
    return torch.round(x).detach() + (x - x.detach())


class Elic(nn.Module):
    """ELIC (CVPR 2022, arXiv 2203.10886) as TACO uses it; the arm `image-only`.

    ::

        x (B,3,H,W) ─ g_a ─ y (B,M,H/16,W/16) ─ Q ─ y_hat ───────────── g_s ─ x_hat (B,3,H,W)
                            │                   │ scales, means
                           h_a                  │ ten passes: group x (anchors, non-anchors)
                            │                   │
                            z (B,N,H/64,W/64) ─ Q ─ z_hat ─ h_s ─ hyper (B,2M,H/16,W/16)

    Pictures of any H, W >= 1 in 0..1 are padded with zeros to multiples of 64 inside, and
    x_hat is cropped again. N is the width of the transforms, M that of y, `groups` say how many
    channels of y are coded together, and `contexts` are the inner widths of the channel contexts.
    `text` is there for `Taco` and ignored here.
    """

    def __init__(
        self,
        N: int = 192,
        M: int = 320,
        groups: Sequence[int] = GROUPS,
        contexts: tuple[int, int] = CONTEXTS,
    ) -> None:
        if N < 2 or M < 2 or N % 2 or M % 2:
            raise ValueError(f"N={N} and M={M} must be even: half of them is used in bottlenecks")
        if not groups or min(groups) < 1 or sum(groups) != M:
            raise ValueError(
                f"the channel groups {tuple(groups)} must be positive and sum to M={M}, "
                f"their sum is {sum(groups)}: change M or the groups"
            )
        super().__init__()
        self.N, self.M, self.groups = N, M, tuple(groups)

        self.g_a: nn.Module = Analysis(N, M)
        self.g_s = Synthesis(N, M)
        self.h_a = HyperAnalysis(N, M)
        self.h_s = HyperSynthesis(N, M)

        # Psi: what is known of a group's scales and means before each of its two passes. The
        # first group has nothing decoded before it: Identity hands on those zero channels.
        decoded = [sum(self.groups[:i]) for i in range(len(self.groups))]
        context = [2 * c if d else 0 for c, d in zip(self.groups, decoded, strict=True)]
        self.local_context = nn.ModuleList(nn.Conv2d(c, 2 * c, 5, padding=2) for c in self.groups)
        self.channel_context = nn.ModuleList(
            ChannelContext(d, 2 * c, contexts) if d else nn.Identity()
            for c, d in zip(self.groups, decoded, strict=True)
        )
        self.entropy_parameters_anchor = nn.ModuleList(
            EntropyParameters(ctx + 2 * M, 2 * c)
            for c, ctx in zip(self.groups, context, strict=True)
        )
        self.entropy_parameters_nonanchor = nn.ModuleList(
            EntropyParameters(2 * c + ctx + 2 * M, 2 * c)
            for c, ctx in zip(self.groups, context, strict=True)
        )
        self.gaussian_conditional = GaussianConditional(None)
        self.entropy_bottleneck = EntropyBottleneck(N)
        self._latent_codec: LatentCodec | None = None
        self.register_load_state_dict_post_hook(_forget_latent_codec)

    # -- estimated rate ------------------------------------------------------------------------

    def forward(
        self, x: Tensor, text: Tensor | None = None, noise: Noise = uniform_noise
    ) -> dict[str, Any]:
        """x (B, 3, H, W) -> {"x_hat": (B, 3, H, W), "likelihoods": {"y", "z"}}.

        In training mode y and z are rounded with a straight-through gradient, and the
        likelihoods are those of the latents plus noise: `noise(like)` returns U(-1/2, 1/2) in
        the shape of `like` and is called twice, first for z and then for y. In eval mode there
        is no noise, and the likelihoods are those of the rounded latents.
        """
        y = self.g_a(pad(x), text)
        z = self.h_a(y)
        z_hat = ste_round(z - self._medians()) + self._medians()
        z_rated = z + noise(z) if self.training else z_hat

        y_groups = torch.split(y, list(self.groups), dim=1)

        def quantise(group: int, colour: Colour, scales: Tensor, means: Tensor) -> Tensor:
            return ste_round(y_groups[group] - means) + means

        y_hat, scales, means = self.passes(self.h_s(z_hat), quantise)
        y_rated = y + noise(y) if self.training else y_hat
        return {
            "x_hat": crop(self.g_s(y_hat), *x.shape[-2:]),
            "likelihoods": {
                "y": self._y_likelihood(y_rated, scales, means),
                "z": self._z_likelihood(z_rated),
            },
        }

    def aux_loss(self) -> Tensor:
        """How far the entropy bottleneck's quantiles are from where they belong (CompressAI)."""
        loss: Tensor = self.entropy_bottleneck.loss()
        return loss

    def passes(self, hyper: Tensor, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """Walks the groups and colours in coding order; returns y_hat, scales, means of y.

        In floats, for training and estimates. What is coded goes by `LatentCodec`, which computes
        the same in fixed point.
        """
        anchor = anchor_mask(hyper)
        y_hat = hyper[:, :0]
        all_scales, all_means = [], []
        for i in range(len(self.groups)):
            known = torch.cat([self.channel_context[i](y_hat), hyper], dim=1)
            scales_a, means_a = self.entropy_parameters_anchor[i](known).chunk(2, dim=1)
            y_a = step(i, Colour.ANCHOR, scales_a, means_a).masked_fill(~anchor, 0)

            known = torch.cat([self.local_context[i](y_a), known], dim=1)
            scales_n, means_n = self.entropy_parameters_nonanchor[i](known).chunk(2, dim=1)
            y_n = step(i, Colour.NON_ANCHOR, scales_n, means_n)

            y_hat = torch.cat([y_hat, torch.where(anchor, y_a, y_n)], dim=1)
            all_scales.append(torch.where(anchor, scales_a, scales_n))
            all_means.append(torch.where(anchor, means_a, means_n))
        return y_hat, torch.cat(all_scales, dim=1), torch.cat(all_means, dim=1)

    # The likelihoods of CompressAI 1.2.8 (pinned) without its forward, which would draw noise of
    # its own: a run that is resumed must draw the same noise for the same sample.

    def _y_likelihood(self, y: Tensor, scales: Tensor, means: Tensor | None) -> Tensor:
        model = self.gaussian_conditional
        likelihood: Tensor = model.likelihood_lower_bound(model._likelihood(y, scales, means))
        return likelihood

    def _z_likelihood(self, z: Tensor) -> Tensor:
        model = self.entropy_bottleneck
        by_channel = z.transpose(0, 1)
        likelihood, _, _ = model._likelihood(by_channel.reshape(self.N, 1, -1))
        bounded: Tensor = model.likelihood_lower_bound(likelihood)
        return bounded.reshape(by_channel.shape).transpose(0, 1)

    def _medians(self) -> Tensor:
        """(N, 1, 1), around which z is rounded; only `aux_loss` trains them."""
        quantiles: Tensor = self.entropy_bottleneck.quantiles
        return quantiles[:, :, 1:2].detach()

    # -- real bitstreams -----------------------------------------------------------------------

    def update(self, force: bool = False) -> bool:
        """Makes the coding tables from the weights; true if they were made (anew).

        Call `update(force=True)` before coding whenever the weights may have changed, but not with
        the weights of a model file, whose own tables are to be used (`load_tables`): made on
        another machine they may differ, and a table that differs in one unit between encoder and
        decoder destroys the picture.
        """
        if not force and self.entropy_bottleneck.quantized_cdf.numel():
            return False
        self.load_tables(self.coding_tables())
        return True

    def coding_tables(self) -> dict[str, Tensor]:
        """The tables that follow from the weights, as entries of a state dict."""
        bottleneck = copy.deepcopy(self.entropy_bottleneck).cpu()
        bottleneck.update(force=True)
        gaussian = GaussianConditional(None)
        gaussian.update_scale_table(SCALES, force=True)
        made = {"entropy_bottleneck": bottleneck, "gaussian_conditional": gaussian}
        named = {
            f"{name}.{entry}": value
            for name, model in made.items()
            for entry, value in model.state_dict().items()
        }
        return {name: value for name, value in named.items() if CODING_TABLE.fullmatch(name)}

    def load_tables(self, weights: Mapping[str, Tensor]) -> None:
        """Takes the coding tables in a state dict."""
        for name, value in self.state_dict().items():
            if CODING_TABLE.fullmatch(name):
                model, entry = name.split(".")
                setattr(getattr(self, model), entry, weights[name].to(value.device))
        self._latent_codec = None

    def exported(self) -> dict[str, Tensor]:
        """The state dict of a model file: with coding tables, and proved to be fit for coding.

        Raises:
            OutOfRangeError: its weights are too large or not finite, see `fixed_point`.
        """
        weights = {name: v.detach().cpu().contiguous() for name, v in self.state_dict().items()}
        for name, value in weights.items():
            if not torch.isfinite(value).all():
                raise OutOfRangeError(f"{name}: not all of it is finite")
        if weights["entropy_bottleneck.quantiles"].abs().max() > LIMIT * UNIT:
            raise OutOfRangeError("entropy_bottleneck.quantiles: beyond all measure")
        weights |= self.coding_tables()
        LatentCodec(weights)
        return weights

    def latent_codec(self) -> LatentCodec:
        """Codes this network's latents, where its weights are. Made at the first coding.

        Raises:
            RuntimeError: `update()` was not called.
            OutOfRangeError: its weights are too large or not finite, see `fixed_point`.
        """
        device = self.entropy_bottleneck.quantiles.device
        if self._latent_codec is None or self._latent_codec.device != device:
            self._latent_codec = LatentCodec(self.state_dict())
        return self._latent_codec

    def compress(self, x: Tensor, text: Tensor | None = None) -> dict[str, Any]:
        """One picture (1, 3, H, W) -> {"strings": [[y], [z]], "shape": (zH, zW)}."""
        encoded = self.encode(x, text)
        return {"strings": encoded.strings, "shape": encoded.shape}

    def decompress(
        self, strings: Sequence[Sequence[bytes]], shape: Sequence[int]
    ) -> dict[str, Tensor]:
        """{"x_hat": (1, 3, H, W)}, not clamped; padded where `shape` is a plain (zH, zW)."""
        return {"x_hat": self.decode(strings, shape)[0]}

    @torch.no_grad()
    def encode(self, x: Tensor, text: Tensor | None = None) -> Encoded:
        """Codes one picture (1, 3, H, W) in 0..1 and estimates its rate on the way.

        Raises:
            ValueError: not exactly one picture, or weights or picture that are not finite.
            RuntimeError: `update()` was not called.
        """
        if x.ndim != 4 or x.shape[0] != 1:
            raise ValueError(f"one picture (1, 3, H, W) is coded at a time, not {tuple(x.shape)}")
        y, z = self.latents(self.features(x), text)
        (encoded,) = self.encode_latents(y, z, *x.shape[-2:])
        return encoded

    # The steps of `encode` and `decode`, for pictures of one size together. Latents that are coded
    # together give the same files as one by one.

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """What g_a makes of pictures (B, 3, H, W) before any text: the same for every caption."""
        return _one_by_one(self.g_a.before_text, pad(x))  # type: ignore[arg-type]

    @torch.no_grad()
    def latents(self, features: Tensor, text: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """y (B, M, H/16, W/16) and z (B, N, H/64, W/64) of pictures with a caption each.

        Raises:
            ValueError: weights or pictures are not finite.
        """
        y: Tensor = self.g_a.with_text(features, text)  # type: ignore[operator]
        if not torch.isfinite(y).all():
            raise ValueError("the latent is not finite: check the picture and the weights")
        return y, self.h_a(y)

    @torch.no_grad()
    def encode_latents(self, y: Tensor, z: Tensor, height: int, width: int) -> list[Encoded]:
        """Codes the latents of pictures of `height` x `width` pixels."""
        coded = self.latent_codec().encode(y, z)
        bits_y = _bits(self._y_likelihood(coded.y_symbols, coded.y_scales, None))
        bits_z = _bits(self._z_likelihood(coded.z_hat))
        shape = LatentShape.of(height, width)
        return [
            Encoded(*strings, shape, checksum, *bits, y_hat)
            for strings, checksum, bits, y_hat in zip(
                zip(coded.y_strings, coded.z_strings, strict=True),
                coded.checksums,
                zip(bits_y, bits_z, strict=True),
                coded.y_hat.split(1),
                strict=True,
            )
        ]

    @torch.no_grad()
    def decode(
        self, strings: Sequence[Sequence[bytes]], shape: Sequence[int]
    ) -> tuple[Tensor, int]:
        """The picture of `strings` and the checksum of its symbols, to be compared with the
        encoder's: that of a damaged stream may be another.

        Raises:
            ValueError: strings or shape are not of one picture, or do not go together.
            RuntimeError: `update()` was not called.
        """
        y_hat, (checksum,) = self.decode_latents([strings], shape)
        picture = getattr(shape, "picture", None) or (STRIDE * shape[0], STRIDE * shape[1])
        return self.synthesise(y_hat, *picture), checksum

    @torch.no_grad()
    def synthesise(self, y_hat: Tensor, height: int, width: int) -> Tensor:
        """Pictures (B, 3, height, width) of decoded latents (B, M, H/16, W/16).

        Raises:
            ValueError: weights are not finite, or 16 bits do not hold what they make.
        """
        x_hat = crop(_one_by_one(self.g_s, y_hat), height, width)
        if not torch.isfinite(x_hat).all():
            raise ValueError("the picture is not finite: check the weights, or take precision fp32")
        return x_hat

    def decode_latents(
        self, strings: Sequence[Sequence[Sequence[bytes]]], shape: Sequence[int]
    ) -> tuple[Tensor, list[int]]:
        """As `decode`, for the strings of any number of pictures of one size; y_hat
        (B, M, H/16, W/16) and their checksums."""
        if (
            len(shape) != 2
            or min(shape) < 1
            or any([len(s) for s in one] != [1, 1] for one in strings)
        ):
            raise ValueError("expected strings [[y], [z]] of one picture and its shape (zH, zW)")
        return self.latent_codec().decode(strings, shape)

    # -- weight files --------------------------------------------------------------------------

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor], **known: Any) -> Self:
        """The network whose sizes and weights are those of `state_dict`.

        `known` are arguments of the constructor that weights do not tell, or must agree with.
        Takes the authors' files: a `module.` prefix and CompressAI's old names are mapped. The
        coding tables are left empty, see `tacolab.codec.weights.normalise`.

        Raises:
            ValueError: names a missing tensor from whose shape a size is read, or else lists every
                tensor that is missing, extra or of the wrong shape.
        """
        weights = normalise(state_dict)
        sizes = cls._sizes(weights) | known
        network = f"{cls.__name__}({', '.join(f'{k}={v}' for k, v in sizes.items())})"
        try:
            if not is_usual(sizes):
                # The shape of one tensor may ask for any amount of memory: first look whether the
                # others go with it. Not always, for this takes seconds.
                with torch.device("meta"):
                    check_fit(weights, cls(**sizes).state_dict(), network, READ_FROM)
            model = cls(**sizes)
        except (ValueError, RuntimeError) as error:
            if isinstance(error, MisfitError):
                raise
            raise ValueError(f"this state dict is of no network: {error}; {READ_FROM}") from None
        check_fit(weights, model.state_dict(), network, READ_FROM)
        model.load_state_dict(weights)
        return model

    @classmethod
    def _sizes(cls, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """The constructor's arguments, read from the tensors' shapes."""
        return read_sizes(weights)


def _forget_latent_codec(network: Elic, _: object) -> None:
    """It was made of other weights."""
    network._latent_codec = None


def _one_by_one(layers: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """layers(x). Without a GPU a picture at a time: several lose the cache, a third slower."""
    if x.is_cuda:
        return layers(x)
    return torch.cat([layers(picture) for picture in x.split(1)])


def _bits(likelihood: Tensor) -> list[float]:
    """Of each picture of a batch."""
    bits: list[float] = (-likelihood.double().log2().flatten(1).sum(1)).tolist()
    return bits
