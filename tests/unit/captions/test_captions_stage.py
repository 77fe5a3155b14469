"""Every source fills the same table, completely and the same way each time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacolab.errors import UserError
from tacolab.plan import Artefact
from tacolab.readers.caption_table import CaptionTable
from tacolab.stages.captions.sources import derangement
from tacolab.stages.captions.table import SCHEMA, read_rows
from tacolab.stages.data.sources import SAMPLES

IDS = ["china.jpg", "flower.jpg", "rocket.jpg", "coffee.png"]
Make = Callable[..., Artefact]
WRONG = {"kind": "shuffled", "seed": 3}


def test_human_captions_are_the_packed_ones(make: Make) -> None:
    artefact = make("human")
    known = json.loads(SAMPLES.read_text())
    table = CaptionTable(artefact.path)
    assert table.ids == IDS
    for image_id in IDS:
        assert table.for_image(image_id) == known[image_id.split(".")[0]]["captions"]
    summary = json.loads(artefact.files[1].read_text())
    assert (summary["images"], summary["captions"]) == (4, 20)
    assert 9 < summary["mean_words"] < 14


@pytest.mark.parametrize(
    ("source", "text"), [({"kind": "empty"}, ""), ({"kind": "constant"}, "NA")]
)
def test_one_text_for_all(make: Make, source: dict[str, Any], text: str) -> None:
    table = CaptionTable(make("control", control=source).path)
    assert list(table) == [(image_id, 0, text) for image_id in IDS]


def published(folder: Path, content: Any) -> dict[str, Any]:
    (folder / "given.json").write_text(json.dumps(content))
    return {"kind": "published", "files": {"set": "given.json"}}


def test_published_takes_one_or_several_and_ignores_others(make: Make, tmp_path: Path) -> None:
    content = dict.fromkeys(IDS, "a photo") | {"rocket.jpg": ["one", "two"], "other.png": ""}
    table = CaptionTable(make("given", given=published(tmp_path, content)).path)
    assert table.for_image("china.jpg") == ["a photo"]
    assert table.for_image("rocket.jpg") == ["one", "two"]
    assert len(table) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"china.jpg": None, "flower.jpg": None},
            "2 of 4 images have no caption: china.jpg, flower",
        ),
        ({"rocket.jpg": " "}, "1 of 4 images have an empty caption: rocket.jpg"),
        ({"rocket.jpg": ["words", ""]}, "1 of 4 images have an empty caption: rocket.jpg"),
        ({"rocket.jpg": []}, "1 of 4 images have no caption: rocket.jpg"),
        ({"rocket.jpg": 7}, "rocket.jpg: neither a caption nor a list"),
    ],
)
def test_published_gaps_are_named(
    make: Make, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    content = {
        name: text
        for name, text in (dict.fromkeys(IDS, "words") | change).items()
        if text is not None
    }
    with pytest.raises(UserError, match=message):
        make("given", given=published(tmp_path, content))
    assert not list(tmp_path.rglob("*.parquet"))


def test_published_file_missing_changed_or_no_object(
    make: Make, tmp_path: Path, sha256: Callable[[Path], str]
) -> None:
    source = published(tmp_path, dict.fromkeys(IDS, "words"))
    path = tmp_path / "given.json"
    pinned = source | {"files": {"set": {"path": "given.json", "sha256": sha256(path)}}}
    assert make("given", given=pinned).done
    path.write_text("[]")
    with pytest.raises(UserError, match=r"given\.json: changed"):
        make("given", given=pinned)
    with pytest.raises(UserError, match="not a JSON object"):
        make("given", given=source)
    path.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        make("given", given=source)
    path.unlink()
    with pytest.raises(UserError, match=r"given\.json: No such file.*data_root is '"):
        make("given", given=source)


def test_shuffled_gives_every_image_all_captions_of_another(make: Make) -> None:
    artefact = make("wrong", wrong=WRONG)
    table, own = CaptionTable(artefact.path), CaptionTable(artefact.inputs["own"].path)
    assert table.ids == IDS
    donors = [
        next(other for other in IDS if own.for_image(other) == table.for_image(image_id))
        for image_id in IDS
    ]
    assert sorted(donors) == sorted(IDS)
    assert all(donor != image_id for donor, image_id in zip(donors, IDS, strict=True))
    assert json.loads(artefact.files[1].read_text())["images_with_equal_text"] == 0


def test_a_damaged_table_is_named_where_another_is_made_of_it(make: Make) -> None:
    own = make("wrong", wrong=WRONG).inputs["own"].path
    own.write_bytes(own.read_bytes()[:-20])
    with pytest.raises(UserError, match=rf"{own}: damaged \(.*remove it and make it"):
        read_rows(own)


def test_shuffled_needs_two_images(make: Make) -> None:
    with pytest.raises(UserError, match="one image has no other to take captions from"):
        make("wrong", photos=["china"], wrong=WRONG)


@given(st.integers(2, 300), st.integers(0, 2**32))
def test_derangement(n: int, seed: int) -> None:
    donors = derangement(n, seed)
    assert sorted(donors) == list(range(n))
    assert (donors != np.arange(n)).all()
    assert (donors == derangement(n, seed)).all()


@pytest.mark.parametrize("source", ["human", "wrong", "nothing"])
def test_equal_inputs_give_equal_bytes(make: Make, source: str) -> None:
    sources = {"wrong": WRONG, "nothing": {"kind": "empty"}}
    artefact = make(source, **sources)
    first = artefact.path.read_bytes()
    artefact.path.unlink()
    assert make(source, **sources).path.read_bytes() == first
    assert pq.read_schema(artefact.path).equals(SCHEMA)
    assert pq.ParquetFile(artefact.path).metadata.row_group(0).column(0).compression == "ZSTD"
