"""Writes and reads one rANS stream of symbols, pass by pass.

The compiled coder is imported at the first coding: a training never needs it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

PRECISION = 16  # bits of a probability
LEAST = 2**31  # the coder's state is never less; the encoder begins with it, the decoder ends there
LARGEST = 2**26  # symbols are less: CompressAI gets stuck in a number of more than seven digits
# What the likeliest symbol costs: no probability is 1.
LEAST_BITS = PRECISION - math.log2(2**PRECISION - 1)

Ints = npt.NDArray[np.int32]


class OtherSymbolsError(ValueError):
    """A stream does not hold what was written."""

    picture = 0
    """Which one of several that are decoded together."""


class Tables(NamedTuple):
    """cdfs: tables x longest, cumulative probabilities in 1/2^16; lengths: how much of each row
    counts; offsets: the symbol of each row's first entry."""

    cdfs: Ints
    lengths: Ints
    offsets: Ints


def read_tables(weights: Mapping[str, Tensor], model: str, count: int) -> Tables:
    """The `count` tables of an entropy model, from the state dict that it stands in.

    Raises:
        RuntimeError: they were never made, so there is nothing to code with.
        ValueError: they are damaged.
    """
    names = ("_quantized_cdf", "_cdf_length", "_offset")
    found = [weights[f"{model}.{name}"].cpu() for name in names]
    if any(one.dtype != torch.int32 for one in found):
        raise ValueError(f"its coding tables ({model}) are damaged")
    arrays = [one.numpy() for one in found]
    cdfs, lengths, offsets = tables = Tables(*map(np.ascontiguousarray, arrays))
    if cdfs.size == 0:
        raise RuntimeError(
            "the coding tables have not been made: call update(force=True) on the model "
            "before it codes, and again whenever its weights have changed"
        )
    if not (
        cdfs.ndim == 2
        and (len(cdfs), lengths.shape, offsets.shape) == (count, (count,), (count,))
        and lengths.min() >= 3
        and lengths.max() <= cdfs.shape[1]
        and -LARGEST < offsets.min() <= offsets.max() < LARGEST
        and all(
            row[0] == 0 and row[length - 1] == 2**PRECISION and (np.diff(row[:length]) > 0).all()
            for row, length in zip(cdfs, lengths, strict=True)
        )
    ):
        raise ValueError(f"its coding tables ({model}) are damaged")
    return tables


class SymbolWriter:
    """Gathers symbols of several passes and writes them as one stream."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._symbols: list[Ints] = []
        self._indexes: list[Ints] = []

    def write(self, symbols: Ints, indexes: Ints) -> None:
        """Appends symbols; `indexes` of the same shape say which table each one uses."""
        self._symbols.append(symbols.ravel())
        self._indexes.append(indexes.ravel())

    def finish(self) -> bytes:
        """The stream of all symbols so far.

        Raises:
            ValueError: a symbol is too large to be coded.
        """
        from tacolab.codec import rans

        symbols, indexes = np.concatenate(self._symbols), np.concatenate(self._indexes)
        words = rans.encode(symbols, indexes, *self._tables)
        if len(words) == 0:
            raise ValueError(
                f"a latent is beyond {LARGEST} and cannot be coded: check picture and weights"
            )
        stream: bytes = words.astype("<u4").tobytes()
        return stream


class SymbolReader:
    """Reads the stream of a `SymbolWriter` pass by pass.

    Raises:
        ValueError: no stream as short as this one holds `count` symbols: the sizes in a damaged
            header are found out here, before tensors of that size are made.
    """

    def __init__(self, tables: Tables, stream: bytes, count: int) -> None:
        self._tables = tables
        if 8 * len(stream) < count * LEAST_BITS:
            raise ValueError(
                f"{len(stream)} bytes cannot hold {count} symbols: the sizes of the picture are "
                "wrong"
            )
        if len(stream) % 4 or len(stream) < 8:
            raise ValueError(f"the stream is damaged: it has {len(stream)} bytes")
        self._words = np.frombuffer(stream, "<u4").astype(np.uint32)
        self._state = np.frombuffer(stream, "<u8", 1).astype(np.uint64)[0]
        self._at = 2  # words are read
        if not LEAST <= self._state < LEAST << 32:
            raise ValueError("the stream is damaged: it does not begin as one")

    def read(self, indexes: Ints) -> Ints:
        """The next symbols, one for each of `indexes`, in their shape.

        Raises:
            OtherSymbolsError: the stream ends before, or holds what no encoder writes.
        """
        from tacolab.codec import rans

        flat = indexes.ravel()
        symbols = np.empty_like(flat)
        whole, state, self._at = rans.decode(
            self._words, self._state, self._at, flat, *self._tables, symbols
        )
        self._state = np.uint64(state)
        if not whole:
            raise OtherSymbolsError("the stream is damaged: it holds no such symbols")
        return symbols.reshape(indexes.shape)

    @property
    def left(self) -> float:
        """Bits of information in what is not read yet; at the end those of the coder's state."""
        return 32 * (len(self._words) - self._at) + math.log2(self._state)

    def finish(self) -> None:
        """Call it when all is read.

        Raises:
            OtherSymbolsError: something is left, so what was read is not what was written.
        """
        if self._at != len(self._words) or self._state != LEAST:
            raise OtherSymbolsError(
                "the stream is damaged: something is left behind its last symbol"
            )
