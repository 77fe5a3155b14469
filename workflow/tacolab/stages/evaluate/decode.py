"""Pictures back from the files of a coding, and only if they are what the encoder saw."""

import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from tacolab.codec.bitstream import unpack
from tacolab.codec.entropy_coding import OtherSymbolsError
from tacolab.codec.shape import LatentShape
from tacolab.errors import StageError, UserError
from tacolab.files import archives, intact
from tacolab.files.texts import loads
from tacolab.plan import Artefact
from tacolab.readers.packed import Packed
from tacolab.stages.evaluate.batches import batches
from tacolab.stages.evaluate.code import load_model, stream_name


@dataclass(frozen=True)
class Decoded:
    """One coding: its row, the size of its file [bytes], the picture, the time that it took."""

    row: dict[str, Any]
    n_bytes: int
    x_hat: Tensor
    """1 x 3 x H x W, neither clamped nor rounded."""
    seconds: float


class StreamDecoder:
    """The rows of a coding, and their pictures."""

    def __init__(self, code: Artefact, device: torch.device) -> None:
        self._code = code
        self._device = device
        require_same_pictures(code)
        self._model = load_model(code, device)
        table, self._streams = read_codes(code)
        self._remedy = _remedy(code)
        self.rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]

    @torch.no_grad()
    def __call__(self, rows: Sequence[dict[str, Any]]) -> Iterator[Decoded]:
        """In their order; equal sizes are computed together, which changes no symbol.

        Raises StageError where a file decodes to other symbols than were encoded.
        """
        for batch in batches([(row["height"], row["width"]) for row in rows]):
            together = [rows[i] for i in batch]
            contents = [self._read(row) for row in together]
            started = time.perf_counter()
            latents = self._latents(together, contents)
            pictures = self._synthesise(latents, together[0])
            if self._device.type == "cuda":
                torch.cuda.synchronize()  # it works on after the call
            shared = (time.perf_counter() - started) / len(together)
            for row, content, picture in zip(together, contents, pictures, strict=True):
                yield Decoded(row, len(content), picture, shared)

    def _read(self, row: dict[str, Any]) -> bytes:
        with intact.reading(self._code.files[1], self._remedy):
            return archives.read(self._streams, stream_name(row["image_id"], row["index"]))

    def _latents(self, rows: Sequence[dict[str, Any]], contents: Sequence[bytes]) -> Tensor:
        """Raises StageError where they are not those that were coded."""
        with intact.reading(self._code.files[1], self._remedy):
            streams = [unpack(content) for content in contents]
            shape = LatentShape.of(rows[0]["height"], rows[0]["width"])
            if any(unpacked != shape for _, unpacked in streams):
                raise ValueError("a stream is of a picture of another size")
        try:
            y_hat, checksums = self._model.decode_latents(
                [strings for strings, _ in streams], shape
            )
            others = [
                row for row, found in zip(rows, checksums, strict=True) if found != row["checksum"]
            ]
        except OtherSymbolsError as error:
            others = [rows[error.picture]]
        except ValueError as error:
            raise StageError(f"{self._code.files[1]}: damaged ({error}); {self._remedy}") from None
        if others:
            raise StageError(
                f"{self._code.files[1]}: {others[0]['image_id']} decodes to other symbols than "
                f"were encoded: it is damaged, or made with another model; {self._remedy}"
            )
        return y_hat

    def _synthesise(self, y_hat: Tensor, row: dict[str, Any]) -> Sequence[Tensor]:
        try:
            x_hat = self._model.synthesise(y_hat, row["height"], row["width"])
        except ValueError as error:
            raise StageError(f"{self._code}: {row['image_id']}: {error}") from None
        pictures: Sequence[Tensor] = x_hat.split(1)
        return pictures


def require_same_pictures(code: Artefact) -> None:
    """Raises UserError where the data set was packed again since, by a version that turns and
    converts pictures: those that were coded are others than those to compare with. And where the
    description of the coding is damaged."""
    data, path = Packed(code.inputs["data"].folder), code.files[2]
    with intact.reading(path, _remedy(code)):
        converted = loads(path.read_text(encoding="utf-8")).get("converts")
    if any(data.conversions) and not converted:
        raise UserError(
            f"{path}: {sum(map(bool, data.conversions))} of {len(data)} pictures were coded "
            f"without their colour profile or on their side, as an earlier version read them; "
            f"{_remedy(code)}"
        )


def read_codes(code: Artefact) -> tuple[pd.DataFrame, zipfile.ZipFile]:
    """Rows and bitstreams of a coding. Raises UserError naming a damaged file."""
    path, archive, description = code.files
    remedy = _remedy(code)
    intact.check(path, description, remedy)
    with intact.reading(path, remedy):
        rows = pd.read_parquet(path)
        rows[["image_id", "index", "height", "width", "checksum"]]
    with intact.reading(archive, remedy):
        return rows, zipfile.ZipFile(archive)


def _remedy(code: Artefact) -> str:
    return f"delete {code.folder} and its images are coded again"
