"""Reads the token weights that stage `token_weights` makes; without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tacolab.readers.image_table import ImageTable


class WeightTable(ImageTable):
    """Weights of every caption's tokens, by image: 414,000 captions of 38 take about 32 MB."""

    what = "token weights"
    command = "token-weights"
    columns = ("weights",)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        column = self._rows["weights"].combine_chunks()
        self._rows = self._rows.drop_columns("weights")
        try:
            self.positions: int = column.type.list_size  # tokens that the encoder reads
            values = column.flatten().buffers()[1]
            self._weights = np.frombuffer(
                values, np.float16, count=len(column) * self.positions
            ).reshape(len(column), self.positions)
        except (AttributeError, TypeError, ValueError) as error:
            raise self._damaged(str(error)) from None

    def for_image(self, image_id: str) -> npt.NDArray[np.float16]:
        """Captions x positions, in the order of the image's captions; read-only."""
        return self._weights[self._rows_of(image_id)]
