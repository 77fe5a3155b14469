"""Streams are CompressAI's to the byte, and no bytes are read behind their end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from compressai.ans import BufferedRansEncoder, RansDecoder
from compressai.entropy_models import EntropyBottleneck, EntropyModel, GaussianConditional
from compressai.models.base import get_scale_table
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacolab.codec.entropy_coding import LARGEST, SymbolReader, SymbolWriter, Tables, read_tables

SCALES = get_scale_table()


def gaussian() -> EntropyModel:
    model = GaussianConditional(None)
    model.update_scale_table(get_scale_table())
    return model


def bottleneck() -> EntropyModel:
    model = EntropyBottleneck(8)
    model.update(force=True, update_quantiles=True)
    return model


MODELS = {"gaussian": gaussian(), "bottleneck": bottleneck()}


def published(model: EntropyModel, symbols: list[int], indexes: list[int]) -> bytes:
    """What CompressAI writes."""
    encoder = BufferedRansEncoder()
    lists = model.quantized_cdf.tolist(), model.cdf_length.tolist(), model.offset.tolist()
    encoder.encode_with_indexes(symbols, indexes, *lists)
    stream: bytes = encoder.flush()
    return stream


def tables(model: EntropyModel) -> Tables:
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    return read_tables(weights, "model", len(model.cdf_length))


def written(model: EntropyModel, symbols: list[int], indexes: list[int]) -> bytes:
    writer = SymbolWriter(tables(model))
    middle = len(symbols) // 2  # in two passes
    for part in (slice(None, middle), slice(middle, None)):
        writer.write(np.array(symbols[part], np.int32), np.array(indexes[part], np.int32))
    return writer.finish()


def read(model: EntropyModel, stream: bytes, indexes: list[int]) -> list[int]:
    reader = SymbolReader(tables(model), stream, len(indexes))
    found: list[int] = []
    for part in (indexes[: len(indexes) // 3], indexes[len(indexes) // 3 :]):
        found += reader.read(np.array(part, np.int32)).tolist()
    reader.finish()
    return found


# CompressAI's encoder writes before its memory where there are fewer symbols.
SAFE = 4
near = st.integers(-40, 40)
far = st.integers(-LARGEST + 1, LARGEST - 1)


@pytest.mark.parametrize("kind", MODELS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_symbols_are_written_as_compressai_writes_them(kind: str, data: st.DataObject) -> None:
    model = MODELS[kind]
    pairs = st.tuples(near | far, st.integers(0, len(model.cdf_length) - 1))
    drawn = data.draw(st.lists(pairs, min_size=SAFE, max_size=80))
    symbols, indexes = [symbol for symbol, _ in drawn], [index for _, index in drawn]
    stream = written(model, symbols, indexes)
    assert stream == published(model, symbols, indexes)
    assert read(model, stream, indexes) == symbols


def test_a_picture_of_symbols_is_written_as_compressai_writes_it() -> None:
    """Of every scale, each in its own spread and far beyond it."""
    generator = torch.Generator().manual_seed(0)
    indexes = torch.randint(0, len(SCALES), (200_000,), generator=generator)
    for wider in (1, 30):
        spread = wider * SCALES[indexes] * torch.randn(len(indexes), generator=generator)
        symbols = spread.round().int().tolist()
        stream = written(MODELS["gaussian"], symbols, indexes.tolist())
        assert stream == published(MODELS["gaussian"], symbols, indexes.tolist())
        assert read(MODELS["gaussian"], stream, indexes.tolist()) == symbols


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_stream_ends_in_an_error_or_in_whole_symbols(data: st.DataObject) -> None:
    """Never in what lies behind it in memory; CompressAI's own decoder reads on."""
    model = MODELS["gaussian"]
    indexes = data.draw(st.lists(st.integers(0, 63), min_size=1, max_size=60))
    stream = data.draw(st.binary(max_size=120))
    try:
        symbols = read(model, stream, indexes)
    except ValueError:
        return
    assert written(model, symbols, indexes) == stream


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("_quantized_cdf", lambda cdfs: cdfs[40, 5].fill_(0)),
        ("_quantized_cdf", lambda cdfs: cdfs[0, 0].fill_(1)),
        ("_cdf_length", lambda lengths: lengths[7].add_(1)),
        ("_cdf_length", lambda lengths: lengths[-1].fill_(10**6)),
        ("_offset", lambda offsets: offsets[0].fill_(-(2**30))),
        ("_offset", lambda offsets: offsets.resize_(63)),
    ],
)
def test_damaged_tables_are_refused(name: str, damage: Callable[[Tensor], Tensor]) -> None:
    weights = {f"model.{k}": v.clone() for k, v in MODELS["gaussian"].state_dict().items()}
    damage(weights[f"model.{name}"])
    with pytest.raises(ValueError, match=r"tables .* are damaged"):
        read_tables(weights, "model", 64)


def test_few_symbols_and_none_at_all() -> None:
    for symbols in ([], [7], [0, LARGEST - 1]):
        indexes = [20] * len(symbols)
        assert (
            read(MODELS["gaussian"], written(MODELS["gaussian"], symbols, indexes), indexes)
            == symbols
        )


@pytest.mark.parametrize("cut", [1, 4, 400])
def test_a_cut_or_longer_stream_is_noticed(cut: int) -> None:
    indexes = [20, 40, 63] * 300
    stream = written(MODELS["gaussian"], [-1, 5, 200] * 300, indexes)
    for damaged in (stream[:-cut], stream + bytes(cut)):
        with pytest.raises(ValueError, match="damaged"):
            read(MODELS["gaussian"], damaged, indexes)


def test_the_sizes_of_a_damaged_header_are_found_out_before_memory_is_taken() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        SymbolReader(tables(MODELS["gaussian"]), bytes(100), 10**12)


@pytest.mark.parametrize("symbol", [LARGEST, -LARGEST])
def test_a_symbol_that_no_stream_can_hold_is_refused(symbol: int) -> None:
    with pytest.raises(ValueError, match="cannot be coded"):
        written(MODELS["gaussian"], [0, symbol], [0, 0])


def test_published_streams_are_read_by_compressai_too() -> None:
    model, indexes = MODELS["gaussian"], [3, 30, 60] * 50
    stream = written(model, [0, -3, 70] * 50, indexes)
    decoder = RansDecoder()
    decoder.set_stream(stream + bytes(16))
    lists = model.quantized_cdf.tolist(), model.cdf_length.tolist(), model.offset.tolist()
    assert decoder.decode_stream(indexes, *lists) == [0, -3, 70] * 50
    assert np.frombuffer(stream, "<u4").size < len(indexes)
