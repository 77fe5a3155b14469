"""Reads the packed images that stage `data` makes; memory-mapped, without torch."""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from tacolab.errors import UserError
from tacolab.pictures import rgb
from tacolab.texts import loads


def _line(error: Exception) -> str:
    """Arrow's messages may span lines; ours are one."""
    return " ".join(str(error).split())


class Packed:
    """The images of a packed data set, in the data set's order.

    Opening costs milliseconds and a pickled object holds only its path, so that loader processes
    get it for nothing. Raises UserError where the folder is missing, unfinished or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._remedy = f"make it with `snakemake` or `tacolab data {folder.parent.name}`"
        try:
            self.manifest = loads((folder / "manifest.json").read_text(encoding="utf-8"))
            state = loads((folder / "state.json").read_text(encoding="utf-8"))
            # Read by pyarrow itself: importing `datasets` takes longer than many a short command.
            parts = [
                pa.ipc.open_stream(pa.memory_map(str(folder / part["filename"]))).read_all()
                for part in state["_data_files"]
            ]
            self._table = pa.concat_tables(parts)
            self.ids: list[str] = self._table["image_id"].to_pylist()
            self._sizes = list(
                zip(
                    self._table["width"].to_pylist(),
                    self._table["height"].to_pylist(),
                    strict=True,
                )
            )
        except FileNotFoundError as error:
            raise UserError(
                f"{error.filename or folder}: no packed data set; {self._remedy}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise UserError(
                f"{folder}: damaged ({_line(error)}); remove it and {self._remedy}"
            ) from None
        if len(self.ids) != self.manifest["count"]:
            raise UserError(
                f"{folder}: damaged ({len(self.ids)} images, its manifest says "
                f"{self.manifest['count']}); remove it and {self._remedy}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def sha256(self) -> list[str]:
        """Of each image's file, as it was packed."""
        digests: list[str] = self._table["sha256"].to_pylist()
        return digests

    def __reduce__(self) -> tuple[type[Packed], tuple[Path]]:
        return Packed, (self.folder,)

    def encoded(self, i: int) -> bytes:
        """The file's own bytes (JPEG, PNG ...)."""
        content: bytes = self._table["image"][i].as_py()
        return content

    def size(self, i: int) -> tuple[int, int]:
        """Width, height [pixels], without decoding."""
        width, height = self._sizes[i]
        return width, height

    def rgb(self, i: int) -> npt.NDArray[np.uint8]:
        """Pixels, uint8, (height, width, 3). Grey, palette, CMYK and alpha become RGB."""
        return np.asarray(self.picture(i))

    def picture(self, i: int) -> Image.Image:
        """The same as a picture of Pillow's mode RGB."""
        try:
            with Image.open(io.BytesIO(self.encoded(i))) as image:
                image.load()
                return image if image.mode == "RGB" else Image.fromarray(rgb(image))
        except Exception as error:  # decoders raise about anything on damaged bytes
            raise UserError(
                f"{self.folder}: image {self.ids[i]} is damaged ({_line(error)}); remove "
                f"the folder and {self._remedy}"
            ) from None

    def captions(self, i: int) -> list[str]:
        """The human captions that come with the image; often none."""
        captions: list[str] = self._table["captions"][i].as_py()
        return captions
