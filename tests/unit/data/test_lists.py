"""What lists of images and COCO's annotations say is meant, or refused before anything is packed.

Every refusal is one line that names the file and the entry.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tacolab.errors import UserError
from tacolab.plan import Artefact, Plan
from tacolab.readers.packed import Packed
from tacolab.stages.data import sources

COCO = {"kind": "coco", "images": "photos", "annotations": "captions.json"}
FOLDER = {"kind": "folder", "images": "photos", "list": "list.json"}
SIZES = {"flower.jpg": (640, 427), "china.jpg": (640, 427), "coffee.png": (600, 400)}
DEEP = '{"images": ' + "[" * 100_000
Pack = Callable[..., Artefact]


@pytest.fixture
def annotations(photos: Path) -> dict[str, Any]:
    """Three images, 1 to 3, with two captions each."""
    return {
        "images": [
            {"id": number, "file_name": name, "width": SIZES[name][0], "height": SIZES[name][1]}
            for number, name in enumerate(SIZES, 1)
        ],
        "annotations": [
            {"id": 10 * image + n, "image_id": image, "caption": f"caption {n} of image {image}"}
            for image in (1, 2, 3)
            for n in (0, 1)
        ],
    }


@pytest.fixture
def refused(plan_of: Callable[..., Plan], tmp_path: Path) -> Callable[..., str]:
    """refused(dataset, file, content): the line that says why the data set is not packed."""

    def read(dataset: dict[str, Any], file: str, content: Any) -> str:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "data" / file).write_text(text)
        with pytest.raises(UserError) as caught:
            sources.read(plan_of(dataset).study, "set")
        message = str(caught.value)
        assert message.isprintable() and f"data/{file}: " in message
        return message

    return read


IMAGE, ROW = ("images", 1), ("annotations", 2)  # image 2, china.jpg; annotation 20 of it
GONE = object()

WRONG = [
    # ids
    (IMAGE, "id", 1, "image 1 ('flower.jpg') and image 1 ('china.jpg') have the same id"),
    (IMAGE, "file_name", "flower.jpg", "image 1 ('flower.jpg') and image 2 ('flower.jpg') have"),
    (ROW, "id", 10, "annotation 10 of image 1 and annotation 10 of image 2 have the same id"),
    *(
        (IMAGE, "id", wrong, f"id of image {shown} ('china.jpg') must be a whole number or text")
        for wrong, shown in [(2.0, "2.0"), (True, "True"), (None, "null"), ([2], "[2]")]
    ),
    (IMAGE, "id", "2", "ids of images are numbers in part, text in part"),
    (ROW, "image_id", "2", "ids of images are numbers in part, text in part"),
    (ROW, "id", "20", "ids of annotations are numbers in part, text in part"),
    *(
        (ROW, "image_id", wrong, f"image_id of annotation 20 of image {shown} must be a whole")
        for wrong, shown in [(2.0, "2.0"), (True, "True"), (None, "null"), (float("nan"), "nan")]
    ),
    (ROW, "id", None, "id of annotation null of image 2 must be a whole number or text"),
    # captions
    *(
        (ROW, "caption", wrong, f"caption of annotation 20 of image 2 must be text, not {shown}")
        for wrong, shown in [
            (42, "42"),
            (True, "True"),
            (None, "null"),
            (float("nan"), "nan"),
            (["a", "b"], "['a', 'b']"),
            ({"raw": "a"}, "{'raw': 'a'}"),
        ]
    ),
    (
        ROW,
        "caption",
        "smile \ud83d here",
        r"annotation 20 of image 2: 'smile \ud83d here' has",
    ),
    # sizes
    *(
        (IMAGE, side, wrong, f"{side} of image 2 ('china.jpg') must be a whole number above 0, not")
        for side in ("width", "height")
        for wrong in (0, -640, 640.5, 640.0, "640", None, True)
    ),
    # names
    *(
        (IMAGE, "file_name", wrong, "must be the name of a file, not")
        for wrong in ("", None, 7, ["china.jpg"], "\ud83d.jpg")
    ),
    *(
        (IMAGE, "file_name", wrong, f"{wrong!a} is not the name of a file in data/photos")
        for wrong in ("../list.json", "a/../../x", "/etc/passwd", "..", ".", "a\nb.jpg", "a\0b")
    ),
    # what lacks
    *((IMAGE, field, GONE, f"has no {field}") for field in ("id", "file_name", "width", "height")),
    *((ROW, field, GONE, f"has no {field}") for field in ("id", "image_id", "caption")),
]


@pytest.mark.parametrize(("place", "field", "value", "message"), WRONG)
def test_one_wrong_entry_of_annotations_is_named(
    annotations: dict[str, Any],
    refused: Callable[..., str],
    place: tuple[str, int],
    field: str,
    value: Any,
    message: str,
) -> None:
    entry = annotations[place[0]][place[1]]
    if value is GONE:
        del entry[field]
    else:
        entry[field] = value
    assert message in refused(COCO, "captions.json", annotations)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "not a COCO captions file of the 2014 layout"),
        ("null", "not a COCO captions file of the 2014 layout"),
        ('{"images": []}', "not a COCO captions file of the 2014 layout"),
        ('{"images": {}, "annotations": []}', "not a COCO captions file of the 2014 layout"),
        ('{"images": null, "annotations": []}', "not a COCO captions file of the 2014 layout"),
        ('{"images": [], "annotations": []}', "lists no images"),
        ('{"images": [7], "annotations": []}', "entry 0 of `images` is no object"),
        ('{"images": [], "images": [], "annotations": []}', "'images' stands there twice in one"),
        ('{"images": [], "annotations": [null]}', "entry 0 of `annotations` is no object"),
        pytest.param(DEEP, "not JSON (brackets within brackets, hundreds deep)", id="deep"),
        ("", "not JSON (Expecting value"),
    ],
)
def test_what_are_no_annotations(
    photos: Path, refused: Callable[..., str], content: str, message: str
) -> None:
    assert message in refused(COCO, "captions.json", content)


def test_nothing_is_packed_of_a_wrong_file(
    annotations: dict[str, Any], refused: Callable[..., str], pack: Pack, tmp_path: Path
) -> None:
    annotations["annotations"][-1]["caption"] = 42
    refused(COCO, "captions.json", annotations)
    with pytest.raises(UserError):
        pack(COCO)
    assert not (tmp_path / "results").exists()


def test_annotations_of_images_that_are_not_listed_are_counted(
    annotations: dict[str, Any], pack: Pack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Subsets are often made by filtering `images` alone."""
    del annotations["images"][0]
    (tmp_path / "data/captions.json").write_text(json.dumps(annotations))
    with caplog.at_level(logging.INFO):
        packed = Packed(pack(COCO).folder)
    assert packed.ids == ["china.jpg", "coffee.png"]
    assert packed.captions(0) == ["caption 0 of image 2", "caption 1 of image 2"]
    assert packed.manifest["annotations_of_unlisted_images"] == 2
    assert "2 annotations are of images that the file does not list" in caplog.text


