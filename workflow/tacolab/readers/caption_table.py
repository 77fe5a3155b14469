"""Reads a caption table that stage `captions` makes; without torch."""

from __future__ import annotations

from collections.abc import Iterator

from tacolab.readers.image_table import ImageTable


class CaptionTable(ImageTable):
    """Captions by image. The text stays in Arrow: 414,000 captions take about 40 MB."""

    what = "caption table"
    command = "captions"
    columns = ("caption",)

    def __contains__(self, image_id: str) -> bool:
        """Whether the image has a caption; a source may be allowed to miss some."""
        return image_id in self._numbers

    def for_image(self, image_id: str) -> list[str]:
        """The image's captions, in their order; at least one."""
        captions: list[str] = self._rows["caption"][self._rows_of(image_id)].to_pylist()
        return captions

    def __iter__(self) -> Iterator[tuple[str, int, str]]:
        """Image, index of the caption, caption, in the table's order."""
        for batch in self._rows.to_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
