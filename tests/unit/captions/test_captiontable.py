"""CaptionTable finds an image's captions at any size, and names what is missing or damaged."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tacolab.errors import UserError
from tacolab.plan import Artefact
from tacolab.readers.caption_table import CaptionTable
from tacolab.stages.captions.table import table


def test_several_row_groups_are_one_table(tmp_path: Path) -> None:
    ids = [f"{n}.jpg" for n in range(50)]
    captions = [[f"{image_id} {k}" for k in range(1 + n % 5)] for n, image_id in enumerate(ids)]
    path = tmp_path / "several.parquet"
    pq.write_table(table(ids, captions), path, row_group_size=7)
    opened = CaptionTable(path)
    assert [opened.for_image(image_id) for image_id in ids] == captions
    assert len(opened) == sum(map(len, captions)) == len(list(opened))
    assert [index for image_id, index, _ in opened if image_id == "4.jpg"] == [0, 1, 2, 3, 4]
    assert len(pickle.dumps(opened)) < 300
    assert pickle.loads(pickle.dumps(opened)).for_image("49.jpg") == captions[49]


def test_rows_of_an_image_must_stand_together(tmp_path: Path) -> None:
    path = tmp_path / "apart.parquet"
    pq.write_table(table(["a.jpg", "b.jpg", "a.jpg"], [["one"], ["two"], ["three"]]), path)
    with pytest.raises(UserError, match="rows are apart"):
        CaptionTable(path)


def test_missing_image_file_and_damage(make: Callable[..., Artefact]) -> None:
    path = make("human").path
    with pytest.raises(UserError, match=r"no caption for image nobody\.png"):
        CaptionTable(path).for_image("nobody.png")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"damaged .*`tacolab captions set human`"):
        CaptionTable(path)
    path.unlink()
    with pytest.raises(UserError, match=r"no caption table; .*`tacolab captions set human`"):
        CaptionTable(path)
