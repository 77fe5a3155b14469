"""Our own file around the published bitstream: knows its model and never shows a broken picture.

Big-endian: magic, version (1 byte), model identity (8 bytes), crc32 of the coded symbols, crc32 of
all other bytes of the file, the published bitstream: 21 bytes more than the published file.
"""

from __future__ import annotations

import struct
import zlib

from torch import Tensor

from tacolab.codec.bitstream import pack, unpack
from tacolab.codec.elic import Elic, Encoded
from tacolab.codec.entropy_coding import OtherSymbolsError

MAGIC = b"tclb"
VERSION = 2  # 1 coded in floats, which other machines computed differently
ID_BYTES = 8
HEADER = struct.Struct(f">4sB{ID_BYTES}sI")  # without the crc, which covers it
CRC = struct.Struct(">I")
OVERHEAD = HEADER.size + CRC.size


def pack_container(encoded: Encoded, model_id: bytes) -> bytes:
    """The container of one picture.

    `model_id` are the 8 bytes by which the caller knows the model that encoded it, say the start
    of its weights' sha256.
    """
    if len(model_id) != ID_BYTES:
        raise ValueError(f"model_id must have {ID_BYTES} bytes, not {len(model_id)}")
    header = HEADER.pack(MAGIC, VERSION, model_id, encoded.checksum)
    payload = pack(encoded.strings, encoded.shape)
    return header + CRC.pack(_crc(header, payload)) + payload


def unpack_container(data: bytes, model_id: bytes) -> tuple[bytes, int]:
    """The published bitstream inside and the checksum of its symbols.

    Raises:
        ValueError: not our file, another version, damaged, or made by another model.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError("not a tacolab file: it does not begin as one")
    if len(data) < OVERHEAD:
        raise ValueError(f"the file is truncated: it has only {len(data)} bytes")
    _, version, made_by, checksum = HEADER.unpack_from(data)
    if version != VERSION:
        raise ValueError(
            f"the file has version {version}, this program reads version {VERSION}: decode it with "
            "the tacolab that wrote it (for version 1, on the kind of machine that did) and "
            "compress the picture again"
        )
    (crc,) = CRC.unpack_from(data, HEADER.size)
    payload = data[OVERHEAD:]
    if crc != _crc(data[: HEADER.size], payload):
        raise ValueError("the file is damaged: its bytes do not match their crc; copy it again")
    if made_by != model_id:
        raise ValueError(
            f"the file was made by model {made_by.hex()}, this is model {model_id.hex()}: "
            "decode it with the model that encoded it"
        )
    return payload, checksum


def decode_container(model: Elic, model_id: bytes, data: bytes) -> Tensor:
    """The picture (1, 3, H, W) of a container, exactly as the encoder saw it, or ValueError."""
    payload, checksum = unpack_container(data, model_id)
    try:
        x_hat, decoded = model.decode(*unpack(payload))
        if decoded == checksum:
            return x_hat
    except OtherSymbolsError:  # its bytes are those that the container was made of
        pass
    raise ValueError(
        "the file decodes to other symbols than were encoded: a machine that coded or decoded it "
        "made an error; try again, or compress the picture again"
    )


def _crc(header: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(header))