def test_annotations_of_images_that_a_list_leaves_out_are_none_of_them(
    annotations: dict[str, Any], plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    (tmp_path / "data/captions.json").write_text(json.dumps(annotations))
    (tmp_path / "data/list.json").write_text('["coffee.png"]')
    listing = sources.read(plan_of(COCO | {"list": "list.json"}).study, "set")
    assert [record.name for record in listing.records] == ["coffee.png"]
    assert listing.strays == 0


@pytest.mark.parametrize("number", [lambda n: -n, lambda n: f"id-{n}", lambda n: 10**30 + n])
def test_ids_may_be_any_whole_numbers_or_texts(
    annotations: dict[str, Any],
    plan_of: Callable[..., Plan],
    tmp_path: Path,
    number: Callable[[int], Any],
) -> None:
    for image in annotations["images"]:
        image["id"] = number(image["id"])
    for row in annotations["annotations"]:
        row |= {"id": number(row["id"]), "image_id": number(row["image_id"])}
    (tmp_path / "data/captions.json").write_text(json.dumps(annotations))
    listing = sources.read(plan_of(COCO).study, "set")
    captions = {record.name: sorted(record.captions) for record in listing.records}
    assert captions["china.jpg"] == ["caption 0 of image 2", "caption 1 of image 2"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_annotations_in_any_encoding_of_unicode(
    annotations: dict[str, Any], plan_of: Callable[..., Plan], tmp_path: Path, encoding: str
) -> None:
    annotations["annotations"][0]["caption"] = "Größe 🙂"
    text = json.dumps(annotations, ensure_ascii=False, indent=1).replace("\n", "\r\n")
    (tmp_path / "data/captions.json").write_bytes(text.encode(encoding))
    listing = sources.read(plan_of(COCO).study, "set")
    assert listing.records[0].captions[0] == "Größe 🙂"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["flower.jpg", null]', "not a JSON list of file names"),
        ('["flower.jpg", ""]', "not a JSON list of file names"),
        ('[["flower.jpg"]]', "not a JSON list of file names"),
        ("{}", "not a JSON list of file names"),
        ('{"a.png": 1, "a.png": 2}', "'a.png' stands there twice in one object"),
        (r'["\ud83d.png"]', r"'\ud83d.png' has half a character"),
        ('["../list.json"]', "'../list.json' is not the name of a file in data/photos"),
        ('["/etc/passwd"]', "'/etc/passwd' is not the name of a file in data/photos"),
        (r'["a\u0000.png"]', r"'a\x00.png' is not the name of a file in data/photos"),
        ('["."]', "'.' is not the name of a file in data/photos"),
        pytest.param("[" * 100_000, "not JSON (brackets within brackets", id="deep"),
        ("\n\n", "lists no images"),
        ("0" * 64 + "  ../list.json", "'../list.json' is not the name of a file in data/photos"),
    ],
)
def test_a_list_that_names_no_images_of_the_folder(
    photos: Path, refused: Callable[..., str], content: str, message: str
) -> None:
    assert message in refused(FOLDER, "list.json", content)


