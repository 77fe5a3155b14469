"""Writes and reads one rANS stream of symbols with CompressAI's coder."""

from __future__ import annotations

import math

import torch
from compressai.ans import BufferedRansEncoder, RansDecoder
from compressai.entropy_models import EntropyModel
from torch import Tensor

# What the likeliest symbol costs: probabilities are of 16 bits, and none is 1.
LEAST_BITS = 16 - math.log2(2**16 - 1)

Tables = tuple[list[list[int]], list[int], list[int]]


def coding_tables(model: EntropyModel) -> Tables:
    """CDFs, their lengths and offsets as the coder wants them.

    Raises:
        RuntimeError: `update()` was never called, so there is nothing to code with.
    """
    if model.quantized_cdf.numel() == 0:
        raise RuntimeError(
            "the coding tables have not been made: call update(force=True) on the model "
            "before it codes, and again whenever its weights have changed"
        )
    lengths = model.cdf_length.tolist()
    # Without the padding of short CDFs to the longest, nine tenths of the numbers: the coder takes
    # the lists apart in every call.
    cdfs = [row[:length] for row, length in zip(model.quantized_cdf.tolist(), lengths, strict=True)]
    return cdfs, lengths, model.offset.tolist()


class SymbolWriter:
    """Gathers symbols of several passes and writes them as one stream."""

    def __init__(self, model: EntropyModel) -> None:
        self._tables = coding_tables(model)
        self._symbols: list[Tensor] = []
        self._indexes: list[Tensor] = []

    def write(self, symbols: Tensor, indexes: Tensor) -> None:
        """Appends int32 symbols; `indexes` of the same shape say which CDF each one uses."""
        self._symbols.append(symbols.flatten())
        self._indexes.append(indexes.flatten())

    def finish(self) -> bytes:
        """The stream of all symbols so far."""
        encoder = BufferedRansEncoder()
        encoder.encode_with_indexes(
            torch.cat(self._symbols).tolist(), torch.cat(self._indexes).tolist(), *self._tables
        )
        stream: bytes = encoder.flush()
        return stream


class SymbolReader:
    """Reads the stream of a `SymbolWriter` pass by pass."""

    def __init__(self, model: EntropyModel, stream: bytes, count: int) -> None:
        self._tables = coding_tables(model)
        self._decoder = RansDecoder()
        self._decoder.set_stream(with_slack(stream, count))

    def read(self, indexes: Tensor) -> Tensor:
        """The next int32 symbols, one for each of `indexes`, in their shape and on their device."""
        values = self._decoder.decode_stream(indexes.flatten().tolist(), *self._tables)
        return torch.tensor(values, dtype=torch.int32, device=indexes.device).view(indexes.shape)


def with_slack(stream: bytes, count: int) -> bytes:
    """The stream and enough zeros behind it for `count` symbols.

    CompressAI's decoder does not look for the end of its string: where the symbols are not those
    that were written (damage, another device), it would read whatever memory comes next. A
    symbol takes a word of 4 bytes at most, or a few where it lies outside its table.

    Raises:
        ValueError: no stream as short as this one holds so many symbols: the sizes in a damaged
            header are found out here, before tensors of that size are made.
    """
    if 8 * len(stream) < count * LEAST_BITS:
        raise ValueError(
            f"{len(stream)} bytes cannot hold {count} symbols: the sizes of the picture are wrong"
        )
    return stream + bytes(16 * count)
