"""Reads the packed images that stage `data` makes; memory-mapped, without torch."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from tacolab.errors import UserError
from tacolab.files.texts import loads
from tacolab.readers.pictures import Box, UnreadableError, read


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
            self._table.validate(full=True)  # a damaged place in it would be read from anywhere
            self.ids: list[str] = self._table["image_id"].to_pylist()
            # No Python objects: loading processes copy what they count references to.
            self._sizes = np.stack([self._table[side].to_numpy() for side in ("width", "height")])
            self._table.select(["image", "sha256", "captions"])  # raises KeyError
            if len(self.ids) != self.manifest["count"]:
                raise ValueError(
                    f"{len(self.ids)} images, its manifest says {self.manifest['count']}"
                )
        except FileNotFoundError as error:
            raise UserError(
                f"{error.filename or folder}: no packed data set; {self._remedy}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise UserError(
                f"{folder}: damaged ({_line(error)}); remove it and {self._remedy}"
            ) from None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def sha256(self) -> list[str]:
        """Of each image's file, as it was packed."""
        digests: list[str] = self._table["sha256"].to_pylist()
        return digests

    @property
    def converts(self) -> bool:
        """Whether pictures are turned upright and converted to sRGB.

        Those of a set that an earlier version has packed are not: what was made from it has seen
        them as they are stored, and must not be mixed with what sees them otherwise.
        """
        return "conversion" in self._table.column_names

    @cached_property
    def conversions(self) -> list[str]:
        """What is done to each image besides decoding; "" for most."""
        if not self.converts:
            return [""] * len(self)
        found: list[str] = self._table["conversion"].to_pylist()
        return found

    @cached_property
    def shown(self) -> list[str]:
        """A sha256 that stands for what each image looks like: its file's, where that says all."""
        return [
            hashlib.sha256(f"{digest} {done}".encode()).hexdigest() if done else digest
            for digest, done in zip(self.sha256, self.conversions, strict=True)
        ]

    def __reduce__(self) -> tuple[type[Packed], tuple[Path]]:
        return Packed, (self.folder,)

    def encoded(self, i: int) -> bytes:
        """The file's own bytes (JPEG, PNG ...). Raises UserError where they have changed: many a
        damaged JPEG is a picture, but another one."""
        content: bytes = self._table["image"][i].as_py()
        if hashlib.sha256(content).hexdigest() != self._table["sha256"][i].as_py():
            raise self._damaged(i, "has not the sha256 that it was packed with")
        return content

    def size(self, i: int) -> tuple[int, int]:
        """Width, height [pixels] as `rgb` gives them, without decoding."""
        width, height = self._sizes[:, i].tolist()
        return width, height

    def rgb(self, i: int, box: Box | None = None) -> npt.NDArray[np.uint8]:
        """Upright sRGB pixels, uint8, (height, width, 3); of a part, if `box` is given."""
        try:
            return read(self.encoded(i), self.converts, box).pixels
        except UnreadableError as error:
            raise self._damaged(i, str(error)) from None

    def _damaged(self, i: int, how: str) -> UserError:
        return UserError(
            f"{self.folder}: image {self.ids[i]} is damaged: it {how}; remove the folder and "
            f"{self._remedy}"
        )

    def picture(self, i: int) -> Image.Image:
        """The same as a picture of Pillow's mode RGB."""
        return Image.fromarray(self.rgb(i))

    def captions(self, i: int) -> list[str]:
        """The human captions that come with the image; often none."""
        captions: list[str] = self._table["captions"][i].as_py()
        return captions
