"""Our own file of a coded picture: knows its model and never shows a broken picture.

`docs/format.md` describes it byte by byte. In the study the rate is that of the published layout
(`bitstream`); this one has some 20 bytes beside the strings, and two checksums.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from torch import Tensor

from tacolab.codec.bitstream import require_size, unpack
from tacolab.codec.elic import Elic, Encoded
from tacolab.codec.entropy_coding import OtherSymbolsError
from tacolab.codec.shape import LatentShape

MAGIC = b"tclb"
VERSION = 3  # 1 coded in floats, which other machines computed differently; 2 had 49 bytes more
ID_BYTES = 4
WORD = 4  # bytes; strings have whole words
OTHER_SYMBOLS = (
    "decodes to other symbols than were encoded: a machine that coded or decoded it made an error; "
    "try again, or compress the picture again"
)
_START = struct.Struct(f">4sB{ID_BYTES}s")  # magic, version, model
_CHECKSUMS = struct.Struct(">II")  # of all other bytes, of the symbols
_CRC_BYTES = 4
_START_2 = struct.Struct(">4sB8sI")  # magic, version, model, checksum of the symbols


@dataclass(frozen=True)
class Container:
    """A coded picture as its file holds it."""

    model: bytes
    """The first bytes of the sha256 of the model file: 4, in version 2 there were 8."""
    checksum: int
    """crc32 of the coded symbols."""
    y_string: bytes
    z_string: bytes
    shape: LatentShape

    @property
    def strings(self) -> list[list[bytes]]:
        """In CompressAI's order."""
        return [[self.y_string], [self.z_string]]

    def require_model(self, model_id: bytes) -> None:
        """Raises ValueError where the model of this sha256 did not make the file."""
        if not model_id.startswith(self.model):
            raise ValueError(
                f"was made by model {self.model.hex()}, this is model "
                f"{model_id[: len(self.model)].hex()}: decode it with the model that encoded it"
            )


def pack_container(encoded: Encoded, model_id: bytes) -> bytes:
    """The file of one picture. model_id: the sha256 of the model file, or its first bytes.

    Raises ValueError for a picture that is too large for any file.
    """
    if len(model_id) < ID_BYTES or encoded.shape.picture is None or len(encoded.z_string) % WORD:
        raise ValueError(
            f"needs {ID_BYTES} bytes of the model's sha256, the picture's size and whole words"
        )
    height, width = encoded.shape.picture
    require_size(height, width)
    start = _START.pack(MAGIC, VERSION, model_id[:ID_BYTES])
    rest = struct.pack(">I", encoded.checksum)
    for number in (height, width, len(encoded.z_string) // WORD):
        rest += _varint(number)
    rest += encoded.z_string + encoded.y_string
    return start + struct.pack(">I", _crc(start, rest)) + rest


def unpack_container(data: bytes) -> Container:
    """What a file holds, also one of version 2.

    Raises:
        ValueError: not our file, another version, damaged, or with impossible sizes.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError("is no file of tacolab: it does not begin as one")
    version = data[len(MAGIC)] if len(data) > len(MAGIC) else VERSION
    if version not in (2, VERSION):
        raise ValueError(
            f"has version {version}, this program reads versions 2 and {VERSION}: decode it with "
            "the tacolab that wrote it (for version 1, on the kind of machine that did) and "
            "compress the picture again"
        )
    head = (_START_2 if version == 2 else _START).size
    crc, rest = data[head : head + _CRC_BYTES], data[head + _CRC_BYTES :]
    if len(crc) < _CRC_BYTES or int.from_bytes(crc) != _crc(data[:head], rest):
        raise ValueError("is damaged or cut: its bytes do not match their checksum; copy it again")
    if version == 2:
        _, _, model, checksum = _START_2.unpack_from(data)
        ((y_string,), (z_string,)), shape = unpack(rest)
        return Container(model, checksum, y_string, z_string, shape)
    numbers, at = [], 4
    for _ in range(3):
        number, at = _read_varint(rest, at)
        numbers.append(number)
    height, width, z_words = numbers
    if height < 1 or width < 1:
        raise ValueError(f"names impossible sizes: a picture of {height} x {width} pixels")
    require_size(height, width)
    z_end = at + WORD * z_words
    if z_end > len(rest):
        raise ValueError(f"names impossible sizes: {WORD * z_words} bytes of z in {len(data)}")
    _, _, model = _START.unpack_from(data)
    return Container(
        model,
        int.from_bytes(rest[:4]),
        y_string=rest[z_end:],
        z_string=rest[at:z_end],
        shape=LatentShape.of(height, width),
    )


def decode_container(model: Elic, model_id: bytes, data: bytes) -> Tensor:
    """The picture (1, 3, H, W) of a file, exactly as the encoder saw it.

    Raises:
        ValueError: as `unpack_container`, another model, or not what was encoded.
    """
    container = unpack_container(data)
    container.require_model(model_id)
    try:
        x_hat, decoded = model.decode(container.strings, container.shape)
        if decoded == container.checksum:
            return x_hat
    except OtherSymbolsError:  # its bytes are those that the container was made of
        pass
    raise ValueError(OTHER_SYMBOLS)


def _crc(start: bytes, rest: bytes) -> int:
    return zlib.crc32(rest, zlib.crc32(start))


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit of a byte says that more follow."""
    low, more = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(more) if more else bytes([low])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and the place behind it; no number has more than five bytes."""
    number = 0
    for place, byte in enumerate(data[at : at + 5]):
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at + place + 1
    raise ValueError("names impossible sizes: its header does not end")
