"""Tables with a row per image and caption, as captions and token weights are; without torch."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tacolab.errors import UserError


class ImageTable:
    """Rows of a Parquet file by image; the rows of an image stand together.

    Raises UserError where the file is missing or damaged. A pickled object holds only its path.
    """

    what: str  # the table is called so in messages,
    command: str  # and `tacolab COMMAND DATASET SOURCE` makes it
    columns: tuple[str, ...]  # besides image_id and index

    def __init__(self, path: Path) -> None:
        self.path = path
        source, dataset = path.parent.name, path.parent.parent.name
        self._remedy = f"make it with `snakemake` or `tacolab {self.command} {dataset} {source}`"
        try:
            # Neither pq.read_table nor to_numpy: both import pandas, longer than reading takes.
            with pq.ParquetFile(path) as file:
                self._rows = file.read(columns=["image_id", "index", *self.columns])
            self._rows.validate(full=True)  # a damaged place in it would be read from anywhere
        except FileNotFoundError:
            raise UserError(f"{path}: no {self.what}; {self._remedy}") from None
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(" ".join(str(error).split())) from None  # Arrow's may span lines
        if lacking := {"image_id", "index", *self.columns}.difference(self._rows.column_names):
            raise self._damaged(f"no column {', '.join(sorted(lacking))}")
        # The rows of an image stand together, so a run of one name is an image.
        runs = pc.run_end_encode(self._rows["image_id"].combine_chunks())
        self._ends: list[int] = runs.run_ends.to_pylist()
        self._numbers = {image_id: i for i, image_id in enumerate(runs.values.to_pylist())}
        if len(self._numbers) != len(self._ends):
            raise self._damaged("an image's rows are apart")

    def _damaged(self, how: str) -> UserError:
        return UserError(f"{self.path}: damaged ({how}); remove it and {self._remedy}")

    @property
    def ids(self) -> list[str]:
        """The images, in the data set's order."""
        return list(self._numbers)

    def _rows_of(self, image_id: str) -> slice:
        """Where the image's rows are; at least one."""
        try:
            i = self._numbers[image_id]
        except KeyError:
            raise UserError(f"{self.path}: no caption for image {image_id}") from None
        return slice(self._ends[i - 1] if i else 0, self._ends[i])

    def __len__(self) -> int:
        """Number of captions."""
        return len(self._rows)

    def __reduce__(self) -> tuple[type[ImageTable], tuple[Path]]:
        return type(self), (self.path,)
