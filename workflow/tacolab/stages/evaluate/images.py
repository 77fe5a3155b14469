"""The images of an evaluation, cropped as the protocol says."""

from collections.abc import Sequence

import numpy as np

from tacolab.plan import Artefact
from tacolab.readers.packed import Packed
from tacolab.readers.pictures import centre_crop


class Images:
    """A packed data set as the evaluation sees it."""

    def __init__(self, data: Artefact, crop: int | None) -> None:
        self._packed = Packed(data.folder)
        self._crop = crop

    @property
    def ids(self) -> Sequence[str]:
        return self._packed.ids

    def size(self, index: int) -> tuple[int, int]:
        """Height, width as `rgb` gives them."""
        if self._crop is not None:
            return self._crop, self._crop
        width, height = self._packed.size(index)
        return height, width

    def rgb(self, index: int) -> np.ndarray:
        """H x W x 3, uint8; the centre where a crop is configured."""
        pixels = self._packed.rgb(index)
        return pixels if self._crop is None else centre_crop(pixels, self._crop)


def spread(ids: Sequence[str], count: int) -> list[str]:
    """`count` images spread evenly over the list, or all where there are fewer."""
    count = min(count, len(ids))
    return [ids[i * len(ids) // count] for i in range(count)]
