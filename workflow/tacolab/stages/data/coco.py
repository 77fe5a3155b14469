"""Reads a COCO captions file; what is wrong in it is one line that names image and annotation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from tacolab.errors import UserError
from tacolab.files.texts import given_json, refuse_half_characters

Id = int | str


class _Image(TypedDict):
    id: Id
    file_name: Annotated[str, Field(min_length=1)]
    width: PositiveInt
    height: PositiveInt


class _Annotation(TypedDict):
    id: Id
    image_id: Id
    caption: str


class _File(TypedDict):
    images: list[_Image]
    annotations: list[_Annotation]


_FILE = TypeAdapter(_File)
_EXPECTED = {
    "id": "a whole number or text",
    "image_id": "a whole number or text",
    "file_name": "the name of a file",
    "width": "a whole number above 0",
    "height": "a whole number above 0",
    "caption": "text",
}
_MEND = "mend the file, or fetch it again"


@dataclass(frozen=True)
class Described:
    """One image. size: width, height [pixels]. captions: by the annotations' ids."""

    size: tuple[int, int]
    captions: list[str]


def read(content: bytes, path: Path) -> tuple[dict[str, Described], int]:
    """The images by file name, sorted by their ids, and how many annotations name none of them.

    Subsets are often made by filtering `images` alone, so such annotations are no error. Raises
    UserError for all else that COCO's 2014 layout does not allow.
    """
    raw = given_json(content, path)
    try:
        # Strict: a number is no text, true is no number, and 9.0 is not the image 9.
        file = _FILE.validate_python(raw, strict=True)
    except ValidationError as error:
        raise UserError(_problem(error, raw, path)) from None
    images, annotations = file["images"], file["annotations"]
    if not images:
        raise UserError(f"{path}: lists no images; {_MEND}")
    ids = [i["id"] for i in images] + [row["image_id"] for row in annotations]
    for what, kinds in (("images", ids), ("annotations", [row["id"] for row in annotations])):
        if len({type(one) for one in kinds}) > 1:
            raise UserError(f"{path}: ids of {what} are numbers in part, text in part; {_MEND}")
    _refuse_twins("images", images, "id", path)
    _refuse_twins("images", images, "file_name", path)
    _refuse_twins("annotations", annotations, "id", path)

    captions: dict[Id, list[str]] = {image["id"]: [] for image in images}
    strays = 0
    for row in sorted(annotations, key=lambda row: row["id"]):
        if not row["caption"].isascii():
            refuse_half_characters(row["caption"], f"{path}: {_name('annotations', row)}")
        if row["image_id"] in captions:
            captions[row["image_id"]].append(row["caption"])
        else:
            strays += 1
    described = {
        image["file_name"]: Described((image["width"], image["height"]), captions[image["id"]])
        for image in sorted(images, key=lambda image: image["id"])
    }
    return described, strays


def _refuse_twins(
    section: str, entries: Iterable[Mapping[str, Any]], field: str, path: Path
) -> None:
    seen: dict[Any, Mapping[str, Any]] = {}
    for entry in entries:
        first = seen.setdefault(entry[field], entry)
        if first is not entry:
            raise UserError(
                f"{path}: {_name(section, first)} and {_name(section, entry)} have the same "
                f"{field}; {_MEND}"
            )


def _name(section: str, entry: Mapping[str, Any]) -> str:
    number = _short(entry.get("id"))
    if section == "images":
        return f"image {number} ({_short(entry.get('file_name'))})"
    return f"annotation {number} of image {_short(entry.get('image_id'))}"


def _short(value: Any) -> str:
    text = "null" if value is None else ascii(value)
    return text if len(text) <= 80 else f"{text[:80]} ..."


def _problem(error: ValidationError, raw: Any, path: Path) -> str:
    """The first thing that is wrong, with its place."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    match first["loc"]:
        case (str() as section, int() as number, str() as field, *_):
            entry = raw[section][number]
        case (str() as section, int() as number):
            return f"{path}: entry {number} of `{section}` is no object; {_MEND}"
        case _:
            return (
                f"{path}: not a COCO captions file of the 2014 layout (an object with the lists "
                "`images` and `annotations`); give captions_train2014.json or "
                "captions_val2014.json"
            )
    name = _name(section, entry)
    if field not in entry:
        return f"{path}: {name} has no {field}; {_MEND}"
    return (
        f"{path}: {field} of {name} must be {_EXPECTED[field]}, not {_short(entry[field])}; {_MEND}"
    )
