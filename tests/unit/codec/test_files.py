"""Damaged, foreign and misplaced files are refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacolab.codec import Taco
from tacolab.codec.bitstream import HEADER, pack, unpack
from tacolab.codec.container import OVERHEAD, decode_container, pack_container, unpack_container
from tacolab.codec.elic import Encoded
from tacolab.codec.shape import LatentShape

Sample = Callable[..., tuple[Tensor, Tensor]]
MODEL = b"model #1"

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


def some_container() -> bytes:
    shape = LatentShape.of(100, 70)
    return pack_container(Encoded(b"y" * 12, b"z" * 8, shape, 12345, 90.0, 60.0), MODEL)


@quick
@given(st.data())
def test_any_damaged_byte_of_a_container_is_noticed(data: Any) -> None:
    intact = some_container()
    place = data.draw(st.integers(0, len(intact) - 1))
    damaged = bytearray(intact)
    damaged[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError):
        unpack_container(bytes(damaged), MODEL)
    with pytest.raises(ValueError):
        unpack_container(intact[:place], MODEL)
    with pytest.raises(ValueError, match="damaged"):
        unpack_container(intact + b"?", MODEL)


def test_a_container_says_what_is_wrong_with_it() -> None:
    intact = some_container()
    payload, checksum = unpack_container(intact, MODEL)
    assert (len(payload), checksum) == (len(intact) - OVERHEAD, 12345)
    with pytest.raises(ValueError, match="not a tacolab file"):
        unpack_container(payload, MODEL)
    for version in (1, 9):
        with pytest.raises(ValueError, match=f"has version {version}, .* reads version 2"):
            unpack_container(intact[:4] + bytes([version]) + intact[5:], MODEL)
    with pytest.raises(ValueError, match=f"made by model {MODEL.hex()}"):
        unpack_container(intact, b"model #2")
    with pytest.raises(ValueError, match="8 bytes"):
        pack_container(Encoded(b"", b"", LatentShape.of(1, 1), 0, 0.0, 0.0), b"short")


def test_a_huge_picture_of_a_few_bytes_is_refused_before_memory_is_taken(taco: Taco) -> None:
    taco.update(force=True)
    strings, shape = unpack(pack([[bytes(8)], [bytes(8)]], LatentShape.of(2**14, 2**14)))
    with pytest.raises(ValueError, match="8 bytes cannot hold 25165824 symbols"):
        taco.decode(strings, shape)


def test_a_container_decodes_to_the_picture_or_not_at_all(taco: Taco, sample: Sample) -> None:
    taco.update(force=True)
    x, text = sample(120, 130)
    data = pack_container(taco.encode(x, text), MODEL)
    forward = taco(x, text)["x_hat"].detach()
    assert (decode_container(taco, MODEL, data) - forward).square().mean() < 1e-3
    with torch.no_grad():
        for weight in taco.h_s.parameters():
            weight *= 1.01
    taco.update(force=True)
    with pytest.raises(ValueError, match="other symbols than were encoded"):
        decode_container(taco, MODEL, data)
