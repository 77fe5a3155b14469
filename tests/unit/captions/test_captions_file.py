"""Captions of one's own: JSON or Parquet, several per image, and what is wrong with a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tacolab.errors import UserError
from tacolab.plan import Artefact
from tacolab.readers.caption_table import CaptionTable

IDS = ["china.jpg", "flower.jpg", "rocket.jpg", "coffee.png"]
Make = Callable[..., Artefact]
SOURCE = {"kind": "file", "files": {"set": "own.parquet"}}
HALF = pa.py_buffer(b"\xed\xa0\xbd")  # what stands for half an emoji outside of UTF-8


def write(folder: Path, **columns: Any) -> None:
    pq.write_table(pa.table(columns), folder / "own.parquet")


@pytest.mark.parametrize("name", ["image_id", "file_name"])
def test_parquet_with_several_captions_in_any_order(make: Make, tmp_path: Path, name: str) -> None:
    ids = [*IDS, "other.png", "rocket.jpg", "rocket.jpg"]
    write(
        tmp_path,
        **{name: ids},
        index=[0, 0, 0, 0, 0, 11, 2],
        caption=["a", "b", "first", "d", "", "last", "second"],
    )
    table = CaptionTable(make("own_words", own_words=SOURCE).path)
    assert table.ids == IDS
    assert table.for_image("rocket.jpg") == ["first", "second", "last"]
    assert [(i, text) for image, i, text in table if image != "rocket.jpg"] == [
        (0, "a"),
        (0, "b"),
        (0, "d"),
    ]


def test_parquet_without_index_keeps_the_order_of_the_file(make: Make, tmp_path: Path) -> None:
    write(tmp_path, image_id=["flower.jpg", *IDS], caption=["z", "a", "b", "c", "d"])
    table = CaptionTable(make("own_words", own_words=SOURCE).path)
    assert table.for_image("flower.jpg") == ["z", "b"]


def test_json_as_of_published(make: Make, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"china.jpg": "a", "coffee.png": ["b", "c"]}')
    source = SOURCE | {"files": {"set": "own.json"}}
    table = CaptionTable(make("own_words", photos=["coffee", "china"], own_words=source).path)
    assert list(table) == [("coffee.png", 0, "b"), ("coffee.png", 1, "c"), ("china.jpg", 0, "a")]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image_id": IDS[:3], "caption": ["a"] * 3}, "1 of 4 images have no caption: coffee.png;"),
        ({"image_id": IDS, "caption": ["a", "b", " ", None]}, "2 of 4 images have an empty capt"),
        (
            {"image_id": [1, 2, 3, 4], "caption": ["a"] * 4},
            r"column image_id holds int64, not text",
        ),
        ({"image": IDS, "caption": ["a"] * 4}, r"own\.parquet: no column image_id; it needs"),
        ({"image_id": IDS, "text": ["a"] * 4}, r"own\.parquet: no column caption; it needs"),
        ({"image_id": IDS, "caption": [["a"]] * 4}, r"own\.parquet: column caption holds list<"),
        ({"image_id": IDS, "caption": [1, 2, 3, 4]}, r"column caption holds int64"),
        ({"image_id": IDS, "caption": [True] * 4}, r"column caption holds bool, not text"),
        ({"image_id": IDS, "caption": [0.5, float("nan"), 1, 2]}, r"column caption holds double"),
        ({"image_id": IDS, "caption": [b"a \xed\xa0\xbd"] * 4}, r"cannot be read \(Invalid UTF8"),
        (
            {"image_id": IDS, "caption": ["a"] * 4, "index": ["0"] * 4},
            r"index holds string",
        ),
        (
            {"image_id": IDS, "caption": ["a"] * 4, "index": [True] * 4},
            r"index holds bool",
        ),
        ({"image_id": IDS, "caption": ["a"] * 4, "index": [0, 0, 0, None]}, r"index has gaps; num"),
        (
            {"image_id": IDS, "caption": ["a"] * 4, "index": [0.5] * 4},
            r"cannot be read \(",
        ),
        (
            {"image_id": [*IDS, IDS[0]], "caption": ["a"] * 5, "index": [0, 0, 0, 0, 0]},
            r"own\.parquet: china\.jpg: index 0 stands there twice",
        ),
    ],
)
def test_what_is_wrong_with_a_parquet_is_one_line(
    make: Make, tmp_path: Path, columns: dict[str, list[Any]], message: str
) -> None:
    write(tmp_path, **columns)
    with pytest.raises(UserError, match=message) as raised:
        make("own_words", own_words=SOURCE)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "results/captions/set/own_words").exists()


def test_text_that_is_no_utf8_in_a_column_of_text(make: Make, tmp_path: Path) -> None:
    """Writers do not look; nor does a reader that is not asked to."""
    half = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\3\0\0\0"), HALF])
    write(tmp_path, image_id=["china.jpg"], caption=half)
    with pytest.raises(UserError, match=r"own\.parquet: cannot be read \(.*UTF8"):
        make("own_words", photos=["china"], own_words=SOURCE)


def test_a_column_of_repeated_texts_is_text(make: Make, tmp_path: Path) -> None:
    """As categories of pandas are stored, and long texts of other writers."""
    write(
        tmp_path,
        image_id=pa.array(IDS).dictionary_encode(),
        caption=pa.array(["a", "b", "c", "d"], pa.large_string()),
        index=[0.0] * 4,
    )
    assert CaptionTable(make("own_words", own_words=SOURCE).path).for_image("coffee.png") == ["d"]


def test_the_suffix_of_a_parquet_in_any_case(make: Make, tmp_path: Path) -> None:
    write(tmp_path, image_id=IDS, caption=["a", "b", "c", "d"])
    (tmp_path / "own.parquet").rename(tmp_path / "own.PARQUET")
    source = SOURCE | {"files": {"set": "own.PARQUET"}}
    assert CaptionTable(make("own_words", own_words=source).path).for_image("china.jpg") == ["a"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_in_any_encoding_of_unicode(make: Make, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "own.json").write_bytes('{"china.jpg":\r\n"Größe 🙂"}'.encode(encoding))
    source = SOURCE | {"files": {"set": "own.json"}}
    table = CaptionTable(make("own_words", photos=["china"], own_words=source).path)
    assert table.for_image("china.jpg") == ["Größe 🙂"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (r'{"china.jpg": "\ud83d x"}', r"own\.json: china\.jpg: '\\ud83d x' has half a character"),
        ('{"china.jpg": "a", "china.jpg": "b"}', r"own\.json: 'china\.jpg' stands there twice"),
        (
            '{"china.jpg": ' + "[" * 100_000,
            r"own\.json: not JSON \(brackets within",
        ),
        ('["a"]', r"own\.json: not a JSON object, file name -> caption or list of captions"),
        ("", r"own\.json: not JSON \("),
        *(
            (f'{{"china.jpg": {words}}}', r"own\.json: china\.jpg: neither a caption nor a list of")
            for words in ("42", "true", "null", "NaN", '{"a": 1}', '["a", null]', '[["a"]]')
        ),
        ('{"china.jpg": []}', "1 of 1 images have no caption: china"),
        ('{"china.jpg": ["a", " "]}', "1 of 1 images have an empty caption: china"),
    ],
)
def test_what_is_wrong_with_a_json_is_one_line(
    make: Make, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "own.json").write_text(content)
    source = SOURCE | {"files": {"set": "own.json"}}
    with pytest.raises(UserError, match=message) as raised:
        make("own_words", photos=["china"], own_words=source)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("where", ["first page", "list of columns"])
def test_damage_inside_is_named(make: Make, tmp_path: Path, where: str) -> None:
    path = tmp_path / "own.parquet"
    write(tmp_path, image_id=IDS, caption=["a"] * 4)
    content = path.read_bytes()
    columns = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    place = 4 if where == "first page" else columns
    path.write_bytes(content[:place] + b"\xff" * 8 + content[place:][8:])
    with pytest.raises(UserError, match=r"own\.parquet: cannot be read \(") as raised:
        make("own_words", own_words=SOURCE)
    assert "\n" not in str(raised.value)


def test_damage_is_named(make: Make, tmp_path: Path) -> None:
    (tmp_path / "own.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"own\.parquet: cannot be read \("):
        make("own_words", own_words=SOURCE)
