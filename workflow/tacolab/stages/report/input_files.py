"""Reads the files of other stages. Every function raises UserError where a file is damaged."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tacolab.files import archives, intact
from tacolab.files.texts import loads
from tacolab.plan import Artefact

_REMEDY = "delete it and run `snakemake` again"
_KINDS = ("original", "decoded")


@dataclass(frozen=True)
class Example:
    """An original beside its reconstruction, as PNG bytes, with the numbers of that one coding."""

    artefact: Artefact
    image_id: str
    row: dict[str, Any]
    original: bytes
    decoded: bytes


def description(path: Path) -> dict[str, Any]:
    """An artefact's description."""
    with intact.reading(path, _REMEDY):
        content = loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no description")
    return content


def rows(artefact: Artefact) -> pd.DataFrame:
    """The rows of an evaluation (one per image and caption) or of times, as they were measured."""
    path = artefact.path
    intact.check(path, artefact.files[1], _REMEDY)
    with intact.reading(path, _REMEDY):
        return pd.read_parquet(path)


def examples(artefact: Artefact) -> Iterator[Example]:
    """The example reconstructions of one evaluation; captioned codecs show their first caption."""
    path = artefact.files[2]
    codings = rows(artefact).sort_values("index", kind="stable").drop_duplicates("image_id")
    with intact.reading(path, _REMEDY), zipfile.ZipFile(path) as archive:
        members = set(archive.namelist())
        for row in codings.to_dict("records"):
            pictures = [f"{kind}/{row['image_id']}.png" for kind in _KINDS]
            if members.intersection(pictures):
                yield Example(
                    artefact,
                    str(row["image_id"]),
                    {str(name): value for name, value in row.items()},
                    *(archives.read(archive, name) for name in pictures),
                )
