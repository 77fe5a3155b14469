"""Reads a caption table that stage `captions` makes; without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tacolab.errors import UserError


class CaptionTable:
    """Captions by image. The text stays in Arrow: 414,000 captions take about 40 MB.

    Raises UserError where the file is missing or damaged. A pickled object holds only its path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        source, dataset = path.parent.name, path.parent.parent.name
        remedy = f"make it with `snakemake` or `tacolab captions {dataset} {source}`"
        try:
            # Neither pq.read_table nor to_numpy: both import pandas, longer than reading takes.
            with pq.ParquetFile(path) as file:
                self._rows = file.read(columns=["image_id", "index", "caption"])
        except FileNotFoundError:
            raise UserError(f"{path}: no caption table; {remedy}") from None
        except (OSError, pa.ArrowException) as error:
            message = " ".join(str(error).split())  # Arrow's may span lines
            raise UserError(f"{path}: damaged ({message}); remove it and {remedy}") from None
        # The rows of an image stand together, so a run of one name is an image.
        runs = pc.run_end_encode(self._rows["image_id"].combine_chunks())
        self._ends: list[int] = runs.run_ends.to_pylist()
        self._numbers = {image_id: i for i, image_id in enumerate(runs.values.to_pylist())}
        if len(self._numbers) != len(self._ends):
            raise UserError(f"{path}: damaged (an image's rows are apart); remove it and {remedy}")

    @property
    def ids(self) -> list[str]:
        """The images, in the data set's order."""
        return list(self._numbers)

    def __contains__(self, image_id: str) -> bool:
        """Whether the image has a caption; a source may be allowed to miss some."""
        return image_id in self._numbers

    def for_image(self, image_id: str) -> list[str]:
        """The image's captions, in their order; at least one."""
        try:
            i = self._numbers[image_id]
        except KeyError:
            raise UserError(f"{self.path}: no caption for image {image_id}") from None
        first = self._ends[i - 1] if i else 0
        captions: list[str] = self._rows["caption"][first : self._ends[i]].to_pylist()
        return captions

    def __len__(self) -> int:
        """Number of captions."""
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[str, int, str]]:
        """Image, index of the caption, caption, in the table's order."""
        for batch in self._rows.to_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def __reduce__(self) -> tuple[type[CaptionTable], tuple[Path]]:
        return CaptionTable, (self.path,)
