"""Damaged, foreign and misplaced files are refused in words."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacolab.codec import Taco
from tacolab.codec.bitstream import HEADER, pack, unpack
from tacolab.codec.container import MAGIC, decode_container, pack_container, unpack_container
from tacolab.codec.elic import Encoded
from tacolab.codec.shape import LatentShape

Sample = Callable[..., tuple[Tensor, Tensor]]
MODEL = b"model #1 and the rest of a sha"

quick = settings(deadline=None)  # a busy machine is no failure
sides = st.integers(1, 5000)
strings = st.binary(max_size=40)


@quick
@given(sides, sides, strings, strings)
def test_pack_and_unpack_are_inverse(height: int, width: int, y: bytes, z: bytes) -> None:
    shape = LatentShape.of(height, width)
    data = pack([[y], [z]], shape)
    assert len(data) == 28 + len(y) + len(z)
    unpacked, its_shape = unpack(data)
    assert (unpacked, its_shape, its_shape.picture) == ([[y], [z]], shape, (height, width))


@quick
@given(strings, strings, st.data())
def test_cut_or_longer_files_are_refused(y: bytes, z: bytes, data: Any) -> None:
    whole = pack([[y], [z]], LatentShape.of(100, 70))
    with pytest.raises(ValueError, match="truncated"):
        unpack(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match="followed by other bytes"):
        unpack(whole + data.draw(st.binary(min_size=1, max_size=9)))


@quick
@given(st.binary(max_size=80))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        unpack(data)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ((0, 5, 0, 1, 2, 0), "impossible sizes"),
        ((64, 64, 1, 2, 2, 0), "impossible sizes"),
        ((64, 64, 1, 1, 3, 0), "3 strings"),
        ((64, 64, 1, 1, 2, 2**32 - 1), "truncated"),
        ((2**32 - 1, 2**32 - 1, 2**26, 2**26, 2, 0), "beyond"),
    ],
)
def test_nonsense_in_the_header_is_refused(fields: tuple[int, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unpack(HEADER.pack(*fields) + bytes(4))


def coded(height: int, width: int, y: bytes = b"y" * 12, z: bytes = b"z" * 8) -> Encoded:
    return Encoded(y, z, LatentShape.of(height, width), 12345, 90.0, 60.0, torch.zeros(0))


def sealed(start: bytes, rest: bytes) -> bytes:
    """With the right checksum of its bytes, as a forger would make it."""
    return start + struct.pack(">I", zlib.crc32(start + rest)) + rest


def version_2(encoded: Encoded) -> bytes:
    """As it was written before."""
    start = struct.pack(">4sB8sI", MAGIC, 2, MODEL[:8], encoded.checksum)
    return sealed(start, pack(encoded.strings, encoded.shape))


words = st.integers(2, 2000).map(lambda count: b"word" * count)


@quick
@given(sides, sides, words, words)
def test_a_container_holds_what_was_coded_and_little_else(
    height: int, width: int, y: bytes, z: bytes
) -> None:
    encoded = coded(height, width, y, z)
    data = pack_container(encoded, MODEL)
    found = unpack_container(data)
    assert (found.strings, found.shape, found.checksum) == (encoded.strings, encoded.shape, 12345)
    assert found.shape.picture == (height, width)
    assert MODEL.startswith(found.model)
    assert len(data) - len(y) - len(z) <= 25


def test_at_256_pixels_and_the_middle_rate_the_overhead_is_below_a_hundredth() -> None:
    strings = {"y": bytes(2700), "z": bytes(128)}
    data = pack_container(coded(256, 256, **strings), MODEL)
    assert 8 * len(data) / 256**2 < 0.35
    assert len(data) - 2828 < len(data) / 100


@pytest.mark.parametrize("written", [lambda one: pack_container(one, MODEL), version_2])
@quick
@given(st.data())
def test_any_damaged_byte_of_a_container_is_noticed(
    written: Callable[[Encoded], bytes], data: Any
) -> None:
    intact = written(coded(100, 70))
    place = data.draw(st.integers(0, len(intact) - 1))
    damaged = bytearray(intact)
    damaged[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError):
        unpack_container(bytes(damaged))
    with pytest.raises(ValueError):
        unpack_container(intact[:place])
    with pytest.raises(ValueError, match="damaged"):
        unpack_container(intact + b"?")


def test_a_container_says_what_is_wrong_with_it() -> None:
    intact = pack_container(coded(100, 70), MODEL)
    with pytest.raises(ValueError, match="is no file of tacolab"):
        unpack_container(pack(coded(100, 70).strings, LatentShape.of(100, 70)))
    for version in (1, 9):
        with pytest.raises(ValueError, match=f"has version {version}, .* versions 2 and 3"):
            unpack_container(intact[:4] + bytes([version]) + intact[5:])
    with pytest.raises(ValueError, match=f"made by model {MODEL[:4].hex()}, this is model 6f74"):
        unpack_container(intact).require_model(b"other")
    for encoded, model_id in ((coded(1, 1), b"id"), (coded(1, 1, z=b"123"), MODEL)):
        with pytest.raises(ValueError, match="needs 4 bytes"):
            pack_container(encoded, model_id)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        (b"\0\5\1", "impossible sizes"),
        (b"\5\0\1", "impossible sizes"),
        (b"\xff\xff\xff\xff\x7f" * 2 + b"\1", "beyond"),
        (b"\x80\x80\x80\x80\x80\x80\1\1\1", "does not end"),
        (b"\5\x80", "does not end"),
        (b"\5\5\xff\xff\xff\xff\x7f" + bytes(64), "impossible sizes"),
        (b"", "does not end"),
    ],
)
def test_forged_sizes_are_refused(sizes: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unpack_container(sealed(MAGIC + b"\3" + MODEL[:4], bytes(4) + sizes))


def test_a_huge_picture_of_a_few_bytes_is_refused_before_memory_is_taken(taco: Taco) -> None:
    taco.update(force=True)
    strings, shape = unpack(pack([[bytes(8)], [bytes(8)]], LatentShape.of(2**14, 2**14)))
    with pytest.raises(ValueError, match="8 bytes cannot hold 25165824 symbols"):
        taco.decode(strings, shape)


def test_a_container_decodes_to_the_picture_or_not_at_all(taco: Taco, sample: Sample) -> None:
    taco.update(force=True)
    x, text = sample(120, 130)
    encoded = taco.encode(x, text)
    data = pack_container(encoded, MODEL)
    forward = taco(x, text)["x_hat"].detach()
    assert (decode_container(taco, MODEL, data) - forward).square().mean() < 1e-3
    assert torch.equal(
        decode_container(taco, MODEL, version_2(encoded)), decode_container(taco, MODEL, data)
    )
    with torch.no_grad():
        for weight in taco.h_s.parameters():
            weight *= 1.01
    taco.update(force=True)
    with pytest.raises(ValueError, match="other symbols than were encoded"):
        decode_container(taco, MODEL, data)
