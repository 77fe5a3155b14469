"""Latents to strings and back: what encoder and decoder must agree on, computed exactly.

The twins in fixed point of the networks between z_hat and the symbols of y (h_s, the contexts, the
entropy parameters), made from the weights of `Elic` and with its coding tables. Imports neither
CompressAI nor the rest of the network, so that it runs wherever torch and numba do.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tacolab.codec.checkerboard import Colour, neighbours, put, take
from tacolab.codec.entropy_coding import (
    LARGEST,
    Ints,
    OtherSymbolsError,
    SymbolReader,
    SymbolWriter,
    read_tables,
)
from tacolab.codec.fixed_point import (
    LIMIT,
    UNIT,
    Convolution,
    Neighbours,
    OutOfRangeError,
    Pointwise,
    Upsampling,
    through,
    to_units,
)

Strings = Sequence[Sequence[bytes]]  # [[y], [z]], in CompressAI's order
# Takes (group, colour, scales, means), rows (n, c) in units, and returns symbols of that shape.
Step = Callable[[int, Colour, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Coded:
    """Pictures as the coder wrote them, and with what it did, for an estimate of the rate."""

    y_strings: list[bytes]
    z_strings: list[bytes]
    checksums: list[int]
    """crc32 of all symbols of a picture (int32, little-endian) in coding order: z, then y."""
    y_symbols: Tensor
    """(B, M h w) float32 in passes, as are the scales of their Gaussians."""
    y_scales: Tensor
    z_hat: Tensor
    """(B, N, h/4, w/4) float32."""
    y_hat: Tensor
    """(B, M, h, w) float32, as `decode` gives it."""


class LatentCodec:
    """Codes y (B, M, h, w) and z (B, N, h/4, w/4) of pictures of one size.

    state_dict: of an `Elic`, with coding tables. Raises OutOfRangeError where its weights cannot
    be computed with exactly, RuntimeError where the tables are missing, ValueError where they are
    damaged.
    """

    def __init__(self, state_dict: Mapping[str, Tensor]) -> None:
        weights = {name: value.detach() for name, value in state_dict.items()}

        def named(name: str) -> tuple[str, Tensor, Tensor]:
            return name, weights[f"{name}.weight"], weights[f"{name}.bias"]

        def pointwise(name: str, rectified: bool) -> Pointwise:
            name, weight, bias = named(name)
            return Pointwise(name, weight.flatten(1).T, bias, rectified)

        def convolution(name: str, rectified: bool) -> Convolution:
            name, weight, bias = named(name)
            return Convolution(name, weight.permute(2, 3, 1, 0), bias, rectified)

        name, weight, bias = named("h_s.increase.4")  # transposed, but of stride 1
        self._hyper_synthesis = [
            Upsampling(*named("h_s.increase.0"), rectified=True),
            Upsampling(*named("h_s.increase.2"), rectified=True),
            Convolution(name, weight.flip(2, 3).permute(2, 3, 0, 1), bias, rectified=False),
        ]
        self.groups: list[int] = []
        while f"local_context.{len(self.groups)}.weight" in weights:
            self.groups.append(weights[f"local_context.{len(self.groups)}.weight"].shape[1])
        places = range(len(self.groups))
        self._local_context = [Neighbours(*named(f"local_context.{i}")) for i in places]
        self._channel_context = [
            [convolution(f"channel_context.{i}.fushion.{k}", k < 4) for k in (0, 2, 4)]
            for i in places[1:]
        ]
        self._entropy_parameters = {
            colour: [
                [pointwise(f"{name}.{i}.fusion.{k}", k < 4) for k in (0, 2, 4)] for i in places
            ]
            for colour, name in (
                (Colour.ANCHOR, "entropy_parameters_anchor"),
                (Colour.NON_ANCHOR, "entropy_parameters_nonanchor"),
            )
        }
        medians = weights["entropy_bottleneck.quantiles"][:, 0, 1]
        self.device = medians.device
        self._medians = to_units(medians)  # (N,)
        if not (self._medians.abs() <= LIMIT).all():  # nor NaN
            raise OutOfRangeError("entropy_bottleneck.quantiles: not finite, or beyond all measure")
        self._z_tables = read_tables(weights, "entropy_bottleneck", len(medians))
        scale_table = weights["gaussian_conditional.scale_table"].to(self.device)
        if not (
            scale_table.ndim == 1
            and 2 <= len(scale_table) <= 256
            and scale_table[0] > 0
            and (scale_table.diff() > 0).all()
            and scale_table[-1] <= LIMIT * UNIT
        ):
            raise ValueError("its table of scales is damaged")
        self._y_tables = read_tables(weights, "gaussian_conditional", len(scale_table))
        # A scale up to the first is coded with the first table, one above the last but one with the
        # last. Looked up for each scale in units, up to where all have the last.
        thresholds = scale_table[:-1].double() / UNIT
        units = torch.arange(int(thresholds.max()) + 2, device=self.device)
        self._tables_of = torch.bucketize(units.double(), thresholds).to(torch.uint8)

    @torch.inference_mode()
    def encode(self, y: Tensor, z: Tensor) -> Coded:
        """Raises ValueError where a latent is too large to be coded."""
        z_symbols = (z.permute(0, 2, 3, 1).double() - self._medians * UNIT).round_()
        z_hat = z_symbols / UNIT + self._medians
        z_coded = _int32(z_symbols.permute(0, 3, 1, 2))
        channels = _channels(z_coded)

        # Groups are coded as rows of either colour.
        rows = {colour: take(y.permute(0, 2, 3, 1), colour).double() for colour in Colour}
        coded: list[Ints] = []
        indexes: list[Ints] = []
        B = len(y)
        all_symbols: list[Tensor] = []
        all_scales: list[Tensor] = []

        def write(group: int, colour: Colour, scales: Tensor, means: Tensor) -> Tensor:
            where = self._channels(group)
            symbols = (rows[colour][:, where] - means * UNIT).round_()
            coded.append(_int32(_by_picture(symbols, B)))
            indexes.append(self._table_of(scales, B))
            all_symbols.append(symbols.view(B, -1))
            all_scales.append(scales.reshape(B, -1))
            return symbols

        y_hat = self._passes(z_hat, write)
        found = Coded(
            *([], [], []),
            torch.cat(all_symbols, dim=1).float(),
            (torch.cat(all_scales, dim=1) * UNIT).float(),
            _planes(z_hat * UNIT),
            _planes(y_hat * UNIT),
        )
        for picture in range(B):
            writer = SymbolWriter(self._z_tables)
            writer.write(z_coded[picture], channels)
            found.z_strings.append(writer.finish())
            writer = SymbolWriter(self._y_tables)
            for symbols, tables in zip(coded, indexes, strict=True):
                writer.write(symbols[picture], tables[picture])
            found.y_strings.append(writer.finish())
            found.checksums.append(
                _checksum([z_coded[picture], *(symbols[picture] for symbols in coded)])
            )
        return found

    @torch.inference_mode()
    def decode(
        self,
        strings: Sequence[Strings],
        shape: Sequence[int],
        bits: list[float] | None = None,
    ) -> tuple[Tensor, list[int]]:
        """y_hat (B, M, h, w) in float32 and the checksums of the symbols, as `encode` gave them.

        shape: of z. bits: is filled with what each group takes in the y strings of all pictures.
        Raises ValueError where strings and shape are none or do not go together, and
        OtherSymbolsError where they hold something else than was written.
        """
        z_height, z_width = shape
        B, height, width = len(strings), 4 * z_height, 4 * z_width
        z_count = len(self._medians) * z_height * z_width
        readers = []
        z_symbols = np.empty((B, len(self._medians), z_height, z_width), np.int32)
        for picture, ((y_string,), (z_string,)) in enumerate(strings):
            readers.append(
                SymbolReader(self._y_tables, y_string, sum(self.groups) * height * width)
            )
            reader = SymbolReader(self._z_tables, z_string, z_count)
            with _stream_of(picture):
                z_symbols[picture] = reader.read(_channels(z_symbols))
                reader.finish()
        coded = [z_symbols]
        if bits is not None:
            bits[:] = [0.0] * len(self.groups)

        def read(group: int, colour: Colour, scales: Tensor, means: Tensor) -> Tensor:
            indexes = self._table_of(scales, B)
            symbols = np.empty_like(indexes)
            for picture, reader in enumerate(readers):
                before = reader.left
                with _stream_of(picture):
                    symbols[picture] = reader.read(indexes[picture])
                if bits is not None:
                    bits[group] += before - reader.left
            coded.append(symbols)
            return _to_rows(torch.from_numpy(symbols).to(self.device))

        z_hat = _to_planes_last(torch.from_numpy(z_symbols).to(self.device)) / UNIT + self._medians
        y_hat = self._passes(z_hat, read)
        for picture, reader in enumerate(readers):
            with _stream_of(picture):
                reader.finish()
        checksums = [_checksum([symbols[picture] for symbols in coded]) for picture in range(B)]
        return _planes(y_hat * UNIT), checksums

    @torch.inference_mode()
    def networks(self, z: Tensor) -> Tensor:
        """y_hat (B, h, w, M) if all symbols of y were 0: for measuring what the networks cost."""
        z_hat = to_units(z.permute(0, 2, 3, 1))
        return self._passes(z_hat, lambda group, colour, scales, means: torch.zeros_like(means))

    def _passes(self, z_hat: Tensor, step: Step) -> Tensor:
        """Walks the groups and colours in coding order; y_hat (B, h, w, M) in units."""
        hyper = through(self._hyper_synthesis, z_hat.clamp(-LIMIT, LIMIT))
        B, h, w, _ = hyper.shape
        hyper_of = {colour: take(hyper, colour) for colour in Colour}
        windows = neighbours(B, h, w, Neighbours.TAPS, hyper)
        y_hat = hyper.new_empty(B, h, w, sum(self.groups))
        for group in range(len(self.groups)):
            where = self._channels(group)
            known = dict(hyper_of)
            if group:
                decoded = y_hat[..., : where.start].clamp(-LIMIT, LIMIT)
                context = through(self._channel_context[group - 1], decoded)
                known = {c: torch.cat((take(context, c), known[c]), dim=1) for c in Colour}
            for colour in (Colour.ANCHOR, Colour.NON_ANCHOR):
                layers = self._entropy_parameters[colour][group]
                scales, means = through(layers, known[colour]).chunk(2, dim=1)
                latents = step(group, colour, scales, means) / UNIT + means
                put(latents, y_hat[..., where], colour)
                if colour is Colour.ANCHOR:
                    local = self._local_context[group](latents.clamp(-LIMIT, LIMIT), windows)
                    known[Colour.NON_ANCHOR] = torch.cat((local, known[Colour.NON_ANCHOR]), dim=1)
        return y_hat

    def _channels(self, group: int) -> slice:
        start = sum(self.groups[:group])
        return slice(start, start + self.groups[group])

    def _table_of(self, scales: Tensor, B: int) -> Ints:
        """(B, c, n): which table codes the symbols of these scales (B n, c)."""
        places = scales.clamp(0, len(self._tables_of) - 1).long()
        tables = _by_picture(self._tables_of[places], B).contiguous().cpu().numpy()
        found: Ints = tables.astype(np.int32)
        return found


@contextmanager
def _stream_of(picture: int) -> Iterator[None]:
    """Says whose stream it is that does not hold what was written."""
    try:
        yield
    except OtherSymbolsError as error:
        error.picture = picture
        raise


def _int32(symbols: Tensor) -> Ints:
    """Raises ValueError where one is too large for the coder, before it would become another."""
    low, high = symbols.aminmax()
    if not (low > -LARGEST and high < LARGEST):  # nor NaN
        raise ValueError(
            f"a latent is beyond {LARGEST} and cannot be coded: check picture and weights"
        )
    found: Ints = symbols.to(torch.int32).contiguous().cpu().numpy()
    return found


def _by_picture(rows: Tensor, B: int) -> Tensor:
    """(B n, c) to (B, c, n): channel by channel, as the stream has them."""
    return rows.view(B, -1, rows.shape[-1]).transpose(1, 2)


def _to_rows(symbols: Tensor) -> Tensor:
    """Undoes `_by_picture`."""
    return symbols.transpose(1, 2).reshape(-1, symbols.shape[1]).double()


def _to_planes_last(symbols: Tensor) -> Tensor:
    return symbols.permute(0, 2, 3, 1).double()


def _planes(x: Tensor) -> Tensor:
    """(B, h, w, C) to (B, C, h, w) in float32; in memory the channels stay last."""
    return x.permute(0, 3, 1, 2).float()


def _channels(symbols: Ints) -> Ints:
    """(C, h, w): the channel of each place, whose table codes it."""
    channels = np.arange(symbols.shape[1], dtype=np.int32)
    return np.broadcast_to(channels[:, None, None], symbols.shape[1:])


def _checksum(symbols: Sequence[Ints]) -> int:
    checksum = 0
    for part in symbols:
        checksum = zlib.crc32(part.astype("<i4").tobytes(), checksum)
    return checksum
