"""The published file layout, of which every rate in the study is the size.

Big-endian uint32 fields `H W zH zW 2 len_y`, the y string, `len_z`, the z string: 28 bytes beside
the strings. It says neither which model made it nor whether it is intact; `container` does.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tacolab.codec.shape import STRIDE, LatentShape

HEADER = struct.Struct(">6I")
LENGTH = struct.Struct(">I")
OVERHEAD = HEADER.size + LENGTH.size
STRINGS = 2  # y and z
# Sixteen thousand squared. A damaged header may name any size, and the decoder allocates for it.
MAX_PIXELS = 2**28


def pack(strings: Sequence[Sequence[bytes]], shape: LatentShape) -> bytes:
    """The file of one picture, from what `compress` returns; bpp is 8 len / (H W).

    Raises:
        ValueError: `shape` does not know the picture's size, or is too large.
    """
    if shape.picture is None:
        raise ValueError("the picture's size is unknown: pass the shape that compress() returned")
    (y_string,), (z_string,) = strings
    height, width = shape.picture
    _check_sizes(height, width, *shape)
    header = HEADER.pack(height, width, *shape, STRINGS, len(y_string))
    return header + y_string + LENGTH.pack(len(z_string)) + z_string


def unpack(data: bytes) -> tuple[list[list[bytes]], LatentShape]:
    """Strings [[y], [z]] and the shape that `decompress` takes, from the file's bytes.

    Raises:
        ValueError: the file is truncated, has bytes left over, or names impossible sizes.
    """
    if len(data) < OVERHEAD:
        raise ValueError(
            f"the bitstream is truncated: it has {len(data)} bytes, {OVERHEAD} at least are needed"
        )
    height, width, z_height, z_width, count, y_length = HEADER.unpack_from(data)
    if count != STRINGS:
        raise ValueError(f"not a bitstream of this codec: it names {count} strings, not {STRINGS}")
    _check_sizes(height, width, z_height, z_width)
    y_end = HEADER.size + y_length
    if y_end + LENGTH.size > len(data):
        raise ValueError(
            f"the bitstream is truncated: its y string has {y_length} bytes, "
            f"the whole file only {len(data)}"
        )
    (z_length,) = LENGTH.unpack_from(data, y_end)
    z_start = y_end + LENGTH.size
    if z_start + z_length != len(data):
        problem = "truncated" if z_start + z_length > len(data) else "followed by other bytes"
        raise ValueError(
            f"the bitstream is {problem}: its header asks for {z_start + z_length} bytes, "
            f"the file has {len(data)}"
        )
    return [[data[HEADER.size : y_end]], [data[z_start:]]], LatentShape.of(height, width)


def _check_sizes(height: int, width: int, z_height: int, z_width: int) -> None:
    if height < 1 or width < 1 or LatentShape.of(height, width) != (z_height, z_width):
        raise ValueError(
            f"impossible sizes in the bitstream: a picture of {height} x {width} pixels "
            f"with latents of {z_height} x {z_width}"
        )
    require_size(height, width)


def require_size(height: int, width: int) -> None:
    """Before the work. Raises ValueError for a picture larger than any file may say."""
    z_height, z_width = LatentShape.of(height, width)
    if z_height * z_width * STRIDE**2 > MAX_PIXELS:
        raise ValueError(
            f"a picture of {height} x {width} pixels is beyond {MAX_PIXELS} (padded): it must be "
            "cut into parts, or the header of its file is damaged"
        )