def test_bytes_that_are_no_text(photos: Path, plan_of: Callable[..., Plan]) -> None:
    (photos.parent / "list.json").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UserError, match=r"list\.json: not text \(.*; give a JSON list"):
        sources.read(plan_of(FOLDER).study, "set")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("kind", ["json", "sums"])
def test_lists_as_other_systems_write_them(
    photos: Path, plan_of: Callable[..., Plan], encoding: str, kind: str
) -> None:
    """Windows has byte order marks, line ends of its own, and UTF-16 in its shell."""
    names = ["coffee.png", "china.jpg"]
    sums = [hashlib.sha256((photos / name).read_bytes()).hexdigest() for name in names]
    lines = [f"{digest} *{name}\r\n" for digest, name in zip(sums, names, strict=True)]
    text = json.dumps(names) if kind == "json" else "".join(lines)
    (photos.parent / "list.json").write_bytes(text.encode(encoding))
    listing = sources.read(plan_of(FOLDER).study, "set")
    assert [record.name for record in listing.records] == names
    if kind == "sums":
        assert [record.sha256 for record in listing.records] == sums


def test_a_list_may_name_images_in_subfolders_and_links(photos: Path, pack: Pack) -> None:
    (photos / "more").mkdir()
    (photos / "coffee.png").rename(photos.parent / "elsewhere.png")
    (photos / "more/coffee.png").symlink_to(photos.parent / "elsewhere.png")
    inside = str(photos / "china.jpg")
    (photos.parent / "list.json").write_text(json.dumps(["more/coffee.png", inside]))
    assert Packed(pack(FOLDER).folder).ids == ["coffee.png", "china.jpg"]
